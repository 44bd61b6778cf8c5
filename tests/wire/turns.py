"""Turns in the common language, and what every format's reader of streams is held to."""

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.events import Event
from ferryman.ir.grammar import Grammar
from ferryman.ir.request import Media, MediaKind, Message, Role, Source, Text, ToolCall, ToolResult
from ferryman.wire.format import StreamDecoder


def texts(blocks: Iterable[Any]) -> tuple[Any, ...]:
    """Blocks, of which some may be written as their text."""
    return tuple(Text(text=block) if isinstance(block, str) else block for block in blocks)


def say(role: Role, *blocks: Any, **more: Any) -> Message:
    return Message(role=role, blocks=texts(blocks), **more)


def user(*blocks: Any, **more: Any) -> Message:
    return say(Role.USER, *blocks, **more)


def model(*blocks: Any, **more: Any) -> Message:
    return say(Role.ASSISTANT, *blocks, **more)


def system(*blocks: Any, **more: Any) -> Message:
    return say(Role.SYSTEM, *blocks, **more)


def result(call_id: str, *blocks: Any, **more: Any) -> ToolResult:
    return ToolResult(call_id=call_id, blocks=texts(blocks), **more)


def media(kind: str, **source: str) -> Media:
    return Media(kind=MediaKind(kind), source=Source(**source))


def plain(value: Any, *, calls: bool = False) -> Any:
    """With raw JSON as objects, so that it can be compared whatever its spacing.

    With ``calls``, arguments of calls too, in formats that have them as objects.
    """
    if isinstance(value, Raw | bytes):
        return json.loads(bytes(value) or b"null")
    if isinstance(value, tuple | list):
        return [plain(item, calls=calls) for item in value]
    if isinstance(value, msgspec.Struct):
        members = {
            name: plain(getattr(value, name), calls=calls) for name in type(value).__struct_fields__
        }
        if calls and isinstance(value, ToolCall) and value.arguments and not value.free:
            members["arguments"] = json.loads(value.arguments)
        return type(value).__name__, members
    return value


def checked(events: Iterable[Event]) -> list[Event]:
    """The events; fails unless they keep the grammar, up to an end."""
    grammar, out = Grammar(), list(events)
    for event in out:
        grammar.check(event)
    assert grammar.over, "an answer ends, in success or failure"
    return out


def drained(
    decoder: StreamDecoder, pieces: Iterable[bytes], late: bytes = b"data: {}\n\n"
) -> list[Event]:
    """The events of a stream; fails unless they keep the grammar and nothing comes after them."""
    events = [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()
    assert decoder.feed(late) == [] == decoder.close(), "it is over"
    return checked(events)


def split(data: bytes, *places: int) -> list[bytes]:
    """``data`` in pieces."""
    return [data[first:last] for first, last in pairwise([0, *places, len(data)])]
