"""What was used, by whom and for what, in the admin API: sums, forecasts, single calls."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, structs

from ferryman.client.documents import Call, Expected, Page, Run, Usage
from ferryman.client.documents import Forecast as MonthsEnd
from ferryman.control import query as reading
from ferryman.control.admin import Admin
from ferryman.control.api.access import may
from ferryman.control.api.cursor import Pages
from ferryman.control.api.route import Route
from ferryman.control.forecast import DAYS, Forecast, forecast
from ferryman.control.problem import ProblemError
from ferryman.control.rows import (
    call_row,
    dollars,
    run_row,
    unit_costs,
    usage_row,
    usage_sums,
)
from ferryman.control.when import rfc3339
from ferryman.ir.price import PICO
from ferryman.store import keys, ledger, lookup
from ferryman.store import runs as stored
from ferryman.store.dimensions import DIMENSIONS, PERIODS, check, midnight, today
from ferryman.store.ledger import SEARCHED
from ferryman.store.search import Narrow

MAX_GROUPS: Final = 10_000
"""Groups in one answer; the others come together."""
FORECAST: Final = 1000
"""Of a forecast, which takes sums of each of their days."""
MOST: Final = 10**9
"""Seconds, or dollars, that calls are chosen by at most."""
NAMED: Final = 10
"""Calls that an answer names where an id has several."""
By = Annotated[str, Meta(description=f"Any of {', '.join(DIMENSIONS)}, with commas.")]
Since = Annotated[
    str, Meta(description="From when: 7d, 12h, 2026-11-01, or RFC 3339.", examples=["7d"])
]
Until = Annotated[str, Meta(description="Up to when. Default: now.", examples=["2026-12-01"])]
Zone = Annotated[str, Meta(description="Time zone of days, weeks and months.")]
Top = Annotated[int, Meta(ge=1, le=MAX_GROUPS, description="As many groups, by cost.")]


class UsageQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which sums."""

    by: By = ""
    since: Since = "30d"
    until: Until = ""
    zone: Zone = "UTC"
    top: Top = MAX_GROUPS
    units: Annotated[bool, Meta(description="Costs per call, run and token too.")] = False


class ForecastQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which forecast."""

    by: By = ""
    zone: Zone = "UTC"
    top: Top = FORECAST


class CallsQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which calls."""

    since: Since = ""
    until: Until = ""
    request_id: str = ""
    failed: Annotated[bool, Meta(description="Only those whose caller got an error.")] = False
    text: Annotated[str, Meta(description=f"Only those with it in {', '.join(SEARCHED)}.")] = ""
    min_seconds: Annotated[str, Meta(description="As long at least.", examples=["2.5"])] = ""
    min_usd: Annotated[str, Meta(description="As dear at least.", examples=["0.01"])] = ""
    guard: Annotated[
        str,
        Meta(
            description="Of which a guard said something: its name, or GUARD/STAGE/ACTION.",
            examples=["pii/request/redacted"],
        ),
    ] = ""
    min_score: Annotated[
        str, Meta(description="Feedback gave it such a score at least, of -1 to 1.")
    ] = ""
    max_score: Annotated[str, Meta(description="The same, at most.")] = ""


def narrowed(admin: Admin, query: CallsQuery) -> Narrow:
    """What calls must be like beside their dimensions. Raises :class:`ProblemError`."""
    scores = None
    if query.min_score or query.max_score:
        may(admin.caller, "feedback.read")
        scores = (
            _number("min_score", query.min_score or "-1", -1, 1, 1000),
            _number("max_score", query.max_score or "1", -1, 1, 1000),
        )
    return Narrow(
        least_us=_number("min_seconds", query.min_seconds or "0", 0, MOST, 10**6),
        least_cost=_number("min_usd", query.min_usd or "0", 0, MOST, PICO),
        verdict=query.guard, scores=scores,
    )  # fmt: skip


def _number(name: str, text: str, least: int, most: int, worth: int) -> int:
    """A bound, in units that ``worth`` of are one. Raises :class:`ProblemError`."""
    try:
        found = Decimal(text)
        if not least <= found <= most:
            raise ArithmeticError
    except ArithmeticError:
        detail = f"{name}: give a number such as 0.5, from {least} to {most}."
        raise ProblemError(400, "invalid_query", detail) from None
    return int(found * worth)


class RunsQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which runs."""

    since: Since = "7d"
    until: Until = ""


def usage(admin: Admin, query: UsageQuery, where: dict[str, str]) -> Usage:
    """What was used and what it cost, by any dimensions.

    What is older than the single calls that are kept comes from coarser sums: `since` and `until`
    say what the answer is for.
    """
    groups = groups_of(query.by)
    begin, end = span(query.since, query.until)
    chosen: dict[str, Any] = {
        "since_us": begin, "until_us": end, "where": where, "zone": query.zone,
        "units": query.units,
    }  # fmt: skip
    admin.catch_up()
    rows = sums(admin, by=groups, top=query.top, **chosen)
    if query.units or "tag" in groups:  # calls with two tags, and runs in two groups, count once
        [total] = sums(admin, **chosen)
    else:
        total = ledger.total(rows)
    names = names_of(admin, groups, rows)
    first, last = ledger.kept(admin.engine, begin, end, groups, where, query.zone)
    return Usage(
        since=None if first is None else rfc3339(first / 1e6),
        until=rfc3339(time.time() if last is None else last / 1e6),
        by=groups,
        data=[usage_row(row, groups, names) for row in rows] if groups else [],
        total=usage_sums(total),
        units=None if total.units is None else unit_costs(total.units),
    )


def months_end(admin: Admin, query: ForecastQuery, where: dict[str, str]) -> MonthsEnd:
    """What this month will cost."""
    groups = groups_of(query.by)
    if any(name in PERIODS for name in groups):
        detail = f"by={query.by!r}: give no period, it is the month."
        raise ProblemError(400, "invalid_query", detail)
    now, zone = time.time(), query.zone
    with checked():
        day = today(now, zone)
    begin = midnight(day, zone)
    past = (now - begin) / (midnight(day + timedelta(days=1), zone) - begin)
    since = min(midnight(day - timedelta(days=DAYS), zone), midnight(day.replace(day=1), zone))
    chosen: dict[str, Any] = {"since_us": since * 1_000_000, "where": where, "zone": zone}
    admin.catch_up()
    rows = sums(admin, by=(*groups, "day"), top=query.top, **chosen)
    whole = sums(admin, by=("day",), **chosen) if groups else rows
    names = names_of(admin, groups, rows)
    shown = [
        _named(groups, named, names) | structs.asdict(_told(forecast(costs, day, past)))
        for named, costs in _daily(rows).items()
    ]
    total = _daily(whole).get((False,), {})
    return MonthsEnd(
        month=f"{day:%Y-%m}",
        zone=zone,
        data=shown if groups else [],
        total=_told(forecast(total, day, past)),
    )


def _daily(rows: Iterable[ledger.UsageRow]) -> dict[tuple[Any, ...], dict[date, int]]:
    """Costs by day, the last of the rows' groups; by whether they are others, and their groups."""
    found: dict[tuple[Any, ...], dict[date, int]] = {}
    for row in rows:
        *groups, day = row.groups
        found.setdefault((row.other, *groups), {})[date.fromisoformat(day or "")] = row.cost
    return found


def _named(
    groups: Sequence[str], values: tuple[Any, ...], names: Mapping[str, str]
) -> dict[str, Any]:
    other, *rest = values
    found = dict(zip(groups, rest, strict=True))
    if "key" in found:
        found["key"] = names.get(found["key"] or "", found["key"])
    return found | ({"other": True} if other else {})


def _told(found: Forecast | None) -> Expected:
    if found is None:
        return Expected(spent_usd=None, expected_usd=None, low_usd=None, high_usd=None, days=0,
                        method=None)  # fmt: skip
    return Expected(
        spent_usd=dollars(found.spent), expected_usd=dollars(found.expected),
        low_usd=dollars(found.low), high_usd=dollars(found.high),
        days=found.days, method=found.method,
    )  # fmt: skip


