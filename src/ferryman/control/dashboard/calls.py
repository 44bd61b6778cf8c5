"""The page Calls: find calls, and see one whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from msgspec.structs import asdict

from ferryman.client.documents import Feedback
from ferryman.client.status import View
from ferryman.control import contents, elsewhere, exporting, query, traces, views
from ferryman.control.api.access import theirs
from ferryman.control.api.cursor import Pages, key_of
from ferryman.control.api.models import catalogue
from ferryman.control.auditing import note
from ferryman.control.dashboard import models, playground, waterfall
from ferryman.control.dashboard.desk import Asked, Desk, Flow, Go, Page
from ferryman.control.pricing import explained
from ferryman.control.problem import ProblemError
from ferryman.control.reports import CallsQuery, call_of, checked, narrowed
from ferryman.control.rows import call_row
from ferryman.control.views import DIMENSIONS, FILTERS, NARROWING, filters
from ferryman.store import keys, ledger
from ferryman.store.bodies import Body
from ferryman.store.dimensions import METADATA, NONE
from ferryman.store.search import Found, Narrow, search

PAGE: Final = 50
LONGEST: Final = 50_000
"""Characters that a page shows of a prompt, and of an answer."""
NO_CONTENT: Final = "Prompts and answers are for those with the permission content.read."
SECONDS: Final = 0.4
"""How long calls are looked for, for one page."""
FIELDS: Final = (*FILTERS, "cursor", "by", "is")
"""What the page may be asked; ``by`` and ``is`` are a filter as the form sends it."""
SPANS: Final = (
    ("15m", "15 min"),
    ("1h", "1 hour"),
    ("24h", "24 hours"),
    ("7d", "7 days"),
    ("30d", "30 days"),
    ("all", "All time"),
)
STATUSES: Final = (
    ("", "Any"),
    ("failed", "Failed"),
    ("200", "200"),
    ("429", "429"),
    ("500", "500"),
    ("lost", "Lost"),
)


def page(desk: Desk, asked: Asked) -> Page:
    """Calls that fit the filters, newest first."""
    given = _given(asked.query)
    wanted = _wanted(desk, given)
    pages = Pages(
        limit=PAGE, cursor=asked.query.get("cursor", ""), key=key_of(desk.admin.admin_token),
        question=msgspec.json.encode(given),
    )  # fmt: skip
    desk.admin.catch_up()
    found = _exactly(desk, given["q"])
    if found is None:
        before = pages.after(tuple[int, str])
        with checked():
            found = search(desk.admin.engine, limit=PAGE, seconds=SECONDS, before=before, **wanted)
    names = keys.names(desk.admin.engine, (call.key for call in found.rows))
    view = urlencode({name: value for name, value in given.items() if value})
    values = {
        "rows": [(call, call_row(call, names)) for call in found.rows],
        "given": given, "whole": found.whole, "reached": found.after[0] if found.after else 0,
        "active": {n: v for n, v in given.items() if v and n not in ("since", "status", "q")},
        "filtered": any(v for n, v in given.items() if n != "since"),
        "without": {name: _link(given | {name: ""}) for name in given},
        "names": ["guard", *(name for name in DIMENSIONS if name != "status")],
        "spans": SPANS, "statuses": STATUSES,
        "typed": [name for name in NARROWING if name != "guard"],
        "scores": "feedback.read" in desk.admin.caller.permissions,
        "csv": "/calls/export.csv" + _link(given).removeprefix("/calls"),
        "more": _link(given, cursor=pages.behind(found.after)) if found.after else "",
        "first": _link(given) if "cursor" in asked.query else "",
        "views": [] if desk.admin.caller.within else views.listed(_views(desk)), "view": view,
    }  # fmt: skip
    return Page(template="calls.html", title="Calls", values=values)


def export(desk: Desk, asked: Asked) -> Flow:
    """The calls that fit the filters as CSV, newest first, however long it takes."""
    wanted = _wanted(desk, _given(asked.query))
    desk.admin.catch_up()
    narrow: Narrow = wanted.pop("narrow")
    wanted["also"] = narrow.conditions()

    def pages() -> Iterator[list[ledger.CallRow]]:
        before = None
        while rows := ledger.calls(
            desk.admin.engine, limit=exporting.PAGE, before=before, **wanted
        ):
            yield rows
            before = (rows[-1].at_us, rows[-1].request_id)

    with checked():  # of what can't be asked, nothing has been sent yet
        ledger.calls(desk.admin.engine, limit=1, among=(), **wanted)
    kind = "text/csv; charset=utf-8"
    return Flow("calls.csv", kind, exporting.calls_csv(desk.admin, pages()))


def _wanted(desk: Desk, given: dict[str, str]) -> dict[str, Any]:
    """The filters as the ledger takes them. Raises :class:`ProblemError`."""
    begin = None if given["since"] == "all" else query.moment_of("since", given["since"])
    end = query.moment_of("until", given["until"])
    where = {name: value for name, value in given.items() if value and filters(name)}
    failed = given["status"] == "failed"
    if failed:
        del where["status"]
    if ident := desk.admin.key_id(given["key"]):
        where["key"] = ident
    more = msgspec.convert({name: given[name] for name in NARROWING}, CallsQuery)
    return {
        "where": theirs(desk.admin.caller, where), "failed": failed, "text": given["q"] or None,
        "since_us": None if begin is None else begin * 1_000_000,
        "until_us": None if end is None else end * 1_000_000,
        "narrow": narrowed(desk.admin, more),
    }  # fmt: skip


def _given(query: dict[str, str]) -> dict[str, str]:
    """All filters. Raises :class:`ProblemError` for what is none: who is not heard would take the
    calls of everybody for those that were asked for."""
    for name in query:
        if name not in FIELDS and not name.startswith(METADATA):
            known = ", ".join((*FILTERS, METADATA + "NAME"))
            detail = f"Calls can't be filtered by {name!r}: choose from {known}."
            raise ProblemError(400, "invalid_query", detail)
    given = {name: query.get(name, "").strip() for name in FILTERS}
    given |= {name: value.strip() for name, value in query.items() if name.startswith(METADATA)}
    by = query.get("by", "").strip()
    if by and by != "guard" and not filters(by):
        raise ProblemError(400, "invalid_query", f"Calls have no {by!r} to be filtered by.")
    if by:
        given[by] = query.get("is", "").strip() or NONE
    given["since"] = given["since"] or ("all" if given["q"].startswith("req_") else "24h")
    return given


def _exactly(desk: Desk, text: str) -> Found | None:
    """The call of this id, if it is one."""
    if not text.startswith("req_"):
        return None
    rows = ledger.calls(desk.admin.engine, limit=1, request_id=text, where=desk.admin.caller.within)
    return Found(rows=rows, after=None, whole=True) if rows else None


def save_view(desk: Desk, asked: Asked) -> Go:
    """Give what is shown a name, or forget one."""
    name = asked.form.get("name", "").strip()
    act = "view.forget" if asked.form.get("do") == "forget" else "view.save"
    kept = ""
    if act == "view.forget":
        views.forget(_views(desk), name)
    else:
        kept = views.checked(asked.form.get("query", ""))
        views.save(_views(desk), View(name=name, query=kept))
    note(desk.admin.engine, act, f"/views/{name}", {})
    return Go(f"/calls?{kept}" if kept else "/calls")


def _views(desk: Desk) -> Path:
    return views.at(desk.options.data_dir)


def one(desk: Desk, asked: Asked) -> Page:
    """One call: what was tried, when, and what it cost."""
    request_id = asked.params["request_id"]
    desk.admin.catch_up()
    try:
        call = call_of(desk.admin, request_id)
    except ProblemError as problem:
        values = {"problem": problem.detail, "fix": problem.fix}
        return Page(
            template="error.html", title="No such call", status=problem.status, values=values
        )
    family = traces.together(desk.admin, call)
    names = keys.names(desk.admin.engine, [call.key])
    row = call_row(call, names)
    may = desk.admin.caller.permissions
    shown_content = call.content and "content.read" in may
    body = desk.admin.contents.load(call.request_id) if shown_content else None
    shown: dict[str, Any] = {
        "content": None if body is None else said(body, call),
        "again": body is not None and not body.cut and call.endpoint == playground.ENDPOINT,
        "why_not": NO_CONTENT if call.content and not shown_content else contents.why_not(call),
        "feedback": _words(desk, call) if "feedback.read" in may else [],
        "call": call, "row": row, "cost": explained(desk.admin, call),
        "fall": waterfall.of(call),
        "family": traces.shown(desk.admin, family) if len(family) > 1 else None,
        "offers": _offers(desk, call),
        "tokens": {n: c for n, c in (row.tokens or {}).items() if c},
    }  # fmt: skip
    return Page(template="call.html", title=f"Call {call.request_id}", values=shown)


def _words(desk: Desk, call: ledger.CallRow) -> list[Feedback]:
    return contents.words(desk.admin, [call.request_id]).get(call.request_id, [])


def _offers(desk: Desk, call: ledger.CallRow) -> list[elsewhere.Offer]:
    """For those who may see all prices."""
    if "prices.read" not in desk.admin.caller.permissions or desk.admin.caller.within:
        return []
    return elsewhere.offers(call, models.snapshot(desk), catalogue(desk.admin))


def said(body: Body, call: ledger.CallRow) -> dict[str, Any]:
    """A stored call for the page: as much as a page has room for, JSON laid out."""
    found = asdict(contents.shown(body, call.endpoint, call.request_id))
    for name in ("request", "reply"):
        text = _laid_out(found[name] or "")
        found[name] = text[:LONGEST]
        found[f"{name}_more"] = len(text) > LONGEST
    return found


def _laid_out(text: str) -> str:
    try:
        return msgspec.json.format(text, indent=2)
    except (msgspec.MsgspecError, RecursionError):
        return text


def _link(given: dict[str, str], **more: str) -> str:
    said = {name: value for name, value in (given | more).items() if value}
    return "/calls" + ("?" + urlencode(said) if said else "")
