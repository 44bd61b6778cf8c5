"""Reads the ledger: sums over calls, and single calls. Costs are integer picodollars throughout."""

import datetime
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from ferryman.ir.price import Price
from ferryman.ir.usage import EXTRA_COUNTS, Extras, Usage, added
from ferryman.store import spans
from ferryman.store.db import reading
from ferryman.store.rollup import LOST, MICRO, REPEATED
from ferryman.store.schema import COUNTS, SUMS, TOKEN_CLASSES
from ferryman.store.schema import call_groups as _groups
from ferryman.store.schema import calls as _calls
from ferryman.store.schema import charges as _charges
from ferryman.store.schema import prices as _prices
from ferryman.store.schema import rollups as _rollups

DAY_US: Final = 86_400_000_000
DIMENSIONS: Final = ("key", "model", "provider", "day", "endpoint")
"""What :func:`usage` can group by."""
_COLUMNS: Final = {"key": "key_id"}


class UsageRow(Struct, frozen=True, kw_only=True):
    """Sums over the calls of one group. Dimensions that were not asked for are None."""

    key: str | None = None
    """Id of the virtual key."""
    model: str | None = None
    """The model name callers asked for."""
    provider: str | None = None
    day: str | None = None
    """``YYYY-MM-DD``, UTC, of the calls' beginning."""
    endpoint: str | None = None
    calls: int
    errors: int
    """Calls that ended with an error status or broke off."""
    lost: int
    """Calls whose gateway died; they stand in ``cost`` with what was held for them."""
    unknown_usage: int
    """Calls whose token counts nobody reported; not in ``tokens``."""
    unknown_cost: int
    """Calls that may have cost more than stands in ``cost``, or whose cost is unknown."""
    tokens: Usage
    cost: int
    """Picodollars."""
    repeated: int
    """Calls that got an answer given before, and so cost nothing."""
    saved: int
    """Picodollars that those answers had cost first, as far as that is known."""


class PriceUsed(Struct, frozen=True, kw_only=True):
    """A price that calls were billed by."""

    id: str
    provider: str
    model: str
    prices: tuple[Price, ...]
    calls: int
    last_at_us: int


class CallRow(Struct, frozen=True, kw_only=True):
    """One call. Spans are microseconds; None = unknown or never happened."""

    request_id: str
    at_us: int
    duration_us: int | None
    plane: str
    key: str
    endpoint: str
    model: str
    provider: str
    target: str
    stream: bool | None
    status: int
    """HTTP status the caller got; 0 = unknown (lost)."""
    error: str
    usage: Usage | None
    cost: int | None
    """Picodollars."""
    attempts: list[dict[str, Any]]
    """Tries in order: provider, model, status, error, start_us, first_byte_us, end_us; of several
    also tokens, cost_pico, and unknown_cost where it may have cost more."""
    first_token_us: int | None
    overhead_us: int | None
    state: str
    """``closed`` or ``lost``."""
    policy: str | None
    plan: list[dict[str, Any]]
    """Who came into question, in order; empty where there was no choice."""
    unknown_cost: int
    """Attempts that may have cost more than stands in ``cost``, or whose cost is unknown."""
    cache: str | None
    """What the cache of answers did (``Closed.cache``)."""
    saved: int | None
    """Picodollars that an answer given again had cost first."""
    price: str | None
    """Id of the price that it was billed by (:func:`price_of`); None = by none, or by several."""


def usage(
    engine: sa.Engine,
    *,
    by: tuple[str, ...] = (),
    since_us: int | None = None,
    until_us: int | None = None,
    key: str | None = None,
    model: str | None = None,
    provider: str | None = None,
    endpoint: str | None = None,
) -> list[UsageRow]:
    """Sums over the calls begun in [``since_us``, ``until_us``), grouped and ordered by ``by``.

    Where single calls of that time are not kept any more, it is that of :func:`kept`. Without
    ``by`` one row, also when there are no calls. Raises ValueError for a dimension that is not one
    of ``DIMENSIONS``.
    """
    unknown = [name for name in by if name not in DIMENSIONS]
    if unknown:
        raise ValueError(f"Cannot group by {unknown[0]!r}: choose from {', '.join(DIMENSIONS)}.")
    equal = {"key_id": key, "model": model, "provider": provider, "endpoint": endpoint}
    sums: dict[tuple[Any, ...], list[int]] = {} if by else {(): [0] * len(SUMS)}
    with reading(engine) as connection:
        sources = spans.of_usage(spans.floors(connection))
        for part in spans.cover(*_stretch(since_us, until_us, sources), sources):
            for row in connection.execute(_query(engine.dialect.name, part, by, equal)):
                group, numbers = (
                    tuple(row[: len(by)]),
                    [int(value or 0) for value in row[len(by) :]],
                )
                known = sums.get(group)
                if known is not None:
                    numbers = [a + b for a, b in zip(known, numbers, strict=True)]
                sums[group] = numbers
    return [_usage_row(by, group, numbers) for group, numbers in sorted(sums.items())]


