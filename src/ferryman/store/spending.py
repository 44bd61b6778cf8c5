"""What was spent by day and group: the few sums that a page of costs shows, read quickly.

Sums over days answer for what they have; anything else is read from single calls, newest first, for
as long as there is time.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import add
from typing import Any, Final
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from msgspec import Struct

from ferryman.store import condensed, spans
from ferryman.store.db import reading, summing
from ferryman.store.dimensions import check, column, conditions, each_tag
from ferryman.store.ledger import ROLLED, per, within
from ferryman.store.rollup import MICRO
from ferryman.store.schema import AMOUNTS, DAY, DAY_US, SUMS, TOKENS, rollups
from ferryman.store.schema import call_groups as _groups
from ferryman.store.schema import calls as _calls
from ferryman.store.schema import condensed as _condensed
from ferryman.store.sums import of_calls, of_sums, whole

_HOUR_US: Final = 3_600_000_000
QUICK: Final = 0.06
"""Seconds; what takes less is read in twice as long stretches."""
KEPT_SECONDS: Final = 1800.0
MOST_KEPT: Final = 100_000
"""Rows of past stretches that are kept in memory."""
STREAMED: Final = 1000
"""Rows that are held at once of those that are read as they are taken."""
CHUNK: Final = 30
"""Days of which rows are read as they are taken, at once."""


_COUNTS: Final = ("calls", "errors", "unknown_cost", "repeated")
_NONE: Final[sa.ColumnElement[Any]] = sa.literal_column("0", sa.BigInteger)


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
    ends, sums = time.monotonic() + seconds, _Sums()
    with summing(engine) as connection:
        parts = _parts(connection, by, first, last, where)
        told = [
            [] if part.source == spans.CALLS
            else connection.execute(_query(connection.dialect.name, by, part, where, days)).all()
            for part in parts
        ]  # fmt: skip
    whole = last * DAY_US
    for part, rows in zip(reversed(parts), reversed(told), strict=True):
        whole = part.begin
        if part.source == spans.CALLS:
            whole = _of_calls(engine, by, part, where, ends, days, sums)
        sums.add(rows)
        if whole > part.begin:
            break
    found = [_spent(day * days, group, numbers) for (day, group), numbers in sums.items()]
    return Spending(found, whole)


def daily(
    engine: sa.Engine, by: str, first: int, last: int, where: Mapping[str, str]
) -> Iterator[Spent]:
    """Sums of each day and group in order, those without a value last: read as they are taken, a
    transaction for each day, of single calls however long it takes. Raises ValueError as
    :func:`spending` does."""
    for name in (by, *where):
        check(name)
    single = not {by, *where} <= ROLLED
    told = condensed.dimension((by, *where)) is not None

    def rows() -> Iterator[Spent]:
        begin = max(first, _edges(engine)[0] // DAY_US) if single else first
        step = CHUNK if told or not single else 1
        for day in range(begin, last, step):
            end = min(day + step, last)
            with summing(engine) as connection:
                # Else the driver would fetch all of them first.
                streamed = connection.execution_options(yield_per=STREAMED)
                for part in _parts(connection, by, day, end, where):
                    query = _query(connection.dialect.name, by, part, where, 1)
                    group = query.selected_columns[1]
                    none = sa.func.coalesce(group, "") == ""
                    ordered = query.order_by(query.selected_columns[0], none, group)
                    for begun, name, *numbers in streamed.execute(ordered):
                        yield _spent(begun, name, [int(each or 0) for each in numbers])

    return rows()


class _Sums(dict[tuple[int, str | None], list[int]]):
    """Step of time and group → what :func:`_numbers` has of them."""

    def add(self, rows: Iterable[Any]) -> None:
        """Rows of :func:`_query`, whole numbers."""
        for day, group, *numbers in rows:
            known = self.setdefault((day, group), numbers)
            if known is not numbers:
                known[:] = map(add, known, numbers)


def _parts(
    connection: sa.Connection, by: str, first: int, last: int, where: Mapping[str, str]
) -> list[spans.Part]:
    """What is to be read of the days from ``first`` to before ``last``, in their order."""
    names = {*([by] if by else []), *where}
    source = "day" if names <= ROLLED else spans.CALLS
    whole, name = spans.Part(source, first * DAY_US, last * DAY_US), condensed.dimension(names)
    if name is None:
        return [whole]
    floor = spans.floors(connection).get(spans.CALLS, whole.begin)
    return condensed.days(connection, whole, name, floor)


def _query(
    dialect: str, by: str, part: spans.Part, where: Mapping[str, str], days: int
) -> sa.Select[Any]:
    """Sums of a part: day, group, and numbers."""
    if part.source == spans.CALLS:
        return _calls_between(dialect, by, part.begin, part.end, where, days)
    columns: Any
    name = condensed.dimension((*([by] if by else []), *where)) or ""
    if part.source == condensed.CONDENSED:
        table, columns = _condensed, condensed.columns(name, dialect)
        query = sa.select().where(table.c.dimension == name)
        query = query.where(*conditions(columns, dialect, None, None, where))
    else:
        table, columns, query = rollups["day"], _groups.c, sa.select()
        if by or where:
            query = query.join_from(table, _groups, table.c.group_id == columns.id)
        chosen = conditions(columns, dialect, None, None, where)
        if chosen:  # by their ids first: SQLite would look up the group of every row
            query = query.where(table.c.group_id.in_(sa.select(columns.id).where(*chosen)))
    day = per(table.c.at, days * DAY)
    group = column(by, columns, dialect, ()) if by else sa.null()
    query = query.where(*within(table.c.at, part))
    tokens: sa.ColumnElement[Any] = sum((table.c[name] for name in TOKENS), start=_NONE)
    if table is _condensed and days == 1 and name != condensed.OWNER:  # a row each, not to add up
        return query.add_columns(day, group, *_numbers([table.c[n] for n in SUMS], tokens))
    query = query.add_columns(day, group, *_numbers(of_sums(table), whole(tokens)))
    return query.group_by(day, *([group] if by else []))


def _numbers(
    sums: Sequence[sa.ColumnElement[Any]], tokens: sa.ColumnElement[Any]
) -> list[sa.ColumnElement[Any]]:
    """What :class:`Spent` says, of ``SUMS``."""
    of = dict(zip(SUMS, sums, strict=True))
    return [*(of[name] for name in _COUNTS), tokens, *(of[name] for name in AMOUNTS)]


def _of_calls(
    engine: sa.Engine, by: str, part: spans.Part, where: Mapping[str, str], ends: float, days: int,
    sums: _Sums,
) -> int:  # fmt: skip
    """Add single calls of a part to ``sums``, newest first, until it ends or the time does; returns
    from when on they are there (Unix microseconds)."""
    step = _HOUR_US
    oldest, newest = _edges(engine)
    first, end = max(part.begin, oldest), min(part.end, newest + 1)
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
        sums.add(rows)
        current, end, settled = not settled, begin, True
        if kept is not None or current:  # each look comes further than the one before
            continue
        now = time.monotonic()
        if now + (now - began) > ends:
            break
        step = step * 2 if now - began < QUICK else step
    return end if end > first else part.begin


def _stretch(
    engine: sa.Engine, by: str, begin: int, end: int, where: Mapping[str, str], days: int
) -> list[Any]:
    query = _calls_between(engine.dialect.name, by, begin, end, where, days)
    with reading(engine) as connection:
        return [
            (int(day), group, *[int(each or 0) for each in numbers])
            for day, group, *numbers in connection.execute(query)
        ]


def _calls_between(
    dialect: str, by: str, begin: int, end: int, where: Mapping[str, str], days: int
) -> sa.Select[Any]:
    c = _calls.c
    day = per(c.at_us, days * DAY_US)
    source: sa.FromClause = _calls
    tag = None
    if by == "tag":
        tags = each_tag(c, dialect)
        source, tag = _calls.outerjoin(tags, sa.true()), tags.c.value
    name = column(by, c, dialect, (), tag, c.at_us) if by else sa.null()
    each = (sa.func.coalesce(c[token], 0) for token in TOKENS)
    tokens = sa.func.sum(sum(each, start=_NONE))
    query = sa.select(day, name, *_numbers(of_calls(dialect), tokens)).select_from(source)
    query = query.where(*conditions(c, dialect, begin, end, where))
    return query.group_by(day, *([name] if by else []))


def _edges(engine: sa.Engine) -> tuple[int, int]:
    """When the first and the last call began."""
    at = _calls.c.at_us
    with reading(engine) as connection:  # one by one: SQLite takes the index only so
        first = connection.execute(sa.select(sa.func.min(at))).scalar()
        last = connection.execute(sa.select(sa.func.max(at))).scalar()
    return int(first or 0), int(last or 0)


def _spent(day: int, group: Any, numbers: list[int]) -> Spent:
    calls, errors, unknown, repeated, tokens, micro, rest, saved, saved_rest = numbers
    name = None if group is None or group == "" else str(group)
    cost, given_again = micro * MICRO + rest, saved * MICRO + saved_rest
    return Spent(day, name, calls, errors, unknown, repeated, tokens, cost, given_again)
