"""Opens the database, SQLite or PostgreSQL, and brings its schema up to date.

SQLite runs in WAL mode with ``synchronous=FULL``: a commit is on the disk when it returns. That
matters because ingestion deletes journal segments after the commit that took them in; with
``NORMAL`` a power cut could undo the commit and keep the deletion. A killed process loses no commit
either way. The price is one fsync for each batch of rows, on the control plane only.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from ferryman.store.schema import HEAD, meta, metadata

BUSY_MS: Final = 15_000
"""How long a SQLite connection waits for another's write transaction."""
_MIGRATIONS = Path(__file__).parent / "migrations"
_WRITE = "ferryman_write"
_ADVISORY = 0x46455252  # "FERR": the key of the PostgreSQL advisory lock around migrations

_MOVED = 0x4D4F5645
"""``PRAGMA user_version`` of a SQLite file whose contents are elsewhere now."""

# For these, Python's driver looks whether anybody adapts them, which takes several times as long as
# to bind them: somebody does, and changes nothing.
_NO: Final[dict[None, None]] = {}
sqlite3.register_adapter(type(None), _NO.get)
sqlite3.register_adapter(bool, int)
sqlite3.register_adapter(bytes, bytes)

# As Alembic makes it; here so that a new database needs no Alembic, whose import takes 0.4 s.
_versions = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


class DatabaseError(Exception):
    """The database URL can't be used; the message says what to change."""


class MigrationError(DatabaseError):
    """The schema could not be brought up to date; nothing was changed, so don't write to it."""


class MovedError(DatabaseError):
    """What was in the database is in another one now; the message says where."""


def open_engine(url: str) -> sa.Engine:
    """An engine for ``sqlite:///FILE`` or ``postgresql://…`` (which needs the ``postgres`` extra).

    Raises :class:`DatabaseError` for another database or a missing driver. A PostgreSQL server is
    not asked until the first use.
    """
    try:
        parsed = sa.make_url(url)
    except ArgumentError:
        raise DatabaseError(
            "FERRYMAN_DATABASE_URL is not a URL. Write sqlite:////path/to/file or "
            "postgresql://user:password@host/name."
        ) from None
    kind = parsed.drivername.partition("+")[0]
    if kind == "sqlite":
        return _open_sqlite(parsed)
    if kind in ("postgresql", "postgres"):
        return _open_postgres(parsed.set(drivername="postgresql+psycopg"))
    raise DatabaseError(f"{kind} is not supported as a database: use sqlite or postgresql.")


