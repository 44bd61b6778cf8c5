"""Reads runs: calls of the ledger that belong together, as their callers say."""

from collections.abc import Mapping
from types import MappingProxyType

import sqlalchemy as sa
from msgspec import Struct

from ferryman.store.db import reading
from ferryman.store.dimensions import conditions
from ferryman.store.rollup import MICRO
from ferryman.store.schema import calls as _calls
from ferryman.store.sums import money


class RunRow(Struct, frozen=True, kw_only=True):
    """Calls of one run."""

    run: str
    begun_us: int
    """When its first call began,"""
    ended_us: int
    """and when its last one ended."""
    calls: int
    errors: int
    cost: int
    """Picodollars, as far as known."""
    unknown_cost: int
    """Calls that may have cost more."""


def runs(
    engine: sa.Engine,
    *,
    limit: int,
    before: tuple[int, str] | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    where: Mapping[str, str] = MappingProxyType({}),
) -> list[RunRow]:
    """The runs that began last first, of the calls that match; ``before`` is (begun_us, run).

    Raises ValueError as ``ledger.usage`` does.
    """
    dialect, run = engine.dialect.name, _calls.c.run
    chosen = conditions(_calls.c, dialect, since_us, until_us, where)
    begun = sa.func.min(_calls.c.at_us)
    ended = sa.func.max(_calls.c.at_us + sa.func.coalesce(_calls.c.duration_us, 0))
    cost = _calls.c.cost_pico
    wrong = sa.or_(_calls.c.status >= 400, _calls.c.error != "")
    unsure = sa.or_(cost.is_(None), _calls.c.unknown_cost > 0)
    numbers = [
        sa.func.count(), sa.func.count(sa.case((wrong, 1))), sa.func.count(sa.case((unsure, 1)))
    ]  # fmt: skip
    query = sa.select(run, begun, ended, *numbers, *money(dialect, cost))
    query = query.where(run.is_not(None), *chosen).group_by(run)
    if before is not None:
        same = sa.and_(begun == before[0], run < before[1])
        query = query.having(sa.or_(begun < before[0], same))
    query = query.order_by(begun.desc(), run.desc()).limit(limit)
    with reading(engine) as connection:
        return [
            RunRow(
                run=row[0], begun_us=row[1], ended_us=int(row[2]), calls=row[3],
                errors=int(row[4]), unknown_cost=int(row[5]),
                cost=int(row[6] or 0) * MICRO + int(row[7] or 0),
            )
            for row in connection.execute(query)
        ]  # fmt: skip
