"""Answers of other formats, and errors, for callers of the Messages format."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import (
    Begin,
    Choice,
    Cite,
    Close,
    Count,
    Delta,
    End,
    Event,
    Failed,
    Finish,
    FinishReason,
    Open,
    Reply,
    Seal,
)
from ferryman.ir.fold import fold, unfold
from ferryman.ir.request import (
    Citation,
    Media,
    MediaKind,
    Opaque,
    Refusal,
    Signature,
    Source,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.usage import Usage
from ferryman.wire.anthropic_messages.errors import error_body, error_event
from ferryman.wire.anthropic_messages.reply import encode_reply
from ferryman.wire.anthropic_messages.request import decode_request
from ferryman.wire.anthropic_messages.types import NAME
from ferryman.wire.format import ReplyError
from tests.wire.messages import context, data_of, decode, encode, tail

# --- answers of other formats for callers of this one --------------------------------------------


def test_the_start_says_the_input_that_is_known_or_estimated() -> None:
    known = Usage(5, 6, 7, 8, 9, 0)
    for usage, says in ((known, 14), (None, 42)):
        (begun,) = data_of(encode([Begin(usage=usage)]))
        assert begun["message"]["usage"]["input_tokens"] == says
        assert begun["message"]["id"] == "msg_req_1"
        assert begun["message"]["model"] == "claude-test"
    assert data_of(encode([Begin(usage=known)]))[0]["message"]["usage"] == {
        "input_tokens": 14, "cache_read_input_tokens": 6, "cache_creation_input_tokens": 15,
        "cache_creation": {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 8},
        "output_tokens": 0,
    }  # fmt: skip


def test_usage_at_the_end_has_all_classes_and_waits_for_the_end() -> None:
    events: list[Event] = [Begin(), Finish(reason=FinishReason.LENGTH),
                           Count(usage=Usage(1, 2, 3, 4, 5, 6, 7, 8)), End()]  # fmt: skip
    assert encode(events[:3]).count(b"event: ") == 1
    delta, stop = data_of(encode(events))[1:]
    assert delta["usage"] == {
        "input_tokens": 6, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 7,
        "output_tokens": 21, "output_tokens_details": {"thinking_tokens": 7},
    }  # fmt: skip
    assert delta["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
    assert stop == {"type": "message_stop"}


def test_usage_that_nobody_said_is_reported_as_estimated() -> None:
    ctx = context()
    encode([Begin(), Finish(reason=FinishReason.STOP), End()], ctx)
    assert ctx.receipt.altered == ("usage=estimated: the provider said nothing",)
    ctx = context()
    reply = Reply(begin=Begin(), choices=(Choice(finish=Finish(reason=FinishReason.STOP)),))
    assert json.loads(encode_reply(reply, ctx))["usage"] == {
        "input_tokens": 42, "output_tokens": 0
    }  # fmt: skip
    assert ctx.receipt.altered == ("usage=estimated: the provider said nothing",)


@pytest.mark.parametrize(
    ("finish", "says", "details", "altered"),
    [
        (Finish(reason=FinishReason.STOP), "end_turn", None, False),
        (
            Finish(reason=FinishReason.STOP_SEQUENCE, stop_sequence="#"), "stop_sequence", None,
            False,
        ),
        (Finish(reason=FinishReason.LENGTH), "max_tokens", None, False),
        (Finish(reason=FinishReason.CONTEXT), "model_context_window_exceeded", None, False),
        (Finish(reason=FinishReason.TOOL_CALLS), "tool_use", None, False),
        (Finish(reason=FinishReason.PAUSE), "pause_turn", None, False),
        (
            Finish(reason=FinishReason.REFUSAL, detail="cyber"), "refusal",
            {"type": "refusal", "category": "cyber", "explanation": None}, False,
        ),
        (
            Finish(reason=FinishReason.CONTENT_FILTER, detail="SAFETY"), "refusal",
            {"type": "refusal", "category": None,
             "explanation": "The provider's content filter stopped the answer (SAFETY)."}, True,
        ),
        (Finish(reason=FinishReason.OTHER, detail="LANGUAGE"), "other", None, True),
        (Finish(reason=FinishReason.OTHER), "other", None, True),
    ],
)  # fmt: skip
def test_no_end_stands_in_for_another(
    finish: Finish, says: str, details: Any, altered: bool
) -> None:
    ctx = context()
    delta = data_of(encode([Begin(), *tail()[:0], finish, *tail()[1:]], ctx))[1]["delta"]
    whole = json.loads(
        encode_reply(Reply(begin=Begin(), choices=(Choice(finish=finish),), usage=Usage()), ctx)
    )
    for said in (delta, whole):
        assert said["stop_reason"] == says
        assert said["stop_sequence"] == (finish.stop_sequence or None)
        assert said.get("stop_details") == details
    assert bool(ctx.receipt.altered) == altered


def test_an_answer_that_the_provider_gave_up_ends_in_an_error() -> None:
    finish = Finish(reason=FinishReason.ERROR, detail="E7")
    last = data_of(encode([Begin(), finish, End()]))[-1]
    assert last["type"] == "error"
    assert last["error"]["type"] == "api_error"
    assert "E7" in last["error"]["message"]
    with pytest.raises(ReplyError, match="E7"):
        encode_reply(Reply(begin=Begin(), choices=(Choice(finish=finish),)), context())
    with pytest.raises(ReplyError):
        encode_reply(Reply(begin=Begin(), choices=()), context())


def test_a_refusal_is_text_and_ends_as_a_refusal() -> None:
    events: list[Event] = [
        Begin(), Open(index=0, block=Refusal(text="")), Delta(index=0, text="I can't"),
        Close(index=0), *tail(),
    ]  # fmt: skip
    said = data_of(encode(events))
    assert said[1]["content_block"] == {"type": "text", "text": ""}
    assert said[-2]["delta"]["stop_reason"] == "refusal"
    whole = json.loads(encode_reply(fold(events), context()))
    assert whole["content"] == [{"type": "text", "text": "I can't"}]
    assert whole["stop_reason"] == "refusal"


def test_blocks_that_say_nothing_are_left_out_and_count_into_no_index() -> None:
    ctx = context()
    picture = Media(kind=MediaKind.IMAGE, source=Source(media_type="image/png", data="aGk="))
    sound = Media(kind=MediaKind.AUDIO, source=Source(data=""))
    events: list[Event] = [
        Begin(),
        Open(index=0, block=Text(text="")), Close(index=0),
        Open(index=1, block=Thinking()), Close(index=1),
        Open(index=2, block=picture), Close(index=2),
        Open(index=3, block=Opaque(origin="openai_responses", kind="web_search_call", raw=b"{}")),
        Close(index=3),
        Open(index=4, block=sound), Delta(index=4, text="said"), Close(index=4),
        Open(index=5, block=Thinking(encrypted=True)), Close(index=5),
        Open(index=6, block=Text(text="")), Delta(index=6, text="words"), Close(index=6),
        *tail(),
    ]  # fmt: skip
    starts = [e for e in data_of(encode(events, ctx)) if e["type"] == "content_block_start"]
    assert [e["index"] for e in starts] == [0, 1]
    assert ctx.receipt.dropped == ("content.image", "content.web_search_call", "content.audio")
    blocks = decode([encode(events)])
    assert fold(blocks).choices[0].blocks == (Text(text="said"), Text(text="words"))
    whole = json.loads(encode_reply(fold(events), ctx))
    assert [b["text"] for b in whole["content"]] == ["said", "words"]


def test_only_the_first_choice_is_told() -> None:
    ctx = context()
    events: list[Event] = [
        Begin(),
        Open(index=0, block=Text(text="a"), choice=0),
        Open(index=0, block=Text(text="b"), choice=1),
        Delta(index=0, text="c", choice=1), Close(index=0, choice=1), Close(index=0, choice=0),
        Finish(reason=FinishReason.STOP, choice=1), *tail(),
    ]  # fmt: skip
    assert fold(decode([encode(events, ctx)])).choices[0].blocks == (Text(text="a"),)
    assert ctx.receipt.dropped == ("choices",)
    again = context()
    encode_reply(fold(events), again)
    assert again.receipt.dropped == ("choices",)


FOREIGN = Signature("G==", "gemini_generate")


def test_signatures_of_others_come_back_to_where_they_belong() -> None:
    """The caller sends the answer back as its library has it, and other formats' proofs return."""
    blocks = (
        Thinking(text="hm", signature=FOREIGN),
        Thinking(encrypted=True, signature=Signature("R==", "openai_responses")),
        Thinking(text="unsigned"),
        Text(text="so", signature=FOREIGN),
        ToolCall(id="a", name="f", arguments='{"x":1}', signature=FOREIGN),
        ToolCall(id="b", name="f", arguments="{}"),
    )
    reply = Reply(
        begin=Begin(id="r", model="m"),
        choices=(Choice(blocks=blocks, finish=Finish(reason=FinishReason.TOOL_CALLS)),),
        usage=Usage(1, output=1),
    )
    whole = json.loads(encode_reply(reply, context()))
    streamed = json.loads(encode_reply(fold(decode([encode(list(unfold(reply)))])), context()))
    assert streamed["content"] == whole["content"]
    assert whole["content"][2] == {"type": "thinking", "thinking": "unsigned", "signature": ""}
    for content in (whole["content"], streamed["content"]):
        body = {"model": "m", "max_tokens": 9,
                "messages": [{"role": "assistant", "content": content}]}  # fmt: skip
        request = decode_request(json.dumps(body).encode())
        assert [
            replace(b, arguments=b.arguments.replace(" ", "")) if isinstance(b, ToolCall) else b
            for b in request.messages[0].blocks
        ] == list(blocks)