def _open_sqlite(url: sa.URL) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise DatabaseError("SQLite needs a file: write sqlite:////path/to/file.")
    path = Path(url.database)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Made here for its mode: SQLite gives the files it puts beside it the same one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise DatabaseError(f"Cannot open the database {path}: {error.strerror}.") from error
    engine = sa.create_engine(url.set(drivername="sqlite"))
    event.listen(engine, "connect", _sqlite_connected)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connected(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where _sqlite_begin says, not by guess
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    # The switch to WAL, once in a file's life, fails at once if another process is in the file.
    for pause in (0.01, 0.05, 0.2, 0.5, 1.0, 0.0):
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
            break
        except connection.OperationalError:
            if not pause:
                raise
            sleep(pause)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA journal_size_limit={64 << 20}")


def _sqlite_begin(connection: sa.Connection) -> None:
    # A transaction that reads first and writes later could fail half-way: writers queue up front.
    writes = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _open_postgres(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(
            url,
            pool_pre_ping=True,
            # The one used last: each has to learn all tables, which takes longer than to read.
            pool_use_lifo=True,
            connect_args={"connect_timeout": 10, "application_name": "ferryman"},
        )
    except ImportError:
        raise DatabaseError(
            "PostgreSQL needs the psycopg driver: install ferryman with its extra, "
            "ferryman[postgres]."
        ) from None


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection in a transaction that only reads: one unchanging view of the data."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            _check_here(connection)
            yield connection


@contextmanager
def summing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """:func:`reading` of sums over many groups: PostgreSQL makes them in memory, where it would
    else sort the rows on the disk, and plans for the very stretch of time that is asked for."""
    with reading(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(
                "SET LOCAL work_mem = '64MB'; SET LOCAL plan_cache_mode = force_custom_plan"
            )
        yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that writes: commits at the end, rolls back on an exception."""
    with engine.execution_options(**{_WRITE: True}).begin() as connection:
        _check_here(connection)
        yield connection


def _check_here(connection: sa.Connection) -> None:
    """Raises :class:`MovedError`. A look at the file's first page: microseconds."""
    if connection.dialect.name != "sqlite":
        return
    if connection.exec_driver_sql("PRAGMA user_version").scalar() == _MOVED:
        there = connection.exec_driver_sql("SELECT url FROM moved").scalar()
        raise MovedError(
            f"The database {where_is(connection.engine)} was moved to {there}: give that one as "
            "--database-url (FERRYMAN_DATABASE_URL)."
        )


def mark_moved(connection: sa.Connection, url: str) -> None:
    """Say in a SQLite file, with this transaction, that all of it is at ``url`` now."""
    connection.exec_driver_sql("CREATE TABLE moved (url TEXT NOT NULL)")
    connection.exec_driver_sql("INSERT INTO moved VALUES (?)", (url,))
    # Versions of the program that don't know of this refuse an unknown schema.
    connection.execute(_versions.update().values(version_num="moved"))
    connection.exec_driver_sql(f"PRAGMA user_version = {_MOVED}")


def moved_to(engine: sa.Engine) -> str | None:
    """Where everything in a SQLite file is now; None: here."""
    with engine.connect() as connection:
        if connection.exec_driver_sql("PRAGMA user_version").scalar() != _MOVED:
            return None
        return str(connection.exec_driver_sql("SELECT url FROM moved").scalar())


def where_is(engine: sa.Engine) -> str:
    """The database's URL as one may show it."""
    return engine.url.set(drivername=engine.dialect.name).render_as_string(hide_password=True)


def insert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT with the connection's own ``ON CONFLICT`` clauses."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def in_turn(connection: sa.Connection) -> None:
    """On PostgreSQL, change the schema after whoever is at it, and give up where that takes long:
    who waits for a table's lock makes all others wait behind it."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL lock_timeout = '3s'")
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY)))


def hold_schema(connection: sa.Connection) -> None:
    """Keep the schema as it is while this transaction lasts, which writes what follows from rows.

    Raises :class:`MigrationError` where a newer version has changed it: this one would leave wrong
    what it does not know of.
    """
    version = connection.scalar(sa.select(_versions.c.version_num).with_for_update(read=True))
    if version != HEAD:
        raise MigrationError(
            f"the database has schema {version} by now, and this version of Ferryman knows {HEAD}: "
            "stop this control plane and install the version that the others have"
        )


def add_to_meta(connection: sa.Connection, name: str, by: int) -> int:
    """Add ``by`` to the number ``name`` of the ``meta`` table (0 at first); returns the new value.

    The row stays locked until the transaction ends, so numbers are taken in the order of commits.
    """
    row = insert(connection, meta).values(name=name, value=by)
    connection.execute(
        row.on_conflict_do_update(
            index_elements=[meta.c.name], set_={"value": meta.c.value + row.excluded.value}
        )
    )
    return int(connection.scalar(sa.select(meta.c.value).where(meta.c.name == name)) or 0)


def migrate(engine: sa.Engine) -> None:
    """Bring the schema to ``HEAD`` in one transaction, once even if several processes try.

    Raises :class:`MigrationError`: unreachable, made by a newer version, or not ours.
    """
    where = engine.url.render_as_string(hide_password=True)
    try:
        with reading(engine) as connection:
            if _version(connection) == HEAD:
                return
        with writing(engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY)))
            version = _version(connection, locked=True)
            if version == HEAD:  # another process was first
                return
            if version is None and not sa.inspect(connection).get_table_names():
                metadata.create_all(connection)
                _versions.create(connection)
                connection.execute(_versions.insert().values(version_num=HEAD))
                return
            _upgrade(connection, version)
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise MigrationError(
            f"Cannot bring the database {where} to schema {HEAD}: {cause}. Nothing was changed. "
            "Check that it is reachable, ours to change, and used by Ferryman alone."
        ) from error


def _version(connection: sa.Connection, *, locked: bool = False) -> str | None:
    """``locked``: whoever holds it (:func:`hold_schema`) has ended, and others wait."""
    if not sa.inspect(connection).has_table(_versions.name):
        return None
    query = sa.select(_versions.c.version_num)
    found = connection.scalar(query.with_for_update() if locked else query)
    return None if found is None else str(found)


def _upgrade(connection: sa.Connection, version: str | None) -> None:
    from alembic import command, config, script, util

    settings = config.Config()
    settings.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    settings.attributes["connection"] = connection
    try:
        if version is not None:
            script.ScriptDirectory.from_config(settings).get_revision(version)
    except util.CommandError:
        where = connection.engine.url.render_as_string(hide_password=True)
        raise MigrationError(
            f"The database {where} has schema {version}, which this version of Ferryman (schema "
            f"{HEAD}) does not know: a newer one made it. Install that version again, or restore "
            "the backup made before the upgrade. Nothing was changed."
        ) from None
    command.upgrade(settings, "head")
