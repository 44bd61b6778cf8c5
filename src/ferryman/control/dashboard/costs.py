"""The page Costs: where the money goes, by whatever it can be asked, down to the calls."""

import csv
import datetime
import io
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy import Engine

from ferryman.control import exporting
from ferryman.control.api.access import theirs
from ferryman.control.dashboard import calls, charts
from ferryman.control.dashboard.desk import Asked, Desk, Flow, Page
from ferryman.control.dashboard.limits import Standing, standings
from ferryman.control.dashboard.shape import plural, usd
from ferryman.control.forecast import DAYS, Forecast, forecast
from ferryman.control.problem import ProblemError
from ferryman.control.reports import checked
from ferryman.control.rows import dollars
from ferryman.store import keys
from ferryman.store.dimensions import METADATA, NONE
from ferryman.store.ledger import ROLLED
from ferryman.store.spending import Spent, daily, spending

DAY: Final = 86_400
SPANS: Final = (
    ("1d", "Today"), ("7d", "7 days"), ("30d", "30 days"), ("90d", "90 days"), ("365d", "1 year"),
)  # fmt: skip
BY: Final = (
    ("model", "Model"), ("provider", "Provider"), ("key", "Key"), ("endpoint", "Endpoint"),
    ("organisation", "Organisation"), ("team", "Team"), ("user", "User"), ("task", "Task"),
    ("tag", "Tag"), ("end_user", "End user"), ("policy", "Policy"),
)  # fmt: skip
DIMENSIONS: Final = tuple(name for name, _ in BY)
SECONDS: Final = 0.35
"""How long single calls are read for one page, where sums don't tell."""
WEEK: Final = 7
MOST_COLUMNS: Final = 90
"""Days with a column each; of longer stretches weeks have one."""
MOST: Final = 5
"""Groups with a colour of their own; the last one stands for the rest."""
ROWS: Final = 200
BUDGETS: Final = 4


def page(desk: Desk, asked: Asked) -> Page:
    """Sums of a stretch of whole days, today included."""
    by, since, only = _asked(asked)
    days = int(since[:-1])
    today = int(time.time()) // DAY
    first = today - days + 1
    desk.admin.catch_up()
    engine, chosen = desk.admin.engine, _chosen(desk, only)
    step = WEEK if days > MOST_COLUMNS else 1
    with checked():
        found = spending(engine, by, first, today + 1, chosen, SECONDS, step)
    whole = found.since_us <= first * DAY * 1_000_000 or not _looks(by, chosen)
    rows, total = folded(found.rows), summed(found.rows)
    before = 0
    if not _looks("", chosen):
        earlier = spending(engine, "", first - days, first, chosen, SECONDS).rows
        before = sum(row.cost for row in earlier)
    rows.sort(key=lambda row: (row.cost, row.calls), reverse=True)
    names = _names(engine, by, [row.group for row in rows], chosen)
    top = [row.group for row in rows[:MOST]]
    shown = [
        {"name": names.get(row.group, row.group) or "none", "row": row,
         "share": row.cost / total.cost if total.cost else 0.0,
         "into": _link(by=_next(by, only), since=since, **(only | {by: row.group or NONE})),
         "calls": _calls(_day(first), only | {by: row.group or NONE}, _day(today + 1))}
        for row in rows[:ROWS]
    ]  # fmt: skip
    budgets = sorted((b for b in _standings(desk) if b.budget), key=lambda b: -b.share)
    values = {
        "rows": shown, "hidden": max(len(rows) - ROWS, 0), "total": total, "before": before,
        "by": by, "since": since, "days": days, "only": only, "whole": whole,
        "since_us": found.since_us, "budgets": budgets[:BUDGETS], "more_budgets": len(budgets),
        "said": {name: names.get(value, value) for name, value in only.items()},
        "without": {name: _link(by=by, since=since, **_less(only, name)) for name in only},
        "dimensions": [(n, t) for n, t in BY if n not in only], "spans": SPANS,
        "chart": chart(found.rows, top, first, days, step, only), "step": step,
        "legend": [names.get(name, name) or "none" for name in top], "rest": len(rows) > MOST,
        "month": None if _looks("", chosen) else month(engine, chosen),
        "again": _link(by=by, since=since, **only),
        "csv": "/costs/table.csv?" + urlencode({"by": by, "since": since} | only),
        "focus": "/costs/focus.csv?" + urlencode({"since": since} | only),
    }  # fmt: skip
    return Page(template="costs.html", title="Costs", values=values)


