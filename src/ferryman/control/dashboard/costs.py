"""The page Costs: where the money goes, by whatever it can be asked, down to the calls."""

import datetime
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy import Engine

from ferryman.control import exporting, views
from ferryman.control.api.access import theirs
from ferryman.control.dashboard import charts, stretch
from ferryman.control.dashboard.desk import Asked, Desk, Flow, Page
from ferryman.control.dashboard.limits import Standing, standings
from ferryman.control.dashboard.shape import change, plural, usd
from ferryman.control.dashboard.stretch import SPANS, UTC, Stretch, iso
from ferryman.control.forecast import DAYS, Forecast, forecast
from ferryman.control.problem import ProblemError
from ferryman.control.reports import checked
from ferryman.control.rows import dollars
from ferryman.store import keys, zoned
from ferryman.store.dimensions import METADATA, NONE
from ferryman.store.ledger import ROLLED
from ferryman.store.spending import Spending, Spent, daily, spending
from ferryman.store.zoned import began_at

DAY: Final = 86_400
BY: Final = (
    ("model", "Model"), ("provider", "Provider"), ("key", "Key"), ("endpoint", "Endpoint"),
    ("organisation", "Organisation"), ("team", "Team"), ("user", "User"), ("task", "Task"),
    ("tag", "Tag"), ("end_user", "End user"), ("policy", "Policy"),
)  # fmt: skip
DIMENSIONS: Final = tuple(name for name, _ in BY)
SECONDS: Final = 0.35
"""How long single calls are read for one page, where sums don't tell."""
MORE: Final = 0.1
"""What the stretch before may take beside that, and what is left of it."""
WEEK: Final = 7
MOST_COLUMNS: Final = 90
"""Days with a column each; of longer stretches weeks have one."""
MOST: Final = 5
"""Groups with a colour of their own; the last one stands for the rest."""
ROWS: Final = 200
BUDGETS: Final = 4


def page(desk: Desk, asked: Asked) -> Page:
    """Sums of a stretch of whole days."""
    by, only, days = _asked(asked)
    desk.admin.catch_up()
    engine, chosen = desk.admin.engine, _chosen(desk, only)
    step = WEEK if days.days > MOST_COLUMNS else 1
    began = time.monotonic()
    with checked():
        found = spent(engine, by, (days.first, days.last), chosen, days.zone, SECONDS, step)
        whole = found.since_us <= began_at(days.first, days.zone)
        left = SECONDS + MORE - (time.monotonic() - began)
        before = earlier(engine, by, days, chosen, left) if whole else None
    rows, total = folded(found.rows), summed(found.rows)
    rows.sort(key=lambda row: (row.cost, row.calls), reverse=True)
    names = _names(engine, by, [row.group for row in rows], chosen)
    top = [row.group for row in rows[:MOST]]
    until, said = days.at(days.last), days.said
    shown = [
        {"name": names.get(row.group, row.group) or "none", "row": row,
         "share": row.cost / total.cost if total.cost else 0.0,
         "trend": None if before is None else change(row.cost, before.get(row.group, 0)),
         "into": _link(said | only | {"by": _next(by, only), by: row.group or NONE}),
         "calls": _calls(days.at(days.first), only | {by: row.group or NONE}, until)}
        for row in rows[:ROWS]
    ]  # fmt: skip
    budgets = sorted((b for b in _standings(desk) if b.budget), key=lambda b: -b.share)
    values = {
        "rows": shown, "hidden": max(len(rows) - ROWS, 0), "total": total,
        "before": None if before is None else sum(before.values()), "days": days,
        "by": by, "only": only, "whole": whole, "since": said.get("since", ""),
        "own": "since" not in said, "begin": iso(days.first), "end": iso(days.last - 1),
        "since_us": found.since_us, "budgets": budgets[:BUDGETS], "more_budgets": len(budgets),
        "said": {name: names.get(value, value) for name, value in only.items()},
        "without": {name: _link(said | {"by": by} | _less(only, name)) for name in only},
        "dimensions": [(n, t) for n, t in BY if n not in only], "spans": SPANS,
        "chart": chart(found.rows, top, days, step, only), "step": step,
        "legend": [names.get(name, name) or "none" for name in top], "rest": len(rows) > MOST,
        "month": None if _looks("", chosen) else month(engine, chosen),
        "again": _link(said | only | {"by": by}) if days.zone == UTC else "",
        "csv": "/costs/table.csv?" + urlencode({"by": by} | said | only),
        "focus": "/costs/focus.csv?" + urlencode(said | only),
    }  # fmt: skip
    return Page(template="costs.html", title="Costs", values=values)


