"""The page Now: what is going on, as of this second."""

import time
from collections.abc import Sequence
from typing import Any, Final

from ferryman.control.dashboard import charts, frame, welcome
from ferryman.control.dashboard.desk import Asked, Desk, Go, Page
from ferryman.control.dashboard.live import Look, Regions
from ferryman.control.dashboard.shape import count, plural, rate, span
from ferryman.control.feed import clock_of
from ferryman.control.figures import MOST, STEP_S, STEP_US, WINDOW_S, figures, look
from ferryman.control.health import health
from ferryman.control.rows import call_row
from ferryman.store import glance, keys
from ferryman.store.glance import Glance, Step

LISTED: Final = 40
BEGIN: Final = "config.write"
"""What it takes to be welcomed: who may add a provider may do all that the welcome leads to."""
LIST_S: Final = 0.5
"""Seconds between looks at the list,"""
FIGURES_S: Final = 2.0
"""and at the figures."""


def page(desk: Desk, asked: Asked) -> Page | Go:
    """The page with everything in it; the stream keeps it true."""
    engine = desk.admin.engine
    desk.admin.catch_up()
    newcomer = BEGIN in asked.caller.permissions  # it shows a key
    if newcomer and not glance.any_call(engine) and not glance.under_way(engine, 1)[0]:
        return welcome.page(desk)
    regions = newest(desk) | standing(desk)
    return Page(template="now.html", title="Now", values={"regions": regions})


def looks(desk: Desk) -> tuple[Look, ...]:
    """What keeps the page true."""
    return Look(lambda: newest(desk), LIST_S), Look(lambda: standing(desk), FIGURES_S)


def newest(desk: Desk) -> Regions:
    """The list of calls, as of now."""
    desk.admin.catch_up()
    return {"live-calls": frame.render("part_live.html", **listed(desk))}


def standing(desk: Desk) -> Regions:
    """The figures of the last minutes, as far as the ledger has them."""
    now_us = time.time_ns() // 1000
    steps, seen = look(desk.admin.engine, desk.admin.ahead(), now_us)
    values = {
        "figures": figures(steps, seen),
        "chart": chart(steps, now_us),
        "health": health(seen, desk.providers),
        "window": WINDOW_S // 60,
        "seconds": WINDOW_S,
        "cut": cut(seen, MOST, now_us),
    }
    return {
        f"live-{name}": frame.render(f"part_{name}.html", **values)
        for name in ("figures", "chart", "health")
    }


def listed(desk: Desk) -> dict[str, Any]:
    """The newest calls: those under way, and those that have ended."""
    engine = desk.admin.engine
    now_us, ahead = time.time_ns() // 1000, desk.admin.ahead()
    number, running = glance.under_way(engine, LISTED, ahead)
    ended = glance.newest(engine, LISTED, now_us, ahead)
    names = keys.names(engine, [*(c.key for c in running), *(c.key for c in ended)])
    done = {call.request_id for call in ended}
    rows: list[dict[str, Any]] = [
        {"at_us": c.at_us, "id": c.request_id, "call": None, "model": c.model,
         "key": names.get(c.key, c.key), "provider": c.provider, "target": c.target, "raw": None}
        for c in running
        if c.request_id not in done
    ]  # fmt: skip
    for c in ended:
        row = call_row(c, names)
        rows.append(
            {"at_us": c.at_us, "id": c.request_id, "call": row, "model": c.model, "key": row.key,
             "provider": c.provider, "target": c.target, "raw": c}
        )  # fmt: skip
    rows.sort(key=lambda row: row["at_us"], reverse=True)
    off = {seen.plane: clock for seen in desk.planes()[0] if (clock := clock_of(seen))}
    return {"rows": rows[:LISTED], "under_way": number, "now_us": now_us, "off": off}


def cut(seen: Sequence[Glance], most: int, now_us: int) -> str:
    """What ``seen``, newest first, is about if there were more calls than ``most``; or nothing."""
    if len(seen) < most:
        return ""
    return f"the last {count(most)} calls, {span(max(now_us - seen[-1].at_us, 0))}"


def chart(steps: Sequence[Step], now_us: int) -> charts.Chart:
    """Calls by when they began: errors above answers, and those under way above these."""
    places = WINDOW_S // STEP_S
    first = now_us // STEP_US - places + 1
    known = {step.number: step for step in steps}
    shown = [known.get(first + n) or Step(number=first + n) for n in range(places)]
    values = [((s.calls - s.errors) / STEP_S, s.errors / STEP_S, s.running / STEP_S) for s in shown]
    titles = [
        f"{plural(s.calls, 'call')}, {plural(s.errors, 'error')}, "
        + (f"{count(s.running)} under way, " if s.running else "")
        + f"{(places - n - 1) * STEP_S} s ago"
        for n, s in enumerate(shown)
    ]
    most = max(sum(value) for value in values)
    summary = f"Calls a second in the last {WINDOW_S // 60} minutes; at most {rate(most)}."
    return charts.columns(values, ("ok", "bad", "open"), titles, summary)
