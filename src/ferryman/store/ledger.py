"""Reads the ledger: sums over calls, and single calls. Costs are integer picodollars throughout."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from ferryman.ir.price import Price
from ferryman.ir.usage import EXTRA_COUNTS, Extras, Usage, added
from ferryman.store import condensed, feedback, spans, sums, topmost
from ferryman.store.db import reading, summing
from ferryman.store.dimensions import (
    PERIODS,
    check,
    column,
    conditions,
    each_tag,
    offsets_within,
    shown,
)
from ferryman.store.rollup import MICRO
from ferryman.store.schema import (
    COUNTS,
    DAY_US,
    ESTIMATED,
    ESTIMATES,
    SCORES,
    SUMS,
    TOKEN_CLASSES,
    condensed_sums,
    rollups,
)
from ferryman.store.schema import call_groups as _groups
from ferryman.store.schema import calls as _calls
from ferryman.store.schema import condensed as _condensed
from ferryman.store.schema import feedback as _said
from ferryman.store.schema import prices as _prices

ROLLED: Final = frozenset(
    ("key", "endpoint", "model", "provider", "target", "policy", "service", *PERIODS)
)
"""Dimensions that roll-ups have."""
SEARCHED: Final = (
    "request_id", "model", "provider", "target", "error", "endpoint", "policy", "run", "task",
    "end_user", "organisation", "team", "user", "tags", "metadata",
)  # fmt: skip
"""Columns that a text is looked for in."""
_NOTHING: Final[Mapping[str, str]] = {}
_TABLES: Final = {**rollups, condensed.WEEK: condensed_sums, condensed.CONDENSED: _condensed}
"""Source of sums → where they are."""
_HOUR_US: Final = 3_600_000_000
_SCORED: Final = len(SUMS) + len(ESTIMATED)
"""Where ``SCORES`` stand among the numbers of a row,"""
_UNITS: Final = _SCORED + len(SCORES)
"""and those of ``sums.of_units``;"""
_WIDTH: Final = _UNITS + 7
"""all that a row may have."""


class Estimated(Struct, frozen=True, kw_only=True):
    """What calls have probably used beside what is known of them: never within other sums."""

    calls: int = 0
    """Of how many."""
    input: int = 0
    """Tokens."""
    output: int = 0
    cost: int = 0
    """Picodollars."""


class Units(Struct, frozen=True, kw_only=True):
    """What costs per call, run and token are worked out from: calls whose whole cost is known."""

    calls: int
    cost: int
    """Picodollars."""
    tokens: int
    runs: int
    """Different values of ``run``, over all calls that have one;"""
    run_cost: int
    """and what those calls have cost, as far as that is known."""


class UsageRow(Struct, frozen=True, kw_only=True):
    """Sums over the calls of one group."""

    groups: tuple[str | None, ...] = ()
    """Values of the dimensions that were asked for; None = these calls have none."""
    other: bool = False
    """True: all groups that are not among the top ones; ``groups`` has periods only then."""
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
    estimated: Estimated
    """What they have probably used beside all that."""
    units: Units | None = None
    """None: not asked for."""
    scored: int = 0
    """Scores that were given to these calls,"""
    score: int = 0
    """and their sum, thousandths."""


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
    organisation: str | None
    team: str | None
    user: str | None
    end_user: str | None
    run: str | None
    task: str | None
    tags: list[str]
    metadata: dict[str, str]
    estimate: Estimated | None
    """What it has probably used beside ``usage`` and ``cost``."""
    parent: str | None
    """Request id of the call that caused this one, as its caller says."""
    client: str | None
    """The caller's user agent, shortened."""
    strategy: str | None
    """How the order of ``plan`` was found."""
    verdicts: list[dict[str, Any]]
    """What checks of content said (``telemetry.record.Verdict``)."""
    upstream_id: str | None
    """What the provider of the last attempt calls it."""
    trace: str | None
    """Id of its caller's trace, 32 hexadecimal digits."""
    content: str | None
    """What became of prompt and answer (``Closed.content``)."""


