"""Responses relayed as they are, and tapped.

https://platform.openai.com/docs/api-reference/responses-streaming: every event names its type; the
stream ends with ``response.completed``, ``response.incomplete`` or ``response.failed``.
"""

import msgspec
from msgspec import Raw, Struct

from ferryman.wire.framing import event_data
from ferryman.wire.openai_chat.usage import WireUsage, usage_of
from ferryman.wire.tap import StreamTap

_OPENING = frozenset({"response.created", "response.in_progress", "response.queued"})
_ENDING = frozenset({"response.completed", "response.incomplete"})


class _Response(Struct):
    usage: WireUsage | None = None
    error: Raw | None = None


class _Event(Struct):
    type: str = ""
    response: _Response | None = None


_event = msgspec.json.Decoder(_Event)


class ResponsesTap(StreamTap):
    """Tap for Responses streams."""

    __slots__ = ()

    def notable(self, data: bytes) -> bool:
        return (
            b"response.completed" in data
            or b"response.incomplete" in data
            or b"response.failed" in data
            or b'"error"' in data
        )

    def read(self, event: bytes) -> bool:
        data = event_data(event)
        if not data:
            return True
        try:
            said = _event.decode(data)
        except (msgspec.MsgspecError, RecursionError):
            self._content = True
            return True
        if said.response is not None and said.response.usage is not None:
            self.usage = usage_of(said.response.usage) or self.usage
        if said.type in _ENDING:
            self.done = True
            self.ending = event
            return False
        if said.type == "response.failed" or said.type == "error":
            self.failure = data
            return False
        if said.type not in _OPENING:
            self._content = True
        return True
