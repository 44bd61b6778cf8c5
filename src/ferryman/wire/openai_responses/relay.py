"""Responses relayed as they are, and tapped.

https://platform.openai.com/docs/api-reference/responses-streaming: every event names its type; the
stream ends with ``response.completed``, ``response.incomplete`` or ``response.failed``.
"""

from typing import Final

import msgspec

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Usage, served
from ferryman.wire.framing import event_data, mentions
from ferryman.wire.openai_chat import relay as chat_relay
from ferryman.wire.openai_chat.errors import failed
from ferryman.wire.openai_chat.relay import DONE
from ferryman.wire.openai_chat.usage import usage_of
from ferryman.wire.openai_responses.errors import error_event
from ferryman.wire.openai_responses.types import EventType, StreamEvent
from ferryman.wire.openai_responses.usage import may_have_pieces, with_pieces
from ferryman.wire.tap import Quirks, StreamTap

_OPENING = frozenset(
    {
        "response.created", "response.in_progress", "response.queued",
        "response.content_part.added", "response.reasoning_summary_part.added",
    }
)  # fmt: skip
_WORDED = frozenset({"message", "reasoning"})
"""Items that say nothing by their mere beginning."""
_ENDING = frozenset({"response.completed", "response.incomplete"})
_NOTABLE: Final[tuple[str, ...]] = (
    "response.completed", "response.incomplete", "response.failed", '"error"', DONE.decode(),
)  # fmt: skip


_event = msgspec.json.Decoder(StreamEvent)
_type = msgspec.json.Decoder(EventType)


def _bare(data: bytes) -> StreamEvent:
    try:
        return StreamEvent(_type.decode(data).type)
    except UNREADABLE:
        return StreamEvent()  # not ours to judge: the caller sees it as the provider sent it


def read_whole(body: bytes, quirks: Quirks = ()) -> tuple[ErrorKind | None, Usage | None]:
    """What is wrong with a whole reply of status 2xx (None = nothing), and its usage."""
    kind, usage = chat_relay.read_whole(body, quirks)
    return kind, with_pieces(usage, body) if may_have_pieces(body) else usage


class ResponsesTap(StreamTap):
    """Tap for Responses streams."""

    __slots__ = ()

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
            if data.rstrip() == DONE:
                return False  # some servers end so as well; it must not end a stream that was cut
            said = _bare(data)
        if said.response is not None and said.response.usage is not None:
            usage = served(usage_of(said.response.usage), said.response.service_tier)
            self.usage = (
                with_pieces(usage, data) if may_have_pieces(data) else usage
            ) or self.usage
        if said.type in _ENDING:
            self.done = True
            self.ending = event
            return False
        if said.type == "response.failed" or said.type == "error":
            self.failure = failed(data)
            self.ending = event
            return False
        if not said.type and said.error and bytes(said.error) != b"null":
            self.failure = failed(data)  # no event of this format: the caller gets one that is
            return False
        if said.type == "response.output_item.added" and not self._content:
            self._content = said.item is not None and said.item.type not in _WORDED
        elif said.type not in _OPENING:
            self._content = True
        return True
