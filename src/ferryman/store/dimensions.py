"""What calls can be grouped and chosen by, as SQL that SQLite and PostgreSQL answer alike."""

import re
import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from ferryman.store.rollup import LOST

PERIODS: Final = ("hour", "day", "week", "month")
"""Weeks begin on Monday."""
PLAIN: Final = {
    "key": "key_id", "team": "team", "organisation": "organisation", "user": "user",
    "end_user": "end_user",
    "model": "model", "provider": "provider", "target": "target", "endpoint": "endpoint",
    "policy": "policy", "task": "task", "run": "run",
    "parent": "parent", "client": "client", "service": "service", "region": "region",
    "cache": "cache", "plane": "plane",
    "error": "error", "status": "status",
}  # fmt: skip
"""Dimension → its column of ``calls``."""
DIMENSIONS: Final = (*PLAIN, "tag", "metadata.NAME", *PERIODS)
METADATA: Final = "metadata."
NONE: Final = "-"
"""Stands for having no value."""
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * _HOUR_US
_EPOCH: Final = date(1970, 1, 1)
_FAR: Final = 2**32 - 1
Columns = Any
"""``Table.c`` of ``calls``, or of what has the same columns."""
Within = Mapping[str, str]
"""Whose something has to be: ``organisation`` and ``team``, ``-`` = none; nothing = anybody's."""


def owned(of: Columns, within: Within) -> list[sa.ColumnElement[bool]]:
    """Rows of calls or of keys that are theirs."""
    return [
        of[name].is_(None) if value == NONE else of[name] == value for name, value in within.items()
    ]


def check(name: str) -> None:
    """Raises ValueError for what is no dimension."""
    if name in PLAIN or name in PERIODS or name == "tag":
        return
    if name.startswith(METADATA) and _NAME.fullmatch(name.removeprefix(METADATA)):
        return
    raise ValueError(f"Cannot group by {name!r}: choose from {', '.join(DIMENSIONS)}.")


def column(
    name: str,
    of: Columns,
    dialect: str,
    offsets: Sequence[tuple[int, int]],
    tag: Any = None,
    at_us: Any = None,
) -> sa.ColumnElement[Any]:
    """The dimension as something to select and to group by; :func:`shown` reads its values.

    ``offsets`` are of the time zone (:func:`offsets_of`); ``tag`` is the column of
    :func:`each_tag`, ``at_us`` when a row began.
    """
    if name == "tag":
        found: sa.ColumnElement[Any] = tag
        return found
    if name in PERIODS:
        return _period(name, at_us, dialect, offsets)
    if name in PLAIN:
        plain: sa.ColumnElement[Any] = of[PLAIN[name]]
        return sa.func.nullif(plain, sa.literal_column("''")) if name == "error" else plain
    return _metadatum(of.metadata, name.removeprefix(METADATA), dialect)


def each_tag(of: Columns, dialect: str) -> Any:
    """A table, for each row, of its tags: their column is ``value``."""
    if dialect == "postgresql":
        tags = sa.cast(of.tags, sa.JSON)
        return sa.func.json_array_elements_text(tags).table_valued("value").lateral()
    return sa.func.json_each(of.tags).table_valued("value")


def conditions(
    of: Columns,
    dialect: str,
    since_us: int | None,
    until_us: int | None,
    where: Mapping[str, str],
) -> list[sa.ColumnElement[bool]]:
    """Calls begun in [``since_us``, ``until_us``) whose dimensions have these values.

    ``-`` chooses those that have none; ``status`` may be ``lost``. Raises ValueError for what can't
    be chosen by.
    """
    found: list[sa.ColumnElement[bool]] = []
    if since_us is not None:
        found.append(of.at_us >= since_us)
    if until_us is not None:
        found.append(of.at_us < until_us)
    for name, value in where.items():
        check(name)
        found.append(_is(name, value, of, dialect))
    return found


def _is(name: str, value: str, of: Columns, dialect: str) -> sa.ColumnElement[bool]:
    if name in PERIODS:
        raise ValueError(f"Cannot choose by {name!r}: give since and until.")
    if name == "status":
        if value == LOST:
            return sa.and_(of.status == 0, of.state == LOST)
        if not (value.isascii() and value.isdigit() and len(value) == 3):
            raise ValueError("status: give an HTTP status such as 429, or lost.")
        return sa.and_(of.status == int(value))
    if name == "tag":
        if value == NONE:
            return sa.and_(of.tags.is_(None))
        tags = each_tag(of, dialect)
        return sa.exists().select_from(tags).where(tags.c.value == value)
    where = column(name, of, dialect, ())
    return where.is_(None) if value == NONE else where == value


