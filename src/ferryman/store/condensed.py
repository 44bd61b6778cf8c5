"""Days that are over, as sums by one dimension each, and weeks that are, by all dimensions and as
latencies: a year of these is read several times as fast.

They are made of the sums over days, and of single calls where those don't tell, some time after
their end, so taking calls in does not cost more. A call that comes later takes its day's and its
week's away, in its own transaction, until they are made anew: they may be missing, and are never
wrong.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from typing import Any, Final

import sqlalchemy as sa

from ferryman.store import feedback, spans, sums
from ferryman.store.db import hold_schema, in_turn, reading, writing
from ferryman.store.dimensions import PERIODS, PLAIN
from ferryman.store.schema import DAY, DAY_US, ESTIMATED, SCORES, SUMS, condensed, rollups
from ferryman.store.schema import call_groups as _groups
from ferryman.store.schema import calls as _calls
from ferryman.store.schema import condensed_latencies as _weeks_latencies
from ferryman.store.schema import condensed_sums as _weeks
from ferryman.store.schema import feedback as _said
from ferryman.store.schema import latencies as _latencies

DIMENSIONS: Final = ("key", "endpoint", "model", "provider", "policy", "")
"""What days are summed up by; nothing ("") comes last, and says that the others are there."""
OWNER: Final = "owner"
"""A dimension that sums over days don't have, made of single calls as long as these are kept: it
tells of ``OWNERS``, its values are JSON arrays of them;"""
OWNED: Final = "owned"
"""and a row without calls that says that it is there, and the next one."""
OWNERS: Final = ("organisation", "team")
"""Not of users: where tokens name them, there may be as many as there are calls."""
PRICE: Final = "price"
"""Another one: of single calls, how many were billed by each;"""
UNPRICED: Final = "unpriced"
"""and how many have a known usage, but no cost, by JSON arrays of their provider and target."""
CONDENSED: Final = "condensed"
"""The source that days are here,"""
WEEK: Final = "week"
"""and that weeks are."""
_WEEK: Final = 7 * DAY
"""Seconds; from Thursday on, as 1970 began."""
_WEEK_US: Final = 7 * DAY_US
SETTLED: Final = 3600
"""Seconds after a day or a week until most of its calls are there."""
_EACH: Final = (PRICE, *DIMENSIONS, OWNER, UNPRICED, OWNED)
_NEW: Final = (OWNER, UNPRICED, OWNED)
_NUMBERS: Final = (*SUMS, *ESTIMATED, *SCORES)
_days: Final = rollups["day"]


# -- reading them ----------------------------------------------------------------------------------


def dimension(names: Iterable[str]) -> str | None:
    """What days are to be read by where these are asked for; None: they don't tell."""
    asked = {name for name in names if name not in PERIODS}
    if asked and asked <= set(OWNERS):
        return OWNER
    one, *more = asked or {""}
    return one if one in DIMENSIONS and not more else None


def columns(name: str, dialect: str) -> dict[str, sa.ColumnElement[Any]]:
    """The dimension ``name`` in the place of its columns of ``calls``."""
    value = condensed.c.value
    if name == OWNER:
        return {PLAIN[each]: _at(value, at, dialect) for at, each in enumerate(OWNERS)}
    if not name:
        return {}
    if not _groups.c[PLAIN[name]].nullable:
        return {PLAIN[name]: value}
    # As text in the statement: PostgreSQL does not see that two parameters are equal.
    return {PLAIN[name]: sa.func.nullif(value, sa.literal_column("''"), type_=sa.Text)}


def _at(array: sa.ColumnElement[str], place: int, dialect: str) -> sa.ColumnElement[str]:
    """An element of a JSON array; null is NULL."""
    if dialect == "postgresql":
        number: sa.ColumnElement[int] = sa.literal_column(str(place))
        return sa.cast(array, sa.JSON).op("->>", return_type=sa.Text())(number)
    return sa.func.json_extract(array, sa.literal_column(f"'$[{place}]'"), type_=sa.Text)


