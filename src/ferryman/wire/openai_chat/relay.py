"""Chat completions, completions, embeddings and moderations relayed as they are, and tapped.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

from typing import Any, Final

import msgspec
from msgspec import Raw
from msgspec.structs import astuple

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import Failed
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Usage, served
from ferryman.wire.framing import event_data, mentions
from ferryman.wire.openai_chat.errors import error_event, failed, kind_in_stream
from ferryman.wire.openai_chat.types import Choice, Chunk, Whole, WireUsage
from ferryman.wire.openai_chat.usage import odd_types, usage_of
from ferryman.wire.tap import Quirks, StreamTap

DONE: Final = b"[DONE]"

_whole: Final = msgspec.json.Decoder(Whole)
_chunk: Final = msgspec.json.Decoder(Chunk)
_value = msgspec.json.Decoder()
_members = msgspec.json.Decoder(dict[str, Raw])
_ANSWERS = ("choices", "data", "results", "output")
"""Members of which every whole answer has one; an error beside one of them is part of an answer."""
_CHOICES: Final[tuple[str, ...]] = ('"choices"',)
_NOTABLE: Final[tuple[str, ...]] = (DONE.decode(), '"error"')
_EMPTY: Final = (b"null", b'""', b"[]", b"{}", b"false")


def read_whole(body: bytes, quirks: Quirks = ()) -> tuple[ErrorKind | None, Usage | None]:
    """What is wrong with a whole reply of status 2xx (None = nothing), and its usage.

    The usage is None when the reply says nothing usable about it.
    """
    kind, usage, _ = _read(body, quirks)
    return kind, usage


def read_answer(body: bytes, quirks: Quirks = ()) -> tuple[ErrorKind | None, Usage | None]:
    """The same of a completion: an object without choices is none."""
    kind, usage, chosen = _read(body, quirks)
    if kind is None and not chosen and not mentions(body, _CHOICES):
        kind = ErrorKind.UPSTREAM_PROTOCOL
    return kind, usage


def _read(body: bytes, quirks: Quirks) -> tuple[ErrorKind | None, Usage | None, bool]:
    """The same, and whether it was seen to have choices."""
    try:
        # All fields at once: compiled, to read one costs as much as five of these.
        fields: tuple[Any, ...] = astuple(_whole.decode(body))
        wire, error, tier, choices = fields
        if error and bytes(error) not in _EMPTY:
            members = _members.decode(body)
            if not any(name in members for name in _ANSWERS):
                return kind_in_stream(body), None, False
        usage = usage_of(odd_usage(body, quirks) if quirks else wire)
        if tier is not None and tier != "default":  # which is the standard one, as mostly
            usage = served(usage, tier)
        return None, usage, bool(choices)
    except UNREADABLE:
        pass
    try:
        # An answer, if an object.
        return None, odd_types(_members.decode(body).get("usage")), False
    except UNREADABLE:
        return ErrorKind.UPSTREAM_PROTOCOL, None, False


def odd_usage(data: bytes, quirks: Quirks) -> WireUsage | None:
    """Usage where a provider has its own way to say it. Raises :class:`msgspec.MsgspecError`."""
    members = _members.decode(data)
    said = {"usage": _value.decode(members["usage"])} if "usage" in members else {}
    if said.get("usage") is None and "choices" in members:
        said["choices"] = _value.decode(members["choices"])
    for quirk in quirks:
        quirk(said)
    return msgspec.convert(said.get("usage"), WireUsage | None)


class ChatTap(StreamTap):
    """Tap for chat and legacy completion streams, which end in ``data: [DONE]``."""

    __slots__ = ()

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        return error_event(error, request_id)

    def notable(self, data: bytes) -> bool:
        if mentions(data, _NOTABLE):
            return True
        named = data.count(b'"usage"')
        return named > 0 and named != data.count(b'"usage":null')

    def read(self, event: bytes) -> bool:
        data = event_data(event)
        if not data:
            return True
        if data.rstrip() == DONE:
            if not self._content:
                message = "it ended without an answer"
                self.failure = Failed(kind=ErrorKind.UPSTREAM_PROTOCOL, message=message)
                return False
            self.done = True
            self.ending = event
            return False
        try:
            chunk = _chunk.decode(data)
            wire = chunk.usage or (chunk.x_groq.usage if chunk.x_groq else None)
            if self.quirks and b'"usage"' in data:
                wire = odd_usage(data, self.quirks)
        except UNREADABLE:
            return self._read_odd(data)
        if chunk.object == "error" or (chunk.error and bytes(chunk.error) not in _EMPTY):
            self.failure = failed(data)
            return False
        if wire is not None:
            self.usage = served(usage_of(wire), chunk.service_tier) or self.usage
            if self.hide_usage and not chunk.choices:
                return False
        if not self._content and chunk.choices:
            self._content = any(_says_something(choice) for choice in chunk.choices)
        return True

    def _read_odd(self, data: bytes) -> bool:
        """An event that is not as the format says: the caller sees it as the provider sent it."""
        try:
            members = _members.decode(data)
        except UNREADABLE:
            members = {}
        if bytes(members.get("error", b"null")) not in _EMPTY:
            self.failure = failed(data)
            return False
        self.usage = odd_types(members.get("usage")) or self.usage
        hollow = bytes(members.get("choices", b"null")) in _EMPTY
        if self.hide_usage and hollow and bytes(members.get("usage", b"null")) not in _EMPTY:
            return False
        self._content = True
        return True


def _says_something(choice: Choice) -> bool:
    """False for the opening chunk that only names the role."""
    if choice.text or choice.finish_reason:
        return True
    delta = choice.delta or {}
    return any(name != "role" and bytes(value) not in _EMPTY for name, value in delta.items())
