"""Versions of the configuration in SQLite and PostgreSQL."""

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from ferryman.config.version import Change, Version
from ferryman.store import db, peek, versions
from ferryman.store.versions import VersionConflictError


def version(text: str) -> Version:
    change = Change(text=None, base="abc", version=3, by="api")
    return Version(
        number=0, at=1_800_000_000, by="api", note="né", changes=("models/a: added",),
        snapshot="s", text=text, overlay={"models/x": change},
    )  # fmt: skip


def test_versions_are_numbered_found_listed_and_peeked_at(engine: sa.Engine) -> None:
    assert versions.latest(engine) is None
    made = [versions.add(engine, version(f"t{i}")) for i in range(3)]
    assert [each.number for each in made] == [1, 2, 3]
    assert versions.latest(engine) == made[2]
    assert versions.find(engine, 2) == made[1]
    assert versions.find(engine, 4) is None
    assert [row.number for row in versions.listing(engine, limit=2)] == [3, 2]
    assert [row.number for row in versions.listing(engine, limit=9, before=3)] == [2, 1]
    assert {row.text for row in versions.listing(engine, limit=9)} == {""}
    if engine.dialect.name == "sqlite":
        assert peek.latest(Path(str(engine.url.database))) == made[2]


def test_of_many_that_follow_the_same_version_one_is_taken(engine: sa.Engine) -> None:
    versions.add(engine, version("first"))
    results: list[int] = []
    barrier = threading.Barrier(6)

    def one(name: str) -> None:
        barrier.wait()
        try:
            results.append(versions.add(engine, version(name), after=1).number)
        except VersionConflictError as error:
            results.append(-error.number)

    threads = [threading.Thread(target=one, args=(f"t{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [-2, -2, -2, -2, -2, 2]
    assert len(versions.listing(engine, limit=9)) == 2


def test_only_the_newest_are_kept(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "KEPT", 3)
    for i in range(5):
        versions.add(engine, version(f"t{i}"))
    assert [row.number for row in versions.listing(engine, limit=9)] == [5, 4, 3]


def test_a_look_at_no_file_and_at_an_older_database(tmp_path: Path) -> None:
    path = tmp_path / "f.db"
    assert peek.latest(path) is None
    assert not path.exists()
    engine = db.open_engine(f"sqlite:///{path}")
    with db.writing(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num TEXT)")
    assert peek.latest(path) is None
    assert versions.latest(engine) is None