def spent(
    engine: Engine, by: str, days: tuple[int, int], chosen: Mapping[str, str], zone: str,
    seconds: float, step: int = 1,
) -> Spending:  # fmt: skip
    """Sums of days of a time zone. Raises ValueError for what can't be asked."""
    if zone == UTC:
        return spending(engine, by, *days, chosen, seconds, step)
    return zoned.spending(engine, by, *days, chosen, seconds, step, zone)


def earlier(
    engine: Engine, by: str, days: Stretch, chosen: Mapping[str, str], seconds: float
) -> dict[str | None, int] | None:
    """Picodollars by group in the stretch before; None = there was no time to read it all."""
    begin, end = days.before
    found = spent(engine, by, (begin, end), chosen, days.zone, seconds, end - begin)
    if found.since_us > began_at(begin, days.zone):
        return None
    return {row.group: row.cost for row in folded(found.rows)}


def table(desk: Desk, asked: Asked) -> Flow:
    """The sums by day and group as CSV, exact decimals."""
    by, only, days = _asked(asked)
    desk.admin.catch_up()
    engine, chosen = desk.admin.engine, _chosen(desk, only)
    with checked():
        if days.zone == UTC:
            rows = daily(engine, by, days.first, days.last, chosen)
        else:
            rows = zoned.daily(engine, by, days.first, days.last, chosen, days.zone)
    kind = "text/csv; charset=utf-8"
    head = ("day", by, "calls", "errors", "tokens", "cost_usd", "unknown_cost")
    parts = exporting.csv_of(head, _rows(engine, by, rows, chosen))
    return Flow(f"costs-by-{by}.csv", kind, parts)


def _rows(
    engine: Engine, by: str, rows: Iterator[Spent], chosen: dict[str, str]
) -> Iterator[tuple[object, ...]]:
    while part := list(islice(rows, exporting.PAGE)):
        names = _names(engine, by, {row.group for row in part}, chosen)
        for row in part:
            name, cost = exporting.cell(names.get(row.group, row.group)), dollars(row.cost)
            yield iso(row.day), name, row.calls, row.errors, row.tokens, cost, row.unknown_cost


def focus(desk: Desk, asked: Asked) -> Flow:
    """Charges by FOCUS 1.2 as CSV."""
    _, only, days = _asked(asked)
    begin, end = days.at(days.first), days.at(days.last)
    parts = exporting.focus_csv(desk.admin, begin, end, _chosen(desk, only))
    return Flow("focus.csv", "text/csv; charset=utf-8", parts)


