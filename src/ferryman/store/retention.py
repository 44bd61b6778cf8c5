"""Lets go of what is kept long enough, in steps so small that nobody waits for them.

PostgreSQL has a table of calls for each month, made ahead, and dropped when all of it is old
enough. Elsewhere rows are deleted by time, a few at once. SQLite uses the room again; the file does
not shrink (``VACUUM`` does that, but nobody can write meanwhile).
"""

import datetime
from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa

from ferryman.config.model import Retention
from ferryman.store import spans
from ferryman.store.db import hold_schema, in_turn, insert, reading, writing
from ferryman.store.schema import (
    calls,
    charges,
    contents,
    feedback,
    latencies,
    meta,
    rollups,
    upstream_ids,
)

ROWS: Final = 1000
"""Rows deleted in one step: some ten milliseconds."""
MONTHS_AHEAD: Final = 2
_DAY: Final = 86_400
_FURTHEST: Final = 4_000_000_000_000_000
"""Months are made for calls up to then, the year 2096: some clocks are far off."""
_TABLES: Final[tuple[tuple[sa.Table, str], ...]] = (
    (calls, spans.CALLS),
    (upstream_ids, spans.CALLS),
    (feedback, spans.CALLS),
    (contents, spans.CONTENT),
    (rollups["minute"], "minute"),
    (latencies["minute"], "minute"),
    (charges["minute"], "minute"),
    (rollups["hour"], "hour"),
    (latencies["hour"], "hour"),
    (charges["quarter"], "hour"),
)
"""Tables of which something goes, and the source whose floor it falls below."""


def raise_floors(engine: sa.Engine, kept: Retention, now: float) -> None:
    """Note from when on calls and sums are kept: what is older is not read from here on.

    Floors never go down again: what is below them may be gone.
    """
    content = min(kept.content, kept.calls or kept.content)
    spared = {
        spans.CALLS: kept.calls, spans.CONTENT: content,
        "minute": kept.minutes, "hour": kept.hours,
    }  # fmt: skip
    with writing(engine) as connection:
        hold_schema(connection)
        for source, seconds in spared.items():
            if not seconds:
                continue
            floor = int(now - seconds) // _DAY * _DAY
            if source == spans.CALLS and engine.dialect.name == "postgresql":
                floor = _begin(_month_of(floor))
            row = insert(connection, meta).values(name=spans.name_of_floor(source), value=floor)
            higher = meta.c.value < row.excluded.value
            connection.execute(
                row.on_conflict_do_update(
                    index_elements=[meta.c.name], set_={"value": row.excluded.value}, where=higher
                )
            )


def sweep(engine: sa.Engine, rows: int = ROWS) -> bool:
    """Take away a little of what is below the floors; returns whether there may be more."""
    with reading(engine) as connection:
        floors = spans.floors(connection)
    if engine.dialect.name == "postgresql" and spans.CALLS in floors:
        with reading(engine) as connection:
            known = months(connection)
        for name, month in known.items():
            if _begin(month + 1) * 1_000_000 <= floors[spans.CALLS]:
                with writing(engine) as connection:
                    in_turn(connection)
                    hold_schema(connection)
                    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
                return True
    for table, source in _TABLES:
        if source in floors and _delete(engine, table, floors[source], rows):
            return True
    return False


def _delete(engine: sa.Engine, table: sa.Table, floor: int, rows: int) -> int:
    fine = "at_us" in table.c
    time = table.c.at_us if fine else table.c.at
    key = list(table.primary_key)
    old = time < (floor if fine else floor // 1_000_000)
    found = sa.select(*key).where(old).order_by(time).limit(rows)
    with reading(engine) as connection:  # most often there is nothing: don't write then
        if connection.execute(found.limit(1)).first() is None:
            return 0
    with writing(engine) as connection:
        hold_schema(connection)
        return connection.execute(table.delete().where(sa.tuple_(*key).in_(found))).rowcount


def make_ahead(engine: sa.Engine, now: float) -> None:
    """On PostgreSQL, make the tables of this month and the next ones, where they are not there."""
    if engine.dialect.name == "postgresql":
        month = _month_of(int(now))
        with reading(engine) as connection:
            known = months(connection)
        missing = [m for m in range(month, month + MONTHS_AHEAD + 1) if _name(m) not in known]
        if missing:
            with writing(engine) as connection:
                in_turn(connection)
                hold_schema(connection)
                make_months(connection, missing)


def make_months(connection: sa.Connection, missing: Iterable[int]) -> None:
    """Make tables for the months ``missing`` (counted from the year 0) on PostgreSQL.

    Calls of a month for which there was no table are in the one for all others: they move.
    """
    say = connection.exec_driver_sql
    for month in missing:
        name, begin, end = _name(month), _begin(month) * 1_000_000, _begin(month + 1) * 1_000_000
        if sa.inspect(connection).has_table(name):
            continue
        say("LOCK TABLE calls_default IN ACCESS EXCLUSIVE MODE")
        say(f"CREATE TABLE {name} (LIKE calls INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
        say(
            f"WITH moved AS (DELETE FROM calls_default WHERE at_us >= {begin} AND at_us < {end} "  # noqa: S608
            f"RETURNING *) INSERT INTO {name} SELECT * FROM moved"
        )
        say(f"ALTER TABLE calls ATTACH PARTITION {name} FOR VALUES FROM ({begin}) TO ({end})")


def months_of(days: Iterable[int]) -> set[int]:
    """The months in which days (since 1970) are, but for those of clocks that are far off."""
    return {_month_of(day * _DAY) for day in days if 0 <= day * _DAY * 1_000_000 < _FURTHEST}


def months(connection: sa.Connection) -> dict[str, int]:
    """PostgreSQL's tables of months, oldest first, and which month each has (from the year 0)."""
    query = (
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
        "WHERE inhparent = 'calls'::regclass AND relname ~ '^calls_[0-9]{4}_[0-9]{2}$'"
    )
    names = sorted(connection.exec_driver_sql(query).scalars())
    return {name: int(name[6:10]) * 12 + int(name[11:]) - 1 for name in names}


def days(month: int) -> range:
    """The days (since 1970) of a month (counted from the year 0)."""
    return range(_begin(month) // _DAY, _begin(month + 1) // _DAY)


def _month_of(seconds: int) -> int:
    date = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return date.year * 12 + date.month - 1


def _begin(month: int) -> int:
    return int(datetime.datetime(month // 12, month % 12 + 1, 1, tzinfo=datetime.UTC).timestamp())


def _name(month: int) -> str:
    return f"calls_{month // 12:04}_{month % 12 + 1:02}"
