"""Images, speech and transcripts relayed as they are, and tapped.

https://platform.openai.com/docs/api-reference/images-streaming and …/audio: a stream's last event
has a type that ends in ``.completed`` (one for each image) or ``.done``, and tells the usage; some
servers end with ``[DONE]`` instead. Speech that is no stream of events is plain bytes.
"""

import msgspec

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Usage, made
from ferryman.ir.usage import said as spoken
from ferryman.wire.framing import all_readable, event_data, readable
from ferryman.wire.openai_chat import relay
from ferryman.wire.openai_chat.errors import error_body, failed
from ferryman.wire.openai_chat.types import Lasting, MediaEvent, Pictures
from ferryman.wire.openai_chat.usage import read_usage, timed
from ferryman.wire.tap import Quirks, StreamTap

DONE = b"[DONE]"
_event = msgspec.json.Decoder(MediaEvent)
_pictures = msgspec.json.Decoder(Pictures)
_lasting = msgspec.json.Decoder(Lasting)
_EMPTY = (b"", b"null", b'""', b"[]", b"{}", b"false")
_PAGE = (b"<!doctype", b"<html")
_NO_SOUND = (b"application/json", b"application/problem+json", b"text/")


def read_pictures(body: bytes, quirks: Quirks = ()) -> tuple[ErrorKind | None, Usage | None]:
    """What is wrong with a whole reply of status 2xx that brings images (None = nothing), and its
    usage: how many there are, where it says no more."""
    kind, usage = relay.read_whole(body, quirks)
    if kind is None and usage is None:
        try:
            images = len(_pictures.decode(body).data or ())
        except UNREADABLE:
            images = 0
        usage = made(images) if images else None
    return kind, usage


def read_written(body: bytes, quirks: Quirks = ()) -> tuple[ErrorKind | None, Usage | None]:
    """What is wrong with a whole transcript of status 2xx (None = nothing), and its usage.

    As ``text``, ``srt`` and ``vtt`` it is no JSON and says nothing of usage.
    """
    start = body[:64].lstrip().lower()
    if start.startswith((b"{", b"[")):
        kind, usage = relay.read_whole(body, quirks)
        return kind, lasting(body) if kind is None and usage is None else usage
    wrong = not body or start.startswith(_PAGE)
    return (ErrorKind.UPSTREAM_PROTOCOL if wrong else None), None


def lasting(body: bytes) -> Usage | None:
    """Usage by ``duration``, which ``verbose_json`` tells where nothing else says what was used."""
    try:
        return timed(_lasting.decode(body).duration)
    except UNREADABLE:
        return None


class MediaTap(StreamTap):
    """Tap for streams of images and transcripts."""

    __slots__ = ("_held",)

    def __init__(self, *, hide_usage: bool, quirks: Quirks = ()) -> None:
        super().__init__(hide_usage=hide_usage, quirks=quirks)
        self._held = b""
        """An image that is complete: the end, unless another one comes."""

    def feed(self, data: bytes) -> bytes:
        """See :meth:`StreamTap.feed`."""
        splitter = self._splitter
        if (
            self._content
            and not self._held
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
                continue
            if self._held:
                said = event_data(event)
                if not said:
                    continue  # only keeps the connection alive
                held, self._held = self._held, b""
                if said.rstrip() == DONE:
                    self.done = True
                    self.ending = held + event
                    break
                out.append(held)
            if (self._content and not self.notable(event)) or self.read(event):
                out.append(event)
        return b"".join(out)

    def close(self) -> None:
        """The body is complete. An ending that lacks only its blank line counts; any other piece of
        an event says that the stream was cut."""
        if self.done or self.failure:
            return
        tail, held = self._splitter.tail, self._held
        event = tail + b"\n\n"
        if _says_end(event_data(event)):
            self._held = b""
            self.read(event)
            self.ending = held + self.ending + self._held
            self.done = self.failure is None
        elif held and not tail.strip():
            self.ending = held
            self.done = True

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        # An image that was held back is whole, whatever happened to the next.
        return b"%bevent: error\ndata: %b\n\n" % (self._held, error_body(error, request_id))

    def notable(self, data: bytes) -> bool:
        return b".completed" in data or b".done" in data or b'"error"' in data or DONE in data

    def read(self, event: bytes) -> bool:
        data = event_data(event)
        if not data:
            return True
        if data.rstrip() == DONE:
            self.done = True
            self.ending = event
            return False
        try:
            said = _event.decode(data)
        except UNREADABLE:
            self._content = True  # not ours to judge: the caller sees it as the provider sent it
            return True
        if said.type == "error" or bytes(said.error) not in _EMPTY:
            self.failure = failed(data)
            self.ending = event
            return False
        self._content = True
        self.usage = read_usage(said.usage) or self.usage
        if said.type.endswith(".done"):
            self.done = True
            self.ending = event
            return False
        if said.type.endswith(".completed"):
            self._held = event
            return False
        return True


def _says_end(data: bytes) -> bool:
    try:
        return data.rstrip() == DONE or _event.decode(data).type.endswith((".completed", ".done"))
    except UNREADABLE:
        return False


class SpeechTap(MediaTap):
    """Tap for speech: the events that it was asked for, or else the bytes of a sound."""

    __slots__ = ("characters",)

    def __init__(self, *, hide_usage: bool, quirks: Quirks = ()) -> None:
        super().__init__(hide_usage=hide_usage, quirks=quirks)
        self.characters = 0
        """Of the text, if its model is charged for by them."""

    def takes(self, media_type: bytes) -> bool:
        """See :meth:`StreamTap.takes`."""
        if not super().takes(media_type):
            self.raw = not media_type.startswith(_NO_SOUND)
            if not self.raw:
                return False
        if self.characters:
            self.usage = spoken(self.characters)
        return True

    def feed(self, data: bytes) -> bytes:
        """See :meth:`StreamTap.feed`."""
        if not self.raw:
            return super().feed(data)
        self._content = self._content or bool(data)
        return data

    def close(self) -> None:
        """The upstream's framing says that all has come: only so does a sound end."""
        if self.raw:
            self.done = self._content
        else:
            super().close()