def chart(
    rows: Sequence[Spent], top: Sequence[str | None], days: Stretch, step: int,
    only: dict[str, str],
) -> charts.Chart:  # fmt: skip
    """Dollars a day, or in each ``step`` days, stacked by the groups that cost most."""
    places = {name: number for number, name in enumerate(top)}
    begin = days.first // step * step
    stacks = [[0] * (MOST + 1) for _ in range(begin, days.last, step)]
    for row in rows:
        stacks[(row.day - begin) // step][places.get(row.group, MOST)] += row.cost
    titles, links = [], []
    for number, stack in enumerate(stacks):
        day = begin + number * step
        since, until = max(day, days.first), min(day + step, days.last)
        when = iso(since) if step == 1 else f"week from {iso(since)}"
        titles.append(f"{when}: {usd(sum(stack))}")
        links.append(_calls(days.at(since), only, days.at(until)))
    values = [[pico / 1e12 for pico in stack] for stack in stacks]
    whole = f"{plural(days.days, 'day')}; {usd(sum(map(sum, stacks)))} together."
    summary = f"Dollars a {'day' if step == 1 else 'week'} over {whole}"
    kinds = [f"k{number}" for number in range(MOST + 1)]
    return charts.columns(values, kinds, titles, summary, links)


def folded(daily: Sequence[Spent]) -> list[Spent]:
    """Sums of all days by group."""
    groups: dict[str | None, list[Spent]] = {}
    for row in daily:
        groups.setdefault(row.group, []).append(row)
    return [summed(rows, name) for name, rows in groups.items()]


def summed(rows: Sequence[Spent], name: str | None = None) -> Spent:
    """All of them together."""
    columns = zip(
        *((r.calls, r.errors, r.unknown_cost, r.repeated, r.tokens, r.cost, r.saved) for r in rows),
        strict=True,
    )
    return Spent(0, name, *(map(sum, columns) if rows else [0] * 7))


def month(engine: Engine, chosen: Mapping[str, str]) -> Forecast | None:
    """What this month will have cost, as ``ferryman usage --forecast`` says; None = not enough is
    known."""
    now = time.time()
    today = int(now) // DAY
    rows = spending(engine, "", today - DAYS, today + 1, chosen, SECONDS).rows
    daily: dict[datetime.date, int] = {}
    for row in rows:
        day = datetime.date.fromisoformat(iso(row.day))
        daily[day] = daily.get(day, 0) + row.cost
    return forecast(daily, datetime.date.fromisoformat(iso(today)), now % DAY / DAY)


def _looks(by: str, only: Mapping[str, str]) -> bool:
    """Whether single calls have to be read."""
    return not {*([by] if by else []), *only} <= ROLLED


def _names(
    engine: Engine, by: str, groups: Collection[str | None], chosen: dict[str, str]
) -> dict[str | None, str]:
    """Of keys, by their ids."""
    ids = [group for group in groups if by == "key" and group]
    found = keys.names(engine, [*ids, *([chosen["key"]] if "key" in chosen else [])])
    return dict(found.items())


def _asked(asked: Asked) -> tuple[str, dict[str, str], Stretch]:
    """Group, what it is limited to, and the days. Raises :class:`ProblemError`."""
    only = {
        name: value for name, value in asked.query.items()
        if value and (name in DIMENSIONS or name.startswith(METADATA))
    }  # fmt: skip
    metadata = asked.query.get("metadata", "").strip()
    by = METADATA + metadata if metadata else asked.query.get("by") or _next("", only)
    if not (by in DIMENSIONS or by.startswith(METADATA)):
        raise ProblemError(400, "invalid_query", "Choose from the lists of this page.")
    return by, only, stretch.asked(asked.query, time.time())


def _chosen(desk: Desk, only: dict[str, str]) -> dict[str, str]:
    ident = desk.admin.key_id(only.get("key"))
    return theirs(desk.admin.caller, only | {"key": ident} if ident else only)


def _standings(desk: Desk) -> list[Standing]:
    """For those who may see all limits."""
    caller = desk.admin.caller
    return standings(desk)[0] if "limits.read" in caller.permissions and not caller.within else []


def _next(by: str, only: dict[str, str]) -> str:
    """What to group by one level deeper."""
    left = [name for name in DIMENSIONS if name != by and name not in only]
    return left[0] if left else by or DIMENSIONS[0]


def _less(only: dict[str, str], name: str) -> dict[str, str]:
    return {other: value for other, value in only.items() if other != name}


def _link(said: Mapping[str, str]) -> str:
    return "/costs?" + urlencode({name: value for name, value in said.items() if value})


def _calls(since: str, only: dict[str, Any], until: str) -> str:
    """The calls of the same days."""
    said = {name: value for name, value in only.items() if value and views.filters(name)}
    return "/calls?" + urlencode(said | {"since": since, "until": until})
