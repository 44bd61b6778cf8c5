"""Answers of the Messages format, both as a stream and whole, for the tests of its codec."""

import json
from typing import Any, NamedTuple

from msgspec import Raw

from ferryman.ir.events import Beside, Count, End, Event, Finish, FinishReason
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Block,
    Citation,
    Message,
    Opaque,
    Refusal,
    Request,
    Role,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.usage import Extras, Usage
from ferryman.wire.anthropic_messages.decoder import MessagesDecoder
from ferryman.wire.anthropic_messages.encoder import MessagesEncoder
from ferryman.wire.anthropic_messages.types import NAME
from ferryman.wire.format import ReplyContext
from tests.wire.turns import drained

ASKED = Request(
    model="claude-test",
    messages=(Message(role=Role.USER, blocks=(Text(text="Hi"),)),),
    stream=True,
    origin=NAME,
)


def compact(value: Any) -> str:
    """JSON as providers write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def sse(*events: dict[str, Any]) -> bytes:
    """Events of a stream, each named by its type."""
    return b"".join(f"event: {e['type']}\ndata: {compact(e)}\n\n".encode() for e in events)


def start(**usage: Any) -> dict[str, Any]:
    """``message_start``."""
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test",
        "content": [], "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 1, **usage},
    }  # fmt: skip
    return {"type": "message_start", "message": message}


def block(index: int, begins: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    """One block of a stream."""
    return [
        {"type": "content_block_start", "index": index, "content_block": begins},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def end(reason: str | None = "end_turn", usage: Any = None, **more: Any) -> list[dict[str, Any]]:
    """``message_delta`` and ``message_stop``."""
    delta = {"stop_reason": reason, "stop_sequence": None, **more}
    counts = {"output_tokens": 7} if usage is None else usage
    return [{"type": "message_delta", "delta": delta, "usage": counts}, {"type": "message_stop"}]


class Answer(NamedTuple):
    """One answer: how it is streamed, what it is whole, and what both mean."""

    stream: bytes
    whole: dict[str, Any]
    blocks: tuple[Block, ...]
    reason: FinishReason = FinishReason.STOP
    detail: str = ""
    sequence: str = ""
    usage: Usage | None = None
    beside: tuple[Beside, ...] = ()


def _whole(
    content: list[Any], reason: str = "end_turn", usage: Any = None, **more: Any
) -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test",
        "content": content, "stop_reason": reason, "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 7} if usage is None else usage, **more,
    }  # fmt: skip


_USAGE = Usage(10, 0, 0, 0, 0, 7)
_PAGE = {
    "type": "page_location", "cited_text": "so", "document_index": 0, "document_title": "T",
    "file_id": None, "start_page_number": 1, "end_page_number": 2,
}  # fmt: skip
_SEARCH = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "ü"}}
_FOUND = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []}
_ADVISOR = {
    "type": "advisor_tool_result",
    "tool_use_id": "a",
    "content": {"type": "x", "text": "y"},
}
_CONTAINER = {"id": "container_1", "expires_at": "2026-11-26T16:00:00Z"}
_EDITS = {"applied_edits": [{"type": "clear_tool_uses_20250919", "cleared_tool_uses": 3}]}
_USES = {"web_search_requests": 2}
_SUMMARY = {"type": "compaction", "content": "short", "encrypted_content": "E"}

ANSWERS = {
    "text": Answer(
        sse(
            start(),
            {"type": "ping"},
            *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "He"},
                   {"type": "text_delta", "text": ""}, {"type": "text_delta", "text": "llo ü🙂\n"}),
            *end(),
        ),
        _whole([{"type": "text", "text": "Hello ü🙂\n"}]),
        (Text(text="Hello ü🙂\n"),),
        usage=_USAGE,
    ),
    "thinking, hidden thinking, text": Answer(
        sse(
            start(),
            *block(0, {"type": "thinking", "thinking": "", "signature": ""},
                   {"type": "thinking_delta", "thinking": "Hm"},
                   {"type": "signature_delta", "signature": "S=="}),
            *block(1, {"type": "redacted_thinking", "data": "D=="}),
            *block(2, {"type": "text", "text": "A"}, {"type": "text_delta", "text": "B"}),
            *end(usage={"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 5}}),
        ),
        _whole(
            [
                {"type": "thinking", "thinking": "Hm", "signature": "S=="},
                {"type": "redacted_thinking", "data": "D=="},
                {"type": "text", "text": "AB"},
            ],
            usage={"input_tokens": 10, "output_tokens": 7,
                   "output_tokens_details": {"thinking_tokens": 5}},
        ),
        (
            Thinking(text="Hm", signature=Signature("S==", NAME)),
            Thinking(encrypted=True, signature=Signature("D==", NAME)),
            Text(text="AB"),
        ),
        usage=Usage(10, 0, 0, 0, 0, 2, 5),
    ),
    "thinking that is not shown": Answer(
        sse(
            start(),
            *block(0, {"type": "thinking", "thinking": "", "signature": ""},
                   {"type": "signature_delta", "signature": "S=="}),
            *block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "B"}),
            *end(),
        ),
        _whole(
            [
                {"type": "thinking", "thinking": "", "signature": "S=="},
                {"type": "text", "text": "B"},
            ]
        ),
        (Thinking(signature=Signature("S==", NAME)), Text(text="B")),
        usage=_USAGE,
    ),
    "tools, one without arguments": Answer(
        sse(
            start(),
            *block(0, {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
                   {"type": "input_json_delta", "partial_json": ""},
                   {"type": "input_json_delta", "partial_json": '{"a":1,'},
                   {"type": "input_json_delta", "partial_json": '"a":"ü"}'}),
            *block(1, {"type": "tool_use", "id": "t2", "name": "f", "input": {},
                       "caller": {"type": "direct"}},
                   {"type": "input_json_delta", "partial_json": ""}),
            *end("tool_use"),
        ),
        _whole(
            [
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"b": 0}},
                {"type": "tool_use", "id": "t2", "name": "f", "input": {},
                 "caller": {"type": "direct"}},
            ],
            "tool_use",
        ),
        (
            ToolCall(id="t1", name="f", arguments='{"a":1,"a":"ü"}'),
            ToolCall(id="t2", name="f", arguments="{}"),
        ),
        FinishReason.TOOL_CALLS,
        usage=_USAGE,
    ),
    "citations": Answer(
        sse(
            start(),
            *block(0, {"type": "text", "text": "", "citations": []},
                   {"type": "text_delta", "text": "So."},
                   {"type": "citations_delta", "citation": _PAGE}),
            *end("stop_sequence", stop_sequence="\n\n"),
        ),
        _whole(
            [{"type": "text", "text": "So.", "citations": [_PAGE]}],
            "stop_sequence",
        )
        | {"stop_sequence": "\n\n"},
        (
            Text(
                text="So.",
                citations=(
                    Citation(title="T", quote="so", document=0, unit="page", first=1, last=2,
                             origin=NAME, raw=compact(_PAGE).encode()),
                ),
            ),
        ),
        FinishReason.STOP_SEQUENCE,
        sequence="\n\n",
        usage=_USAGE,
    ),
    "tools of the provider's own": Answer(
        sse(
            start(cache_read_input_tokens=100, cache_creation_input_tokens=30,
                  cache_creation={"ephemeral_5m_input_tokens": 10,
                                  "ephemeral_1h_input_tokens": 20},
                  service_tier="priority", inference_geo="us"),
            *block(0, {**_SEARCH, "input": {}},
                   {"type": "input_json_delta", "partial_json": '{"query":'},
                   {"type": "input_json_delta", "partial_json": '"ü"}'}),
            *block(1, _FOUND),
            *block(2, _ADVISOR, {"type": "advisor_delta", "text": "new"}),
            *block(3, {"type": "compaction", "content": None},
                   {"type": "compaction_delta", "content": "short", "encrypted_content": "E"}),
            {"type": "message_delta",
             "delta": {"stop_reason": "pause_turn", "stop_sequence": None, "container": _CONTAINER},
             "usage": {"output_tokens": 7, "cache_creation_input_tokens": 31,
                       "server_tool_use": _USES},
             "context_management": _EDITS},
            {"type": "message_stop"},
        ),
        _whole(
            [_SEARCH, _FOUND, _ADVISOR, _SUMMARY],
            "pause_turn",
            usage={"input_tokens": 10, "output_tokens": 7, "cache_read_input_tokens": 100,
                   "cache_creation_input_tokens": 31,
                   "cache_creation": {"ephemeral_5m_input_tokens": 11,
                                      "ephemeral_1h_input_tokens": 20},
                   "server_tool_use": _USES, "service_tier": "priority", "inference_geo": "us"},
            container=_CONTAINER, context_management=_EDITS,
        ),
        tuple(
            Opaque(origin=NAME, kind=each["type"], raw=compact(each).encode())
            for each in (_SEARCH, _FOUND, _ADVISOR, _SUMMARY)
        ),
        FinishReason.PAUSE,
        usage=Usage(10, 100, 11, 20, 0, 7,
                    extras=Extras(service="priority", region="us", searches=2)),
        beside=tuple(
            Beside(origin=NAME, name=name, raw=Raw(compact(said).encode()))
            for name, said in (
                ("container", _CONTAINER), ("context_management", _EDITS),
                ("usage.server_tool_use", _USES),
            )
        ),
    ),
    "refusal": Answer(
        sse(
            start(),
            *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Well"}),
            *end("refusal", stop_details={"type": "refusal", "category": "bio",
                                          "explanation": "No."}),
        ),
        _whole(
            [{"type": "text", "text": "Well"}], "refusal",
            stop_details={"type": "refusal", "category": "bio", "explanation": "No."},
        ),
        (Text(text="Well"), Refusal(text="No.")),
        FinishReason.REFUSAL,
        "bio",
        usage=_USAGE,
    ),
    "nothing, and no usage": Answer(
        sse(
            {"type": "message_start", "message": {"id": "msg_1", "model": "claude-test"}},
            *end("max_tokens", usage={}),
        ),
        _whole([], "max_tokens", usage={}),
        (),
        FinishReason.LENGTH,
    ),
    "a reason that is new": Answer(
        sse(start(), *end("compaction")),
        _whole([], "compaction"),
        (),
        FinishReason.OTHER,
        "compaction",
        usage=_USAGE,
    ),
    "a window that is full": Answer(
        sse(start(), *end("model_context_window_exceeded")),
        _whole([], "model_context_window_exceeded"),
        (),
        FinishReason.CONTEXT,
        usage=_USAGE,
    ),
}  # fmt: skip
ANSWERS["tools, one without arguments"].whole["content"][0]["input"] = None
"""Written below as it came: a dictionary can't hold one key twice."""


def whole_body(answer: Answer) -> bytes:
    """A whole answer as bytes."""
    return compact(answer.whole).replace('"input":null', '"input":{"a":1,"a":"ü"}').encode()


def decode(pieces: list[bytes]) -> list[Event]:
    """The events of a stream, to its end; fails unless they keep the grammar."""
    return drained(MessagesDecoder(), pieces)


def context(**more: Any) -> ReplyContext:
    return ReplyContext(
        request=ASKED, receipt=Receipt(), request_id="req_1", input_estimate=42, **more
    )


def encode(events: list[Event], ctx: ReplyContext | None = None) -> bytes:
    encoder = MessagesEncoder(ctx or context())
    return b"".join([encoder.encode(event) for event in events])


def data_of(stream: bytes) -> list[dict[str, Any]]:
    """The events of a stream of ours; each must be named by its type."""
    out = []
    for event in stream.decode().split("\n\n")[:-1]:
        name, data = event.split("\n")
        said = json.loads(data.removeprefix("data: "))
        assert name == f"event: {said['type']}"
        out.append(said)
    return out


def tail(reason: FinishReason = FinishReason.STOP, **more: Any) -> list[Event]:
    return [Finish(reason=reason, **more), Count(usage=Usage(3, output=4)), End()]
