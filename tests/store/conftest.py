"""Databases for tests: every test that asks for ``url`` runs on SQLite and on PostgreSQL."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from ferryman.store import db
from tests.store import postgres

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a server that lives as long as the test run."""
    scratch = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        with postgres.server(scratch) as url:
            yield url
    finally:
        shutil.rmtree(scratch)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """URL of an empty PostgreSQL database."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres_server.replace("@/postgres?", f"@/{name}?")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ferryman.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    """A migrated database."""
    engine = db.open_engine(url)
    db.migrate(engine)
    yield engine
    engine.dispose()
