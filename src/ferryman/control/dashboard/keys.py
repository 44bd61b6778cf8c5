"""The page Keys: make and revoke virtual keys."""

import time
from functools import partial
from typing import Final
from urllib.parse import urlencode

import msgspec
from msgspec.structs import replace

from ferryman.client.documents import Key
from ferryman.config.feed import KeyFacts
from ferryman.control.api.cursor import Pages, key_of
from ferryman.control.api.keys import owner_of
from ferryman.control.dashboard.desk import Asked, Desk, Go, Page
from ferryman.control.problem import ProblemError
from ferryman.control.rows import key_row
from ferryman.control.when import WhenError, duration, moment
from ferryman.store import keys
from ferryman.store.keys import KeyFieldError, bounds_of

PAGE: Final = 50
EXPIRIES = (
    ("", "Never"),
    ("1d", "1 day"),
    ("7d", "7 days"),
    ("30d", "30 days"),
    ("90d", "90 days"),
    ("1y", "1 year"),
)


OVERLAPS: Final = (("1h", "1 hour"), ("0s", "No time"), ("1d", "1 day"), ("7d", "7 days"))
"""How long a key works on that is replaced."""
BOUNDS = (
    ("models", "Models", "fast, lab/*"),
    ("providers", "Providers", "lab"),
    ("endpoints", "Endpoints", "chat, embeddings"),
    ("regions", "Regions", "eu"),
    ("data_policy", "Data policies", "no_training"),
    ("tags", "Callers' tags", "batch, job-*"),
    ("networks", "Callers' networks", "10.0.0.0/8"),
)
"""Name, label, example."""


def page(desk: Desk, asked: Asked) -> Page:
    """Keys that work, or those that ended, page by page."""
    return _listed(desk, asked)


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
    return _listed(desk, asked, secret=secret, name=name)


def bind(desk: Desk, asked: Asked) -> Page | Go:
    """Set what a key's calls are held to: what is left empty is not bound."""
    key, mine = asked.form.get("key", ""), asked.caller.within
    try:
        desk.admin.desk.describe(key, bounds=_said(asked), within=mine)
    except ProblemError as error:
        return _listed(desk, replace(asked, form={}), problem=str(error))
    return Go("/keys")


def _said(asked: Asked) -> dict[str, list[str]]:
    """The form's bounds: entries with commas or blanks between."""
    return {name: asked.form.get(name, "").replace(",", " ").split() for name, *_ in BOUNDS}


def rotate(desk: Desk, asked: Asked) -> Page:
    """Replace a key by a new one, which is shown once; the old one works on for a while."""
    overlap = asked.form.get("overlap", "")
    if overlap not in dict(OVERLAPS):
        raise ProblemError(400, "invalid_span", "Choose how long the old key works on.")
    mine, seconds = asked.caller.within, duration(overlap)
    key, secret = desk.admin.desk.rotate(asked.form.get("key", ""), seconds, within=mine)
    return _listed(desk, asked, secret=secret, name=key.name)


def revoke(desk: Desk, asked: Asked) -> Go:
    """Shut a key out for good."""
    desk.admin.desk.revoke(asked.form.get("key", ""), asked.caller.within)
    return Go("/keys")


def _written(key: Key) -> dict[str, str]:
    """A key's bounds as the form has them."""
    said = key.bounds.said() if key.bounds else {}
    return {name: ", ".join(said.get(name, ())) for name, *_ in BOUNDS}


def _listed(
    desk: Desk, asked: Asked, *, secret: str = "", name: str = "", problem: str = ""
) -> Page:
    """A page of keys, newest first; what a form has sent stays in it where there is a problem."""
    now = time.time()
    ended, text = asked.query.get("state") == "ended", asked.query.get("q", "").strip()
    said = {"q": text, "state": "ended" if ended else ""}
    pages = Pages(
        limit=PAGE, cursor=asked.query.get("cursor", ""), key=key_of(desk.admin.admin_token),
        question=msgspec.json.encode(["keys", said]),
    )  # fmt: skip
    chosen = partial(
        keys.newest, desk.admin.engine, now=int(now), text=text, within=desk.admin.caller.within
    )
    found, number = chosen(limit=pages.more, ended=ended, before=pages.after(tuple[int, str]))
    shown, cursor = pages.cut(found, lambda key: (key.created_at, key.id))
    rows = [key_row(key, now) for key in shown]
    typed = asked.form if problem else {}
    values = {
        "rows": rows, "number": number, "ended": ended, "said": said,
        "others": chosen(limit=1, ended=not ended)[1],
        "to_others": _link({"q": text, "state": "" if ended else "ended"}),
        "more": _link(said | {"cursor": cursor or ""}) if cursor else "",
        "first": _link(said) if pages.cursor else "",
        "secret": secret, "name": name, "problem": problem, "expiries": EXPIRIES,
        "overlaps": OVERLAPS,
        "bounds": BOUNDS, "bound": {row.id: _written(row) for row in rows},
        "typed": {each: typed.get(each, "") for each, *_ in BOUNDS},
    }  # fmt: skip
    return Page(template="keys.html", title="Keys", status=400 if problem else 200, values=values)


def _link(said: dict[str, str]) -> str:
    given = {name: value for name, value in said.items() if value}
    return "/keys" + ("?" + urlencode(given) if given else "")
