"""Answers of the Messages format: decoded whole and however the bytes come, and encoded again."""

import contextlib
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
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
from ferryman.ir.receipt import Receipt
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
from ferryman.wire.anthropic_messages.decoder import MessagesDecoder
from ferryman.wire.anthropic_messages.encoder import MessagesEncoder
from ferryman.wire.anthropic_messages.errors import error_body, error_event
from ferryman.wire.anthropic_messages.reply import decode_reply, encode_reply
from ferryman.wire.anthropic_messages.request import decode_request
from ferryman.wire.anthropic_messages.types import NAME
from ferryman.wire.format import ReplyContext, ReplyError
from tests.wire.messages import ANSWERS, ASKED, Answer, block, decode, end, sse, start, whole_body

each_answer = pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)


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


@each_answer
def test_a_stream_means_the_same_however_it_is_cut(answer: Answer) -> None:
    whole = decode([answer.stream])
    assert decode([bytes([byte]) for byte in answer.stream]) == whole
    for cut in range(1, len(answer.stream)):
        assert decode([answer.stream[:cut], answer.stream[cut:]]) == whole
    crlf = b"\xef\xbb\xbf: hello\r\n" + answer.stream.replace(b"\n", b"\r\n")
    assert decode([crlf]) == whole


@each_answer
def test_stream_and_whole_reply_mean_what_the_table_says(answer: Answer) -> None:
    finish = Finish(reason=answer.reason, detail=answer.detail, stop_sequence=answer.sequence)
    whole = decode_reply(whole_body(answer))
    assert whole.choices == (Choice(blocks=answer.blocks, finish=finish),)
    assert whole.usage == answer.usage
    streamed = fold(decode([answer.stream]))
    assert replace(streamed, begin=replace(streamed.begin, usage=None)) == whole


@each_answer
def test_a_caller_of_the_format_gets_the_same_answer(answer: Answer) -> None:
    ctx = context()
    events = decode([answer.stream])
    again = decode([encode(events, ctx)])
    told = decode_reply(encode_reply(decode_reply(whole_body(answer)), ctx))
    # What the provider explained about a refusal, and estimates, come in the format's own way.
    known = [Text(text=each.text) if isinstance(each, Refusal) else each for each in answer.blocks]
    for reply in (fold(again), told):
        assert list(reply.choices[0].blocks) == known
        assert reply.choices[0].finish.reason is answer.reason
        assert reply.choices[0].finish.stop_sequence == answer.sequence
        if answer.usage is not None:
            assert reply.usage == answer.usage
            assert not ctx.receipt.dropped
    assert told.begin.service_tier == decode_reply(whole_body(answer)).begin.service_tier


@given(st.data())
def test_random_cuts_of_all_answers(data: st.DataObject) -> None:
    answer = data.draw(st.sampled_from(list(ANSWERS.values())))
    places = data.draw(st.lists(st.integers(0, len(answer.stream)), max_size=12).map(sorted))
    cuts = [0, *places, len(answer.stream)]
    pieces = [answer.stream[a:b] for a, b in itertools.pairwise(cuts)]
    assert decode(pieces) == decode([answer.stream])


# --- streams that are not as they should be ------------------------------------------------------


def failure(*pieces: bytes) -> Failed:
    last = decode(list(pieces))[-1]
    assert isinstance(last, Failed)
    return last


@pytest.mark.parametrize("cut", [0, 1, 5, -4, -30, -60])
def test_a_stream_without_its_end_has_failed(cut: int) -> None:
    assert failure(ANSWERS["text"].stream[:cut]).kind is ErrorKind.UPSTREAM_TRUNCATED


def test_an_end_that_lacks_its_blank_line_counts() -> None:
    stream = ANSWERS["text"].stream
    assert decode([stream[:-2]])[-1] == decode([stream[:-1]])[-1] == End()