def calls(admin: Admin, query: CallsQuery, pages: Pages, where: dict[str, str]) -> Page[Call]:
    """Single calls, newest first."""
    begin, end = span(query.since, query.until)
    admin.catch_up()
    with checked():
        found = ledger.calls(
            admin.engine, limit=pages.more, before=pages.after(tuple[int, str]), since_us=begin,
            until_us=end, request_id=query.request_id or None, where=where,
            failed=query.failed, text=query.text or None,
            also=narrowed(admin, query).conditions(),
        )  # fmt: skip
    shown, more = pages.cut(found, lambda call: (call.at_us, call.request_id))
    names = keys.names(admin.engine, (call.key for call in shown))
    return Page(data=[call_row(call, names) for call in shown], next=more)


def call_of(admin: Admin, ident: str) -> ledger.CallRow:
    """The call with this id: its request id, a provider's, or its caller's trace.

    Raises :class:`ProblemError`: 404, or 409 where several have it.
    """
    admin.catch_up()
    found = lookup.calls_of(admin.engine, ident, NAMED + 1, admin.caller.within)
    if len(found) == 1:
        return found[0]
    if found:
        ids = [each.request_id for each in found[:NAMED]]
        detail = f"Several calls have the id {ident!r}: choose one of {', '.join(ids)}."
        raise ProblemError(409, "ambiguous_id", detail, calls=ids)
    detail = (
        f"No call has the id {ident!r}, neither as x-ferryman-request-id nor as the id that its "
        "provider gave it."
    )
    raise ProblemError(404, "call_not_found", detail)


def runs(admin: Admin, query: RunsQuery, pages: Pages, where: dict[str, str]) -> Page[Run]:
    """Runs of calls, those that began last first.

    A run is what callers say belongs together (`x-ferryman-run-id`). `since` and `until` choose
    calls: a run has those of its calls that lie between.
    """
    begin, end = span(query.since, query.until)
    admin.catch_up()
    with checked():
        found = stored.runs(
            admin.engine, limit=pages.more, before=pages.after(tuple[int, str]), since_us=begin,
            until_us=end, where=where,
        )  # fmt: skip
    shown, more = pages.cut(found, lambda run: (run.begun_us, run.run))
    return Page(data=list(map(run_row, shown)), next=more)


# -- what is asked for -----------------------------------------------------------------------------


def groups_of(by: str) -> tuple[str, ...]:
    """Dimensions with commas between. Raises :class:`ProblemError` (400)."""
    groups = reading.listed(by)
    try:
        for name in groups:
            check(name)
        if len(set(groups)) != len(groups):
            raise ValueError
    except ValueError:
        detail = f"by={by!r}: give any of {', '.join(DIMENSIONS)}, each once, with commas between."
        raise ProblemError(400, "invalid_query", detail) from None
    return groups


def span(since: str, until: str) -> tuple[int | None, int | None]:
    """Unix microseconds of both ends. Raises :class:`ProblemError` (400)."""
    begin, end = reading.moment_of("since", since), reading.moment_of("until", until)
    return (
        None if begin is None else begin * 1_000_000,
        None if end is None else end * 1_000_000,
    )


def sums(admin: Admin, **asked: Any) -> list[ledger.UsageRow]:
    """:func:`ferryman.store.ledger.usage`. Raises :class:`ProblemError` (400)."""
    with checked():
        return ledger.usage(admin.engine, **asked)


@contextmanager
def checked() -> Iterator[None]:
    """What the ledger can't be asked is the caller's mistake."""
    try:
        yield
    except ValueError as error:
        raise ProblemError(400, "invalid_query", str(error)) from None


def names_of(
    admin: Admin, groups: tuple[str, ...], rows: Collection[ledger.UsageRow]
) -> dict[str, str]:
    """Key id → name, of the keys in ``rows``."""
    if "key" not in groups:
        return {}
    at = groups.index("key")
    return dict(keys.names(admin.engine, {row.groups[at] or "" for row in rows}))


ROUTES: Final = (
    Route("GET", "/usage", "usage.read", usage, errors=(404, 409), tenants=True),
    Route("GET", "/usage/forecast", "usage.read", months_end, errors=(404, 409), tenants=True),
    Route("GET", "/calls", "calls.read", calls, errors=(404, 409), tenants=True),
    Route("GET", "/runs", "calls.read", runs, errors=(404, 409), tenants=True),
)
