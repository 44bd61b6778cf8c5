"""What was spent by day and group: the few sums that a page of costs shows, read quickly.

Sums over days answer for what they have; anything else is read from single calls, newest first, for
as long as there is time.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from msgspec import Struct

from ferryman.store import condensed
from ferryman.store.db import reading, summing
from ferryman.store.dimensions import check, column, conditions, each_tag
from ferryman.store.ledger import MORE_TOKENS, ROLLED, money, per
from ferryman.store.rollup import MICRO, REPEATED
from ferryman.store.schema import TOKEN_CLASSES, rollups
from ferryman.store.schema import call_groups as _groups
from ferryman.store.schema import calls as _calls
from ferryman.store.schema import condensed as _condensed

DAY: Final = 86_400
_DAY_US: Final = DAY * 1_000_000
_HOUR_US: Final = 3_600_000_000
QUICK: Final = 0.06
"""Seconds; what takes less is read in twice as long stretches."""
KEPT_SECONDS: Final = 1800.0
MOST_KEPT: Final = 100_000
"""Rows of past stretches that are kept in memory."""
STREAMED: Final = 1000
"""Rows that are held at once of those that are read as they are taken."""
_TOKENS: Final = (*TOKEN_CLASSES, *MORE_TOKENS)


class Spent(Struct, frozen=True):
    """Sums over the calls of one day and group. Money is picodollars."""

    day: int
    """Days since 1970, UTC; of several days the first that they could have."""
    group: str | None
    calls: int
    errors: int
    unknown_cost: int
    repeated: int
    tokens: int
    cost: int
    saved: int


class _Past:
    """Sums over stretches of single calls that are over, so that who asks again gets further back.

    Calls that come into the ledger late are seen once they are forgotten.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[Any, ...], tuple[float, int, list[Any]]] = {}
        self._rows = 0

    def get(self, key: tuple[Any, ...]) -> tuple[int, list[Any]] | None:
        """Beginning and sums of the stretch, whose end is in ``key``."""
        with self._lock:
            until, begin, rows = self._known.get(key, (0.0, 0, []))
        return (begin, rows) if until > time.monotonic() else None

    def put(self, key: tuple[Any, ...], begin: int, rows: list[Any]) -> None:
        """Remember a stretch."""
        with self._lock:
            if self._rows + len(rows) > MOST_KEPT:
                self._known, self._rows = {}, 0
            self._known[key] = (time.monotonic() + KEPT_SECONDS, begin, rows)
            self._rows += len(rows) + 1


_pasts: Final[WeakKeyDictionary[sa.Engine, _Past]] = WeakKeyDictionary()


class Spending(Struct, frozen=True):
    """What was found."""

    rows: list[Spent]
    since_us: int
    """From when on it is whole: later than asked for if the time was up."""


def spending(
    engine: sa.Engine, by: str, first: int, last: int, where: Mapping[str, str], seconds: float,
    days: int = 1,
) -> Spending:  # fmt: skip
    """Sums of the days from ``first`` to before ``last`` (since 1970), by ``by`` or nothing ("").

    A row is of ``days`` days, counted from 1970: fewer rows are read faster.

    Where single calls have to be read, it ends after about ``seconds``. Raises ValueError for what
    is no dimension.
    """
    for name in (*([by] if by else []), *where):
        check(name)
    if {*([by] if by else []), *where} <= ROLLED:
        return Spending(_of_days(engine, by, first, last, where, days), first * _DAY_US)
    ends = time.monotonic() + seconds
    return _of_calls(engine, by, first * _DAY_US, last * _DAY_US, where, ends, days)