def test_a_stream_may_end_without_a_reason() -> None:
    events = decode([sse(start(), {"type": "message_stop"})])
    assert events[1:] == [Finish(reason=FinishReason.OTHER), End()]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, ErrorKind.UPSTREAM_OVERLOADED),
        ({"type": "api_error", "message": "Internal server error"}, ErrorKind.UPSTREAM_ERROR),
        ({"type": "rate_limit_error", "message": "slow"}, ErrorKind.UPSTREAM_RATE_LIMIT),
        ({"type": "timeout_error", "message": "late"}, ErrorKind.UPSTREAM_TIMEOUT),
        ({"type": "billing_error", "message": "pay"}, ErrorKind.UPSTREAM_NO_CREDIT),
        (
            {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8"},
            ErrorKind.CONTEXT_TOO_LONG,
        ),
    ],
)
def test_errors_in_a_stream_keep_their_words(data: dict[str, str], kind: ErrorKind) -> None:
    event = sse({"type": "error", "error": data, "request_id": "req_9"})
    said = failure(sse(start()) + event + ANSWERS["text"].stream)
    assert (said.kind, said.message, said.code) == (kind, data["message"], data["type"])
    assert failure(event).kind is kind, "before anything else, too"
    assert failure(json.dumps({"type": "error", "error": data}).encode()).kind is kind
    with pytest.raises(ReplyError) as refused:
        decode_reply(json.dumps({"type": "error", "error": data}).encode())
    assert (refused.value.kind, refused.value.message) == (kind, data["message"])


def test_one_broken_event_is_skipped_and_a_second_one_ends_the_stream() -> None:
    broken = b'event: content_block_delta\ndata: {"type":"content_block_delta",\n\n'
    good = ANSWERS["text"].stream
    place = good.index(b"event: ping")
    decoder = MessagesDecoder()
    events = decoder.feed(good[:place] + broken + good[place:])
    assert events == decode([good])
    assert decoder.broken == 1
    said = failure(good[:place] + broken + broken + good[place:])
    assert said.kind is ErrorKind.UPSTREAM_PROTOCOL


@pytest.mark.parametrize(
    "events",
    [
        block(0, {"type": "text", "text": ""}),
        end(),
        [{"type": "message_stop"}],
        [start(), *end()[:1], *block(0, {"type": "text", "text": "late"}), *end()],
        # fragments of two calls, interleaved
        [
            start(),
            *block(0, {"type": "tool_use", "id": "a", "name": "f", "input": {}})[:1],
            *block(1, {"type": "tool_use", "id": "b", "name": "f", "input": {}})[:1],
            *block(0, {}, {"type": "input_json_delta", "partial_json": "{"})[1:],
        ],
        [start(), start(), start()],
        [start(), *block(0, {"type": "text", "text": ""}, *[{"type": "input_json_delta"}] * 2)],
        [start(), *block(0, {"type": "x", "id": 1}), *block(0, {}), *block(0, {})],
        [start(), *block(0, {"type": "mcp_tool_use"},
                         {"type": "input_json_delta", "partial_json": "{"}), *end("x", {}, a=1),
         *block(0, {})],
    ],
)  # fmt: skip
def test_what_breaks_the_order_of_events_has_failed(events: list[dict[str, Any]]) -> None:
    assert failure(sse(*events)).kind in (
        ErrorKind.UPSTREAM_PROTOCOL, ErrorKind.UPSTREAM_TRUNCATED
    )  # fmt: skip


def test_a_block_that_is_not_stopped_ends_with_the_next() -> None:
    one, two = block(0, {"type": "text", "text": "a"}), block(5, {"type": "text", "text": "b"})
    late = {"type": "content_block_stop", "index": 0}
    reply = fold(decode([sse(start(), *one[:-1], *two[:-1], late, *end())]))
    assert reply.choices[0].blocks == (Text(text="a"), Text(text="b"))


def test_arguments_that_come_with_the_start_of_their_block_count() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    reply = fold(decode([sse(start(), *block(0, call), *end("tool_use"))]))
    assert reply.choices[0].blocks == (ToolCall(id="t", name="f", arguments='{"a":1}'),)


