"""What is added up of calls, as columns to select: of single calls, and of sums over them."""

import functools
import operator
from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa

from ferryman.ir.usage import EXTRA_COUNTS
from ferryman.store.rollup import LOST, MICRO, REPEATED
from ferryman.store.schema import ESTIMATES, SUMS, TOKEN_CLASSES, TOKENS
from ferryman.store.schema import calls as _calls
from ferryman.store.schema import feedback as _said

WHOLE: Final[sa.ColumnElement[int]] = sa.literal_column(str(MICRO), sa.BigInteger)


def of_sums(table: sa.Table, names: Iterable[str] = SUMS) -> list[sa.ColumnElement[Any]]:
    """Of a table of sums; PostgreSQL would send decimals, which are slow to read."""
    return [whole(table.c[name]) for name in names]


def whole(number: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The sum of what stays within 64 bits when it is added up."""
    return sa.cast(sa.func.sum(number), sa.BigInteger)


def of_calls(dialect: str) -> list[sa.ColumnElement[Any]]:
    """``SUMS`` of single calls."""
    cost, saved = _calls.c.cost_pico, _calls.c.saved_pico
    sums = [
        sa.func.count(),
        _number(sa.or_(_calls.c.status >= 400, _calls.c.error != "")),
        _number(_calls.c.state == LOST),
        _number(_calls.c.input.is_(None)),
        _number(sa.or_(cost.is_(None), _calls.c.unknown_cost > 0)),
        _number(_calls.c.cache.in_(REPEATED)),
    ]
    sums += [sa.func.sum(_calls.c[name]) for name in (*TOKEN_CLASSES, *EXTRA_COUNTS)]
    return [*sums, *money(dialect, cost), *money(dialect, saved)]


def of_estimates(dialect: str) -> list[sa.ColumnElement[Any]]:
    """``ESTIMATED`` of single calls."""
    heard, said, cost = (_calls.c[name] for name in ESTIMATES)
    return [sa.func.count(heard), sa.func.sum(heard), sa.func.sum(said), *money(dialect, cost)]


def of_scores() -> list[sa.ColumnElement[Any]]:
    """``SCORES`` of feedback."""
    return [sa.func.count(_said.c.score), sa.func.sum(_said.c.score)]


def of_units(dialect: str) -> list[sa.ColumnElement[Any]]:
    """What costs per call, run and token are worked out from (``ledger.Units``)."""
    cost, run = _calls.c.cost_pico, _calls.c.run
    whole = sa.and_(cost.is_not(None), sa.func.coalesce(_calls.c.unknown_cost, 0) == 0)
    counted = [sa.func.coalesce(_calls.c[name], 0) for name in TOKENS]
    tokens = sa.case((whole, functools.reduce(operator.add, counted)), else_=0)
    return [
        sa.func.sum(sa.case((whole, 1), else_=0)), sa.func.sum(tokens),
        sa.func.count(sa.distinct(run)),
        *money(dialect, sa.case((whole, cost))),
        *money(dialect, sa.case((run.is_not(None), cost))),
    ]  # fmt: skip


def _number(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
    """Of how many it holds."""
    return sa.func.sum(sa.case((condition, 1), else_=0))


def money(dialect: str, amount: sa.ColumnElement[Any]) -> list[sa.ColumnElement[Any]]:
    """The sum of picodollars in two parts: microdollars, and picodollars beside them."""
    if dialect == "postgresql":
        return [sa.literal(0), sa.func.sum(amount)]
    # SQLite's sums end at 2^63 picodollars, 9.2 million dollars: add up in two parts.
    return [sa.func.sum(amount.op("/")(WHOLE)), sa.func.sum(amount.op("%")(WHOLE))]