def _metadatum(metadata: Any, name: str, dialect: str) -> sa.ColumnElement[Any]:
    # As text in the statement: PostgreSQL does not see that two parameters are equal.
    if dialect == "postgresql":
        quoted: sa.ColumnElement[str] = sa.literal_column(f"'{name}'")
        found: sa.ColumnElement[Any] = sa.cast(metadata, sa.JSON).op("->>")(quoted)
        return found
    return sa.func.json_extract(metadata, sa.literal_column(f"'$.\"{name}\"'"))


# -- time ------------------------------------------------------------------------------------------


def _period(
    name: str, at_us: Any, dialect: str, offsets: Sequence[tuple[int, int]]
) -> sa.ColumnElement[Any]:
    shift = _number(offsets[-1][1])
    if len(offsets) > 1:
        before = [(at_us < _number(end), _number(by)) for end, by in offsets[:-1]]
        shift = sa.case(*before, else_=shift)
    local: sa.ColumnElement[Any] = at_us + shift
    if name == "hour":  # where it begins in UTC: when clocks go back, one hour comes twice
        hour: sa.ColumnElement[Any] = at_us - local % _number(_HOUR_US)
        return hour
    if name == "month":
        seconds = local // _number(1_000_000)
        if dialect == "postgresql":
            utc = sa.func.timezone(sa.literal_column("'UTC'"), sa.func.to_timestamp(seconds))
            month: sa.ColumnElement[Any] = sa.func.to_char(utc, sa.literal_column("'YYYY-MM'"))
            return month
        form: sa.ColumnElement[str] = sa.literal_column("'%Y-%m'")
        unix: sa.ColumnElement[str] = sa.literal_column("'unixepoch'")
        month = sa.func.strftime(form, seconds, unix)
        return month
    days: sa.ColumnElement[Any] = local // _number(_DAY_US)
    return (days + _number(3)) // _number(7) if name == "week" else days  # 1970 began on a Thursday


def _number(value: int) -> sa.ColumnElement[Any]:
    # As text in the statement: PostgreSQL does not see that two parameters are equal.
    return sa.literal_column(str(value), sa.BigInteger)


def offsets_within(
    zone: str, since_us: int | None, until_us: int | None
) -> tuple[tuple[int, int], ...]:
    """:func:`offsets_of` whole days around a stretch; open ends are 1970 and now."""
    end = int(time.time()) if until_us is None else until_us // 1_000_000
    begin = (since_us or 0) // _DAY_US * 86_400
    return offsets_of(zone, begin, end // 86_400 * 86_400 + 86_400)


@lru_cache(maxsize=64)
def offsets_of(zone: str, since_s: int, until_s: int) -> tuple[tuple[int, int], ...]:
    """(until when, in Unix microseconds; what is added to UTC till then), within a span of time.

    Raises ValueError for an unknown zone.
    """
    place = _place(zone)

    def shift(second: int) -> int:
        offset = datetime.fromtimestamp(min(second, _FAR), place).utcoffset()
        return int((offset or timedelta()).total_seconds())

    if zone == "UTC":
        return ((_FAR * 1_000_000, 0),)
    found = []
    at, step = since_s, 86_400
    while at < until_s:
        then = at + step
        if shift(at) != shift(then):
            low, high = at, then
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if shift(middle) == shift(at) else (low, middle)
            found.append((high * 1_000_000, shift(at) * 1_000_000))
        at = then
    return (*found, (_FAR * 1_000_000, shift(max(until_s, since_s)) * 1_000_000))


def shown(name: str, value: Any, zone: str) -> str | None:
    """A value of :func:`column`: a date for ``day``, its Monday for ``week``, and so on."""
    if value is None:
        return None
    if name == "hour":
        moment = datetime.fromtimestamp(int(value) // 1_000_000, ZoneInfo(zone))
        return moment.isoformat(timespec="minutes")
    if name == "day":
        return (_EPOCH + timedelta(days=int(value))).isoformat()
    if name == "week":
        return (_EPOCH + timedelta(days=7 * int(value) - 3)).isoformat()
    if name == "status":
        return str(value) if value else LOST
    return str(value)


def midnight(day: date, zone: str) -> int:
    """Unix seconds of where a day begins in ``zone``."""
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp())


def today(now: float, zone: str) -> date:
    """The day that it is in ``zone``. Raises ValueError for an unknown one."""
    return datetime.fromtimestamp(now, _place(zone)).date()


def _place(zone: str) -> ZoneInfo:
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        text = f"{zone!r} is no time zone. Give a name such as Europe/Berlin or UTC."
        raise ValueError(text) from None
