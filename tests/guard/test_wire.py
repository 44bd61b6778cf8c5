"""Redaction is the same wherever a stream's bytes are cut, in every format."""

import json
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.config.guard_row import Guard
from ferryman.flow.guarded import guarded_side
from ferryman.flow.stored import redacted
from ferryman.guard.engine import REQUEST, Engine, Session, TextCheck
from ferryman.ir.events import Event
from ferryman.ir.fold import fold
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Message, Request, Role, Text, ToolCall
from ferryman.store.bodies import Body
from ferryman.wire.format import ReplyContext
from ferryman.wire.formats import FORMATS
from ferryman.wire.paths import CONVERSATIONS

MAIL = "zoë.lee@example.org"
SAID = f"Écris à {MAIL}, ou à [EMAIL_1]; ☃ bob@example.org."
GOT = f"Écris à [EMAIL], ou à {MAIL}; ☃ [EMAIL]."
ARGUMENTS = json.dumps({"to": "[EMAIL_1]", "copy": "bob@example.org"})


class Talk(NamedTuple):
    """What a model says, and how its provider cuts and writes it."""

    said: str = SAID
    arguments: str = ARGUMENTS
    size: int = 7
    """Characters of a piece."""
    escaped: bool = False
    """Whether all that is no ASCII is escaped."""

    def sse(self, *events: object) -> bytes:
        lines = (f"data: {json.dumps(each, ensure_ascii=self.escaped)}\n\n" for each in events)
        return "".join(lines).encode()

    def named(self, *events: dict[str, object]) -> bytes:
        return b"".join(f"event: {each['type']}\n".encode() + self.sse(each) for each in events)

    def pieces(self, text: str) -> list[str]:
        return [text[at : at + self.size] for at in range(0, len(text), self.size)]


def chat(talk: Talk) -> bytes:
    def chunk(delta: object, finish: str | None = None) -> object:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}

    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "t", "arguments": ""}}
    return talk.sse(
        *(chunk({"content": piece}) for piece in talk.pieces(talk.said)),
        chunk({"tool_calls": [call]}),
        *(chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
          for piece in talk.pieces(talk.arguments)),
        chunk({}, "tool_calls"),
    ) + b"data: [DONE]\n\n"  # fmt: skip


def messages(talk: Talk) -> bytes:
    usage = {"input_tokens": 1, "output_tokens": 1}
    start = {"id": "x", "type": "message", "role": "assistant", "model": "m", "content": [],
             "stop_reason": None, "usage": usage}  # fmt: skip
    tool = {"type": "tool_use", "id": "c", "name": "t", "input": {}}

    def block(
        index: int, begins: object, kind: str, name: str, text: str
    ) -> list[dict[str, object]]:
        deltas = [
            {"type": "content_block_delta", "index": index, "delta": {"type": kind, name: piece}}
            for piece in talk.pieces(text)
        ]
        return [
            {"type": "content_block_start", "index": index, "content_block": begins},
            *deltas,
            {"type": "content_block_stop", "index": index},
        ]

    return talk.named(
        {"type": "message_start", "message": start},
        *block(0, {"type": "text", "text": ""}, "text_delta", "text", talk.said),
        *block(1, tool, "input_json_delta", "partial_json", talk.arguments),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage},
        {"type": "message_stop"},
    )


def responses(talk: Talk) -> bytes:
    whole = {"id": "resp_1", "status": "in_progress", "model": "m", "output": [], "created_at": 1}
    part = {"type": "output_text", "text": "", "annotations": []}
    item = {"id": "m_1", "type": "message", "role": "assistant", "content": []}
    call = {"id": "f_1", "type": "function_call", "call_id": "c", "name": "t", "arguments": ""}
    at = {"item_id": "m_1", "output_index": 0, "content_index": 0}
    there = {"item_id": "f_1", "output_index": 1}
    said = part | {"text": talk.said}
    items = [item | {"content": [said]}, call | {"arguments": talk.arguments}]

    def told(kind: str, **members: object) -> dict[str, object]:
        return {"type": f"response.{kind}", **members}

    return talk.named(
        told("created", response=whole),
        told("output_item.added", output_index=0, item=item),
        told("content_part.added", **at, part=part),
        *(told("output_text.delta", **at, delta=piece) for piece in talk.pieces(talk.said)),
        told("output_text.done", **at, text=talk.said),
        told("content_part.done", **at, part=said),
        told("output_item.done", output_index=0, item=items[0]),
        told("output_item.added", output_index=1, item=call),
        *(
            told("function_call_arguments.delta", **there, delta=piece)
            for piece in talk.pieces(talk.arguments)
        ),
        told("function_call_arguments.done", **there, arguments=talk.arguments),
        told("output_item.done", output_index=1, item=items[1]),
        told("completed", response=whole | {"status": "completed", "output": items}),
    )


def generate(talk: Talk) -> bytes:
    def part(said: object, **more: object) -> object:
        return {"candidates": [{"content": {"role": "model", "parts": [said]}, "index": 0, **more}]}

    call = {"functionCall": {"name": "t", "args": json.loads(talk.arguments)}}
    texts = (part({"text": piece}) for piece in talk.pieces(talk.said))
    return talk.sse(*texts, part(call, finishReason="STOP"))


STREAMS = {
    "openai_chat": chat, "openai_responses": responses, "anthropic_messages": messages,
    "gemini_generate": generate,
}  # fmt: skip
ENDPOINTS = {form: endpoint for endpoint, form in CONVERSATIONS.items()}


def session() -> Session:
    """Of a call that has said MAIL, which stands as [EMAIL_1] for the model."""
    guard = Guard(name="pii", kind="pii", how="tokenise", entities=("email",))
    found = Session(Engine([guard], []), ["pii"])
    assert TextCheck(found, REQUEST, answer=False).whole(MAIL) == "[EMAIL_1]"
    return found