def usage(
    engine: sa.Engine,
    *,
    by: tuple[str, ...] = (),
    since_us: int | None = None,
    until_us: int | None = None,
    where: Mapping[str, str] = _NOTHING,
    zone: str = "UTC",
    top: int = 0,
    units: bool = False,
) -> list[UsageRow]:
    """Sums over the calls begun in [``since_us``, ``until_us``), grouped and ordered by ``by``.

    Where single calls of that time are not kept any more, it is that of :func:`kept`. ``where``:
    dimension → the value it must have. With ``top`` those many groups (whatever their periods)
    that cost most, and the others together, of at most ``topmost.MOST`` rows. Without ``by`` one
    row, also when there are no calls. A call with several tags counts with each. Raises ValueError
    for what is no dimension (``store/dimensions.py``), for more rows, and for an unknown time zone.
    """
    for name in (*by, *where):
        check(name)
    offsets = offsets_within(zone, since_us, until_us)
    fixed = [place for place, name in enumerate(by) if name not in PERIODS]
    top = top if fixed else 0
    found: topmost.Sums = {} if by else {(): [0] * _WIDTH}
    others: topmost.Sums = {}
    with summing(engine) as connection:
        floors = spans.floors(connection)
        sources = _sources(floors, by, where, zone, offsets)
        parts = spans.cover(*_stretch(since_us, until_us, sources), sources)
        floor = floors.get(spans.CALLS, -spans.EVER)
        if _coarsest(by, zone, offsets) == DAY_US:
            parts = _condensed_parts(connection, parts, {*by, *where}, floor)
        looks = list(_looks(connection, parts, by, where, offsets, units, floor))
        if not topmost.read(connection, looks, found, _WIDTH, topmost.MOST if top else 0):
            found, others = topmost.narrowed(connection, looks, fixed, top, _WIDTH)
        elif top:
            found, others = topmost.split(found, fixed, top, _WIDTH)
    rows = [
        (tuple([shown(*each, zone) for each in zip(by, groups, strict=True)]), other, numbers)
        for each, other in ((found, False), (others, True))
        for groups, numbers in each.items()
    ]
    return [_usage_row(*each, units) for each in sorted(rows, key=_order(by))]


def _condensed_parts(
    connection: sa.Connection, parts: list[spans.Part], names: set[str], floor: int
) -> list[spans.Part]:
    """Parts with condensed days where they tell of ``names``, none on both sides of ``floor`` (Unix
    microseconds), or weeks."""
    name, found = condensed.dimension(names), list[spans.Part]()
    if name is None:
        return parts if names.intersection(PERIODS) else list(condensed.weeks(connection, parts))
    source = spans.CALLS if name == condensed.OWNER else "day"
    for part in parts:
        told = part.source == source
        found += condensed.days(connection, part, name, floor) if told else [part]
    return found


def _looks(
    connection: sa.Connection, parts: list[spans.Part], by: tuple[str, ...],
    where: Mapping[str, str], offsets: tuple[tuple[int, int], ...], units: bool, floor: int,
) -> Iterator[topmost.Look]:  # fmt: skip
    """What has to be read: each part, then what only single calls tell of all of them, as long as
    they are kept (``floor``: since when, Unix microseconds)."""
    if not parts:
        return
    dialect = connection.dialect.name
    told = [each for each in parts if each.source == condensed.CONDENSED and each.begin >= floor]
    for part in parts:
        look = _look(dialect, part, by, where, offsets)
        more = sums.of_sums(_condensed, (*ESTIMATED, *SCORES)) if part in told else []
        yield look._replace(numbers=[*look.numbers, *more])
    edges = [at for part in told for at in (part.begin, part.end)]
    edges = [parts[0].begin, *edges, parts[-1].end]
    scores = connection.scalar(sa.select(sa.exists(_said.select())))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if begin < end:
            single = _look(dialect, spans.Part(spans.CALLS, begin, end), by, where, offsets)
            heard = single.rows.where(_calls.c.estimated_input.is_not(None))
            yield single._replace(rows=heard, numbers=sums.of_estimates(dialect), at=len(SUMS))
            if scores:
                about = single.rows.where(*feedback.about(begin, end))
                yield single._replace(rows=about, numbers=sums.of_scores(), at=_SCORED)
    if units:
        whole = spans.Part(spans.CALLS, parts[0].begin, parts[-1].end)
        beside = _look(dialect, whole, by, where, offsets)
        yield beside._replace(numbers=sums.of_units(dialect), at=_UNITS)


