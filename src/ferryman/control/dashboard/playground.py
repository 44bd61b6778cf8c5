"""The page Playground: talk to any model, up to four beside each other, through the data plane."""

from typing import Any, Final

import msgspec

from ferryman.control.api.access import may
from ferryman.control.dashboard import models
from ferryman.control.dashboard.desk import Asked, Desk, File, Page
from ferryman.control.dashboard.shape import exact, span, usd
from ferryman.control.problem import ProblemError
from ferryman.control.reports import call_of
from ferryman.store import ledger

MOST_NAMES = 2000
"""Names that the page suggests."""
AGAIN: Final = ("messages", "tools", "temperature", "max_tokens")
"""What the page takes over of a call that is opened in it."""
ENDPOINT: Final = "chat.completions"
"""Whose calls these are."""


def page(desk: Desk, asked: Asked) -> Page:
    """An empty conversation, or that of a ``call``; ``model`` may be several, a line each."""
    names = models.names(desk)
    again = _again(desk, asked, asked.query["call"]) if asked.query.get("call") else {}
    first = desk.example or (names[0] if names else "")
    chosen = asked.query.get("model") or again.pop("model", "") or first
    try:
        address = desk.relay.address()
    except ProblemError as error:
        address, problem = "", error.detail
    else:
        problem = ""
    values = {
        "names": names[:MOST_NAMES], "chosen": chosen, "address": address, "problem": problem,
        "active": bool(desk.providers), "again": msgspec.json.encode(again).decode(),
    }  # fmt: skip
    return Page(template="playground.html", title="Playground", values=values)


def _again(desk: Desk, asked: Asked, ident: str) -> dict[str, Any]:
    """What a call's caller sent, as far as the page has room for it. Raises
    :class:`ProblemError`."""
    may(asked.caller, "content.read")
    desk.admin.catch_up()
    call = call_of(desk.admin, ident)
    body = desk.admin.contents.load(call.request_id)
    if body is None or body.cut or call.endpoint != ENDPOINT:
        detail = "Only chats that are kept whole can be opened here."
        raise ProblemError(404, "content_not_kept", detail)
    try:
        said = msgspec.json.decode(body.request, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        said = {}
    return {"model": call.model} | {name: said[name] for name in AGAIN if said.get(name)}


def outcome(desk: Desk, asked: Asked) -> File:
    """What a call came to, for the page: it has ended, so the ledger has it."""
    desk.admin.catch_up()
    found = ledger.calls(desk.admin.engine, limit=1, request_id=asked.params["request_id"])
    if not found:
        raise ProblemError(404, "call_not_found", "The ledger does not have this call yet.")
    call = found[0]
    said = {
        "cost": ("≥ " if call.cost is not None and call.unknown_cost else "") + usd(call.cost),
        "exact": exact(call.cost),
        "answered": f"{call.provider}/{call.target}",
        "took": span(call.duration_us),
        "first_token": span(call.first_token_us),
        "attempts": len(call.attempts),
    }
    return File("", "application/json", msgspec.json.encode(said))
