"""The page Playground: talk to any model, up to four beside each other, through the data plane."""

import msgspec

from ferryman.control.dashboard import models
from ferryman.control.dashboard.desk import Asked, Desk, File, Page
from ferryman.control.dashboard.shape import exact, span, usd
from ferryman.control.problem import ProblemError
from ferryman.store import ledger

MOST_NAMES = 2000
"""Names that the page suggests."""


def page(desk: Desk, asked: Asked) -> Page:
    """An empty conversation."""
    names = models.names(desk)
    chosen = asked.query.get("model") or desk.example or (names[0] if names else "")
    try:
        address = desk.relay.address()
    except ProblemError as error:
        address, problem = "", error.detail
    else:
        problem = ""
    values = {
        "names": names[:MOST_NAMES], "chosen": chosen, "address": address, "problem": problem,
        "active": bool(desk.providers),
    }  # fmt: skip
    return Page(template="playground.html", title="Playground", values=values)


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
