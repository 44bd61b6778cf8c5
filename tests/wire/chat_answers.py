"""Chat replies and streams for tests: written, and heard in every cut."""

import json
from typing import Any

from msgspec import Raw

from ferryman.ir.events import Begin, Choice, End, Event, Failed, Finish, FinishReason, Reply
from ferryman.ir.fold import fold
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Block, Message, Request, Role, Text
from ferryman.wire.format import ReplyContext
from ferryman.wire.openai_chat.chunks import ChunkEncoder
from ferryman.wire.openai_chat.stream import ChatStreamDecoder
from ferryman.wire.tap import Quirks
from tests.wire.turns import drained, plain

DONE = b"data: [DONE]\n\n"
BEGIN = Begin(id="x", model="m", created=5)
STOP = Finish(reason=FinishReason.STOP)
CALLED = Finish(reason=FinishReason.TOOL_CALLS)


def event(value: Any) -> bytes:
    """``value`` as a server-sent event."""
    return b"data: %b\n\n" % json.dumps(value, separators=(",", ":")).encode()


def chunk(
    delta: dict[str, Any] | None = None,
    finish: str | None = None,
    index: int | None = 0,
    **more: Any,
) -> bytes:
    """A chunk with one choice; ``more`` are members of the choice."""
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish, **more}
    return event({"id": "x", "model": "m", "created": 5, "choices": [choice]})


def stream(*chunks: bytes) -> bytes:
    return b"".join([*chunks, DONE])


def _pieces(pieces: list[bytes], quirks: Quirks) -> list[Event]:
    return drained(ChatStreamDecoder(quirks), pieces, late=chunk({"content": "late"}))


def heard(data: bytes, quirks: Quirks = ()) -> list[Event]:
    """The events of a stream; fails unless every cut gives the same, and all keep the grammar."""
    whole = _pieces([data], quirks)
    assert isinstance(whole[-1], End | Failed)
    assert plain(_pieces([data[i : i + 1] for i in range(len(data))], quirks)) == plain(whole)
    for cut in range(1, len(data), max(len(data) // 300, 1)):
        assert plain(_pieces([data[:cut], data[cut:]], quirks)) == plain(whole), data[:cut]
    return whole


def told(*chunks: bytes) -> Choice:
    """The only choice of a stream that comes to its end."""
    (choice,) = fold(heard(stream(*chunks))).choices
    return choice


def answer(*blocks: Block, finish: Finish = STOP, **more: Any) -> Reply:
    """A whole reply of one choice."""
    probs: tuple[Raw, ...] = more.pop("logprobs", ())
    choice = Choice(blocks=blocks, finish=finish, logprobs=probs)
    return Reply(begin=BEGIN, choices=(choice,), **more)


def context(**fields: Any) -> ReplyContext:
    """A call whose caller speaks the chat format."""
    fields.setdefault("messages", (Message(role=Role.USER, blocks=(Text(text="hi"),)),))
    request = Request(model="p/m", origin="openai_chat", **fields)
    return ReplyContext(request=request, receipt=Receipt(), request_id="req_1", now=7)


def written(events: list[Event], call: ReplyContext | None = None) -> bytes:
    """The stream that a caller gets of ``events``."""
    encoder = ChunkEncoder(call or context())
    return b"".join([encoder.encode(event) for event in events])


def chunks_of(data: bytes) -> list[dict[str, Any]]:
    """The chunks of a stream that ends in ``[DONE]``."""
    assert data.endswith(DONE)
    return [json.loads(line[6:]) for line in data.split(b"\n\n")[:-2]]
