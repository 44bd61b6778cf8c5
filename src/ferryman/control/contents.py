"""What is kept of prompts and answers, and what is said of calls, in the admin API."""

import base64
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, NamedTuple

from msgspec import Meta, Struct

from ferryman.client.documents import Content, Feedback, Items, Sink
from ferryman.control.admin import Admin
from ferryman.control.api.route import Route
from ferryman.control.dataset import example, text_of
from ferryman.control.problem import ProblemError
from ferryman.control.rows import call_row
from ferryman.control.when import rfc3339
from ferryman.store import feedback, keys, ledger
from ferryman.store.bodies import Body
from ferryman.store.contents import Mark
from ferryman.store.feedback import Word
from ferryman.store.ledger import CallRow

PAGE: Final = 100
CHAT: Final = {"messages": "json", "tools": "json", "metadata": "json"}
RAW: Final = {"request": "text", "reply": "text", "metadata": "json"}
"""Columns of an export, by its shape."""
ABOUT: Final = (
    "request_id", "time", "endpoint", "model", "provider", "target", "status", "error", "team",
    "end_user", "run", "task", "tags", "metadata", "tokens", "cost_usd", "duration_ms",
)  # fmt: skip
"""What an exported row says of its call."""
NOT_KEPT: Final = (
    "What this call's caller sent and got was not kept: the configuration does not ask for it "
    "(content, or the call's policy), or only for a share of such calls."
)
WHY: Final = {
    "dropped": "It was to be kept, but calls came faster than they could be written: dropped.",
    "kept": "It was kept, and is gone: older than content.keep says, not readable with this "
    "installation's secret, or lost with its gateway.",
}
"""Why there is no content, by what the call's record says of it."""


class ContentQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Whose."""

    team: Annotated[str, Meta(description="Only if the call was this team's.")] = ""


def call_content(admin: Admin, request_id: str, query: ContentQuery) -> Content:
    """What a call's caller sent and got, where it was kept."""
    admin.catch_up()
    found = ledger.calls(admin.engine, limit=1, request_id=request_id, where=admin.caller.within)
    if not found or (query.team and found[0].team != query.team):
        raise ProblemError(404, "call_not_found", f"No such call: {request_id}.")
    body = admin.contents.load(request_id, query.team or None)
    if body is None:
        raise ProblemError(404, "content_not_kept", why_not(found[0]))
    return shown(body, found[0].endpoint, request_id)


def call_feedback(admin: Admin, request_id: str) -> Items[Feedback]:
    """What is said of a call, the newest first."""
    admin.catch_up()
    mine = admin.caller.within
    if mine and not ledger.calls(admin.engine, limit=1, request_id=request_id, where=mine):
        raise ProblemError(404, "call_not_found", f"No such call: {request_id}.")
    return Items(data=words(admin, [request_id]).get(request_id, []))


def list_sinks(admin: Admin) -> Items[Sink]:
    """How the sinks of the log stand."""
    return Items(data=admin.sinks())


def why_not(call: CallRow) -> str:
    """Why there is no content of a call."""
    return WHY.get(call.content or "", NOT_KEPT)


def shown(body: Body, endpoint: str, request_id: str) -> Content:
    """What is kept of a call, as it is shown."""
    request, request_base64 = _readable(body.request)
    reply, reply_base64 = _readable(body.reply)
    return Content(
        request_id=request_id,
        request=request,
        request_base64=request_base64,
        reply=reply,
        reply_base64=reply_base64,
        text=text_of(body, endpoint) or None,
        request_bytes=body.request_bytes if body.request_bytes >= 0 else None,
        reply_bytes=body.reply_bytes,
        media_type=body.media_type or None,
        status=body.status,
        cut=body.cut,
        whole=body.whole,
        form=body.request_bytes < 0,
    )


def _readable(data: bytes) -> tuple[str | None, str | None]:
    """As text, or in base64 where it is none. A text that is cut within a letter is one."""
    try:
        return data.decode(), None
    except UnicodeDecodeError as error:
        if error.start >= len(data) - 3 and len(data) > 3:
            return data[: error.start].decode(), None
        return None, base64.b64encode(data).decode()


def words(admin: Admin, ids: list[str]) -> dict[str, list[Feedback]]:
    """Call → what is said of it, the newest first."""
    found = feedback.of_calls(admin.engine, ids)
    names = keys.names(admin.engine, {word.key for each in found.values() for word in each})
    return {call: [_word(word, names) for word in said] for call, said in found.items()}


def _word(word: Word, names: Mapping[str, str]) -> Feedback:
    return Feedback(
        about="run" if word.run else "call", key=names.get(word.key, word.key),
        time=rfc3339(word.at_us / 1e6), score=word.score, tags=word.tags,
        comment=word.comment or None,
    )  # fmt: skip


# -- exports ---------------------------------------------------------------------------------------


class Wish(NamedTuple):
    """Which stored calls are exported, and how."""

    since: int
    """Unix microseconds, like the next."""
    until: int
    chosen: Mapping[str, str]
    """Dimension → the value that calls must have."""
    shape: str
    least: float | None
    """The mean score that they must have at least; None = whatever is said of them."""


def rows(admin: Admin, wish: Wish) -> Iterator[list[object]]:
    """Stored calls as rows of ``CHAT`` or ``RAW``, oldest first."""
    after = Mark(wish.since, "")
    while marks := admin.contents.marks(after, wish.until, PAGE):
        after = marks[-1]
        ids = [mark.request_id for mark in marks]
        found = ledger.calls(admin.engine, limit=PAGE, where=wish.chosen, among=ids)
        names = keys.names(admin.engine, {call.key for call in found})
        known = {call.request_id: call_row(call, names) for call in found}
        said = words(admin, list(known))
        stored = admin.contents.load_all(list(known))
        for ident in ids:
            if ident not in known or ident not in stored:
                continue
            told = said.get(ident, [])
            scores = [word.score for word in told if word.score is not None]
            score = round(sum(scores) / len(scores), 3) if scores else None
            if wish.least is not None and (score is None or score < wish.least):
                continue
            row = known[ident]
            about = {name: getattr(row, name) for name in ABOUT} | {"score": score}
            about["feedback"] = told
            made = _row(stored[ident], row.endpoint, row.model, ident, wish.shape)
            if made is not None:
                yield [*made, about]


def _row(body: Body, endpoint: str, model: str, ident: str, shape: str) -> list[object] | None:
    if shape == "raw":
        return [_readable(body.request)[0], _readable(body.reply)[0]]
    made = example(body, endpoint, model, ident)
    return None if made is None else [made["messages"], made.get("tools")]


ROUTES: Final = (
    Route(
        "GET",
        "/calls/{request_id}/content",
        "content.read",
        call_content,
        errors=(404,),
        tenants=True,
    ),
    Route(
        "GET",
        "/calls/{request_id}/feedback",
        "feedback.read",
        call_feedback,
        errors=(404,),
        tenants=True,
    ),
    Route("GET", "/logs/sinks", "logs.read", list_sinks),
)
