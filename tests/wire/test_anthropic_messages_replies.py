"""Answers of the Messages format: decoded whole and however the bytes come, and encoded again."""

import contextlib
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import (
    Choice,
    End,
    Failed,
    Finish,
    FinishReason,
)
from ferryman.ir.fold import fold
from ferryman.ir.request import (
    Opaque,
    Refusal,
    Text,
    ToolCall,
)
from ferryman.ir.usage import Usage
from ferryman.wire.anthropic_messages.decoder import MessagesDecoder
from ferryman.wire.anthropic_messages.reply import decode_reply, encode_reply
from ferryman.wire.format import ReplyError
from tests.wire.messages import (
    ANSWERS,
    Answer,
    block,
    context,
    decode,
    encode,
    end,
    sse,
    start,
    whole_body,
)

each_answer = pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)


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
    finish = Finish(
        reason=answer.reason, detail=answer.detail, stop_sequence=answer.sequence,
        beside=answer.beside,
    )  # fmt: skip
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
        assert reply.choices[0].finish.beside == answer.beside
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
