"""Opening databases and migrating them, with real files, servers and processes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command, config, script

from ferryman.store import db, ledger
from ferryman.store.db import DatabaseError, MigrationError
from ferryman.store.schema import HEAD, metadata
from tests.processes import Process, environment


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "not a URL"),
        ("mysql://host/name", "mysql is not supported"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite:////dev/null/x/y.db", "/dev/null/x/y.db"),
    ],
)
def test_urls_that_cannot_serve_are_explained(url: str, said: str) -> None:
    with pytest.raises(DatabaseError, match=said):
        db.open_engine(url)


def test_a_missing_driver_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from ferryman.store.db import *\n"
        "try: open_engine('postgresql://host/name')\n"
        "except DatabaseError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ferryman[postgres]" in done.stdout


def test_sqlite_files_are_private_and_settings_durable(tmp_path: Path) -> None:
    engine = db.open_engine(f"sqlite:///{tmp_path}/new/folder/f.db")
    db.migrate(engine)
    with db.reading(engine) as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
        folder = tmp_path / "new" / "folder"
        assert {path.name for path in folder.iterdir()} == {"f.db", "f.db-wal", "f.db-shm"}
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": db.BUSY_MS,
    }
    assert folder.stat().st_mode & 0o777 == 0o700


def shape(engine: sa.Engine) -> dict[str, Any]:
    """Everything of the schema that can be asked for."""
    look = sa.inspect(engine)
    found = {}
    for table in sorted(look.get_table_names()):
        columns = look.get_columns(table)
        for column in columns:
            column["type"] = repr(column["type"])  # type: ignore[typeddict-item]
        found[table] = (
            columns,
            look.get_pk_constraint(table),
            sorted(
                [
                    {
                        **each,
                        # PostgreSQL numbers those of a partition in the order in which they came
                        "name": None if table == "calls_default" else each["name"],
                        "dialect_options": str(
                            {k: str(v) for k, v in each["dialect_options"].items()}
                        ),
                    }
                    for each in look.get_indexes(table)
                ],
                key=str,
            ),
            look.get_unique_constraints(table),
            look.get_foreign_keys(table),
            look.get_check_constraints(table),
        )
    return found


def test_a_new_database_is_what_the_migrations_make(
    engine: sa.Engine, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A new database is made from the tables' definitions: Alembic takes too long to load."""
    if engine.dialect.name == "sqlite":
        other = db.open_engine(f"sqlite:///{tmp_path / 'other.db'}")
    else:
        # The fixture gives each test one database: ask for the making of a second.
        name = "migrated_the_long_way"
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        other = sa.create_engine(engine.url.set(database=name))
    with db.writing(other) as connection:
        db._upgrade(connection, None)
    made, migrated = shape(engine), shape(other)
    other.dispose()
    parts = ["calls_default"] if engine.dialect.name == "postgresql" else []
    assert set(made) == {*metadata.tables, "alembic_version", *parts}
    assert made == migrated


def test_the_newest_migration_is_the_schema_of_this_version(engine: sa.Engine) -> None:
    scripts = script.ScriptDirectory(str(Path(db.__file__).parent / "migrations"))
    assert scripts.get_current_head() == HEAD
    with db.reading(engine) as connection:
        assert db._version(connection) == HEAD


