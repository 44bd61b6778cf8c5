"""The page Alerts: what is wrong, what was, silences, and whether channels work."""

import time
from typing import Any, Final
from urllib.parse import urlencode

from ferryman.control.alerts import api
from ferryman.control.api.cursor import Pages, key_of
from ferryman.control.dashboard.desk import Asked, Desk, Go, Page
from ferryman.control.problem import ProblemError
from ferryman.store import alerts

LISTED: Final = 50
FAILED: Final = {"status": "failed"}
PAGES: Final = {"budget": ("Limits", "/limits"), "spend_anomaly": ("Costs", "/costs?since=1d")}
CALLS: Final[dict[str, tuple[str, str, dict[str, str]]]] = {
    "error_rate": ("24h", "q", FAILED), "provider_down": ("24h", "provider", FAILED),
    "latency": ("24h", "q", {}), "usage_unknown": ("24h", "q", {}),
    "key_leaked": ("30d", "key", {}), "key_idle": ("all", "key", {}),
    "key_expiring": ("30d", "key", {}),
}  # fmt: skip
"""What an alert is on → since when its calls are looked at, what has its subject, and what else
they must be like. Rules may be by anything that calls say, so their subject is searched for."""
SPANS: Final = (("1h", "1 hour"), ("4h", "4 hours"), ("1d", "1 day"), ("7d", "7 days"),
                ("30d", "30 days"))  # fmt: skip


def page(desk: Desk, asked: Asked) -> Page:
    """All of it."""
    return _listed(desk, asked.query.get("cursor", ""))


def leads(on: str, subject: str) -> tuple[str, str]:
    """What shows more of what an alert is about, and where; empty = nothing does. Pure."""
    if on in PAGES or not subject or on not in CALLS:
        return PAGES.get(on, ("", ""))
    since, dimension, more = CALLS[on]
    return "Its calls", "/calls?" + urlencode({"since": since, dimension: subject} | more)


def acknowledge(desk: Desk, asked: Asked) -> Go:
    """Somebody is at it."""
    api.acknowledged(desk.admin.engine, asked.form.get("alert", ""), "dashboard")
    return Go("/alerts")


def silence(desk: Desk, asked: Asked) -> Page | Go:
    """Tell nobody of it for a while."""
    form = asked.form
    try:
        api.silenced(
            desk.admin.engine, form.get("until", ""), alert=form.get("alert", ""),
            note=form.get("note", "")[:500],
        )  # fmt: skip
    except ProblemError as error:
        return _listed(desk, "", problem=error.detail)
    return Go("/alerts")


def unsilence(desk: Desk, asked: Asked) -> Go:
    """End a silence; it may have ended by itself."""
    alerts.unsilence(desk.admin.engine, asked.form.get("silence", ""))
    return Go("/alerts")


def test(desk: Desk, asked: Asked) -> Page:
    """Tell a channel a test, and what came of it."""
    name = asked.form.get("channel", "")
    try:
        took = api.try_channel(desk.admin.courier, name)
    except ProblemError as error:
        return _listed(desk, "", problem=error.detail)
    return _listed(desk, "", done=f"The channel {name} took the test in {took:.2f} s.")


def _listed(desk: Desk, cursor: str, *, problem: str = "", done: str = "") -> Page:
    engine = desk.admin.engine
    held = alerts.silences(engine, int(time.time()))
    key = key_of(desk.admin.admin_token)
    rows, more = api.history(
        engine, Pages(limit=LISTED, cursor=cursor, key=key, question=b"alerts")
    )
    values: dict[str, Any] = {
        "open": [api.alert_row(each, held) for each in alerts.open_alerts(engine)],
        "past": [api.alert_row(each, ()) for each in rows if each.resolved_at is not None],
        "silences": [api.silence_row(each) for each in held],
        "channels": [api.channel_row(each) for each in desk.admin.courier.channels],
        "spans": SPANS, "leads": leads,
        "more": more, "older": bool(cursor), "problem": problem, "done": done,
    }  # fmt: skip
    values["open"].sort(key=lambda row: (row.severity != "critical", row.opened_at))
    return Page(template="alerts.html", title="Alerts", status=400 if problem else 200,
                values=values)  # fmt: skip