def test_a_signature_may_come_whenever_the_block_is_open() -> None:
    hidden = Thinking(encrypted=True)
    events: list[Event] = [
        Begin(),
        Open(index=0, block=hidden), Seal(index=0, signature=Signature("R", "openai_responses")),
        Close(index=0),
        Open(index=1, block=hidden), Seal(index=1, signature=Signature("R", "openai_responses")),
        Delta(index=1, text="summary"), Close(index=1),
        *tail(),
    ]  # fmt: skip
    said = data_of(encode(events))
    assert said[1]["content_block"] == {
        "type": "redacted_thinking", "data": "fm1:openai_responses:R"
    }  # fmt: skip
    assert [e.get("delta", {}).get("type") for e in said[3:7]] == [
        None, "thinking_delta", "signature_delta", None
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("citation", "written"),
    [
        (
            Citation(url="https://a.example", title="A", quote="q", start=1, end=3),
            {"type": "web_search_result_location", "cited_text": "q", "encrypted_index": "",
             "title": "A", "url": "https://a.example"},
        ),
        (
            Citation(document=2, unit="char", first=4, last=9, quote="q"),
            {"type": "char_location", "cited_text": "q", "document_index": 2,
             "document_title": None, "start_char_index": 4, "end_char_index": 9},
        ),
        (Citation(quote="from nowhere"), None),
        (Citation(quote="of no document", unit="char", first=1, last=2), None),
    ],
)  # fmt: skip
def test_citations_of_others(citation: Citation, written: Any) -> None:
    ctx = context()
    block_ = Text(text="so", citations=(citation,))
    events: list[Event] = [Begin(), Open(index=0, block=Text(text="")),
                           Delta(index=0, text="so"), Cite(index=0, citation=citation),
                           Close(index=0), *tail()]  # fmt: skip
    whole = json.loads(encode_reply(fold(events), ctx))
    assert fold(events).choices[0].blocks == (block_,)
    assert whole["content"][0].get("citations", [None]) == [written]
    deltas = [e["delta"] for e in data_of(encode(events)) if e["type"] == "content_block_delta"]
    assert [d["citation"] for d in deltas[1:]] == [written] * bool(written)
    assert ctx.receipt.dropped == (() if written else ("citations",))
    assert bool(ctx.receipt.altered) == (citation.start >= 0)


