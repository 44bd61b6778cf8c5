"""The page Keys: make and revoke virtual keys."""

import time

from ferryman.config.feed import KeyFacts
from ferryman.control.api.keys import owner_of
from ferryman.control.dashboard.desk import Asked, Desk, Go, Page
from ferryman.control.problem import ProblemError
from ferryman.control.rows import key_row
from ferryman.control.when import WhenError, moment

EXPIRIES = (
    ("", "Never"),
    ("1d", "1 day"),
    ("7d", "7 days"),
    ("30d", "30 days"),
    ("90d", "90 days"),
    ("1y", "1 year"),
)


def page(desk: Desk, asked: Asked) -> Page:
    """All keys; those that work first."""
    return _listed(desk, secret="", name="", problem="")


def create(desk: Desk, asked: Asked) -> Page:
    """Make a key and show it: this answer is the only place where it ever stands."""
    name, wanted = asked.form.get("name", "").strip(), asked.form.get("expires", "")
    try:
        ends = moment(wanted, time.time(), ahead=True) if wanted else None
        mine = asked.caller
        facts = KeyFacts(owner_of(mine, "organisation", None), owner_of(mine, "team", None))
        _, secret = desk.admin.desk.create(name, ends, facts, within=mine.within)
    except (ProblemError, WhenError) as error:
        return _listed(desk, secret="", name=name, problem=str(error))
    return _listed(desk, secret=secret, name=name, problem="")


def revoke(desk: Desk, asked: Asked) -> Go:
    """Shut a key out for good."""
    desk.admin.desk.revoke(asked.form.get("key", ""), asked.caller.within)
    return Go("/keys")


def _listed(desk: Desk, *, secret: str, name: str, problem: str) -> Page:
    now = time.time()
    rows = [key_row(key, now) for key in reversed(desk.admin.desk.list(desk.admin.caller.within))]
    values = {
        "working": [row for row in rows if row.state == "active"],
        "ended": [row for row in rows if row.state != "active"],
        "secret": secret, "name": name, "problem": problem, "expiries": EXPIRIES,
    }  # fmt: skip
    return Page(template="keys.html", title="Keys", status=400 if problem else 200, values=values)