def _order(by: tuple[str, ...]) -> Callable[[Any], Any]:
    """Sorts by period first, then by the groups as they were asked for, the others last."""

    def order(row: Any) -> Any:
        groups, other, _ = row
        times = [value or "" for name, value in zip(by, groups, strict=True) if name in PERIODS]
        return times, other, [(value is None, value or "") for value in groups]

    return order


def total(rows: Iterable[UsageRow]) -> UsageRow:
    """The sums of all rows together, without what units cost."""
    found: dict[str, Any] = dict.fromkeys((*COUNTS, "cost", "saved", "scored", "score"), 0)
    about = dict.fromkeys(Estimated.__struct_fields__, 0)
    tokens = Usage()
    for row in rows:
        tokens = added(tokens, row.tokens)
        for name in found:
            found[name] += getattr(row, name)
        for name in about:
            about[name] += getattr(row.estimated, name)
    return UsageRow(**found, tokens=tokens, estimated=Estimated(**about))


def kept(
    engine: sa.Engine,
    since_us: int | None,
    until_us: int | None,
    by: tuple[str, ...] = (),
    where: Mapping[str, str] = _NOTHING,
    zone: str = "UTC",
) -> tuple[int | None, int | None]:
    """The stretch that :func:`usage` answers for: its edges are moved outwards to whole minutes,
    hours or days where nothing finer is kept of that time; where only single calls tell, it begins
    with the first that is kept."""
    offsets = offsets_within(zone, since_us, until_us)
    with reading(engine) as connection:
        sources = _sources(spans.floors(connection), by, where, zone, offsets)
    since, until = _stretch(since_us, until_us, sources)
    if len(sources) == 1:
        since = max(since, sources[0].floor)
    return since if since_us is not None else None, until if until_us is not None else None


def _sources(
    floors: dict[str, int],
    by: tuple[str, ...],
    where: Mapping[str, str],
    zone: str,
    offsets: tuple[tuple[int, int], ...],
) -> list[spans.Source]:
    """Where such sums can be read from: single calls alone for what no roll-up has."""
    found = spans.of_usage(floors)
    if not {*by, *where} <= ROLLED:
        return found[-1:]
    return [source for source in found if source.step <= _coarsest(by, zone, offsets)]


def _coarsest(by: tuple[str, ...], zone: str, offsets: tuple[tuple[int, int], ...]) -> int:
    """Microseconds of the longest steps of time that tell of these periods in this zone."""
    if not any(name in PERIODS for name in by) or (zone == "UTC" and "hour" not in by):
        return DAY_US
    ends = [end for end, _ in offsets[:-1]]  # the last one stands for ever
    even = not any(at % _HOUR_US for at in (*ends, *(more for _, more in offsets)))
    return _HOUR_US if even else _HOUR_US // 60


def _stretch(
    since_us: int | None, until_us: int | None, sources: list[spans.Source]
) -> tuple[int, int]:
    since = -spans.EVER if since_us is None else since_us
    until = spans.EVER if until_us is None else until_us
    return spans.widened(since, until, sources) if since < until else (since, until)


def calls(
    engine: sa.Engine,
    *,
    limit: int = 50,
    before: tuple[int, str] | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    request_id: str | None = None,
    where: Mapping[str, str] = _NOTHING,
    failed: bool = False,
    text: str | None = None,
    among: Collection[str] | None = None,
    also: Collection[sa.ColumnElement[bool]] = (),
) -> list[CallRow]:
    """The newest calls first, at most ``limit``, of those that match.

    ``where`` is as in :func:`usage`; ``failed`` wants those whose caller got an error, ``text``
    those that have it in one of ``SEARCHED``, ``among`` calls of these ids, ``also`` what else must
    hold. For the next page, ``before`` is (at_us, request_id) of the last one seen. Raises
    ValueError as :func:`usage` does.
    """
    chosen = conditions(_calls.c, engine.dialect.name, since_us, until_us, where)
    if request_id is not None:
        chosen.append(_calls.c.request_id == request_id)
    if among is not None:
        chosen.append(_calls.c.request_id.in_(among))
    if failed:
        chosen.append(sa.or_(_calls.c.status >= 400, _calls.c.error != ""))
    if text is not None:
        searched = (_calls.c[name].icontains(text, autoescape=True) for name in SEARCHED)
        chosen.append(sa.or_(*searched))
    chosen += also
    if before is not None:
        same = sa.and_(_calls.c.at_us == before[0], _calls.c.request_id < before[1])
        chosen.append(sa.or_(_calls.c.at_us < before[0], same))
    order = (_calls.c.at_us.desc(), _calls.c.request_id.desc())
    query = sa.select(_calls).where(*chosen).order_by(*order).limit(limit)
    with reading(engine) as connection:
        return [call_row(row) for row in connection.execute(query)]


