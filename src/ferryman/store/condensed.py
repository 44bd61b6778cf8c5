"""Days that are over, as sums by one dimension each: a year of these is read ten times as fast.

They are made of the sums over days, some time after a day has ended, so taking calls in does not
cost more. A call that comes later takes its day's away, in its own transaction, until they are made
anew: they may be missing, and are never wrong.
"""

from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa

from ferryman.store.db import in_turn, reading, writing
from ferryman.store.dimensions import column
from ferryman.store.ledger import MORE_TOKENS
from ferryman.store.schema import TOKEN_CLASSES, condensed, rollups
from ferryman.store.schema import call_groups as _groups

DAY: Final = 86_400
DIMENSIONS: Final = ("key", "endpoint", "model", "provider", "policy", "")
"""What days are summed up by; nothing ("") comes last, and says that the others are there."""
SETTLED: Final = 3600
"""Seconds after a day until most of its calls are there."""
_COUNTS: Final = ("calls", "errors", "unknown_cost", "repeated")
_AMOUNTS: Final = ("cost_micro", "cost_rest", "saved_micro", "saved_rest")
_TOKENS: Final = (*TOKEN_CLASSES, *MORE_TOKENS)
_days: Final = rollups["day"]


def sums(of: sa.Table) -> list[sa.ColumnElement[Any]]:
    """What is read of ``condensed``, or of the sums over days, in the order of its columns."""
    tokens: sa.ColumnElement[Any] = (
        of.c.tokens
        if of is condensed
        else sum((of.c[name] for name in _TOKENS), start=sa.literal(0))
    )
    added = [of.c[name] for name in _COUNTS] + [tokens] + [of.c[name] for name in _AMOUNTS]
    # They stay within 64 bits (schema.AMOUNTS); PostgreSQL would send decimals, slow to read.
    return [sa.cast(sa.func.sum(each), sa.BigInteger) for each in added]


def there(connection: sa.Connection, first: int, last: int) -> set[int]:
    """Days from ``first`` to before ``last`` (since 1970) that are condensed."""
    at = condensed.c.at
    found = sa.select(at).where(condensed.c.dimension == "", at >= first * DAY, at < last * DAY)
    return {begin // DAY for begin in connection.scalars(found)}


def missing(engine: sa.Engine, now: float) -> list[int]:
    """Days (since 1970) that are over and not condensed, in order."""
    until = int(now - SETTLED) // DAY
    at = _days.c.at
    begun = sa.select(sa.func.min(at).label("at")).cte("begun", recursive=True)
    later = sa.select(sa.func.min(at)).where(at > begun.c.at).scalar_subquery()
    begun = begun.union_all(sa.select(later).where(begun.c.at.is_not(None)))
    with reading(engine) as connection:  # one look at the index for each day, whatever is in it
        days = {begin // DAY for begin in connection.scalars(sa.select(begun.c.at)) if begin}
        return sorted(day for day in days - there(connection, 0, until) if day < until)


def condense(engine: sa.Engine, day: int) -> None:
    """Sum up one day (since 1970), unless that was done."""
    of_day = _days.c.at == day * DAY
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
            in_turn(connection)
            connection.exec_driver_sql(f"LOCK TABLE {_days.name} IN SHARE MODE")
        if there(connection, day, day + 1):
            return
        for name in DIMENSIONS:
            kind = sa.literal(name)
            query = sa.select(kind, _days.c.at, sa.literal(""), *sums(_days))
            if name:
                value = sa.func.coalesce(column(name, _groups.c, connection.dialect.name, ()), "")
                query = sa.select(kind, _days.c.at, value, *sums(_days)).group_by(value)
                query = query.join_from(_days, _groups, _days.c.group_id == _groups.c.id)
            query = query.where(of_day).group_by(_days.c.at)
            connection.execute(condensed.insert().from_select(list(condensed.c), query))


def forget(connection: sa.Connection, days: Iterable[int]) -> None:
    """Calls have come that began on these days (since 1970)."""
    begun = [day * DAY for day in days]
    if not begun:
        return
    gone = condensed.c.dimension.in_(DIMENSIONS) & condensed.c.at.in_(begun)
    connection.execute(condensed.delete().where(gone))
