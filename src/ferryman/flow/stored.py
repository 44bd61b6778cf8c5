"""Contents as they may be kept: after guards have redacted them, whatever those do to the call."""

import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from ferryman.config.snapshot import Snapshot
from ferryman.guard.engine import REPLY, REQUEST, Engine, JsonCheck, Session, TextCheck
from ferryman.guard.reading import checked
from ferryman.guard.talk import EventGuard
from ferryman.ir.errors import GatewayError
from ferryman.ir.events import Failed
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Request
from ferryman.store.bodies import Body
from ferryman.wire.format import ReplyContext, ReplyError
from ferryman.wire.formats import FORMATS
from ferryman.wire.paths import CONVERSATIONS

_STREAM: Final = "text/event-stream"
_items: Final = msgspec.json.Decoder(list[Raw])


def redactors_of(snapshot: Snapshot, own: Iterable[str]) -> Engine | None:
    """The guards that contents are redacted by; None where none are. ``own``: the gateway's own
    secrets."""
    storing = [snapshot.content.storing, *(r.content for r in snapshot.rules if r.content)]
    names = {name for each in storing for name in each.redact or ()}
    if not names:
        return None
    guards = (
        replace(
            guard,
            action="allow" if guard.action == "allow" else "redact",
            how="mask" if guard.how == "tokenise" else guard.how,
            at=(REQUEST, REPLY, "tools"),
        )
        for guard in snapshot.guards
        if guard.name in names
    )
    return Engine(tuple(guards), own)


def redacted(body: Body, endpoint: str, engine: Engine, names: Iterable[str], most: int) -> Body:
    """``body``, redacted, and then cut to ``most`` bytes each.

    What can't be read can't be redacted, and is left out: what is no JSON, no text and no stream of
    a conversation, and a whole answer of which not all was kept.
    """
    session = Session(engine, names)

    def clean(text: str, station: str) -> str:
        def check() -> TextCheck:
            return TextCheck(session, station, answer=True)

        return (JsonCheck(check) if text[:1] in ("{", "[") else check()).whole(text)

    request = _json(body.request, lambda text: clean(text, REQUEST))
    kind = body.media_type.partition(";")[0].strip()
    reply = body.reply
    if kind == _STREAM or reply[:1] == b"[":
        reply = _stream(reply, endpoint, session)
        kind = _STREAM
    elif kind == "application/json":
        reply = _json(reply, lambda text: clean(text, REPLY))
    elif kind == "text/plain":
        reply = clean(reply.decode("utf-8", "replace"), REPLY).encode()
    else:
        reply = b""
    return replace(
        body, request=request[:most], reply=reply[:most], media_type=kind,
        request_bytes=_size(body.request, request, body.request_bytes),
        reply_bytes=_size(body.reply, reply, body.reply_bytes),
    )  # fmt: skip


def _size(given: bytes, got: bytes, size: int) -> int:
    """How long it was: as it is now, unless some of it was left out or cut off before."""
    return len(got) if size == len(given) and (got or not given) else size


def _json(data: bytes, clean: Callable[[str], str]) -> bytes:
    try:
        return checked(data, clean)
    except (ValueError, RecursionError):
        return b""


def _stream(data: bytes, endpoint: str, session: Session) -> bytes:
    """A conversation's stream, or an array of its events, written anew."""
    if endpoint not in CONVERSATIONS:
        return b""
    form = FORMATS[CONVERSATIONS[endpoint]]
    assert form.provider is not None
    assert form.client is not None
    if data[:1] == b"[":
        try:
            data = b"".join(b"data: %b\n\n" % bytes(each) for each in _items.decode(data))
        except (msgspec.MsgspecError, RecursionError):
            return b""
    asked = Request(model="", messages=(), stream=True, include_usage=True, origin=form.name)
    told = ReplyContext(
        request=asked, receipt=Receipt(), request_id="", provider=form.name, now=int(time.time())
    )
    guard, decoder = EventGuard(session), form.provider.stream_decoder()
    encoder = form.client.stream_encoder(told)
    try:
        events = guard.take(decoder.feed(data) + decoder.close())
        return b"".join(
            [
                form.client.error_event(GatewayError(502, event.kind, event.message), "")
                if isinstance(event, Failed)
                else encoder.encode(event)
                for event in events
            ]
        )
    except ReplyError:
        return b""
