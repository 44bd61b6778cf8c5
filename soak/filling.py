"""Fills an empty ledger with months of calls, quickly: rows and sums as ingestion makes them, past
the journal, by ``COPY`` on PostgreSQL."""

import datetime
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from ferryman.control import ingest
from ferryman.store import condensed, db, intake, keys, retention, rollup
from ferryman.store.schema import TOKEN_CLASSES, calls, charges, feedback, upstream_ids
from ferryman.telemetry.record import Closed
from soak.town import DAY, Town

PLANE = "gateway"
MINUTES, HOURS = 7 * DAY, 400 * DAY
"""For how long sums over them are kept, unless a configuration says otherwise."""
RUSH = 240
"""Seconds in which the last calls came."""
EPOCH = datetime.date(1970, 1, 1)
SUMS = ("calls", "cost", "tokens", "errors")
SCORED = 200
"""One in so many calls of the last month is given a score."""
Told = Callable[[int], None]


class Filled(Struct):
    """What was written, added up without the ledger's help."""

    calls: int
    seconds: float
    sums: dict[str, dict[str, int]]
    """Nothing, ``team/…``, ``model/…`` and ``day/…`` → calls, picodollars, tokens, errors."""
    ids: dict[str, str]
    """One call by all that it can be found by: what it is → the id."""


def fill(url: str, town: Town, count: int, told: Told = lambda _: None) -> Filled:
    """Write ``count`` calls into the empty database at ``url``; ``told`` hears of each day's."""
    began = time.monotonic()
    engine = db.open_engine(url)
    if engine.dialect.name == "sqlite":  # what a power cut would take is made again
        sa.event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
    db.migrate(engine)
    _keys(engine, town)
    intake.take_in(engine, ingest.batch_of(PLANE, (), town.prices()))
    with db.writing(engine) as connection:
        for index in calls.indexes:
            index.drop(connection)
        if engine.dialect.name == "postgresql":
            last = town.end // DAY
            months = retention.months_of(range(town.first, last + 62))
            retention.make_months(connection, sorted(months))
    sums: dict[str, dict[str, int]] = {}
    ids: dict[str, str] = {}
    used: dict[str, int] = {}
    groups: set[bytes] = set()
    done = 0
    for made in town.days():
        batch = ingest.batch_of(PLANE, made)
        used |= batch.used
        day = made[0].at_us // 1_000_000 // DAY if made else 0
        late = town.end - day * DAY
        spans = ("minute", "hour", "day") if late < MINUTES else ("hour", "day")
        found = rollup.collected(batch.calls)
        for known in groups & found.groups.keys():
            del found.groups[known]
        groups |= found.groups.keys()
        with db.writing(engine) as connection:
            _put(connection, calls, batch.calls)
            _put(connection, upstream_ids, batch.upstream_ids)
            for table, rows in rollup.tables(found, spans):
                _put(connection, table, rows)
            if late < 30 * DAY:
                _put(connection, feedback, _scores(made))
        _add_up(sums, made)
        ids = _ids(made) or ids
        done += len(made)
        told(done)
    assert done == count, f"{done} of {count} calls"
    _finish(engine, town, used)
    engine.dispose()
    return Filled(calls=done, seconds=time.monotonic() - began, sums=sums, ids=ids)


def rush(url: str, town: Town, found: Filled, count: int) -> None:
    """Let ``count`` calls come in now, of the last minutes, by the way that ingestion takes."""
    engine = db.open_engine(url)
    now = time.time_ns() // 1000
    made = town.rush(count, now - RUSH * 1_000_000, now)
    for start in range(0, count, 500):
        intake.take_in(engine, ingest.batch_of(PLANE, made[start : start + 500]))
    _add_up(found.sums, made)
    found.calls += count
    engine.dispose()


def _keys(engine: sa.Engine, town: Town) -> None:
    rows = [
        keys.NewKey(
            id=each.key, name=f"{each.facts.team}-{number}", hint="fm-…", facts=each.facts,
            digest=number.to_bytes(32, "big"),
        )
        for number, each in enumerate(town.callers)
    ]  # fmt: skip
    keys.create_many(engine, rows, now=town.first * DAY)


def _finish(engine: sa.Engine, town: Town, used: dict[str, int]) -> None:
    """Indexes, what is not kept for so long, and what the database knows of its tables."""
    intake.take_in(engine, intake.Batch(used=used))
    floor = (town.end - MINUTES) // DAY * DAY
    with db.writing(engine) as connection:
        connection.execute(charges["minute"].delete().where(charges["minute"].c.at < floor))
        for index in calls.indexes:
            index.create(connection)
    kept = retention.Retention(minutes=MINUTES, hours=HOURS)
    retention.raise_floors(engine, kept, town.end)
    for step in condensed.steps(engine, town.end):
        step()
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql("VACUUM ANALYZE")


def _put(connection: sa.Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write rows in the order of the table's columns."""
    if not rows:
        return
    raw: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "postgresql":
        columns = ", ".join(f'"{column.name}"' for column in table.c)
        with (
            raw.cursor() as cursor,
            cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)
        return
    places = ", ".join("?" * len(table.c))
    raw.executemany(f"INSERT INTO {table.name} VALUES ({places})", rows)


def _scores(made: Iterable[Closed]) -> list[tuple[Any, ...]]:
    """Rows of ``feedback`` on some of the calls."""
    return [
        (call.id, False, call.key, call.labels.team if call.labels else "", call.at_us + 9,
         1000 if call.status == 200 else -1000, '["helpful"]', "", call.at_us)
        for number, call in enumerate(made)
        if number % SCORED == 0
    ]  # fmt: skip


def _add_up(sums: dict[str, dict[str, int]], made: Iterable[Closed]) -> None:
    for call in made:
        tokens = 0
        if call.usage is not None:
            tokens = sum(getattr(call.usage, name) for name in TOKEN_CLASSES)
        day, team = call.at_us // 1_000_000 // DAY, call.labels.team if call.labels else ""
        date = EPOCH + datetime.timedelta(days=day)
        for name in ("", f"team/{team}", f"model/{call.model}", f"day/{date}"):
            known = sums.setdefault(name, dict.fromkeys(SUMS, 0))
            known["calls"] += 1
            known["cost"] += call.cost or 0
            known["tokens"] += tokens
            known["errors"] += call.status >= 400


def _ids(made: Sequence[Closed]) -> dict[str, str]:
    """The ids of a call with two attempts, a run and a trace; none = there is no such call."""
    for call in made:
        if len(call.attempts) > 1 and call.trace and call.labels and call.labels.parent:
            first, last = call.attempts
            return {
                "request": call.id, "provider": last.upstream_id, "given up": first.upstream_id,
                "trace": call.trace.id, "run": call.labels.run, "parent": call.labels.parent,
            }  # fmt: skip
    return {}