@pytest.mark.parametrize("arguments", ["[1]", "nope", '{"a":', '"x"', "{} {}"])
def test_arguments_that_are_no_object_are_the_providers_fault(arguments: str) -> None:
    call = ToolCall(id="t", name="f", arguments=arguments)
    finish = Finish(reason=FinishReason.TOOL_CALLS)
    reply = Reply(begin=Begin(), choices=(Choice(blocks=(call,), finish=finish),))
    with pytest.raises(ReplyError) as refused:
        encode_reply(reply, context())
    assert refused.value.kind is ErrorKind.UPSTREAM_PROTOCOL
    assert json.dumps(arguments).encode() in encode(list(unfold(reply))), "fragments pass"


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "says"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (402, "billing_error"),
     (403, "permission_error"), (404, "not_found_error"), (405, "invalid_request_error"),
     (413, "request_too_large"), (422, "invalid_request_error"), (429, "rate_limit_error"),
     (500, "api_error"), (502, "api_error"), (503, "overloaded_error"), (504, "timeout_error"),
     (529, "overloaded_error")],
)  # fmt: skip
def test_errors_have_the_format_s_types(status: int, says: str) -> None:
    error = GatewayError(status, ErrorKind.INVALID_REQUEST, "No.", param="messages[0]")
    body = error_body(error, "req_1")
    assert json.loads(body) == {
        "type": "error",
        "error": {"type": says, "message": "No.", "code": "invalid_request",
                  "param": "messages[0]"},
        "request_id": "req_1",
    }  # fmt: skip
    assert error_event(error, "req_1") == b"event: error\ndata: %b\n\n" % body


@pytest.mark.parametrize(
    ("kind", "says"),
    [(ErrorKind.UPSTREAM_OVERLOADED, "overloaded_error"),
     (ErrorKind.UPSTREAM_RATE_LIMIT, "rate_limit_error"),
     (ErrorKind.UPSTREAM_TIMEOUT, "timeout_error"), (ErrorKind.UPSTREAM_TRUNCATED, "api_error"),
     (ErrorKind.CONTEXT_TOO_LONG, "invalid_request_error")],
)  # fmt: skip
def test_a_failure_is_an_error_event(kind: ErrorKind, says: str) -> None:
    (said,) = data_of(encode([Failed(kind=kind, message="gone")]))
    assert said["error"] == {"type": says, "message": "gone", "code": kind}
    assert said["request_id"] == "req_1"


def test_names_of_the_format() -> None:
    assert NAME == "anthropic_messages"
