"""Streams of the format relayed as they are, and tapped.

https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent. There is no end
mark: the last event is the one that names a ``finishReason``, and the body ends after it. Some
models name one in every event, so what looks like the last is held back until another one comes.
"""

from typing import Final

import msgspec

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Usage
from ferryman.wire.framing import BOM, event_data, mentions, readable
from ferryman.wire.gemini_generate.errors import error_event, failed
from ferryman.wire.gemini_generate.types import Response, UsageOnly
from ferryman.wire.gemini_generate.usage import (
    QUERIES,
    queries_in,
    read_usage,
    usage_of,
    with_searches,
)
from ferryman.wire.openai_chat.errors import kind_in_stream
from ferryman.wire.tap import Quirks, StreamTap

_read = msgspec.json.Decoder(Response).decode
_usage = msgspec.json.Decoder(UsageOnly).decode
_value = msgspec.json.Decoder().decode
_NOTABLE: Final[tuple[str, ...]] = (
    '"finishReason"', '"error"', '"promptFeedback"', QUERIES.decode(),
)  # fmt: skip
_NOTHING = (b"", b"null", b"{}", b"[]", b"false", b'""')


def read_whole(body: bytes, quirks: Quirks = ()) -> tuple[ErrorKind | None, Usage | None]:
    """What is wrong with a whole reply of status 2xx (None = nothing), and its usage.

    ``quirks`` are of other formats: this one's providers all report their usage alike.
    """
    try:
        said = _usage(body)
        if said.error and bytes(said.error) not in _NOTHING:
            return failed(body).kind, None
        usage = usage_of(said.usage_metadata)
        return None, with_searches(usage, queries_in(body)) if QUERIES in body else usage
    except UNREADABLE:
        pass
    try:
        odd = _value(body)
    except UNREADABLE:
        return ErrorKind.UPSTREAM_PROTOCOL, None
    return (None, None) if isinstance(odd, dict) else (ErrorKind.UPSTREAM_PROTOCOL, None)


class GenerateTap(StreamTap):
    """Tap for ``streamGenerateContent``."""

    __slots__ = ("_finished", "_held", "_queries")

    def __init__(self, *, hide_usage: bool, quirks: Quirks = ()) -> None:
        super().__init__(hide_usage=hide_usage, quirks=quirks)
        self._finished = False
        """True once a reason to end has come."""
        self._held = b""
        """From then on, the latest event: it may be the last."""
        self._queries: frozenset[str] = frozenset()
        """What the provider has searched for."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they come, return those to relay now.

        Raises :class:`~ferryman.wire.framing.EventTooLargeError`.
        """
        splitter = self._splitter
        if (
            self._content
            and not splitter.tail
            and not self._finished
            and data.endswith((b"\r\n\r\n", b"\n\n"))
            and not self.failure
            and not self.notable(data)
            and data.count(b"\n\n") + data.count(b"\r\n\r\n") == 1
            and readable(data)
        ):
            return data
        out = []
        for event in splitter.feed(data):
            if self.failure:
                break
            if not readable(event):
                self.skip(event)
                continue
            if self._content and not self._finished and not self.notable(event):
                out.append(event)
                continue
            held, self._held = self._held, b""
            relayed = self.read(event)
            if held:
                out.append(held)
            if relayed:
                out.append(event)
        return b"".join(out)

    def close(self) -> None:
        """The body is complete: what was held back is the end. An event after it that lacks only
        its blank line counts, and a piece of one says that the stream was cut."""
        if self.failure:
            return
        tail = self._splitter.tail
        if tail.strip(b"\r\n" + BOM):
            said, held = self._content, self._held
            event = tail + b"\r\n\r\n"
            if not _whole(event) or self.read(event):
                self._content = said
                return
            if self.failure:
                self.ending = held + event if held else b""
                return
            self._held = held + event
        self.ending = self._held
        self.done = self._finished

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        return error_event(error, request_id)

    def notable(self, data: bytes) -> bool:
        return mentions(data, _NOTABLE)

    def read(self, event: bytes) -> bool:
        """Note what an event says; False when it may be the last one, and is held back."""
        data = event_data(event)
        if not data:
            plain = event.removeprefix(BOM).strip()
            if plain[:1] not in (b"{", b"["):
                self._held = event if self._finished else b""
                return not self._finished
            data = plain  # an error, told without the framing of events
        try:
            said = _read(data)
        except UNREADABLE:
            return self._read_odd(event, data)
        if said.error and bytes(said.error) not in _NOTHING:
            self.failure = failed(data)
            return False
        if said.usage_metadata:
            self.usage = read_usage(said.usage_metadata) or self.usage
        if QUERIES in data:
            self._queries |= queries_in(data)
        if self._queries:
            self.usage = with_searches(self.usage, self._queries)
        finished = said.prompt_feedback is not None and bool(said.prompt_feedback.block_reason)
        for candidate in said.candidates or ():
            finished = finished or bool(candidate.finish_reason)
            if candidate.content is not None and candidate.content.parts:
                self._content = True
        if finished:
            self._content = self._finished = True
        if self._finished:
            self._held = event
        return not self._finished

    def _read_odd(self, event: bytes, data: bytes) -> bool:
        """An event that is not as the format says: the caller sees it as the provider sent it."""
        if b'"error"' in data and kind_in_stream(data) is not ErrorKind.UPSTREAM_ERROR:
            self.failure = failed(data)
            return False
        self._content = True
        if self._finished:
            self._held = event
        return not self._finished


def _whole(event: bytes) -> bool:
    """Whether the JSON of an event is all there."""
    try:
        _value(event_data(event) or event.removeprefix(BOM))
    except UNREADABLE:
        return False
    return True
