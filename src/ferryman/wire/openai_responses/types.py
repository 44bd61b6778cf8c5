"""What the gateway reads of Responses streams.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from msgspec import Raw, Struct

from ferryman.wire.openai_chat.types import WireUsage


class ResponseObject(Struct):
    """The ``response`` member of an event."""

    usage: WireUsage | None = None


class EventType(Struct):
    """The name of an event, where the rest of it is odd."""

    type: str = ""


class StreamEvent(Struct):
    """One event of a stream."""

    type: str = ""
    response: ResponseObject | None = None
    error: Raw = Raw()
    """An error that stands by itself, without a type: not this format, but some servers do."""
