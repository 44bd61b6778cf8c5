"""``POST /v1/feedback``: what a caller says of a call, or of a run, afterwards.

It goes into the journal. Whether the call is the caller's own, or of its team, is seen where it is
read: the ledger knows all calls, also those of other data planes, and this one may be cut off from
it.
"""

import time
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from ferryman.config.feed import NO_FACTS
from ferryman.flow.call import Plane
from ferryman.flow.deliver import JSON
from ferryman.flow.headers import facts_of, identify
from ferryman.flow.key_bounds import let_in
from ferryman.http1.exchange import Exchange
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.unreadable import UNREADABLE
from ferryman.meter.strikes import Strikes
from ferryman.store.journal import JournalError
from ferryman.telemetry.record import FEEDBACK, Feedback

PATHS: Final = (b"/v1/feedback", b"/feedback")
MOST_A_MINUTE: Final = 600
"""With one key: people judge slower, and each is a row in the ledger."""
MOST_TAGS: Final = 16
LONGEST_COMMENT: Final = 2000
_Name = Annotated[str, Meta(min_length=1, max_length=200)]


class Said(Struct, forbid_unknown_fields=True):
    """Body of the request."""

    request_id: _Name | None = None
    run_id: _Name | None = None
    score: Annotated[float, Meta(ge=-1, le=1)] | None = None
    thumb: Literal["up", "down"] | None = None
    tags: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...], Meta(max_length=MOST_TAGS)
    ] = ()
    comment: Annotated[str, Meta(max_length=LONGEST_COMMENT)] = ""


_said: Final = msgspec.json.Decoder(Said)
_json: Final = msgspec.json.Encoder().encode
_pack: Final = msgspec.msgpack.Encoder().encode


def answer(plane: Plane, exchange: Exchange, sent: Strikes) -> None:
    """Write feedback down; ``sent`` counts that of each key.

    Raises :class:`GatewayError`: 400, 401, 403, 429, or 503 if it can't be written.
    """
    key = identify(plane, facts_of(plane, exchange))
    if plane.bound:
        let_in(plane, key, exchange.peer)
    now = plane.now()
    if sent.out(key, now):
        raise _too_much(sent.rest(now))
    said = _read(exchange.body)
    feedback = Feedback(
        said.request_id or said.run_id or "",
        said.request_id is None,
        key,
        plane.facts.get(key, NO_FACTS).team,
        time.time_ns() // 1000,
        _score(said),
        said.tags,
        said.comment,
    )
    try:
        plane.journal.append(FEEDBACK, _pack(feedback))
    except JournalError as trouble:
        raise plane.unwritten(trouble) from trouble
    sent.note(key, now)
    about = "request_id" if said.request_id is not None else "run_id"
    exchange.respond(202, JSON, _json({"status": "accepted", about: feedback.subject}))


def _score(said: Said) -> int | None:
    """Thousandths."""
    if said.thumb is not None:
        return 1000 if said.thumb == "up" else -1000
    return None if said.score is None else round(said.score * 1000)


def _read(body: bytes) -> Said:
    try:
        said = _said.decode(body)
    except UNREADABLE as error:
        text = f'{error}. Example: {{"request_id": "req_…", "score": 1, "tags": ["helpful"]}}'
        raise _bad(text) from None
    if (said.request_id is None) == (said.run_id is None):
        raise _bad("Give request_id (the reply's header x-ferryman-request-id) or run_id.")
    if said.score is not None and said.thumb is not None:
        raise _bad("Give score or thumb, not both.", "thumb")
    if said.score is None and said.thumb is None and not said.tags and not said.comment:
        raise _bad("Say something: score (-1 to 1), thumb (up or down), tags or comment.", "score")
    return said


def _too_much(seconds: int) -> GatewayError:
    text = f"This key has sent {MOST_A_MINUTE} pieces of feedback within a minute, the most it may."
    wait = ((b"retry-after", b"%d" % seconds),)
    return GatewayError(429, ErrorKind.RATE_LIMITED, text, headers=wait)


def _bad(text: str, param: str | None = None) -> GatewayError:
    return GatewayError(400, ErrorKind.INVALID_REQUEST, text, param=param)
