"""Writes what the journal holds: rows and checkpoint in one transaction, so exactly once."""

import os
import time
from collections.abc import Collection, Container, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from msgspec import Struct, field
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from ferryman.log import log
from ferryman.store import audit, condensed, feedback, rollup
from ferryman.store.audit import Act, Who
from ferryman.store.db import add_to_meta, hold_schema, insert, reading, writing
from ferryman.store.rollup import LOST
from ferryman.store.schema import (
    DAY_US,
    calls,
    journal_positions,
    meta,
    open_calls,
    prices,
    upstream_ids,
    virtual_keys,
)

OPEN_COLUMNS: Final = tuple(open_calls.c.keys())
"""Order of the values in :attr:`Batch.opened`."""
CLOSED: Final = "closed"
"""``calls.state`` of a call whose end is in the journal."""
_ROWS = 64
"""Rows inserted in one go: well under a millisecond, which a data plane on the same processor may
have to wait for (``control/ingest.py``)."""
SLOT_CALLS: Final = 8192
"""Calls after which SQLite's indexes of others' ids begin a new stretch: small enough for its pages
to stay in memory and to take several calls of a round each, where those of a day take one."""
_FIRST_SLOT: Final = 1_000_000
"""Above the days that stand in that column otherwise."""
_CHUNK = 500  # ids in one IN (…); old SQLite takes 999 at most
MAX_INT: Final = 2**63 - 1
MAX_TEXT: Final = 200
"""Characters of a text column; PostgreSQL's index entries end at 2,704 bytes."""
_TABLES = {
    "calls": calls, "open_calls": open_calls, "prices": prices, "upstream_ids": upstream_ids,
}  # fmt: skip

_JSON: Final = ("budgets", "tags", "metadata")
_HELD: Final = ("hold_pico", "budgets", "charged_pico", "charged_tokens")
"""Of a call under way: what the last record of it says."""

Row = tuple[Any, ...]


class Position(Struct, frozen=True):
    """How far a segment of a plane's journal is in the ledger."""

    plane: str
    segment: int
    boot: str
    """Boot id of the segment in hexadecimal; another one makes it another segment."""
    read_to: int
    """Offset of the first byte that is not in the ledger."""
    done: bool
    """True: nothing more will come from this segment."""


class Batch(Struct, kw_only=True):
    """What one transaction takes in."""

    calls: list[Row] = field(default_factory=list)
    """Closed calls, in the order of the table's columns."""
    prices: list[Row] = field(default_factory=list)
    """Prices that calls are billed by, in the order of the table's columns."""
    upstream_ids: list[Row] = field(default_factory=list)
    """The same of attempts that were given up."""
    opened: list[Row] = field(default_factory=list)
    """Calls still open at the end of this batch, in the order of ``OPEN_COLUMNS``."""
    closed: list[str] = field(default_factory=list)
    """Ids of closed calls that an earlier batch may have left open."""
    boots: dict[str, str] = field(default_factory=dict)
    """Plane → boot id (hex): open calls of the plane's other boots are lost."""
    positions: list[Position] = field(default_factory=list)
    gone: list[tuple[str, int]] = field(default_factory=list)
    """(plane, segment) of positions that have no file any more."""
    feedback: list[Row] = field(default_factory=list)
    """As :func:`ferryman.store.feedback.add` takes it."""
    refused: list[tuple[Who, Act]] = field(default_factory=list)
    """For the audit log."""
    leaked: list[Any] = field(default_factory=list)
    """Reports of leaked keys, for who revokes them."""
    used: dict[str, int] = field(default_factory=dict)
    """Key id → Unix seconds of its last call here."""
    charged: list[tuple[int, Any]] = field(default_factory=list)
    """When calls began (Unix microseconds), and what budgets bear of them."""
    ended: list[Any] | None = None
    """The calls themselves, if anybody wants them after the commit."""
    slot: int | None = None
    """``calls.day`` of all calls here; None: the day of each."""
    counts: dict[str, int] = field(default_factory=dict)
    """Added to the numbers of the ``meta`` table."""
    groups: Container[bytes] = ()
    """Ids that are in ``call_groups`` for sure."""
    polite_until: float = 0.0
    """Monotonic time until which the processor is offered to others now and then."""

    def give_way(self) -> None:
        """Let others run first, if it is still time for that."""
        if time.monotonic() < self.polite_until:
            os.sched_yield()


class Taken(NamedTuple):
    """What a batch became: rows added to ``calls`` (lost ones included), and ids there before."""

    rows: int
    lost: int
    duplicates: int
    groups: Collection[bytes]
    """Ids that are in ``call_groups`` since."""


def positions(engine: sa.Engine) -> list[Position]:
    """All checkpoints."""
    with reading(engine) as connection:
        return [Position(*row) for row in connection.execute(sa.select(journal_positions))]