def daily(
    engine: sa.Engine, by: str, first: int, last: int, where: Mapping[str, str]
) -> Iterator[Spent]:
    """Sums of each day and group in order, those without a value last: read as they are taken, a
    transaction for each day, of single calls however long it takes. Raises ValueError as
    :func:`spending` does."""
    for name in (by, *where):
        check(name)
    rolled = {by, *where} <= ROLLED

    def rows() -> Iterator[Spent]:
        begin = first if rolled else max(first, _edges(engine)[0] // _DAY_US)
        for day in range(begin, last):
            with summing(engine) as connection:
                query = _query_of_day(connection, by, day, where, rolled)
                group = query.selected_columns[1]
                query = query.order_by(sa.func.coalesce(group, "") == "", group)
                # Else the driver would fetch all of them first.
                streamed = connection.execution_options(yield_per=STREAMED)
                for row in streamed.execute(query):
                    yield _spent(*row)

    return rows()


def _query_of_day(
    connection: sa.Connection, by: str, day: int, where: Mapping[str, str], rolled: bool
) -> sa.Select[Any]:
    dialect = connection.dialect.name
    if not rolled:
        return _calls_between(dialect, by, day * _DAY_US, (day + 1) * _DAY_US, where, 1)
    if by in condensed.DIMENSIONS and not where and condensed.there(connection, day, day + 1):
        return _query_of_condensed(by, day, day, 1)
    return _query_of_days(dialect, by, day, day + 1, where, 1)


def _of_days(
    engine: sa.Engine, by: str, first: int, last: int, where: Mapping[str, str], days: int
) -> list[Spent]:
    with summing(engine) as connection:
        known: set[int] = set()
        if by in condensed.DIMENSIONS and not where:
            known = condensed.there(connection, first, last)
        rows = []
        if known:
            rows = list(connection.execute(_query_of_condensed(by, min(known), max(known), days)))
        for begin, end in _between(first, last, known):
            query = _query_of_days(connection.dialect.name, by, begin, end, where, days)
            rows += connection.execute(query)
    sums: dict[tuple[int, str | None], list[int]] = {}
    for day, group, *numbers in rows:
        key = int(day) * days, None if group is None or group == "" else str(group)
        there = sums.get(key)
        more = [int(each or 0) for each in numbers]
        sums[key] = more if there is None else [a + b for a, b in zip(there, more, strict=True)]
    return [_spent(*key, *numbers) for key, numbers in sums.items()]


def _between(first: int, last: int, known: set[int]) -> Iterator[tuple[int, int]]:
    """Stretches of days from ``first`` to before ``last`` that are not ``known``."""
    unknown = [day for day in range(first, last) if day not in known]
    for _, group in groupby(enumerate(unknown), lambda each: each[1] - each[0]):
        days = [day for _, day in group]
        yield days[0], days[-1] + 1


def _query_of_condensed(by: str, first: int, last: int, days: int) -> sa.Select[Any]:
    """Of the days from ``first`` to ``last`` that are condensed."""
    at, day = _condensed.c.at, per(_condensed.c.at, days * DAY)
    query = sa.select(day, _condensed.c.value, *condensed.sums(_condensed))
    query = query.where(_condensed.c.dimension == by, at.between(first * DAY, last * DAY))
    return query.group_by(day, _condensed.c.value)


def _query_of_days(
    dialect: str, by: str, first: int, last: int, where: Mapping[str, str], days: int
) -> sa.Select[Any]:
    table = rollups["day"]
    at, day = table.c.at, per(table.c.at, days * DAY)
    query = sa.select(day).where(at >= first * DAY, at < last * DAY)
    groups: list[sa.ColumnElement[Any]] = [day]
    if by or where:
        query = query.join_from(table, _groups, table.c.group_id == _groups.c.id)
        chosen = conditions(_groups.c, dialect, None, None, where)
        if chosen:  # by their ids first: SQLite would look up the group of every row
            query = query.where(table.c.group_id.in_(sa.select(_groups.c.id).where(*chosen)))
    name = column(by, _groups.c, dialect, ()) if by else sa.null()
    groups += [name] if by else []
    return query.add_columns(name, *condensed.sums(table)).group_by(*groups)


def _of_calls(
    engine: sa.Engine, by: str, since: int, until: int, where: Mapping[str, str], ends: float,
    days: int,
) -> Spending:  # fmt: skip
    sums: dict[tuple[int, str | None], list[int]] = {}
    step = _HOUR_US
    oldest, newest = _edges(engine)
    first, end = max(since, oldest), min(until, newest + 1)
    past, settled = _pasts.setdefault(engine, _Past()), False
    while end > first:
        began = time.monotonic()
        key = (by, tuple(sorted(where.items())), days, end)
        kept = past.get(key) if settled else None
        if kept is not None and kept[0] >= first:
            begin, rows = kept
        else:
            begin = max(end - step if settled else (end - 1) // _HOUR_US * _HOUR_US, first)
            kept, rows = None, _stretch(engine, by, begin, end, where, days)
            if settled:
                past.put(key, begin, rows)
        for day, group, *numbers in rows:
            known = sums.setdefault((int(day) * days, group), [0] * len(numbers))
            known[:] = [a + int(b or 0) for a, b in zip(known, numbers, strict=True)]
        current, end, settled = not settled, begin, True
        if kept is not None or current:  # each look comes further than the one before
            continue
        now = time.monotonic()
        if now + (now - began) > ends:
            break
        step = step * 2 if now - began < QUICK else step
    found = [_spent(*key, *numbers) for key, numbers in sums.items()]
    return Spending(found, end if end > first else since)


def _stretch(
    engine: sa.Engine, by: str, begin: int, end: int, where: Mapping[str, str], days: int
) -> list[Any]:
    query = _calls_between(engine.dialect.name, by, begin, end, where, days)
    with reading(engine) as connection:
        return [tuple(row) for row in connection.execute(query)]


def _calls_between(
    dialect: str, by: str, begin: int, end: int, where: Mapping[str, str], days: int
) -> sa.Select[Any]:
    c = _calls.c
    day = per(c.at_us, days * _DAY_US)
    source: sa.FromClause = _calls
    tag = None
    if by == "tag":
        tags = each_tag(c, dialect)
        source, tag = _calls.outerjoin(tags, sa.true()), tags.c.value
    name = column(by, c, dialect, (), tag, c.at_us) if by else sa.null()

    def number(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
        return sa.func.sum(sa.case((condition, 1), else_=0))

    sums = [
        sa.func.count(),
        number(sa.or_(c.status >= 400, c.error != "")),
        number(sa.or_(c.cost_pico.is_(None), c.unknown_cost > 0)),
        number(c.cache.in_(REPEATED)),
        sa.func.sum(sum((sa.func.coalesce(c[n], 0) for n in _TOKENS), start=sa.literal(0))),
        *money(dialect, c.cost_pico),
        *money(dialect, c.saved_pico),
    ]
    query = sa.select(day, name, *sums).select_from(source)
    query = query.where(*conditions(c, dialect, begin, end, where))
    return query.group_by(day, *([name] if by else []))


def _edges(engine: sa.Engine) -> tuple[int, int]:
    """When the first and the last call began."""
    at = _calls.c.at_us
    with reading(engine) as connection:  # one by one: SQLite takes the index only so
        first = connection.execute(sa.select(sa.func.min(at))).scalar()
        last = connection.execute(sa.select(sa.func.max(at))).scalar()
    return int(first or 0), int(last or 0)


def _spent(day: int, group: Any, *numbers: Any) -> Spent:
    *counted, micro, rest, saved, saved_rest = [int(each or 0) for each in numbers]
    calls, errors, unknown_cost, repeated, tokens = counted
    name = None if group is None or group == "" else str(group)
    cost, given_again = micro * MICRO + rest, saved * MICRO + saved_rest
    return Spent(
        int(day), name, calls, errors, unknown_cost, repeated, tokens, cost, given_again
    )  # fmt: skip