def test_migrating_again_changes_nothing_and_loads_no_alembic(engine: sa.Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)
    code = (
        "import sys; from ferryman.store import db; db.migrate(db.open_engine(sys.argv[1]))\n"
        "print('alembic' in sys.modules)"
    )
    before = shape(engine)
    command = [sys.executable, "-c", code, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert shape(engine) == before


def older(url: str) -> sa.Engine:
    """A database of an older version, with a call in it."""
    engine = db.open_engine(url)
    options = config.Config()
    options.set_main_option("script_location", str(db._MIGRATIONS))
    with db.writing(engine) as connection:
        options.attributes["connection"] = connection
        command.upgrade(options, "0008")
        connection.exec_driver_sql(
            "INSERT INTO calls (request_id, at_us, plane, key_id, endpoint, model, provider, "
            "target, status, error, attempts, attempts_json, state) VALUES "
            "('req_1', 7, 'p', 'k', 'e', 'm', 'p', 't', 200, '', 1, '[]', 'closed')"
        )
    return engine


@pytest.mark.parametrize("begun", [False, True])
def test_processes_that_migrate_at_once_agree(url: str, begun: bool) -> None:
    if begun:
        older(url).dispose()
    code = (
        "import sys; from ferryman.store import db\n"
        "print('here', flush=True); sys.stdin.read(1); db.migrate(db.open_engine(sys.argv[1]))"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "here\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("x")
        racer.stdin.flush()
    said = [racer.communicate()[1] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0], said
    engine = db.open_engine(url)
    with db.reading(engine) as connection:
        versions = connection.exec_driver_sql("SELECT version_num FROM alembic_version").all()
    assert [tuple(row) for row in versions] == [(HEAD,)]
    assert ledger.usage(engine)[0].calls == int(begun)
    engine.dispose()


def test_a_newer_schema_is_left_alone(engine: sa.Engine) -> None:
    with db.writing(engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    before = shape(engine)
    with pytest.raises(MigrationError, match=r"9999.*newer"):
        db.migrate(engine)
    assert shape(engine) == before


def test_a_migration_that_fails_leaves_nothing_behind(url: str) -> None:
    engine = db.open_engine(url)
    with db.writing(engine) as connection:
        # Somebody else's: the second table of ours is in the way.
        connection.exec_driver_sql("CREATE TABLE calls (mine INTEGER)")
    with pytest.raises(MigrationError, match="Nothing was changed"):
        db.migrate(engine)
    assert set(shape(engine)) == {"calls"}
    engine.dispose()


def test_an_upgrade_that_fails_half_way_leaves_nothing_behind(url: str, tmp_path: Path) -> None:
    engine = older(url)
    with db.writing(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE calls_by_day (mine INTEGER)")
    before = shape(engine)
    with pytest.raises(MigrationError, match=r"calls_by_day.*Nothing was changed"):
        db.migrate(engine)
    assert shape(engine) == before
    env = environment(tmp_path / "data", FERRYMAN_DATABASE_URL=url)
    control = Process(["ferryman.control"], env, tmp_path)
    assert control.wait() == 1, "it does not serve"
    said = "\n".join(control.lines)
    assert f"to schema {HEAD}" in said
    assert "ready at" not in said
    with db.writing(engine) as connection:
        connection.exec_driver_sql("DROP TABLE calls_by_day")
    db.migrate(engine)
    assert ledger.usage(engine)[0].calls == 1
    engine.dispose()


def test_an_unreachable_server_is_named_without_its_password() -> None:
    engine = db.open_engine("postgresql://me:secret@127.0.0.1:9/ledger")
    with pytest.raises(MigrationError, match=r"127\.0\.0\.1:9/ledger") as caught:
        db.migrate(engine)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "f.db"
    path.write_text("my diary, day one\n" * 100)
    with pytest.raises(MigrationError, match="not a database"):
        db.migrate(db.open_engine(f"sqlite:///{path}"))
    assert path.read_text() == "my diary, day one\n" * 100


def test_what_a_killed_process_committed_is_there(url: str) -> None:
    code = (
        "import os, sys; from ferryman.store import db\n"
        "engine = db.open_engine(sys.argv[1]); db.migrate(engine)\n"
        "with db.writing(engine) as connection: db.add_to_meta(connection, 'kept', 41)\n"
        "with db.writing(engine) as connection: db.add_to_meta(connection, 'kept', 1)\n"
        "with db.writing(engine) as connection:\n"
        "    db.add_to_meta(connection, 'kept', 1000); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, url]).returncode == -9
    engine = db.open_engine(url)
    with db.writing(engine) as connection:
        assert db.add_to_meta(connection, "kept", 0) == 42
    engine.dispose()
