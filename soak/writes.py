"""The database fails at every single write in turn: no call is lost, none counts twice; and what is
to go, goes whole.

SQLite refuses a statement by its authorizer; PostgreSQL's own process is ended in front of one.
"""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import sqlalchemy as sa
from sqlalchemy import event
from tests.store import samples

from ferryman.config.model import Retention
from ferryman.control.ingest import Ingester
from ferryman.store import condensed, db, keys, retention, schema
from ferryman.store.journal import JournalWriter
from ferryman.telemetry.record import OPENED, PRICED, Charge, Priced

STEP = 20_000
"""Bytes of journal for one transaction: several of them, of several statements each."""
KEPT = Retention(calls=20 * 86_400, minutes=86_400, hours=2 * 86_400)
LATER = samples.START / 1e6 + 40 * 86_400
"""When all calls are to go, with their finer sums."""
_pack = msgspec.msgpack.Encoder().encode
Rows = dict[str, list[tuple[Any, ...]]]
"""Of all tables, by their names."""


class Fault:
    """Lets the ``at``-th statement of an engine fail, commits included.

    ``unheard``: the ``at``-th commit is done, but whoever asked for it gets an error.
    """

    def __init__(self, engine: sa.Engine, at: int, *, unheard: bool) -> None:
        self.count = 0
        self._at = at
        self._unheard = unheard
        event.listen(engine, "commit", self._commit)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "rollback", _mend)
        if not unheard:
            event.listen(engine, "before_cursor_execute", self._statement)

    def _statement(self, connection: sa.Connection, *_: object) -> None:
        self.count += 1
        if self.count == self._at:
            _break(connection)

    def _commit(self, connection: sa.Connection) -> None:
        if not self._unheard:
            self._statement(connection)
            return
        self.count += 1
        if self.count == self._at:
            raw: Any = connection.connection.dbapi_connection
            raw.commit()
            raise sa.exc.OperationalError("COMMIT", None, Exception("the answer got lost"))


def _mend(connection: sa.Connection) -> None:
    raw: Any = connection.connection.dbapi_connection
    raw.set_authorizer(None)


def _break(connection: sa.Connection) -> None:
    raw: Any = connection.connection.dbapi_connection
    if isinstance(raw, sqlite3.Connection):
        raw.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)
        return
    with psycopg.connect(raw.info.dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [raw.info.backend_pid])


def _journals(root: Path) -> None:
    """Two planes: calls of a dead start, calls under way, a price, a record that comes again."""
    for plane, seed in (("a", 1), ("b", 2)):
        writer = JournalWriter(root / plane, segment_bytes=9_000)
        dead = samples.calls(5, seed=seed + 10)
        for call in dead:
            charge = Charge(("all",), 7, 8)
            writer.append(
                OPENED, _pack(msgspec.structs.replace(samples.opened(call), charge=charge))
            )
        price = Priced("p1", "lab", "m", ())
        writer.append(PRICED, _pack(price))
        samples.put(writer, samples.calls(40, seed=seed))
        writer.close()
        writer = JournalWriter(root / plane, segment_bytes=9_000)
        samples.put(writer, [*samples.calls(1, seed=seed), *samples.calls(20, seed=seed + 20)])
        writer.append(OPENED, _pack(samples.opened(samples.call(f"under-way-{plane}"))))
        writer.close()


def _fresh(engine: sa.Engine) -> None:
    """As if nothing had been taken in yet."""
    with db.writing(engine) as connection:
        for table in schema.metadata.tables.values():
            connection.execute(table.delete())
    keys.create(engine, keys.NewKey(name="app", digest=b"d" * 32, hint="fm-…"))
    with db.writing(engine) as connection:
        connection.exec_driver_sql("UPDATE virtual_keys SET id = 'key_AAAAAAAAAAAA'")


