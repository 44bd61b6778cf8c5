"""Reads what is going on: the calls under way, and the last ones in the few columns that count."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from ferryman.store.db import reading
from ferryman.store.ledger import CallRow, call_row, per
from ferryman.store.rollup import MICRO
from ferryman.store.schema import calls as _calls
from ferryman.store.schema import open_calls as _open
from ferryman.store.sums import money

_HOUR_US: Final = 3_600_000_000
_OUTPUT: Final = ("output", "reasoning", "audio_output")


class Open(Struct, frozen=True, kw_only=True):
    """A call that has begun and not ended."""

    request_id: str
    at_us: int
    key: str
    endpoint: str
    model: str
    provider: str
    """Who was to be asked first."""
    target: str


class Glance(Struct, frozen=True, kw_only=True):
    """A call that has ended. Spans are microseconds; None = unknown, or it never happened."""

    at_us: int
    duration_us: int | None
    first_token_us: int | None
    status: int
    error: str
    provider: str
    cost: int | None
    """Picodollars."""
    output: int
    """Tokens that the model made."""
    attempts: list[dict[str, Any]]
    plan: list[dict[str, Any]]
    """As in ``ledger.CallRow``."""


class Step(Struct, frozen=True, kw_only=True):
    """Sums over the calls that began in one step of time."""

    number: int
    """Of the steps since 1970."""
    calls: int = 0
    """That have ended,"""
    errors: int = 0
    """their callers having got an error;"""
    running: int = 0
    """and those that are under way."""
    output: int = 0
    """Tokens that models made."""
    cost: int = 0
    """Picodollars, as far as known."""
    unknown_cost: int = 0
    """Answers whose cost is unknown."""


Ahead = Mapping[str, int]
"""Data planes whose clocks are off → microseconds that they are ahead of ours."""
RIGHT: Final[Ahead] = {}


def under_way(engine: sa.Engine, limit: int, ahead: Ahead = RIGHT) -> tuple[int, list[Open]]:
    """How many calls are under way, and the newest of them; their times by our clock."""
    columns = [_open.c[name] for name in Open.__struct_fields__ if name != "key"]
    query = sa.select(_open.c.key_id.label("key"), *columns).order_by(_open.c.at_us.desc())
    found = []
    with reading(engine) as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(_open)).scalar() or 0
        for planes, off in by_clock(_open.c.plane, ahead):
            rows = connection.execute(query.where(planes).limit(limit))
            found += [Open(**{**row._mapping, "at_us": row.at_us - off}) for row in rows]
    return count, sorted(found, key=lambda call: call.at_us, reverse=True)[:limit]


def by_clock(
    plane: sa.ColumnElement[str], ahead: Ahead
) -> Iterator[tuple[sa.ColumnElement[bool], int]]:
    """Data planes with the same clock, and how far ahead that is."""
    yield plane.not_in(list(ahead)) if ahead else sa.true(), 0
    for name, off in ahead.items():
        yield plane == name, off


def glances(engine: sa.Engine, since_us: int, limit: int, ahead: Ahead = RIGHT) -> list[Glance]:
    """The calls begun since then, newest first; the newest ``limit`` of them. Times are by our
    clock."""
    table = _calls.c
    query = sa.select(
        table.at_us, table.duration_us, table.first_token_us, table.status, table.error,
        table.provider, table.cost_pico, _made(), table.attempts_json, table.plan_json,
    )  # fmt: skip
    query = query.order_by(table.at_us.desc()).limit(limit)
    found = []
    with reading(engine) as connection:
        for planes, off in by_clock(table.plane, ahead):
            rows = connection.execute(query.where(planes, table.at_us >= since_us + off))
            found += [_glance(row, off) for row in rows]
    return sorted(found, key=lambda call: call.at_us, reverse=True)[:limit]


def newest(engine: sa.Engine, limit: int, now_us: int, ahead: Ahead = RIGHT) -> list[CallRow]:
    """The newest calls that have ended, newest first; their times by our clock."""
    query = sa.select(_calls).order_by(_calls.c.at_us.desc(), _calls.c.request_id.desc())
    found = []
    with reading(engine) as connection:
        for planes, off in by_clock(_calls.c.plane, ahead):
            # No index has the plane: without a bound, all would be looked through for its calls.
            since = [_calls.c.at_us >= now_us + off - _HOUR_US] if off else []
            rows = connection.execute(query.where(planes, *since).limit(limit))
            found += [replace(row, at_us=row.at_us - off) for row in map(call_row, rows)]
    return sorted(found, key=lambda call: call.at_us, reverse=True)[:limit]


def _glance(row: Any, off: int) -> Glance:
    return Glance(
        at_us=row[0] - off, duration_us=row[1], first_token_us=row[2], status=row[3],
        error=row[4], provider=row[5], cost=None if row[6] is None else int(row[6]),
        output=int(row[7]), attempts=msgspec.json.decode(row[8]),
        plan=msgspec.json.decode(row[9]) if row[9] else [],
    )  # fmt: skip


def steps(engine: sa.Engine, since_us: int, step_us: int, ahead: Ahead = RIGHT) -> list[Step]:
    """All calls begun since then, by when they began, by our clock; steps without calls are left
    out."""
    table = _calls.c
    failed = sa.or_(table.status >= 400, table.error != "")
    names = ("calls", "errors", "output", "unknown_cost", "micro", "rest")
    sums = [
        sa.func.count(), sa.func.sum(sa.case((failed, 1), else_=0)), sa.func.sum(_made()),
        sa.func.sum(sa.case((sa.and_(table.cost_pico.is_(None), ~failed), 1), else_=0)),
        *money(engine.dialect.name, table.cost_pico),
    ]  # fmt: skip
    found: dict[int, Counter[str]] = defaultdict(Counter)
    with reading(engine) as connection:
        for planes, off in by_clock(table.plane, ahead):
            number = per(table.at_us - off, step_us)
            query = sa.select(number, *sums).where(planes, table.at_us >= since_us + off)
            for step, *numbers in connection.execute(query.group_by(number)):
                more = zip(names, numbers, strict=True)
                found[int(step)].update({name: int(each or 0) for name, each in more})
        for planes, off in by_clock(_open.c.plane, ahead):
            begun = per(_open.c.at_us - off, step_us)
            running = sa.select(begun, sa.func.count())
            running = running.where(planes, _open.c.at_us >= since_us + off).group_by(begun)
            for step, count in connection.execute(running):
                found[int(step)]["running"] += count
    return [
        Step(number=step, cost=said.pop("micro", 0) * MICRO + said.pop("rest", 0), **said)
        for step, said in sorted(found.items())
    ]


def _made() -> sa.ColumnElement[int]:
    """Tokens that the model of a call made."""
    each = (sa.func.coalesce(_calls.c[name], 0) for name in _OUTPUT)
    return sum(each, start=sa.literal(0))


class Verdicts(Struct, frozen=True, kw_only=True):
    """What a guard has said of calls."""

    guard: str
    stage: str
    action: str
    """As in ``telemetry.record.Verdict``."""
    calls: int
    found: int
    """How much it found in them together."""
    took_us: int
    """Likewise."""


def verdicts(engine: sa.Engine, since_us: int, limit: int) -> tuple[list[Verdicts], int]:
    """What guards said of the calls begun since then, and when the first of these began: of the
    newest ``limit`` of them."""
    newest = sa.select(_calls.c.at_us, _calls.c.verdicts_json).where(_calls.c.at_us >= since_us)
    calls = newest.order_by(_calls.c.at_us.desc()).limit(limit).subquery()
    said: Any
    if engine.dialect.name == "postgresql":
        each = sa.func.json_array_elements(sa.cast(calls.c.verdicts_json, sa.JSON))
        said = each.table_valued(sa.column("value", sa.JSON)).lateral()
    else:
        said = sa.func.json_each(calls.c.verdicts_json).table_valued("value")

    def member(name: str) -> sa.ColumnElement[Any]:
        if engine.dialect.name == "postgresql":
            found: sa.ColumnElement[Any] = said.c.value.op("->>")(name)
            return found
        return sa.func.json_extract(said.c.value, f"$.{name}")

    names, counts = ("check", "stage", "action"), ("count", "took_us")
    inner = (
        sa.select(
            *(member(name).label(f"its_{name}") for name in names),
            *(sa.cast(member(name), sa.BigInteger).label(f"its_{name}") for name in counts),
        )
        .select_from(calls.join(said, sa.true()))
        .where(calls.c.verdicts_json.is_not(None))
        .subquery()
    )
    sums = [sa.func.count(), *(sa.func.sum(inner.c[f"its_{name}"]) for name in counts)]
    groups = [inner.c[f"its_{name}"] for name in names]
    query = sa.select(*groups, *sums).group_by(*groups).order_by(*groups)
    first = sa.select(sa.func.count(), sa.func.min(calls.c.at_us))
    with reading(engine) as connection:
        rows = [
            Verdicts(
                guard=row[0], stage=row[1], action=row[2], calls=row[3], found=int(row[4] or 0),
                took_us=int(row[5] or 0),
            )
            for row in connection.execute(query)
        ]  # fmt: skip
        count, at = connection.execute(first).one()
        return rows, int(at) if count >= limit else since_us


def any_call(engine: sa.Engine) -> bool:
    """Whether there has been a call yet."""
    with reading(engine) as connection:
        return connection.execute(sa.select(_calls.c.at_us).limit(1)).first() is not None


def held(engine: sa.Engine, limit: int = 5000) -> dict[str, tuple[int, int]]:
    """Counters of budgets → picodollars and tokens that calls under way hold of them, of the newest
    ``limit`` calls."""
    found: dict[str, tuple[int, int]] = {}
    query = sa.select(_open.c.budgets, _open.c.charged_pico, _open.c.charged_tokens)
    query = query.where(_open.c.budgets.is_not(None)).order_by(_open.c.at_us.desc()).limit(limit)
    with reading(engine) as connection:
        for budgets, pico, tokens in connection.execute(query):
            for each in msgspec.json.decode(budgets):
                more = (each, int(pico or 0), int(tokens or 0)) if isinstance(each, str) else each
                before = found.get(more[0], (0, 0))
                found[more[0]] = before[0] + more[1], before[1] + more[2]
    return found
