"""Redaction is the same wherever a stream's bytes are cut, in every format."""

import json

import pytest

from ferryman.config.guard_row import Guard
from ferryman.flow.guarded import guarded_side
from ferryman.flow.stored import redacted
from ferryman.guard.engine import REQUEST, Engine, Session, TextCheck
from ferryman.ir.fold import fold
from ferryman.ir.request import Text, ToolCall
from ferryman.store.bodies import Body
from ferryman.wire.formats import FORMATS
from ferryman.wire.paths import CONVERSATIONS

MAIL = "zoë.lee@example.org"
SAID = f"Écris à {MAIL}, ou à [EMAIL_1]; ☃ bob@example.org."
GOT = f"Écris à [EMAIL], ou à {MAIL}; ☃ [EMAIL]."
ARGUMENTS = json.dumps({"to": "[EMAIL_1]", "copy": "bob@example.org"})


def sse(*events: object) -> bytes:
    lines = (f"data: {json.dumps(each, ensure_ascii=False)}\n\n" for each in events)
    return "".join(lines).encode()


def named(*events: dict[str, object]) -> bytes:
    return b"".join(f"event: {each['type']}\n".encode() + sse(each) for each in events)


def pieces(text: str) -> list[str]:
    return [text[at : at + 7] for at in range(0, len(text), 7)]


def chat() -> bytes:
    def chunk(delta: object, finish: str | None = None) -> object:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}

    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "t", "arguments": ""}}
    return sse(
        *(chunk({"content": piece}) for piece in pieces(SAID)),
        chunk({"tool_calls": [call]}),
        *(chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
          for piece in pieces(ARGUMENTS)),
        chunk({}, "tool_calls"),
    ) + b"data: [DONE]\n\n"  # fmt: skip


def messages() -> bytes:
    usage = {"input_tokens": 1, "output_tokens": 1}
    start = {"id": "x", "type": "message", "role": "assistant", "model": "m", "content": [],
             "stop_reason": None, "usage": usage}  # fmt: skip
    tool = {"type": "tool_use", "id": "c", "name": "t", "input": {}}

    def block(
        index: int, begins: object, kind: str, name: str, text: str
    ) -> list[dict[str, object]]:
        deltas = [
            {"type": "content_block_delta", "index": index, "delta": {"type": kind, name: piece}}
            for piece in pieces(text)
        ]
        return [
            {"type": "content_block_start", "index": index, "content_block": begins},
            *deltas,
            {"type": "content_block_stop", "index": index},
        ]

    return named(
        {"type": "message_start", "message": start},
        *block(0, {"type": "text", "text": ""}, "text_delta", "text", SAID),
        *block(1, tool, "input_json_delta", "partial_json", ARGUMENTS),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage},
        {"type": "message_stop"},
    )


def generate() -> bytes:
    def part(said: object, **more: object) -> object:
        return {"candidates": [{"content": {"role": "model", "parts": [said]}, "index": 0, **more}]}

    call = {"functionCall": {"name": "t", "args": json.loads(ARGUMENTS)}}
    return sse(*(part({"text": piece}) for piece in pieces(SAID)), part(call, finishReason="STOP"))


STREAMS = {"openai_chat": chat, "anthropic_messages": messages, "gemini_generate": generate}
ENDPOINTS = {form: endpoint for endpoint, form in CONVERSATIONS.items()}


def told(form: str, cut: int) -> list[str]:
    """What the caller gets, of a stream that comes in two pieces (at 0: byte by byte)."""
    session = Session(
        Engine([Guard(name="pii", kind="pii", how="tokenise", entities=("email",))], []), ["pii"]
    )
    assert TextCheck(session, REQUEST, answer=False).whole(MAIL) == "[EMAIL_1]"
    side = FORMATS[form].provider
    assert side is not None
    decoder, body = guarded_side(side, session).stream_decoder(), STREAMS[form]()
    parts = [body[:cut], body[cut:]] if cut else [body[i : i + 1] for i in range(len(body))]
    events = [event for part in parts for event in decoder.feed(part)] + decoder.close()
    out = []
    for block in fold(events).choices[0].blocks:
        if isinstance(block, Text):
            out.append(block.text)
        elif isinstance(block, ToolCall):
            out.append(json.loads(block.arguments))
    return out


@pytest.mark.parametrize("form", STREAMS)
def test_a_stream_is_redacted_and_restored_at_every_cut_of_its_bytes(form: str) -> None:
    right = [GOT, {"to": MAIL, "copy": "[EMAIL]"}]
    for cut in range(0, len(STREAMS[form]()), 11):  # at 0 every byte comes for itself
        assert told(form, cut) == right, cut


@pytest.mark.parametrize("form", STREAMS)
def test_a_kept_stream_is_redacted_and_still_one(form: str) -> None:
    engine = Engine([Guard(name="pii", kind="pii")], [])
    stream = STREAMS[form]()
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