def _held(engine: sa.Engine) -> Rows:
    """Everything in the database that does not depend on the time of day."""
    found = {}
    with db.reading(engine) as connection:
        for table in schema.metadata.tables.values():
            columns = [
                c for c in table.c if c.name not in ("created_at", "first_used_at", "digest")
            ]
            query = sa.select(*columns)
            if table is schema.journal_positions:  # those of finished segments go when they go
                query = query.where(table.c.done.is_(False))
            rows = connection.execute(query)
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found


def _drained(url: str, root: Path, at: int, unheard: bool) -> tuple[int, int]:
    """Take everything in, again after each error, with a fault at the ``at``-th statement.

    Returns how many statements there were, and how many errors.
    """
    engine = db.open_engine(url)
    fault = Fault(engine, at, unheard=unheard)
    ingester = Ingester(engine, root)
    errors = 0
    while True:
        try:
            ingester.drain(STEP)
            break
        except sa.exc.DBAPIError:
            errors += 1
            assert errors < 3, "ingestion does not go on"
    ingester.close()
    engine.dispose()
    return fault.count, errors


def run(url: str, work: Path, *, unheard: bool, step: int = 1) -> int:
    """Let every ``step``-th statement fail in turn. ``url`` is of a database of its own.

    Returns how many have failed. Raises AssertionError where the ledger is not what it is without.
    """
    engine = db.open_engine(url)
    db.migrate(engine)
    _journals(work / "made")

    def drained(at: int) -> tuple[int, int]:
        _fresh(engine)
        root = work / f"journal-{at}"
        shutil.copytree(work / "made", root)
        return _drained(url, root, at, unheard)

    statements, wanted, faults = _each_fails(engine, drained, step)
    assert (len(wanted["calls"]), len(wanted["open_calls"])) == (2 * (40 + 20 + 5), 2)
    assert statements > (2 if unheard else 40)
    return faults


def _each_fails(
    engine: sa.Engine, done: Callable[[int], tuple[int, int]], step: int
) -> tuple[int, Rows, int]:
    """Have it ``done`` without a fault, then with one at every ``step``-th statement: the database
    is the same each time. Returns how many statements there are, that database, and how many have
    failed; ``done`` returns the first of these and how many errors there were."""
    statements, errors = done(0)
    wanted = _held(engine)
    assert not errors
    faults = range(1, statements + 1, step)
    for at in faults:
        assert done(at)[1] == 1, f"no error at statement {at}"
        found = _held(engine)
        for name, rows in wanted.items():
            assert found[name] == rows, f"{name} is another after a fault at {at}"
    engine.dispose()
    return statements, wanted, len(faults)


def _tidied(url: str, at: int) -> tuple[int, int]:
    """Condense what is over and let go of what is old, again after each error, with a fault at the
    ``at``-th statement. Returns how many statements there were, and how many errors."""
    engine = db.open_engine(url)
    fault = Fault(engine, at, unheard=False)
    errors = 0
    while True:
        try:
            retention.raise_floors(engine, KEPT, LATER)
            for condense in condensed.steps(engine, LATER):
                condense()
            while retention.sweep(engine, 100):
                pass
            break
        except sa.exc.DBAPIError:
            errors += 1
            assert errors < 3, "tidying does not go on"
    engine.dispose()
    return fault.count, errors


def tidying(url: str, work: Path, *, step: int = 1) -> int:
    """As :func:`run`, for what is done to keep the ledger small."""
    engine = db.open_engine(url)
    db.migrate(engine)
    _journals(work / "made")

    def tidied(at: int) -> tuple[int, int]:
        _fresh(engine)
        root = work / f"journal-{at}"
        shutil.copytree(work / "made", root)
        assert _drained(url, root, 0, unheard=False)[1] == 0
        return _tidied(url, at)

    _, wanted, faults = _each_fails(engine, tidied, step)
    assert not wanted["calls"] and wanted["calls_by_dimension"]
    assert wanted["calls_by_week"] and wanted["latencies_by_week"]
    return faults