def total(rows: Iterable[UsageRow]) -> UsageRow:
    """The sums of all rows together."""
    sums: dict[str, Any] = dict.fromkeys((*COUNTS, "cost", "saved"), 0)
    tokens = Usage()
    for row in rows:
        tokens = added(tokens, row.tokens)
        for name in sums:
            sums[name] += getattr(row, name)
    return UsageRow(**sums, tokens=tokens)


def kept(
    engine: sa.Engine, since_us: int | None, until_us: int | None
) -> tuple[int | None, int | None]:
    """The stretch that :func:`usage` answers for: its edges are moved outwards to whole minutes,
    hours or days where nothing finer is kept of that time."""
    with reading(engine) as connection:
        sources = spans.of_usage(spans.floors(connection))
    since, until = _stretch(since_us, until_us, sources)
    return since if since_us is not None else None, until if until_us is not None else None


def _stretch(
    since_us: int | None, until_us: int | None, sources: list[spans.Source]
) -> tuple[int, int]:
    since = -spans.EVER if since_us is None else since_us
    until = spans.EVER if until_us is None else until_us
    return spans.widened(since, until, sources) if since < until else (since, until)


class Spent(Struct, frozen=True, array_like=True):
    """What budgets bear of some calls that began within one step of time."""

    budgets: tuple[str, ...]
    at: int
    """Unix seconds, where the step begins."""
    picodollars: int
    tokens: int


def spent(engine: sa.Engine, since_s: int, until_us: int, step_s: int) -> list[Spent]:
    """What budgets bear of calls begun from ``since_s`` to before ``until_us`` (Unix time)."""
    sums: dict[tuple[str, int], list[int]] = {}
    with reading(engine) as connection:
        sources = spans.of_charges(spans.floors(connection), step_s)
        for part in spans.cover(since_s * 1_000_000, until_us, sources):
            for budgets, step, *amounts in connection.execute(
                _charged(engine.dialect.name, part, step_s)
            ):
                known = sums.setdefault((budgets, step), [0, 0, 0])
                sums[budgets, step] = [a + int(b or 0) for a, b in zip(known, amounts, strict=True)]
    return [
        Spent(tuple(msgspec.json.decode(budgets)), at * step_s, micro * MICRO + pico, tokens)
        for (budgets, at), (micro, pico, tokens) in sorted(sums.items())
    ]


def _charged(dialect: str, part: spans.Part, step_s: int) -> sa.Select[Any]:
    """Counters, number of the step, and amounts, of one part."""
    if part.source == spans.CALLS:
        calls = _calls.c
        step = _per(calls.at_us, step_s * 1_000_000)
        amounts = [*_money(dialect, calls.charged_pico), sa.func.sum(calls.charged_tokens)]
        query = sa.select(calls.budgets, step, *amounts).where(
            calls.at_us >= part.begin, calls.at_us < part.end, calls.budgets.is_not(None)
        )
        return query.group_by(calls.budgets, step)
    table = _charges[part.source].c
    step = _per(table.at, step_s)
    columns = (table.charged_micro, table.charged_rest, table.charged_tokens)
    query = sa.select(table.budgets, step, *map(sa.func.sum, columns)).where(
        *_within(table.at, part)
    )
    return query.group_by(table.budgets, step)