def guarded(form: str, parts: list[bytes]) -> list[Event]:
    side = FORMATS[form].provider
    assert side is not None
    decoder = guarded_side(side, session()).stream_decoder()
    return [event for part in parts for event in decoder.feed(part)] + decoder.close()


def read(events: list[Event]) -> list[object]:
    """Text and arguments of an answer."""
    out: list[object] = []
    for block in fold(events).choices[0].blocks:
        if isinstance(block, Text):
            out.append(block.text)
        elif isinstance(block, ToolCall):
            out.append(json.loads(block.arguments))
    return out


def cut(body: bytes, *places: int) -> list[bytes]:
    """Pieces of a body that is cut there; without a place, byte by byte."""
    ends = [*places, len(body)] if places else [*range(1, len(body) + 1)]
    return [body[a:b] for a, b in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize("form", STREAMS)
def test_a_stream_is_redacted_and_restored_at_every_cut_of_its_bytes(form: str) -> None:
    right = [GOT, {"to": MAIL, "copy": "[EMAIL]"}]
    body = STREAMS[form](Talk())
    assert read(guarded(form, cut(body))) == right
    for place in range(11, len(body), 11):
        assert read(guarded(form, cut(body, place))) == right, place


PIECES = {
    MAIL: "[EMAIL]", "bob@example.org": "[EMAIL]", "[EMAIL_1]": MAIL, '"[EMAIL_1]"': f'"{MAIL}"',
    "é[EMAIL_1]😀": f"é{MAIL}😀",
} | {same: same for same in (
    "[EMAIL_2]", "[EMAIL_", "[EMAIL_12]", "[", "]", "\\", "\\u005b", '"', "\n", "☃", "😀", "é",
    "bob@", "It rained.", "x" * 70, "{}", "\t", "data:",
)}  # fmt: skip
"""What is said, and what the caller gets."""
WORDS = st.lists(st.sampled_from(sorted(PIECES)), min_size=1, max_size=12)


@pytest.mark.parametrize("form", STREAMS)
@settings(max_examples=25)
@given(
    words=WORDS, to=WORDS, size=st.integers(1, 30), escaped=st.booleans(), marks=st.booleans(),
    places=st.lists(st.integers(1, 4000), max_size=12),
)  # fmt: skip
def test_whatever_is_said_is_redacted_and_restored_from_provider_to_caller(
    form: str, words: list[str], to: list[str], size: int, escaped: bool, marks: bool,
    places: list[int],
) -> None:  # fmt: skip
    """``marks``: also what stands for something is written in escapes, within arguments."""
    arguments = json.dumps({"to": " ".join(to)}, ensure_ascii=escaped)
    if marks:
        arguments = arguments.replace("[", "\\u005b").replace("E", "\\u0045")
    body = STREAMS[form](Talk(" ".join(words), arguments, size, escaped))
    events = guarded(form, cut(body, *sorted({each for each in places if each < len(body)})))
    right = [" ".join(map(PIECES.__getitem__, each)) for each in (words, to)]
    assert read(events) == [right[0], {"to": right[1]}]
    client, provider = FORMATS[form].client, FORMATS[form].provider
    assert client is not None
    assert provider is not None
    said = Message(role=Role.USER, blocks=(Text(text=MAIL),))
    asked = Request(model="m", messages=(said,), stream=True, origin=form)
    context = ReplyContext(request=asked, receipt=Receipt(), request_id="r", provider=form)
    encoder, decoder = client.stream_encoder(context), provider.stream_decoder()
    sent = b"".join(map(encoder.encode, events))
    assert read(decoder.feed(sent) + decoder.close()) == [right[0], {"to": right[1]}]


@pytest.mark.parametrize("form", STREAMS)
def test_a_kept_stream_is_redacted_and_still_one(form: str) -> None:
    engine = Engine([Guard(name="pii", kind="pii")], [])
    stream = STREAMS[form](Talk())
    given = Body(
        request=json.dumps({"user": MAIL}).encode(), reply=stream, request_bytes=9,
        reply_bytes=len(stream), media_type="text/event-stream; charset=utf-8",
    )  # fmt: skip
    kept = redacted(given, ENDPOINTS[form], engine, ["pii"], 10**6)
    assert b"@example.org" not in kept.request + kept.reply
    side = FORMATS[form].provider
    assert side is not None
    decoder = side.stream_decoder()
    [text, _] = fold(decoder.feed(kept.reply) + decoder.close()).choices[0].blocks
    assert isinstance(text, Text)
    assert text.text == SAID.replace(MAIL, "[EMAIL]").replace("bob@example.org", "[EMAIL]")
    broken = redacted(given, "completions", engine, ["pii"], 10**6)
    assert broken.reply == b"", "what can't be read can't be redacted, and is not kept"


@pytest.mark.parametrize(
    ("kind", "reply", "kept"),
    [
        ("application/json", b'{"a": "ann@example.org"}', b'{"a":"[EMAIL]"}'),
        ("application/json", b'{"a": "ann@example.org"', b""),
        ("text/plain", b"ann@example.org", b"[EMAIL]"),
        ("audio/mpeg", b"ID3", b""),
    ],
)
def test_what_else_is_kept_is_redacted_or_left_out(kind: str, reply: bytes, kept: bytes) -> None:
    engine = Engine([Guard(name="pii", kind="pii")], [])
    given = Body(request=b"", reply=reply, request_bytes=0, reply_bytes=0, media_type=kind)
    assert redacted(given, "embeddings", engine, ["pii"], 99).reply == kept