def calls_after(
    engine: sa.Engine,
    after: tuple[int, str],
    until_us: int,
    limit: int,
    where: Mapping[str, str] = _NOTHING,
) -> list[CallRow]:
    """The next calls after (at_us, request_id), oldest first: for exports, page by page."""
    same = sa.and_(_calls.c.at_us == after[0], _calls.c.request_id > after[1])
    chosen = conditions(_calls.c, engine.dialect.name, after[0], until_us, where)
    later = sa.or_(_calls.c.at_us > after[0], same)
    query = sa.select(_calls).where(*chosen, later)
    query = query.order_by(_calls.c.at_us, _calls.c.request_id).limit(limit)
    with reading(engine) as connection:
        return [call_row(row) for row in connection.execute(query)]


def _look(
    dialect: str, part: spans.Part, by: tuple[str, ...], where: Mapping[str, str],
    offsets: tuple[tuple[int, int], ...],
) -> topmost.Look:  # fmt: skip
    """The sums of one part, in the order of ``SUMS``."""
    columns: Any
    if part.source == spans.CALLS:
        columns, tag = _calls.c, None
        at_us: sa.ColumnElement[Any] = _calls.c.at_us
        chosen = conditions(columns, dialect, part.begin, part.end, where)
        numbers, query = sums.of_calls(dialect), sa.select()
        if "tag" in by:
            tags = each_tag(columns, dialect)
            query, tag = query.select_from(_calls.outerjoin(tags, sa.true())), tags.c.value
    else:
        short = part.source == condensed.CONDENSED
        table, tag = _TABLES[part.source], None
        at_us = table.c.at * sa.literal_column("1000000", sa.BigInteger)
        numbers, query = sums.of_sums(table), sa.select()
        if short:
            name = condensed.dimension((*by, *where)) or ""
            columns, chosen = condensed.columns(name, dialect), [table.c.dimension == name]
        else:
            columns, chosen = _groups.c, []
            if where or not set(by) <= set(PERIODS):
                query = query.join_from(table, _groups, table.c.group_id == columns.id)
        chosen += conditions(columns, dialect, None, None, where) + within(table.c.at, part)
    groups = [column(name, columns, dialect, offsets, tag, at_us) for name in by]
    return topmost.Look(query.where(*chosen), groups, numbers)


def per(time: sa.ColumnElement[int], step: int) -> sa.ColumnElement[int]:
    """The number of the step, as long as ``step``, that ``time`` is in."""
    # As text in the statement: PostgreSQL does not see that two parameters are equal.
    return time // sa.literal_column(str(step), sa.BigInteger)