def days(connection: sa.Connection, part: spans.Part, name: str, floor: int) -> list[spans.Part]:
    """A stretch of time as the days that are condensed by ``name`` and others; none lies on both
    sides of ``floor``, since when single calls are kept (Unix microseconds)."""
    between = min(max(floor, part.begin), part.end)
    found = []
    for each in (part._replace(end=between), part._replace(begin=between)):
        first, last = -(-each.begin // DAY_US), each.end // DAY_US
        told = name != OWNER or each.begin >= floor
        known = _there(connection, first, last, name) if told and first < last else ()
        found += _cut(each, CONDENSED, DAY_US, known)
    return found


def weeks(connection: sa.Connection, parts: Iterable[spans.Part]) -> Iterator[spans.Part]:
    """``parts``, those of days as weeks and others: of sums by any dimensions, and of latencies."""
    for part in parts:
        first, last = -(-part.begin // _WEEK_US), part.end // _WEEK_US
        if part.source != "day" or first >= last:
            yield part
        else:
            yield from _cut(part, WEEK, _WEEK_US, _weeks_there(connection, first, last))


def _cut(part: spans.Part, name: str, step: int, known: Collection[int]) -> list[spans.Part]:
    found, begin = [], part.begin
    for _, run in groupby(enumerate(sorted(known)), lambda each: each[1] - each[0]):
        numbers = [number for _, number in run]
        first, end = numbers[0] * step, (numbers[-1] + 1) * step
        found += [part._replace(begin=begin, end=first), spans.Part(name, first, end)]
        begin = end
    found.append(part._replace(begin=begin))
    return [each for each in found if each.begin < each.end]


def _there(connection: sa.Connection, first: int, last: int, name: str) -> set[int]:
    """Days from ``first`` to before ``last`` (since 1970) that are condensed by ``name``."""
    at, told = condensed.c.at, OWNED if name in _NEW else ""
    found = sa.select(at).where(condensed.c.dimension == told, at >= first * DAY, at < last * DAY)
    return {begin // DAY for begin in connection.scalars(found)}


def _weeks_there(connection: sa.Connection, first: int, last: int) -> set[int]:
    """Weeks from ``first`` to before ``last`` (since 1970) that are there."""
    begins = _begins(connection, _weeks.c.at, first * _WEEK, last * _WEEK)
    return {begin // _WEEK for begin in begins}


def _begins(
    connection: sa.Connection, at: sa.ColumnElement[int], first: int, last: int
) -> list[int]:
    """Different values of ``at``, the first column of an index, from ``first`` to before ``last``:
    one look at the index for each, however many rows have it."""
    begun = sa.select(sa.func.min(at).label("at")).where(at >= first, at < last)
    each = begun.cte("begun", recursive=True)
    later = sa.select(sa.func.min(at)).where(at > each.c.at, at < last).scalar_subquery()
    each = each.union_all(sa.select(later).where(each.c.at.is_not(None)))
    return [begin for begin in connection.scalars(sa.select(each.c.at)) if begin is not None]


# -- making them -----------------------------------------------------------------------------------


def steps(engine: sa.Engine, now: float) -> list[Callable[[], None]]:
    """What condenses all that is over and not condensed: a day or a week each, the newest first."""
    weeks = [partial(condense_week, engine, week) for week in missing_weeks(engine, now)]
    return [*(partial(condense, engine, day) for day in missing(engine, now)[::-1]), *weeks[::-1]]


def missing(engine: sa.Engine, now: float) -> list[int]:
    """Days (since 1970) that are over and not condensed, in order."""
    until = int(now - SETTLED) // DAY
    with reading(engine) as connection:
        over = {begin // DAY for begin in _begins(connection, _days.c.at, 0, until * DAY)}
        return sorted(over - _there(connection, 0, until, OWNED))


def missing_weeks(engine: sa.Engine, now: float) -> list[int]:
    """Weeks (since 1970) that are over and not condensed, in order."""
    until = int(now - SETTLED) // _WEEK
    with reading(engine) as connection:
        begins = _begins(connection, _days.c.at, 0, until * _WEEK)
        return sorted({at // _WEEK for at in begins} - _weeks_there(connection, 0, until))


def condense(engine: sa.Engine, day: int) -> None:
    """Sum up one day (since 1970), unless that was done."""
    with _making(engine) as connection:
        at = condensed.c.at == day * DAY
        found = sa.select(condensed.c.dimension).where(condensed.c.dimension.in_(_EACH), at)
        known = set(connection.scalars(found.distinct()))
        if OWNED in known:
            return
        for name in _EACH:
            if name not in known:  # an older version has made the others
                query = _query(connection.dialect.name, name, day)
                connection.execute(condensed.insert().from_select(list(condensed.c), query))


def condense_week(engine: sa.Engine, week: int) -> None:
    """Sum up one week (since 1970), unless that was done."""
    with _making(engine) as connection:
        if _weeks_there(connection, week, week + 1):
            return
        begin = week * _WEEK
        # An older version has made latencies alone.
        connection.execute(_weeks_latencies.delete().where(_weeks_latencies.c.at == begin))
        for table, of in ((_weeks, _days), (_weeks_latencies, _latencies["day"])):
            connection.execute(table.insert().from_select(list(table.c), _week(begin, of)))


@contextmanager
def _making(engine: sa.Engine) -> Iterator[sa.Connection]:
    """While nobody else takes calls or feedback in."""
    with writing(engine) as connection:
        in_turn(connection)
        hold_schema(connection)
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
            # Calls come with sums over days, and words with feedback: in this order, too.
            connection.exec_driver_sql(f"LOCK TABLE {_days.name}, {_said.name} IN SHARE MODE")
        yield connection


def forget(connection: sa.Connection, calls: Collection[int], words: Collection[int]) -> None:
    """Calls have come that began on these days (since 1970), and feedback on such: weeks have none
    of that."""
    begun = [day * DAY for day in {*calls, *words}]
    if begun:
        gone = condensed.c.dimension.in_(_EACH) & condensed.c.at.in_(begun)
        connection.execute(condensed.delete().where(gone))
    weeks = {day * DAY // _WEEK * _WEEK for day in calls}
    if weeks:
        for table in (_weeks, _weeks_latencies):
            connection.execute(table.delete().where(table.c.at.in_(weeks)))


def _query(dialect: str, name: str, day: int) -> sa.Select[Any]:
    """Rows of one dimension of a day."""
    if name in (PRICE, UNPRICED):
        return _counted(dialect, name, day)
    if name == OWNED:
        return sa.select(
            sa.literal(OWNED), sa.literal(day * DAY), sa.literal(""), *_zeros(_NUMBERS)
        )
    return _sums(dialect, name, day)


def _counted(dialect: str, name: str, day: int) -> sa.Select[Any]:
    """Rows of the prices of a day, or of what had none."""
    value: sa.ColumnElement[str] = _calls.c.price
    meant: list[sa.ColumnElement[bool]] = [value.is_not(None)]
    if name == UNPRICED:
        value, meant = array(dialect, _calls.c.provider, _calls.c.target), unpriced()
    kind, begin = sa.literal(name), sa.literal(day * DAY)
    query = sa.select(kind, begin, value, sa.func.count(), *_zeros(_NUMBERS[1:]))
    return query.where(*meant, *_on(day)).group_by(value)


def unpriced() -> list[sa.ColumnElement[bool]]:
    """Calls whose usage is known, but not their cost."""
    return [_calls.c.cost_pico.is_(None), _calls.c.input.is_not(None)]


def _on(day: int) -> tuple[sa.ColumnElement[bool], ...]:
    """That a call began on a day."""
    at = _calls.c.at_us
    return at >= day * DAY_US, at < (day + 1) * DAY_US


def _zeros(names: Sequence[str]) -> list[sa.ColumnElement[Any]]:
    return [sa.literal_column("0", sa.BigInteger)] * len(names)


def _sums(dialect: str, name: str, day: int) -> sa.Select[Any]:
    """Rows of one dimension of a day: its sums, and what single calls and feedback say."""

    def part(of: sa.FromClause, columns: Any, *numbers: sa.ColumnElement[Any]) -> sa.Select[Any]:
        value = _value(dialect, name, columns).label("value")
        labelled = [each.label(n) for n, each in zip(_NUMBERS, numbers, strict=True)]
        # By its place: PostgreSQL does not see that two parameters are equal.
        query = sa.select(value, *labelled).select_from(of)
        return query.group_by(sa.literal_column("1"))

    guessed = sums.of_estimates(dialect)
    if name == OWNER:
        told = _stored(dialect, (*SUMS, *ESTIMATED), [*sums.of_calls(dialect), *guessed])
        parts = [part(_calls, _calls.c, *told, *_zeros(SCORES)).where(*_on(day))]
    else:
        joined = _days.join(_groups, _days.c.group_id == _groups.c.id) if name else _days
        rolled = part(joined, _groups.c, *sums.of_sums(_days), *_zeros((*ESTIMATED, *SCORES)))
        guesses = _stored(dialect, ESTIMATED, guessed)
        single = part(_calls, _calls.c, *_zeros(SUMS), *guesses, *_zeros(SCORES))
        single = single.where(_calls.c.estimated_input.is_not(None), *_on(day))
        parts = [rolled.where(_days.c.at == day * DAY), single]
    scores = [sa.func.coalesce(each, 0) for each in sums.of_scores()]
    about = feedback.about(day * DAY_US, (day + 1) * DAY_US)
    beside = _calls.join(_said, sa.true())
    parts.append(part(beside, _calls.c, *_zeros((*SUMS, *ESTIMATED)), *scores).where(*about))
    every = sa.union_all(*parts).subquery()
    added = [sa.func.sum(every.c[each]) for each in _NUMBERS]
    kind, begin = sa.literal(name), sa.literal(day * DAY)
    return sa.select(kind, begin, every.c.value, *added).group_by(every.c.value)


def _value(dialect: str, name: str, columns: Any) -> sa.ColumnElement[str]:
    """The dimension of calls, or of their groups, as it is kept."""
    if name != OWNER:
        return sa.func.coalesce(columns[PLAIN[name]], "") if name else sa.literal("")
    return array(dialect, *(columns[PLAIN[each]] for each in OWNERS))


def array(dialect: str, *values: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """A JSON array as text."""
    if dialect == "postgresql":
        return sa.cast(sa.func.json_build_array(*values), sa.Text)
    return sa.func.json_array(*values, type_=sa.Text)


def _stored(
    dialect: str, names: Sequence[str], numbers: Sequence[sa.ColumnElement[Any]]
) -> list[sa.ColumnElement[Any]]:
    """Sums of single calls as columns of these names: each within 64 bits and no null."""
    found = dict(zip(names, numbers, strict=True))
    if dialect == "postgresql":  # where all of the money is in the rest
        for name in names:
            if name.endswith("_micro"):
                rest = f"{name.removesuffix('_micro')}_rest"
                found[name] = sa.func.div(found[rest], sums.WHOLE)
                found[rest] = sa.func.mod(found[rest], sums.WHOLE)
    return [sa.func.coalesce(each, 0) for each in found.values()]


def _week(begin: int, of: sa.Table) -> sa.Select[Any]:
    """Rows over days, as those of the week that begins at ``begin`` (Unix seconds)."""
    _, *group = of.primary_key
    numbers = [sa.func.sum(each) for each in of.c if not each.primary_key]
    query = sa.select(sa.literal(begin), *group, *numbers).group_by(*group)
    return query.where(of.c.at >= begin, of.c.at < begin + _WEEK)
