"""Helpers for tests of the generateContent format."""

import json
import random
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ferryman.ir.events import Event, Reply
from ferryman.ir.fold import fold
from ferryman.ir.grammar import Grammar
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Message as IrMessage
from ferryman.ir.request import Request, Role, Text, ToolCall
from ferryman.wire.format import Aim, ReplyContext
from ferryman.wire.gemini_generate.format import FORMAT
from ferryman.wire.gemini_generate.stream import StreamDecoder
from ferryman.wire.gemini_generate.types import NAME

CLIENT, PROVIDER = FORMAT.client, FORMAT.provider
assert CLIENT is not None and PROVIDER is not None
AIM = Aim(model="gemini-2.5-flash")


def plain(value: Any) -> Any:
    """A structure of the common language, to be compared: JSON within it without its spacing."""
    if isinstance(value, msgspec.Raw | bytes):
        return json.loads(bytes(value)) if bytes(value) else None
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, msgspec.Struct):
        named = {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        if isinstance(value, ToolCall) and value.arguments and not value.free:
            named["arguments"] = json.loads(value.arguments)
        return type(value).__name__, named
    return value


def ask(body: Any, stream: bool = False) -> Request:
    data = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    return CLIENT.decode_request(data, "gemini-2.5-flash", stream)


def sent(request: Request, *quirks: str, abilities: Sequence[str] = ()) -> tuple[Any, Receipt]:
    """The body for a provider, and what was lost."""
    receipt = Receipt()
    aim = Aim(model="gemini-2.5-flash", quirks=quirks, abilities=tuple(abilities))
    return json.loads(PROVIDER.encode_request(request, aim, receipt)), receipt


def user(*texts: str) -> IrMessage:
    return IrMessage(role=Role.USER, blocks=tuple(Text(text=text) for text in texts))


def context(request: Request | None = None) -> ReplyContext:
    asked = request or Request(model="gemini-2.5-flash", messages=(user("hi"),), origin=NAME)
    return ReplyContext(request=asked, receipt=Receipt(), request_id="req-1")


def parts(*parts: Any, **more: Any) -> dict[str, Any]:
    """A response object with one candidate."""
    return {
        "candidates": [{"content": {"parts": list(parts), "role": "model"}, "index": 0} | more],
        "modelVersion": "gemini-2.5-flash",
        "responseId": "resp-1",
    }


def sse(*objects: Any) -> bytes:
    return b"".join(
        o if isinstance(o, bytes) else b"data: %b\r\n\r\n" % json.dumps(o).encode() for o in objects
    )


def checked(events: Iterable[Event]) -> list[Event]:
    """The events, which keep the grammar."""
    grammar = Grammar()
    out = []
    for event in events:
        grammar.check(event)
        out.append(event)
    assert grammar.over, "the events have an end"
    return out


def events_of(pieces: Iterable[bytes]) -> list[Event]:
    decoder = StreamDecoder()
    out: list[Event] = []
    for piece in pieces:
        out += decoder.feed(piece)
    return checked(out + decoder.close())


def listen(data: bytes) -> list[Event]:
    """The events of a stream; fails unless every cut of the bytes gives the same."""
    whole = events_of([data])
    assert plain(events_of(bytes([byte]) for byte in data)) == plain(whole)
    for cut in (
        range(1, len(data))
        if len(data) < 1500
        else random.Random(5).sample(range(1, len(data)), 150)
    ):
        assert plain(events_of([data[:cut], data[cut:]])) == plain(whole), data[:cut]
    return whole


def heard(data: bytes) -> Reply:
    """The folded answer of a stream."""
    return fold(listen(data))