def test_calls_by_the_provider_s_own_code_stay_in_the_format() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {},
            "caller": {"type": "code_execution_20260120", "tool_id": "srv_1"}}  # fmt: skip
    delta = {"type": "input_json_delta", "partial_json": '{"a":1}'}
    reply = fold(decode([sse(start(), *block(0, call, delta), *end("tool_use"))]))
    (found,) = reply.choices[0].blocks
    assert isinstance(found, Opaque)
    assert json.loads(found.raw) == {**call, "input": {"a": 1}}


def test_five_megabytes_of_arguments_pass_in_fragments() -> None:
    fragments = [{"type": "input_json_delta", "partial_json": "x" * 50_000} for _ in range(100)]
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    events = decode([sse(start(), *block(0, call, *fragments), *end("tool_use"))])
    assert len(fold(events).choices[0].blocks[0].arguments) == 5_000_000  # type: ignore[union-attr]
    assert encode(events).count(b"x" * 50_000) == 100, "not JSON, and none of our business"


@pytest.mark.parametrize(
    "usage",
    [None, {}, {"input_tokens": -1, "output_tokens": 2}, {"input_tokens": 1 << 60}, [], "many",
     {"input_tokens": {}}],
)  # fmt: skip
def test_usage_that_says_nothing_usable_is_unknown(usage: Any) -> None:
    body = {**ANSWERS["text"].whole, "usage": usage}
    assert decode_reply(json.dumps(body).encode()).usage is None


def test_counts_of_odd_types_and_tokens_of_compactions_count() -> None:
    usage = {
        "input_tokens": 12.0, "output_tokens": "5",
        "iterations": [
            {"type": "message", "input_tokens": 12, "output_tokens": 5},
            {"type": "compaction", "input_tokens": 1000, "output_tokens": 50,
             "cache_read_input_tokens": 7, "cache_creation_input_tokens": 3},
        ],
    }  # fmt: skip
    body = {**ANSWERS["text"].whole, "usage": usage}
    assert decode_reply(json.dumps(body).encode()).usage == Usage(1012, 7, 3, 0, 0, 55)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"content":[{}]}', b'{"content":[null]}',
     b'{"content":[{"type":"text","text":1}]}', b"[" * 100_000, b'{"content":"x"}',
     b'{"content":[{"type":"text","text":"\xff"}]}', b'{"type":"error"}'],
)  # fmt: skip
def test_what_is_no_message_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(ReplyError):
        decode_reply(body)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["type", "index", "delta", "content_block", "message", "usage", "text",
                         "error", "content", "id", "input", "partial_json", "citations"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
_TYPES = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "content_block_stop",
     "message_delta", "message_stop", "error", "ping", "new_event"]
)  # fmt: skip


@given(st.lists(st.tuples(_TYPES, st.dictionaries(st.text(max_size=9), _JSON, max_size=3), _JSON)))
def test_no_events_crash_the_decoder(said: list[tuple[str, dict[str, Any], Any]]) -> None:
    events = []
    for kind, more, some in said:
        inner = some if isinstance(some, dict) else {}
        events.append({**more, **inner, "type": kind, "index": 0})
    decode([sse(start(), *events)])


@given(st.lists(st.binary(max_size=40)), st.integers(0, 900))
def test_no_bytes_crash_the_decoders(pieces: list[bytes], cut: int) -> None:
    decode(pieces)
    decode([ANSWERS["tools of the provider's own"].stream[:cut], *pieces])
    with contextlib.suppress(ReplyError):
        decode_reply(b"".join(pieces))


@given(_JSON)
def test_no_whole_reply_crashes_the_decoder(value: Any) -> None:
    for body in (value, {"type": "message", "content": value}, {"type": "message",
                 "content": [value], "usage": value, "stop_details": value}):  # fmt: skip
        with contextlib.suppress(ReplyError):
            decode_reply(json.dumps(body).encode())


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
