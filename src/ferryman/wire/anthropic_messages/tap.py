"""Messages relayed as they are, and tapped.

https://platform.claude.com/docs/en/build-with-claude/streaming: usage stands in ``message_start``
and, cumulative, in ``message_delta``; the stream ends with ``message_stop``.
"""

from typing import Final

import msgspec

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Usage
from ferryman.wire.anthropic_messages.errors import error_event, failed_of
from ferryman.wire.anthropic_messages.types import TapEvent, WireReply, WireUsage
from ferryman.wire.anthropic_messages.usage import merged, read_usage, usage_of
from ferryman.wire.framing import event_data, mentions
from ferryman.wire.tap import Quirks, StreamTap

_reply = msgspec.json.Decoder(WireReply)
_event = msgspec.json.Decoder(TapEvent)
_NOTABLE: Final[tuple[str, ...]] = ("message_", '"error"')
_NOTHING = (b"", b"null", b"{}")
_WORDED: Final = ("text", "thinking")
"""Blocks that say nothing by their mere beginning."""


def read_whole(body: bytes, quirks: Quirks = ()) -> tuple[ErrorKind | None, Usage | None]:
    """What is wrong with a whole reply of status 2xx (None = nothing), and its usage.

    The usage is None when the reply says nothing usable about it. No provider of this format has
    ``quirks`` in its usage.
    """
    try:
        said = _reply.decode(body)
    except UNREADABLE:
        return ErrorKind.UPSTREAM_PROTOCOL, None
    if said.type == "error" or (said.content is None and bytes(said.error) not in _NOTHING):
        return failed_of(body).kind, None
    if said.content is None:
        return ErrorKind.UPSTREAM_PROTOCOL, None
    return None, usage_of(read_usage(said.usage))


class MessagesTap(StreamTap):
    """Tap for streams of messages."""

    __slots__ = ("_wire",)

    def __init__(self, *, hide_usage: bool, quirks: Quirks = ()) -> None:
        super().__init__(hide_usage=hide_usage, quirks=quirks)
        self._wire: WireUsage | None = None

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        return error_event(error, request_id)

    def notable(self, data: bytes) -> bool:
        return mentions(data, _NOTABLE)

    def read(self, event: bytes) -> bool:
        data = event_data(event)
        if not data:
            return True
        try:
            said = _event.decode(data)
        except UNREADABLE:
            return True  # not ours to judge: the caller sees it as the provider sent it
        kind = said.type
        if kind == "error" or (not kind and bytes(said.error) not in _NOTHING):
            self.failure = failed_of(data)
            if kind:
                self.ending = event
            return False
        if kind == "message_stop":
            self.done = True
            self.ending = event
            return False
        if kind == "message_start" or kind == "message_delta":
            raw = said.message.usage if said.message is not None else said.usage
            self._wire = merged(self._wire, read_usage(raw))
            self.usage = usage_of(self._wire) or self.usage
        elif kind == "content_block_delta":
            self._content = True
        elif kind == "content_block_start" and not self._content:
            block = said.content_block
            if block is not None:
                self._content = bool(block.text or block.thinking) or block.type not in _WORDED
        return True
