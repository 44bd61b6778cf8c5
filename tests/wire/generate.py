"""Helpers for tests of the generateContent format."""

import json
import random
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from ferryman.ir.events import Event, Reply
from ferryman.ir.fold import fold
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Request
from ferryman.wire.format import Aim, ReplyContext
from ferryman.wire.gemini_generate.format import FORMAT
from ferryman.wire.gemini_generate.stream import StreamDecoder
from ferryman.wire.gemini_generate.types import NAME
from tests.wire import turns
from tests.wire.turns import drained, user

CLIENT, PROVIDER = FORMAT.client, FORMAT.provider
assert CLIENT is not None and PROVIDER is not None
AIM = Aim(model="gemini-2.5-flash")
plain = partial(turns.plain, calls=True)


def ask(body: Any, stream: bool = False) -> Request:
    data = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    return CLIENT.decode_request(data, "gemini-2.5-flash", stream)


def sent(request: Request, *quirks: str, abilities: Sequence[str] = ()) -> tuple[Any, Receipt]:
    """The body for a provider, and what was lost."""
    receipt = Receipt()
    aim = Aim(model="gemini-2.5-flash", quirks=quirks, abilities=tuple(abilities))
    return json.loads(PROVIDER.encode_request(request, aim, receipt)), receipt


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


def events_of(pieces: Iterable[bytes]) -> list[Event]:
    return drained(StreamDecoder(), pieces)


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
