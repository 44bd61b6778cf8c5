"""The page Keys: make and revoke virtual keys."""

import time

from ferryman.client.documents import Key
from ferryman.config.feed import KeyFacts
from ferryman.control.api.keys import owner_of
from ferryman.control.dashboard.desk import Asked, Desk, Go, Page
from ferryman.control.problem import ProblemError
from ferryman.control.rows import key_row
from ferryman.control.when import WhenError, moment
from ferryman.store.keys import KeyFieldError, bounds_of

EXPIRIES = (
    ("", "Never"),
    ("1d", "1 day"),
    ("7d", "7 days"),
    ("30d", "30 days"),
    ("90d", "90 days"),
    ("1y", "1 year"),
)


BOUNDS = (
    ("models", "Models", "fast, lab/*"),
    ("providers", "Providers", "lab"),
    ("endpoints", "Endpoints", "chat, embeddings"),
    ("regions", "Regions", "eu"),
    ("data_policy", "Data policies", "no_training"),
    ("networks", "Callers' networks", "10.0.0.0/8"),
)
"""Name, label, example."""


def page(desk: Desk, asked: Asked) -> Page:
    """All keys; those that work first."""
    return _listed(desk)


def create(desk: Desk, asked: Asked) -> Page:
    """Make a key and show it: this answer is the only place where it ever stands."""
    name, wanted = asked.form.get("name", "").strip(), asked.form.get("expires", "")
    try:
        ends = moment(wanted, time.time(), ahead=True) if wanted else None
        mine = asked.caller
        facts = KeyFacts(
            owner_of(mine, "organisation", None),
            owner_of(mine, "team", None),
            bounds=bounds_of(_said(asked)),
        )
        _, secret = desk.admin.desk.create(name, ends, facts, within=mine.within)
    except (ProblemError, WhenError, KeyFieldError) as error:
        return _listed(desk, asked, name=name, problem=str(error))
    return _listed(desk, secret=secret, name=name)


def bind(desk: Desk, asked: Asked) -> Page | Go:
    """Set what a key's calls are held to: what is left empty is not bound."""
    key, mine = asked.form.get("key", ""), asked.caller.within
    try:
        desk.admin.desk.describe(key, bounds=_said(asked), within=mine)
    except ProblemError as error:
        return _listed(desk, problem=str(error))
    return Go("/keys")


def _said(asked: Asked) -> dict[str, list[str]]:
    """The form's bounds: entries with commas or blanks between."""
    return {name: asked.form.get(name, "").replace(",", " ").split() for name, *_ in BOUNDS}


def revoke(desk: Desk, asked: Asked) -> Go:
    """Shut a key out for good."""
    desk.admin.desk.revoke(asked.form.get("key", ""), asked.caller.within)
    return Go("/keys")


def _written(key: Key) -> dict[str, str]:
    """A key's bounds as the form has them."""
    said = key.bounds.said() if key.bounds else {}
    return {name: ", ".join(said.get(name, ())) for name, *_ in BOUNDS}


def _listed(
    desk: Desk, typed: Asked | None = None, *, secret: str = "", name: str = "", problem: str = ""
) -> Page:
    now = time.time()
    rows = [key_row(key, now) for key in reversed(desk.admin.desk.list(desk.admin.caller.within))]
    values = {
        "working": [row for row in rows if row.state == "active"],
        "ended": [row for row in rows if row.state != "active"],
        "secret": secret, "name": name, "problem": problem, "expiries": EXPIRIES,
        "bounds": BOUNDS,
        "bound": {row.id: _written(row) for row in rows},
        "typed": {each: typed.form.get(each, "") if typed else "" for each, *_ in BOUNDS},
    }  # fmt: skip
    return Page(template="keys.html", title="Keys", status=400 if problem else 200, values=values)
