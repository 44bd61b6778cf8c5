"""Whole replies: https://ai.google.dev/api/generate-content#generatecontentresponse."""

import msgspec

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import Event, Reply
from ferryman.ir.fold import fold, unfold
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.format import ReplyContext, ReplyError, unreadable
from ferryman.wire.gemini_generate.encoder import Gathered
from ferryman.wire.gemini_generate.errors import failed
from ferryman.wire.gemini_generate.stream import TRUNCATED, Pieces, ProtocolError
from ferryman.wire.gemini_generate.types import Response

_read = msgspec.json.Decoder(Response).decode
_NOTHING = (b"null", b"{}", b"[]", b"false", b'""')


def decode_reply(body: bytes) -> Reply:
    """The reply. Raises :class:`ReplyError`."""
    try:
        said = _read(body)
    except UNREADABLE as error:
        raise unreadable(error) from None
    if said.error and bytes(said.error) not in _NOTHING:
        found = failed(body)
        raise ReplyError(found.kind, found.message)
    events: list[Event] = []
    pieces = Pieces()
    try:
        pieces.take(said, events)
        pieces.end(events)
        return fold(events)
    except ProtocolError as error:
        why = str(error)
        if not said.candidates:
            why = "the reply has no candidates, and no word of why"
        elif why == TRUNCATED:
            why = "the reply has a candidate without a finishReason"
        raise ReplyError(ErrorKind.UPSTREAM_PROTOCOL, why) from None


def encode_reply(reply: Reply, context: ReplyContext) -> bytes:
    """The reply for a caller of the format. Raises :class:`ReplyError`."""
    gathered = Gathered(context)
    for event in unfold(reply):
        gathered.take(event)
    return gathered.whole()
