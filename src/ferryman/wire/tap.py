"""Listening to a relayed stream: the bytes go on untouched, what the gateway must know is noted.

A tap holds back three things only: an event that isn't whole yet, an event the caller did not ask
for (the usage chunk that the gateway asked for itself), and the event that ends the stream, which
goes out only after the call is in the journal.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import Failed
from ferryman.ir.usage import Usage
from ferryman.wire.framing import (
    ERROR_EVENT,
    Splitter,
    all_readable,
    event_data,
    readable,
)
from ferryman.wire.paths import SSE

if TYPE_CHECKING:
    from ferryman.wire.format import StreamEncoder
    from ferryman.wire.watch import Watch

Quirks = Sequence[Callable[[dict[str, Any]], None]]
"""Functions that set right how a provider reports its usage, in the decoded object."""

LONGEST_WORDS: Final = 2000


class StreamTap:
    """What one streamed reply has said so far; formats add :meth:`notable` and :meth:`read`."""

    __slots__ = ("_broken", "_content", "_splitter", "done", "encoder", "ending", "failure",
                 "hide_usage", "media_types", "quirks", "raw", "usage", "watch")  # fmt: skip

    def __init__(self, *, hide_usage: bool, quirks: Quirks = ()) -> None:
        self.media_types: tuple[bytes, ...] = SSE
        """How the content-type of a reply begins that this tap can read."""
        self.raw = False
        """True for a body that is no stream of events: nothing may be put into it, not even an
        error, and its end is that of the HTTP reply."""
        self.quirks = quirks
        self._splitter = Splitter()
        self._broken = 0
        self._content = False
        self.hide_usage = hide_usage
        self.usage: Usage | None = None
        self.done = False
        """True once the format's own end has come."""
        self.ending = b""
        """The event that ends the stream, held back for the caller to send. Beside a ``failure``:
        the format's own event for it."""
        self.encoder: StreamEncoder | None = None
        """What makes the caller's stream, where it isn't the provider's own."""
        self.watch: Watch | None = None
        """Who follows what the stream says, where somebody does."""
        self.failure: Failed | None = None
        """What an error event said, once one has come."""

    @property
    def broken(self) -> int:
        """Events whose data is no JSON: the first is left out, a second ends the stream."""
        return self._broken

    @property
    def content(self) -> bool:
        """True once something has come that the model itself said."""
        return self._content

    def takes(self, media_type: bytes) -> bool:
        """Whether this tap can read a reply of a content-type (in lower case, may be empty)."""
        return media_type.startswith(self.media_types)

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they come, return those to relay now.

        Raises :class:`~ferryman.wire.framing.EventTooLargeError`.
        """
        splitter = self._splitter
        if (
            self._content
            and not splitter.tail
            and data.endswith(b"\n\n")
            and not self.done
            and not self.failure
            and not self.notable(data)
            and all_readable(data)
        ):
            return data
        out = []
        for event in splitter.feed(data):
            if self.done or self.failure:
                break
            if not readable(event):
                self.skip(event)
            elif (self._content and not self.notable(event)) or self.read(event):
                out.append(event)
        return b"".join(out)

    def skip(self, event: bytes) -> None:
        """Leave out an event that is broken; the stream has failed if it isn't the first one."""
        self._broken += 1
        if event.startswith(ERROR_EVENT):
            words = event_data(event).decode("utf-8", "replace")[:LONGEST_WORDS]
            self.failure = Failed(kind=ErrorKind.UPSTREAM_ERROR, message=words)
        elif self._broken > 1:
            message = "several of its events are not what the format says"
            self.failure = Failed(kind=ErrorKind.UPSTREAM_PROTOCOL, message=message)

    def close(self) -> None:
        """The body is complete: an ending that lacks only its blank line counts."""
        tail = self._splitter.tail
        if tail and not self.done and not self.failure:
            said = self._content
            self.read(tail if tail.endswith(b"\r\r") else tail + b"\n\n")
            if not self.done:
                self._content = said

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        """An event that tells the caller of ``error`` in the middle of the stream."""
        raise NotImplementedError

    def notable(self, data: bytes) -> bool:
        """False when no event within ``data`` needs :meth:`read`: cheap, never wrongly False."""
        raise NotImplementedError

    def read(self, event: bytes) -> bool:
        """Note what one whole event says; True when it is to be relayed now."""
        raise NotImplementedError
