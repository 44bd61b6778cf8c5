"""Another format's events inside AWS messages, as invoke-with-response-stream sends them.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html
Each ``chunk`` holds one JSON event of the model's own format, in base64. The unwrapper makes of
them the server-sent events that the ``anthropic_messages`` format reads, so that its decoder and
its tap need not know where they came from.
"""

import base64
import binascii

import msgspec
from msgspec import Struct

from ferryman.ir.errors import GatewayError
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.eventstream import Frame, FrameDecoder
from ferryman.wire.tap import StreamTap


class _Chunk(Struct):
    bytes: str


class _Typed(Struct):
    type: str = ""


class _Words(Struct):
    message: str = ""


_chunk = msgspec.json.Decoder(_Chunk)
_typed = msgspec.json.Decoder(_Typed)
_words = msgspec.json.Decoder(_Words)
_encode = msgspec.json.Encoder().encode

_TYPES = {
    "throttlingexception": "rate_limit_error",
    "servicequotaexceededexception": "rate_limit_error",
    "modelnotreadyexception": "overloaded_error",
    "serviceunavailableexception": "overloaded_error",
    "validationexception": "invalid_request_error",
    "accessdeniedexception": "permission_error",
    "resourcenotfoundexception": "not_found_error",
    "modeltimeoutexception": "timeout_error",
}
"""Exceptions → error types; every other is an ``api_error``."""


class InvokeUnwrapper:
    """Bytes of an AWS stream in, bytes of a stream of server-sent events out; any cut will do."""

    __slots__ = ("_frames", "broken", "over")

    def __init__(self) -> None:
        self._frames = FrameDecoder()
        self.broken = 0
        """Chunks that could not be read: the first is skipped, a second ends the stream."""
        self.over = False
        """True after an error: nothing more comes."""

    def feed(self, data: bytes) -> bytes:
        """The events that ``data`` completes; an exception becomes ``event: error``."""
        if self.over:
            return b""
        frames, error = self._frames.feed(data)
        out = []
        for frame in frames:
            out.append(self._event(frame))
            if self.over:
                return b"".join(out)
        if error is not None:
            out.append(self._error("api_error", f"The event stream is broken: {error}."))
        return b"".join(out)

    def close(self) -> bytes:
        """The body is over. A message cut in two becomes an error, unless there was one already."""
        if self.over or not self._frames.pending:
            return b""
        return self._error("api_error", "The event stream ends within a message.")

    def _event(self, frame: Frame) -> bytes:
        kind = frame.text(":message-type")
        if kind == "exception" or kind == "error":
            name = frame.text(":exception-type") or frame.text(":error-code")
            words = _message(frame.payload) or frame.text(":error-message") or name
            return self._error(_TYPES.get(name.lower(), "api_error"), words)
        if frame.text(":event-type") != "chunk":
            return b""
        try:
            event = base64.b64decode(_chunk.decode(frame.payload).bytes, validate=True)
            name = _typed.decode(event).type
        except (*UNREADABLE, binascii.Error, ValueError):
            self.broken += 1
            if self.broken == 1:
                return b""
            return self._error("api_error", "The event stream holds chunks that can't be read.")
        if b"\n" in event or b"\r" in event:
            event = msgspec.json.format(event, indent=-1)  # one line of data
        if not name.replace("_", "").isalnum():
            return b"data: %b\n\n" % event
        return b"event: %b\ndata: %b\n\n" % (name.encode(), event)

    def _error(self, kind: str, message: str) -> bytes:
        self.over = True
        error = {"type": "error", "error": {"type": kind, "message": message}}
        return b"event: error\ndata: %b\n\n" % _encode(error)


def _message(payload: bytes) -> str:
    try:
        return _words.decode(payload).message
    except UNREADABLE:
        return ""


class UnwrappingTap(StreamTap):
    """Gives another tap what is inside the messages, and says what that one says."""

    __slots__ = ("_inner", "_unwrapper")

    def __init__(self, inner: StreamTap) -> None:
        super().__init__(hide_usage=inner.hide_usage)
        self.media_types = (b"application/vnd.amazon.eventstream",)
        self.encoder = inner.encoder
        self.watch = inner.watch
        self._inner = inner
        self._unwrapper = InvokeUnwrapper()

    def feed(self, data: bytes) -> bytes:
        """See :meth:`StreamTap.feed`."""
        out = self._inner.feed(self._unwrapper.feed(data))
        self._say()
        return out

    def close(self) -> None:
        """See :meth:`StreamTap.close`."""
        self._inner.feed(self._unwrapper.close())
        self._inner.close()
        self._say()

    def _say(self) -> None:
        inner = self._inner
        self._broken = inner.broken + self._unwrapper.broken
        self._content = inner.content
        self.usage = inner.usage
        self.done = inner.done
        self.ending = inner.ending
        self.failure = inner.failure

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        return self._inner.error_event(error, request_id)
