"""What alerts go by: a few sums of roll-ups, and keys that end or that nobody uses.

Each question reads the roll-ups of its window alone, so it costs the same with ten
calls in the ledger and with ten million.
"""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct

from ferryman.store.db import reading
from ferryman.store.rollup import MICRO
from ferryman.store.schema import SPANS, rollups, virtual_keys
from ferryman.store.schema import call_groups as _groups

_COLUMNS: Final = {"model": "model", "provider": "provider", "key": "key_id", "target": "target"}
MOST: Final = 10_000
_FINE: Final = 2 * SPANS["hour"]
"""Seconds up to which a window is read by the minute."""


class Outcome(Struct, frozen=True, kw_only=True):
    """Calls of a group that ended alike."""

    group: tuple[str, ...]
    outcome: str
    """``ok``, ``lost``, an error or a status, as in ``call_groups``."""
    calls: int
    unknown_usage: int
    unknown_cost: int


def outcomes(
    engine: sa.Engine, by: Sequence[str], seconds: int, now: int, outcome: str | None = None
) -> list[Outcome]:
    """How the calls of the last ``seconds`` ended, by model, provider, target or key.

    Longer windows than two hours begin with a whole hour. ``outcome``: only of this one.
    """
    span = "minute" if seconds <= _FINE else "hour"
    table = rollups[span].c
    since = (now - seconds) // SPANS[span] * SPANS[span]
    columns = [_groups.c[_COLUMNS[name]] for name in by]
    names = ("calls", "unknown_usage", "unknown_cost")
    # Added up before the join: a group has a row for each minute, and is looked up once.
    sums = (
        sa.select(table.group_id, *(sa.func.sum(table[name]).label(name) for name in names))
        .where(table.at >= since)
        .group_by(table.group_id)
        .subquery()
    )
    query = (
        sa.select(*columns, _groups.c.outcome, *(sa.func.sum(sums.c[name]) for name in names))
        .join_from(sums, _groups, sums.c.group_id == _groups.c.id)
        .group_by(*columns, _groups.c.outcome)
    )
    if outcome is not None:
        query = query.where(_groups.c.outcome == outcome)
    with reading(engine) as connection:
        return [
            Outcome(
                group=tuple(row[: len(by)]), outcome=row[-4], calls=int(row[-3]),
                unknown_usage=int(row[-2]), unknown_cost=int(row[-1]),
            )
            for row in connection.execute(query)
        ]  # fmt: skip


def spent(engine: sa.Engine, by: str, since: int, until: int) -> dict[str, int]:
    """Picodollars of calls begun in these whole hours (Unix seconds), by model, provider or key
    (those ``MOST`` that spent most), or with ``all`` together."""
    table = rollups["hour"].c
    micro, rest = sa.func.sum(table.cost_micro), sa.func.sum(table.cost_rest)
    within = (table.at >= since, table.at < until)
    query: Any
    if by == "all":
        query = sa.select(sa.literal(""), micro, rest).where(*within)
    else:
        column = _groups.c[_COLUMNS[by]]
        joined = sa.join(rollups["hour"], _groups, table.group_id == _groups.c.id)
        query = sa.select(column, micro, rest).select_from(joined).where(*within)
        query = query.group_by(column).order_by(micro.desc()).limit(MOST)
    with reading(engine) as connection:
        rows = connection.execute(query)
        return {row[0]: int(row[1]) * MICRO + int(row[2]) for row in rows if row[1] is not None}


class Key(Struct, frozen=True, kw_only=True):
    """A virtual key that works. Times are Unix seconds; None = never."""

    id: str
    name: str
    team: str | None
    created_at: int
    expires_at: int | None
    last_used_at: int | None


_key: Final = [virtual_keys.c[name] for name in Key.__struct_fields__]
_quiet_since: Final = sa.func.coalesce(virtual_keys.c.last_used_at, virtual_keys.c.created_at)


def _working(now: int) -> Any:
    c = virtual_keys.c
    ends = sa.or_(c.expires_at.is_(None), c.expires_at > now)
    return sa.select(*_key).where(c.revoked_at.is_(None), ends)


def idle(engine: sa.Engine, before: int, now: int, most: int) -> list[Key]:
    """Keys that work and that nobody has used since ``before``, the longest first."""
    query = _working(now).where(_quiet_since < before).order_by(_quiet_since, virtual_keys.c.id)
    return _keys(engine, query.limit(most))


def ending(engine: sa.Engine, until: int, now: int, most: int) -> list[Key]:
    """Keys that work and end by then, the soonest first."""
    ends = virtual_keys.c.expires_at
    query = _working(now).where(ends <= until).order_by(ends, virtual_keys.c.id)
    return _keys(engine, query.limit(most))


def working(engine: sa.Engine, ids: Sequence[str], now: int) -> dict[str, Key]:
    """Those of the keys that work."""
    return {key.id: key for key in _keys(engine, _working(now).where(virtual_keys.c.id.in_(ids)))}


def teams(engine: sa.Engine, ids: Sequence[str]) -> dict[str, str]:
    """Key → its team; those of no team are not in it."""
    c = virtual_keys.c
    found: dict[str, str] = {}
    with reading(engine) as connection:
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            query = sa.select(c.id, c.team).where(c.id.in_(some), c.team.is_not(None))
            found.update((row[0], row[1]) for row in connection.execute(query))
    return found


def _keys(engine: sa.Engine, query: sa.Select[Any]) -> list[Key]:
    with reading(engine) as connection:
        return [Key(**row._mapping) for row in connection.execute(query)]