def within(at: sa.ColumnElement[int], part: spans.Part) -> list[sa.ColumnElement[bool]]:
    """That ``at`` (Unix seconds) is in a part of a stretch of time."""
    return [at >= part.begin // 1_000_000, at < part.end // 1_000_000]


def _usage_row(
    groups: tuple[str | None, ...], other: bool, numbers: list[int], units: bool
) -> UsageRow:
    said: dict[str, Any] = dict(zip(SUMS, numbers, strict=False))
    about, heard, guessed, micro, rest, scored, score, *more = numbers[len(SUMS) :]
    each = None
    if units:
        calls, tokens, runs, *amounts = more
        cost, run_cost = (a * MICRO + b for a, b in (amounts[:2], amounts[2:]))
        each = Units(calls=calls, tokens=tokens, runs=runs, cost=cost, run_cost=run_cost)
    return UsageRow(
        groups=groups,
        other=other,
        **{name: said[name] for name in COUNTS},
        tokens=_usage(
            [said[name] for name in TOKEN_CLASSES], [said[name] for name in EXTRA_COUNTS]
        ),
        cost=topmost.cost(numbers),
        saved=said["saved_micro"] * MICRO + said["saved_rest"],
        estimated=Estimated(calls=about, input=heard, output=guessed, cost=micro * MICRO + rest),
        units=each,
        scored=scored,
        score=score,
    )


def call_row(row: Any) -> CallRow:
    """A row of the table ``calls``."""
    found = dict(row._mapping)
    for name in ("budgets", "charged_pico", "charged_tokens", "day"):
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
    verdicts = found.pop("verdicts_json")
    found["verdicts"] = msgspec.json.decode(verdicts) if verdicts else []
    found["unknown_cost"] = found["unknown_cost"] or int(cost is None)
    found["tags"] = msgspec.json.decode(found["tags"]) if found["tags"] else []
    found["metadata"] = msgspec.json.decode(found["metadata"]) if found["metadata"] else {}
    heard, made, about = [found.pop(name) for name in ESTIMATES]
    estimate = None
    if heard is not None:
        estimate = Estimated(calls=1, input=heard, output=made, cost=int(about or 0))
    return CallRow(
        **found,
        usage=None if tokens[0] is None else _usage(tokens, extras, said),
        cost=None if cost is None else int(cost),
        saved=None if saved is None else int(saved),
        estimate=estimate,
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
    counts: Counter[str] = Counter()
    last: dict[str, tuple[int, bool]] = {}
    with summing(engine) as connection:
        for part in _since(connection, since_us, condensed.PRICE):
            short = part.source == condensed.CONDENSED
            for price, calls, at in connection.execute(_prices_in(part)):
                counts[price] += int(calls)
                last[price] = max(last.get(price, (0, False)), (int(at), short))
        found = [
            PriceUsed(
                id=row.id, provider=row.provider, model=row.model, calls=counts[row.id],
                last_at_us=_last_call(connection, row.id, *last[row.id]),
                prices=msgspec.json.decode(row.prices_json, type=tuple[Price, ...]),
            )
            for row in connection.execute(sa.select(_prices).where(_prices.c.id.in_(list(counts))))
        ]  # fmt: skip
    return sorted(found, key=lambda used: (used.provider, used.model, used.last_at_us))


def _since(connection: sa.Connection, since_us: int, name: str) -> list[spans.Part]:
    """Days that are condensed by what single calls tell, and single calls of others."""
    part = spans.Part(spans.CALLS, since_us, spans.EVER)
    return condensed.days(connection, part, name, since_us)


def _prices_in(part: spans.Part) -> sa.Select[Any]:
    """Price, calls and when the last one began; of condensed days when its day did."""
    if part.source == condensed.CONDENSED:
        of = _condensed.c
        last = sa.func.max(of.at) * sa.literal_column("1000000", sa.BigInteger)
        query = sa.select(of.value, sa.func.sum(of.calls), last).group_by(of.value)
        return query.where(of.dimension == condensed.PRICE, *within(of.at, part))
    price, at = _calls.c.price, _calls.c.at_us
    query = sa.select(price, sa.func.count(), sa.func.max(at)).group_by(price)
    return query.where(price.is_not(None), at >= part.begin, at < part.end)


def _last_call(connection: sa.Connection, price: str, at_us: int, day: bool) -> int:
    """When the last call by a price began: at that time, or on that day."""
    if not day:
        return at_us
    at = _calls.c.at_us
    of_day = sa.select(at).where(_calls.c.price == price, at >= at_us, at < at_us + DAY_US)
    return int(connection.scalar(of_day.order_by(at.desc()).limit(1)) or at_us)


def unknown_costs(engine: sa.Engine, since_us: int) -> dict[tuple[str, str], int]:
    """(provider, model) → its calls since then whose usage is known, but not their cost."""
    of, at = _condensed.c, _calls.c.at_us
    pair = condensed.array(engine.dialect.name, _calls.c.provider, _calls.c.target)
    counts: Counter[tuple[str, str]] = Counter()
    with summing(engine) as connection:
        for part in _since(connection, since_us, condensed.UNPRICED):
            query = sa.select(pair, sa.func.count()).group_by(pair)
            query = query.where(at >= part.begin, at < part.end, *condensed.unpriced())
            if part.source == condensed.CONDENSED:
                query = sa.select(of.value, sa.func.sum(of.calls)).group_by(of.value)
                query = query.where(of.dimension == condensed.UNPRICED, *within(of.at, part))
            for value, calls in connection.execute(query):
                counts[msgspec.json.decode(value, type=tuple[str, str])] += int(calls)
    return dict(counts)