def table(desk: Desk, asked: Asked) -> Flow:
    """The sums by day and group as CSV, exact decimals."""
    by, since, only = _asked(asked)
    desk.admin.catch_up()
    engine, chosen = desk.admin.engine, _chosen(desk, only)
    today = int(time.time()) // DAY
    with checked():
        rows = daily(engine, by, today - int(since[:-1]) + 1, today + 1, chosen)
    kind = "text/csv; charset=utf-8"
    return Flow(f"costs-by-{by}.csv", kind, _lines(engine, by, rows, chosen))


def _lines(
    engine: Engine, by: str, rows: Iterator[Spent], chosen: dict[str, str]
) -> Iterator[bytes]:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("day", by, "calls", "errors", "tokens", "cost_usd", "unknown_cost"))
    while part := list(islice(rows, exporting.PAGE)):
        names = _names(engine, by, {row.group for row in part}, chosen)
        for row in part:
            name, cost = exporting.cell(names.get(row.group, row.group)), dollars(row.cost)
            writer.writerow(
                (_day(row.day), name, row.calls, row.errors, row.tokens, cost, row.unknown_cost)
            )
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()
    yield out.getvalue().encode()


def focus(desk: Desk, asked: Asked) -> Flow:
    """Charges by FOCUS 1.2 as CSV."""
    _, since, only = _asked(asked)
    begin = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(int(since[:-1]) - 1)
    parts = exporting.focus_csv(desk.admin, begin.isoformat(), _chosen(desk, only))
    return Flow("focus.csv", "text/csv; charset=utf-8", parts)


def chart(
    rows: Sequence[Spent], top: Sequence[str | None], first: int, days: int, step: int,
    only: dict[str, str],
) -> charts.Chart:  # fmt: skip
    """Dollars a day, or in each ``step`` days, stacked by the groups that cost most."""
    places = {name: number for number, name in enumerate(top)}
    begin, last = first // step * step, first + days - 1
    stacks = [[0] * (MOST + 1) for _ in range(begin, last + 1, step)]
    for row in rows:
        stacks[(row.day - begin) // step][places.get(row.group, MOST)] += row.cost
    titles, links = [], []
    for number, stack in enumerate(stacks):
        day = begin + number * step
        since, until = _day(max(day, first)), _day(min(day + step, last + 1))
        titles.append(f"{since if step == 1 else f'week from {since}'}: {usd(sum(stack))}")
        links.append(_calls(since, only, until))
    values = [[pico / 1e12 for pico in stack] for stack in stacks]
    whole = f"{plural(days, 'day')}; {usd(sum(map(sum, stacks)))} together."
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
        day = datetime.date.fromisoformat(_day(row.day))
        daily[day] = daily.get(day, 0) + row.cost
    return forecast(daily, datetime.date.fromisoformat(_day(today)), now % DAY / DAY)


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


def _asked(asked: Asked) -> tuple[str, str, dict[str, str]]:
    """Group, stretch, and what it is limited to. Raises :class:`ProblemError`."""
    only = {
        name: value for name, value in asked.query.items()
        if value and (name in DIMENSIONS or name.startswith(METADATA))
    }  # fmt: skip
    metadata = asked.query.get("metadata", "").strip()
    by = METADATA + metadata if metadata else asked.query.get("by") or _next("", only)
    since = asked.query.get("since") or "30d"
    if not (by in DIMENSIONS or by.startswith(METADATA)) or since not in dict(SPANS):
        raise ProblemError(400, "invalid_query", "Choose from the lists of this page.")
    return by, since, only


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


def _link(**said: str | None) -> str:
    return "/costs?" + urlencode({name: value for name, value in said.items() if value})


def _calls(since: str, only: dict[str, Any], until: str) -> str:
    """The calls of whole days (UTC), as the sums are."""
    said = {name: value for name, value in only.items() if value and calls.filters(name)}
    return "/calls?" + urlencode(said | {"since": since, "until": until})


def _day(number: int) -> str:
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=number)).isoformat()