def calls(
    engine: sa.Engine,
    *,
    limit: int = 50,
    before: tuple[int, str] | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    request_id: str | None = None,
    key: str | None = None,
    model: str | None = None,
    provider: str | None = None,
    endpoint: str | None = None,
    status: int | None = None,
    state: str | None = None,
) -> list[CallRow]:
    """The newest calls first, at most ``limit``, of those that match whatever is not None.

    For the next page, ``before`` is (at_us, request_id) of the last one seen.
    """
    equal = {"request_id": request_id, "key_id": key, "model": model, "provider": provider}
    conditions = _conditions(
        since_us, until_us, **equal, endpoint=endpoint, status=status, state=state
    )
    if before is not None:
        same = sa.and_(_calls.c.at_us == before[0], _calls.c.request_id < before[1])
        conditions.append(sa.or_(_calls.c.at_us < before[0], same))
    order = (_calls.c.at_us.desc(), _calls.c.request_id.desc())
    query = sa.select(_calls).where(*conditions).order_by(*order).limit(limit)
    with reading(engine) as connection:
        return [_call_row(row) for row in connection.execute(query)]


def _conditions(
    since_us: int | None, until_us: int | None, **equal: str | int | None
) -> list[sa.ColumnElement[bool]]:
    found = [_calls.c[name] == value for name, value in equal.items() if value is not None]
    if since_us is not None:
        found.append(_calls.c.at_us >= since_us)
    if until_us is not None:
        found.append(_calls.c.at_us < until_us)
    return found