def slot(engine: sa.Engine) -> tuple[int | None, int]:
    """What :attr:`Batch.slot` is next, and how many calls have it already."""
    if engine.dialect.name != "sqlite":
        return None, 0
    day = calls.c.day
    with reading(engine) as connection:
        known = [
            connection.scalar(sa.select(sa.func.max(day)).where(ident.is_not(None))) or 0
            for ident in (calls.c.upstream_id, calls.c.trace)
        ]
        last = max(_FIRST_SLOT, *known)
        of_last = sa.select(sa.func.count()).where(day == last, calls.c.upstream_id.is_not(None))
        return last, connection.scalar(of_last) or 0


def counts(engine: sa.Engine) -> dict[str, int]:
    """The numbers of the ``meta`` table: what ingestion met, by name (see ``docs/ledger.md``)."""
    with reading(engine) as connection:
        return {str(name): int(value) for name, value in connection.execute(sa.select(meta))}


def take_in(engine: sa.Engine, batch: Batch) -> Taken:
    """Write ``batch``: all of it or, raising SQLAlchemy's errors or :class:`MigrationError`,
    nothing."""
    with writing(engine) as connection:
        hold_schema(connection)
        if batch.opened:
            _insert(connection, "open_calls", batch.opened, batch)
        if batch.prices:
            _insert(connection, "prices", batch.prices, batch)
        if batch.upstream_ids:
            _insert(connection, "upstream_ids", batch.upstream_ids, batch)
        added, rejected = _insert(connection, "calls", batch.calls, batch)
        for start in range(0, len(batch.closed), _CHUNK):
            ids = batch.closed[start : start + _CHUNK]
            connection.execute(open_calls.delete().where(open_calls.c.request_id.in_(ids)))
        lost = [
            row
            for plane, boot in batch.boots.items()
            for row in _settle(connection, plane, boot, batch)
        ]
        rows = [*added, *lost]
        groups = rollup.add(connection, rows, batch.give_way, batch.groups)
        _checkpoint(connection, batch)
        _touch_keys(connection, batch.used)
        about = feedback.add(connection, batch.feedback, [row[0] for row in rows])
        words = {at_us // DAY_US for at_us in about}
        condensed.forget(connection, rollup.days_of(rows), words)
        duplicates = len(batch.calls) - len(added) - rejected
        tally = {"calls_lost": len(lost), "calls_duplicate": duplicates, "calls_rejected": rejected}
        for name, number in sorted((batch.counts | tally).items()):
            if number:
                add_to_meta(connection, name, number)
        for who, act in batch.refused:
            audit.append(connection, act, who)
    return Taken(len(added) + len(lost), len(lost), duplicates, groups)


class _KnownError(Exception):
    """Some of the rows are there already."""


def _insert(
    connection: sa.Connection, table: str, rows: list[Row], batch: Batch
) -> tuple[list[Row], int]:
    """Insert rows whose ids are new; returns these, and how many don't fit at all."""
    if not rows:
        return [], 0
    try:
        with connection.begin_nested():
            if table == "calls" and connection.dialect.name == "postgresql":
                added = _copy(connection, rows, batch)
            else:
                statement, said = _said(connection.dialect.name, table, rows)
                added = 0
                for start in range(0, len(said), _ROWS):
                    batch.give_way()
                    part = said[start : start + _ROWS]
                    added += connection.exec_driver_sql(statement, part).rowcount
            if added != len(rows):
                raise _KnownError
            return rows, 0
    except _KnownError:
        new = _unknown(connection, table, rows)
        if len(new) < len(rows):
            return _insert(connection, table, new, batch)
    except (DataError, IntegrityError, OverflowError):
        log("control", f"a record does not fit into the table {table}: inserting one by one")
    one_by_one, rejected = [], 0
    statement = _statement(connection.dialect.name, table, tuple(_TABLES[table].c.keys()))
    for row in rows:
        fitted = _fitted(table, row)
        try:
            with connection.begin_nested():
                if connection.exec_driver_sql(statement, fitted).rowcount:
                    one_by_one.append(fitted)
        except (DataError, IntegrityError, OverflowError) as error:
            rejected += 1
            log("control", f"left a record out of the table {table}: {error} ({row!r})")
    return one_by_one, rejected


def _unknown(connection: sa.Connection, table: str, rows: list[Row]) -> list[Row]:
    """Those of ``rows`` whose id, the first column, is not in the table; each id once."""
    ident = next(iter(_TABLES[table].c))
    new = {row[0]: row for row in reversed(rows)}
    ids = list(new)
    for start in range(0, len(ids), _CHUNK):
        query = sa.select(ident).where(ident.in_(ids[start : start + _CHUNK]))
        for known in connection.scalars(query):
            del new[known]
    return list(reversed(new.values()))


def _copy(connection: sa.Connection, rows: list[Row], batch: Batch) -> int:
    """Insert calls whose ids are new by ``COPY``, which costs half of an INSERT for each.

    They go through a table of the connection's own, since ``COPY`` knows no conflicts.
    """
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(map(quote, calls.c.keys()))
    connection.exec_driver_sql(
        "CREATE TEMPORARY TABLE IF NOT EXISTS incoming (LIKE calls) ON COMMIT DELETE ROWS"
    )
    raw: Any = connection.connection.dbapi_connection
    errors = connection.dialect.loaded_dbapi.Error
    statement = f"COPY incoming ({columns}) FROM STDIN"
    try:
        with raw.cursor() as cursor, cursor.copy(statement) as copy:
            for number, row in enumerate(rows):
                if number % _ROWS == 0:
                    batch.give_way()
                copy.write_row(row)
    except errors as error:  # which SQLAlchemy did not see
        raise sa.exc.DBAPIError.instance(statement, None, error, errors) from error
    taken = f"SELECT {columns} FROM incoming ON CONFLICT DO NOTHING"  # noqa: S608 - names of ours
    return connection.exec_driver_sql(f"INSERT INTO calls ({columns}) {taken}").rowcount


def _said(dialect: str, table: str, rows: list[Row]) -> tuple[str, list[Row]]:
    """The INSERT of ``rows``, and what it takes of them: no columns of which they all have nothing.

    That is half of the columns of most calls, and a third of the time.
    """
    said = [
        (name, values)
        for name, values in zip(_TABLES[table].c.keys(), zip(*rows, strict=True), strict=True)
        if values[0] is not None or values.count(None) < len(values)
    ]
    names, columns = zip(*said, strict=True)
    return _statement(dialect, table, names), list(zip(*columns, strict=True))


@lru_cache(256)
def _statement(dialect: str, table: str, names: tuple[str, ...]) -> str:
    """The INSERT as text with positional parameters: half the time of going through SQLAlchemy."""
    kind = postgresql.dialect() if dialect == "postgresql" else sqlite.dialect()  # type: ignore[no-untyped-call]
    columns = ", ".join(map(kind.identifier_preparer.quote, names))
    places = ", ".join(["%s" if dialect == "postgresql" else "?"] * len(names))
    conflict = "DO NOTHING"
    if table == "open_calls":  # a further attempt holds more
        sets = ", ".join(f"{name} = excluded.{name}" for name in names if name in _HELD)
        conflict = f"(request_id) DO UPDATE SET {sets}" if sets else conflict
    return f"INSERT INTO {table} ({columns}) VALUES ({places}) ON CONFLICT {conflict}"  # noqa: S608 - names of ours


def _fitted(table: str, row: Row) -> Row:
    """``row`` with numbers cut to 64 bits, and texts to what PostgreSQL stores and indexes."""
    return tuple(
        _fit(value) if not name.endswith("_json") and name not in _JSON else value
        for name, value in zip(_TABLES[table].c.keys(), row, strict=True)
    )


def _fit(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")[:MAX_TEXT]
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-MAX_INT, min(value, MAX_INT))
    return value


def _settle(connection: sa.Connection, plane: str, boot: str, batch: Batch) -> list[Row]:
    """Close the open calls of the plane's dead processes at their hold; returns them."""
    stale = sa.and_(open_calls.c.plane == plane, open_calls.c.boot != boot)
    found = connection.execute(sa.select(open_calls).where(stale)).mappings()
    settled = [_lost(open_call) for open_call in found]
    lost, _ = _insert(connection, "calls", settled, batch)
    connection.execute(open_calls.delete().where(stale))
    return lost


def _lost(open_call: Mapping[Any, Any]) -> Row:
    """The row of ``calls`` for a call that was never closed."""
    hold, charged = int(open_call["hold_pico"]), open_call["charged_pico"]
    known = {
        **open_call,
        # A hold of 0 means that the model has no price: what the call cost is unknown.
        "cost_pico": hold or None,
        "charged_pico": None if charged is None else int(charged),
        "status": 0,
        "error": "",
        "attempts": 0,
        "attempts_json": "[]",
        "state": LOST,
    }
    return tuple(map(known.get, _TABLES["calls"].c.keys()))


def _checkpoint(connection: sa.Connection, batch: Batch) -> None:
    for position in batch.positions:
        row = insert(connection, journal_positions).values(
            plane=position.plane,
            segment=position.segment,
            boot=position.boot,
            read_to=position.read_to,
            done=position.done,
        )
        changed = {name: row.excluded[name] for name in ("boot", "read_to", "done")}
        connection.execute(
            row.on_conflict_do_update(index_elements=["plane", "segment"], set_=changed)
        )
    table = journal_positions.c
    for plane, segment in batch.gone:
        old = sa.and_(table.plane == plane, table.segment == segment)
        connection.execute(journal_positions.delete().where(old))


def _touch_keys(connection: sa.Connection, used: dict[str, int]) -> None:
    if not used:
        return
    table = virtual_keys.c
    at = sa.bindparam("at", type_=sa.BigInteger)
    older = sa.or_(table.last_used_at.is_(None), table.last_used_at < at)
    update = virtual_keys.update().where(table.id == sa.bindparam("key"), older)
    # In one order everywhere, so that two writers never wait for each other in a circle.
    rows = [{"key": key, "at": seconds} for key, seconds in sorted(used.items())]
    connection.execute(update.values(last_used_at=at), rows)