def _query(
    dialect: str, part: spans.Part, by: tuple[str, ...], equal: dict[str, str | None]
) -> sa.Select[Any]:
    """The groups, then the sums in the order of ``SUMS``, of one part."""
    if part.source == spans.CALLS:
        conditions = _conditions(part.begin, part.end, **equal)
        days, columns, sums = _per(_calls.c.at_us, DAY_US), _calls.c, _sums(dialect)
        query = sa.select()
    else:
        table, columns = _rollups[part.source], _groups.c
        conditions = [columns[name] == value for name, value in equal.items() if value is not None]
        plain = not conditions and set(by) <= {"day"}
        conditions += _within(table.c.at, part)
        days = _per(table.c.at, DAY_US // 1_000_000)
        sums = [sa.func.sum(table.c[name]) for name in SUMS]
        query = sa.select()
        if not plain:
            query = query.join_from(table, _groups, table.c.group_id == columns.id)
    groups = [days if name == "day" else columns[_COLUMNS.get(name, name)] for name in by]
    return query.add_columns(*groups, *sums).where(*conditions).group_by(*groups)


def _per(time: sa.ColumnElement[int], step: int) -> sa.ColumnElement[int]:
    # As text in the statement: PostgreSQL does not see that two parameters are equal.
    return time.op("/")(sa.literal_column(str(step)))


def _within(at: sa.ColumnElement[int], part: spans.Part) -> list[sa.ColumnElement[bool]]:
    return [at >= part.begin // 1_000_000, at < part.end // 1_000_000]


def _sums(dialect: str) -> list[sa.ColumnElement[Any]]:
    def number(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
        return sa.func.sum(sa.case((condition, 1), else_=0))

    cost, saved = _calls.c.cost_pico, _calls.c.saved_pico
    sums = [
        sa.func.count(),
        number(sa.or_(_calls.c.status >= 400, _calls.c.error != "")),
        number(_calls.c.state == LOST),
        number(_calls.c.input.is_(None)),
        number(sa.or_(cost.is_(None), _calls.c.unknown_cost > 0)),
        number(_calls.c.cache.in_(REPEATED)),
    ]
    sums += [sa.func.sum(_calls.c[name]) for name in (*TOKEN_CLASSES, *EXTRA_COUNTS)]
    return [*sums, *_money(dialect, cost), *_money(dialect, saved)]


def _money(dialect: str, amount: sa.ColumnElement[Any]) -> list[sa.ColumnElement[Any]]:
    """The sum of picodollars in two parts: microdollars, and picodollars beside them."""
    if dialect == "postgresql":
        return [sa.literal(0), sa.func.sum(amount)]
    # SQLite's sums end at 2^63 picodollars, 9.2 million dollars: add up in two parts.
    micro: sa.ColumnElement[int] = sa.literal_column(str(MICRO))
    return [sa.func.sum(amount.op("/")(micro)), sa.func.sum(amount.op("%")(micro))]


def _usage_row(by: tuple[str, ...], group: tuple[Any, ...], numbers: list[int]) -> UsageRow:
    groups = dict(zip(by, group, strict=True))
    if "day" in groups:
        day = datetime.date(1970, 1, 1) + datetime.timedelta(days=groups["day"])
        groups["day"] = day.isoformat()
    said: dict[str, Any] = dict(zip(SUMS, numbers, strict=True))
    return UsageRow(
        **groups,
        **{name: said[name] for name in COUNTS},
        tokens=_usage(
            [said[name] for name in TOKEN_CLASSES], [said[name] for name in EXTRA_COUNTS]
        ),
        cost=said["cost_micro"] * MICRO + said["cost_rest"],
        saved=said["saved_micro"] * MICRO + said["saved_rest"],
    )


def _call_row(row: Any) -> CallRow:
    found = dict(row._mapping)
    for name in ("budgets", "charged_pico", "charged_tokens"):
        del found[name]
    tokens = [found.pop(name) for name in TOKEN_CLASSES]
    extras = [found.pop(name) or 0 for name in EXTRA_COUNTS]
    pieces = found.pop("pieces_json")
    said = msgspec.json.decode(pieces) if pieces else {}
    said |= {name: word for name in ("service", "region") if (word := found.pop(name))}
    cost, saved = found.pop("cost_pico"), found.pop("saved_pico")
    found["key"] = found.pop("key_id")
    found["attempts"] = msgspec.json.decode(found.pop("attempts_json"))
    plan = found.pop("plan_json")
    found["plan"] = msgspec.json.decode(plan) if plan else []
    found["unknown_cost"] = found["unknown_cost"] or int(cost is None)
    return CallRow(
        **found,
        usage=None if tokens[0] is None else _usage(tokens, extras, said),
        cost=None if cost is None else int(cost),
        saved=None if saved is None else int(saved),
    )


def _usage(tokens: list[int], extras: list[int], pieces: dict[str, Any] | None = None) -> Usage:
    said: dict[str, Any] = dict(zip(TOKEN_CLASSES, tokens, strict=True))
    if any(extras) or pieces:
        counts: dict[str, Any] = dict(zip(EXTRA_COUNTS, extras, strict=True))
        said["extras"] = Extras(**counts, **(pieces or {}))
    return Usage(**said)


def price_of(engine: sa.Engine, price: str) -> tuple[Price, ...]:
    """The price that calls were billed by under this id; empty = the ledger does not have it."""
    query = sa.select(_prices.c.prices_json).where(_prices.c.id == price)
    with reading(engine) as connection:
        found = connection.execute(query).scalar()
    return msgspec.json.decode(found, type=tuple[Price, ...]) if found else ()


def prices_used(engine: sa.Engine, since_us: int) -> list[PriceUsed]:
    """The prices that calls begun since then were billed by, by provider and model."""
    used = (
        sa.select(
            _calls.c.price, sa.func.count().label("n"), sa.func.max(_calls.c.at_us).label("last")
        )
        .where(_calls.c.price.is_not(None), _calls.c.at_us >= since_us)
        .group_by(_calls.c.price)
        .subquery()
    )
    query = (
        sa.select(_prices, used.c.n, used.c.last)
        .join(used, used.c.price == _prices.c.id)
        .order_by(_prices.c.provider, _prices.c.model, used.c.last)
    )
    with reading(engine) as connection:
        return [
            PriceUsed(
                id=row.id, provider=row.provider, model=row.model, calls=row.n, last_at_us=row.last,
                prices=msgspec.json.decode(row.prices_json, type=tuple[Price, ...]),
            )
            for row in connection.execute(query)
        ]  # fmt: skip


def unknown_costs(engine: sa.Engine, since_us: int) -> dict[tuple[str, str], int]:
    """(provider, model) → its calls since then whose usage is known, but not their cost."""
    query = (
        sa.select(_calls.c.provider, _calls.c.target, sa.func.count())
        .where(
            _calls.c.at_us >= since_us, _calls.c.cost_pico.is_(None), _calls.c.input.is_not(None)
        )
        .group_by(_calls.c.provider, _calls.c.target)
    )
    with reading(engine) as connection:
        return {(row[0], row[1]): row[2] for row in connection.execute(query)}
