"""Whole replies and streams of Bedrock's Converse format: the same answer both ways, judged by
botocore."""

import base64
import json
from typing import Any

import pytest
from botocore.exceptions import EventStreamError
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import Choice, End, Event, Failed, Finish, FinishReason, Reply
from ferryman.ir.fold import fold, unfold
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Block,
    Citation,
    Media,
    MediaKind,
    Message,
    Opaque,
    Request,
    Role,
    Signature,
    Source,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.usage import Usage
from ferryman.wire.bedrock_converse.errors import kind_of_exception
from ferryman.wire.bedrock_converse.reply import decode_reply
from ferryman.wire.bedrock_converse.request import encode_request
from ferryman.wire.bedrock_converse.stream import StreamDecoder
from ferryman.wire.format import Aim, ReplyError
from tests.wire.aws import event, exception, frame
from tests.wire.judges_bedrock_converse import judge_reply, judge_stream
from tests.wire.turns import drained, split

OWN = "bedrock_converse"
Json = dict[str, Any]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def delta(index: int, **said: Any) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": index, "delta": said})


def start(index: int, **said: Any) -> bytes:
    return event("contentBlockStart", {"contentBlockIndex": index, "start": said})


def stop(index: int) -> bytes:
    return event("contentBlockStop", {"contentBlockIndex": index})


BEGIN = event("messageStart", {"role": "assistant"})
USAGE = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}


def ending(reason: str = "end_turn", usage: Json | None = USAGE, **more: Any) -> bytes:
    said = event("messageStop", {"stopReason": reason, **more})
    return said + event("metadata", {"usage": usage, "metrics": {"latencyMs": 7}})


CITED = [
    {"title": "t", "source": "https://s.example", "sourceContent": [{"text": "a"}, {"text": "b"}],
     "location": {"documentChar": {"documentIndex": 1, "start": 2, "end": 5}}},
    {"location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}}},
    {"location": {"documentChunk": {"documentIndex": 0, "start": 1, "end": 2}}},
    {"source": "kb",
     "location": {"searchResultLocation": {"searchResultIndex": 4, "start": 0, "end": 1}}},
    {"location": {"web": {"url": "https://w.example", "domain": "w.example"}}},
]  # fmt: skip
QUOTED = (
    Citation(url="https://s.example", title="t", quote="ab", document=1, unit="char", first=2,
             last=5),
    Citation(document=0, unit="page", first=1, last=2),
    Citation(document=0, unit="block", first=1, last=2),
    Citation(unit="block", first=0, last=1),
    Citation(url="https://w.example"),
)  # fmt: skip


def quoted() -> tuple[Citation, ...]:
    return tuple(
        replace(said, origin=OWN, raw=json.dumps(wire).encode())
        for said, wire in zip(QUOTED, CITED, strict=True)
    )


SERVER_CALL = {"toolUseId": "s1", "name": "ground", "type": "server_tool_use", "input": {"q": 1}}
SERVER_RESULT = {"toolUseId": "s1", "type": "ground_result", "status": "success",
                 "content": [{"text": "found"}, {"json": {"a": 1}}]}  # fmt: skip
IMAGE = bytes(range(20))


def opaque(kind: str, value: Json) -> Opaque:
    return Opaque(origin=OWN, kind=kind, raw=json.dumps(value).encode())


ANSWERS: list[tuple[str, list[Json], list[bytes], tuple[Block, ...]]] = [
    ("nothing", [], [], ()),
    (
        "text",
        [{"text": "Hello w\u00f6rld"}],
        [delta(0, text=""), delta(0, text="Hello "), delta(0, text="w\u00f6rld"), stop(0)],
        (Text(text="Hello w\u00f6rld"),),
    ),
    (
        "thoughts, text, two calls of one tool",
        [
            {"reasoningContent": {"reasoningText": {"text": "hm, so", "signature": "sig=="}}},
            {"text": "ok"},
            {"toolUse": {"toolUseId": "a", "name": "look", "input": {"x": [1, "}"]}}},
            {"toolUse": {"toolUseId": "b", "name": "look", "input": {}}},
        ],
        [
            delta(0, reasoningContent={"text": "hm, "}), delta(0, reasoningContent={"text": "so"}),
            delta(0, reasoningContent={"signature": "sig=="}), stop(0),
            delta(1, text="ok"), stop(1),
            start(2, toolUse={"toolUseId": "a", "name": "look"}), delta(2, toolUse={"input": ""}),
            delta(2, toolUse={"input": '{"x": [1,'}), delta(2, toolUse={"input": ' "}"]}'}),
            stop(2),
            start(3, toolUse={"toolUseId": "b", "name": "look"}), stop(3),
        ],
        (
            Thinking(text="hm, so", signature=Signature("sig==", OWN)), Text(text="ok"),
            ToolCall(id="a", name="look", arguments='{"x": [1, "}"]}'),
            ToolCall(id="b", name="look", arguments="{}"),
        ),
    ),
    (
        "redacted thoughts in pieces that end within a base64 group",
        [{"reasoningContent": {"redactedContent": b64(b"secret!")}},
         {"reasoningContent": {"reasoningText": {"text": "open"}}}],
        [delta(0, reasoningContent={"redactedContent": b64(b"secr")}),
         delta(0, reasoningContent={"redactedContent": b64(b"et!")}), stop(0),
         delta(1, reasoningContent={"text": "open"}), stop(1)],
        (Thinking(encrypted=True, signature=Signature(b64(b"secret!"), OWN)),
         Thinking(text="open")),
    ),
    (
        "citations",
        [{"citationsContent": {"content": [{"text": "ci"}, {"text": "ted"}], "citations": CITED}},
         {"text": "plain"}],
        [delta(0, text="ci"), *(delta(0, citation=c) for c in CITED), delta(0, text="ted"), stop(0),
         delta(1, text="plain"), stop(1)],
        (Text(text="cited", citations=quoted()), Text(text="plain")),
    ),
    (
        "an image in pieces",
        [{"image": {"format": "jpeg", "source": {"bytes": b64(IMAGE)}}}],
        [start(0, image={"format": "jpeg"}),
         *(delta(0, image={"source": {"bytes": b64(IMAGE[n : n + 4])}}) for n in range(0, 20, 4)),
         stop(0)],
        (Media(kind=MediaKind.IMAGE, source=Source(media_type="image/jpeg", data=b64(IMAGE))),),
    ),
    (
        "a tool of the provider's own",
        [{"toolUse": SERVER_CALL}, {"toolResult": SERVER_RESULT}, {"text": "so"}],
        [start(0, toolUse={k: v for k, v in SERVER_CALL.items() if k != "input"}),
         delta(0, toolUse={"input": '{"q":'}), delta(0, toolUse={"input": " 1}"}), stop(0),
         start(1, toolResult={k: v for k, v in SERVER_RESULT.items() if k != "content"}),
         delta(1, toolResult=[{"text": "found"}]), delta(1, toolResult=[{"json": {"a": 1}}]),
         stop(1),
         delta(2, text="so"), stop(2)],
        (opaque("server_tool_use", {"toolUse": SERVER_CALL}),
         opaque("toolResult", {"toolResult": SERVER_RESULT}),
         Text(text="so")),
    ),
]  # fmt: skip

COUNTED = Usage(10, 0, 0, 0, 0, 5)


def whole_body(content: list[Json], reason: str = "end_turn", usage: Json | None = USAGE) -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps(
        {"output": {"message": message}, "stopReason": reason, "usage": usage,
         "metrics": {"latencyMs": 7}}
    ).encode()  # fmt: skip


def read(data: bytes, *cuts: int) -> list[Event]:
    """All events of a stream cut at ``cuts``; the grammar holds."""
    return drained(StreamDecoder(), split(data, *cuts), late=BEGIN)


def _alike(reply: Reply) -> Reply:
    """``reply`` with opaque JSON written in one way."""
    blocks = tuple(
        opaque(b.kind, json.loads(b.raw)) if isinstance(b, Opaque) else b
        for b in reply.choices[0].blocks
    )
    (choice,) = reply.choices
    return Reply(begin=reply.begin, usage=reply.usage,
                 choices=(Choice(blocks=blocks, finish=choice.finish),))  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS, ids=[case[0] for case in ANSWERS])
def test_answers_whole_and_streamed_are_the_same(
    case: tuple[str, list[Json], list[bytes], tuple[Block, ...]],
) -> None:
    _, content, pieces, blocks = case
    body, stream = whole_body(content), BEGIN + b"".join(pieces) + ending()
    reply = decode_reply(body)
    assert _alike(reply).choices[0].blocks == blocks
    assert reply.choices[0].finish == Finish(reason=FinishReason.STOP)
    assert reply.usage == COUNTED
    events = read(stream)
    assert _alike(fold(events)) == _alike(reply)
    assert fold(unfold(reply)) == reply
    assert read(stream, *range(1, len(stream))) == events
    for cut in range(0, len(stream), 1 + len(stream) // 400):
        assert read(stream, cut) == events
    judged = judge_reply(body)
    assert len(judged["output"]["message"]["content"]) == len(blocks)
    assert len(judge_stream(stream)) == len(pieces) + 3


@given(st.integers(0, len(ANSWERS) - 1), st.data())
def test_random_cuts_give_the_same_events(number: int, data: st.DataObject) -> None:
    stream = BEGIN + b"".join(ANSWERS[number][2]) + ending()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    assert read(stream, *cuts) == read(stream)


def test_what_came_goes_back_as_it_came() -> None:
    for _, content, _, _ in ANSWERS:
        said = decode_reply(whole_body(content)).choices[0].blocks
        messages = (
            Message(role=Role.USER, blocks=(Text(text="q"),)),
            Message(role=Role.ASSISTANT, blocks=said),
        )
        request = Request(model="m", messages=messages, origin="openai_chat")
        wire = json.loads(encode_request(request, Aim(model="anthropic.claude-x"), Receipt()))
        kept = [c for c in content if "image" not in c]
        if any("redactedContent" in str(c) for c in kept):
            kept = kept[:1]  # thoughts without a signature don't return
        for block in kept:
            if "citationsContent" in block:
                block["citationsContent"]["content"] = [{"text": "cited"}]
        assert wire["messages"][1:] == ([{"role": "assistant", "content": kept}] if kept else [])


def test_an_answer_may_lack_its_frills() -> None:
    body = b'{"output":{"message":{"content":[{"text":"a"},{"new":{"x":1}}]}},"stopReason":"odd"}'
    reply = decode_reply(body)
    new = Opaque(origin=OWN, kind="new", raw=b'{"new":{"x":1}}')
    assert reply.choices[0].blocks == (Text(text="a"), new)
    assert reply.usage is None
    assert reply.choices[0].finish == Finish(reason=FinishReason.OTHER, detail="odd")


REASONS = [
    ("end_turn", Finish(reason=FinishReason.STOP)),
    ("tool_use", Finish(reason=FinishReason.TOOL_CALLS)),
    ("max_tokens", Finish(reason=FinishReason.LENGTH)),
    ("stop_sequence", Finish(reason=FinishReason.STOP_SEQUENCE)),
    ("guardrail_intervened",
     Finish(reason=FinishReason.CONTENT_FILTER, detail="guardrail_intervened")),
    ("content_filtered", Finish(reason=FinishReason.CONTENT_FILTER, detail="content_filtered")),
    ("malformed_model_output", Finish(reason=FinishReason.ERROR, detail="malformed_model_output")),
    ("malformed_tool_use", Finish(reason=FinishReason.ERROR, detail="malformed_tool_use")),
    ("model_context_window_exceeded", Finish(reason=FinishReason.CONTEXT)),
    ("refusal", Finish(reason=FinishReason.REFUSAL)),
    ("pause_turn", Finish(reason=FinishReason.PAUSE)),
    ("", Finish(reason=FinishReason.OTHER)),
]  # fmt: skip


@pytest.mark.parametrize(("word", "finish"), REASONS)
def test_endings_stay_what_they_are(word: str, finish: Finish) -> None:
    reply = decode_reply(whole_body([{"text": "a"}], word))
    assert reply.choices[0].finish == finish
    assert fold(read(BEGIN + delta(0, text="a") + stop(0) + ending(word))) == reply


@pytest.mark.parametrize(
    ("fields", "sequence"),
    [
        ({"stop_sequence": "END"}, "END"),
        ({"stop_sequence": None}, ""),
        ({}, ""),
        ([1], ""),
        (3, ""),
    ],
)
def test_the_stop_sequence_is_told_where_the_model_tells_it(fields: Any, sequence: str) -> None:
    body = json.loads(whole_body([], "stop_sequence")) | {"additionalModelResponseFields": fields}
    finish = Finish(reason=FinishReason.STOP_SEQUENCE, stop_sequence=sequence)
    assert decode_reply(json.dumps(body).encode()).choices[0].finish == finish
    stream = BEGIN + ending("stop_sequence", additionalModelResponseFields=fields)
    assert fold(read(stream)).choices[0].finish == finish


USAGES: list[tuple[Json | None, Usage | None]] = [
    (None, None),
    ({}, None),
    (USAGE, COUNTED),
    ({"inputTokens": 3, "outputTokens": 2, "cacheReadInputTokens": 7, "cacheWriteInputTokens": 5},
     Usage(3, 7, 5, 0, 0, 2)),
    ({"inputTokens": 3, "outputTokens": 2, "cacheWriteInputTokens": 5,
      "cacheDetails": [{"ttl": "1h", "inputTokens": 4}, {"ttl": "5m", "inputTokens": 1}]},
     Usage(3, 0, 1, 4, 0, 2)),
    ({"inputTokens": 3, "outputTokens": 2,
      "cacheDetails": [{"ttl": "1h", "inputTokens": 4}, {"ttl": "5m", "inputTokens": 1}]},
     Usage(3, 0, 1, 4, 0, 2)),
    ({"inputTokens": 3}, Usage(3, 0, 0, 0, 0, 0)),
    ({"outputTokens": 2}, Usage(0, 0, 0, 0, 0, 2)),
    ({"inputTokens": 3, "outputTokens": -1}, None),
    ({"inputTokens": 3, "cacheWriteInputTokens": 1,
      "cacheDetails": [{"ttl": "1h", "inputTokens": 4}]}, None),
    ({"inputTokens": 1 << 50, "outputTokens": 1}, None),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "usage"), USAGES)
def test_usage_is_in_disjoint_classes(wire: Json | None, usage: Usage | None) -> None:
    assert decode_reply(whole_body([], usage=wire)).usage == usage
    assert fold(read(BEGIN + ending(usage=wire))).usage == usage


def test_streams_without_metadata_are_whole_once_they_stopped() -> None:
    stopped = event("messageStop", {"stopReason": "end_turn"})
    events = read(BEGIN + delta(0, text="a") + stopped)
    assert events[-1] == End()
    assert fold(events).usage is None
    early = event("metadata", {"usage": USAGE})
    assert fold(read(BEGIN + early + delta(0, text="a") + stopped)).usage == COUNTED
    assert fold(read(stopped + stopped)).choices[0].blocks == ()


CUT = "The provider's stream ended before its end."
FAILURES: list[tuple[str, bytes, ErrorKind, str]] = [
    ("nothing at all", b"", ErrorKind.UPSTREAM_TRUNCATED, CUT),
    ("only a beginning", BEGIN + delta(0, text="a"), ErrorKind.UPSTREAM_TRUNCATED, CUT),
    ("all but its stop", BEGIN + delta(0, text="a") + stop(0), ErrorKind.UPSTREAM_TRUNCATED, CUT),
    ("cut within a message", BEGIN + ending()[:-5], ErrorKind.UPSTREAM_TRUNCATED, CUT),
    ("no binary stream", b'{"message":"hello, this is JSON"}', ErrorKind.UPSTREAM_PROTOCOL,
     "checksum"),
    ("throttled at once", exception("throttlingException", "Too many tokens"),
     ErrorKind.UPSTREAM_RATE_LIMIT, "Too many tokens"),
    ("throttled later", BEGIN + delta(0, text="a") + exception("throttlingException", "slow"),
     ErrorKind.UPSTREAM_RATE_LIMIT, "slow"),
    ("too long", exception("validationException", "Input is too long for requested model."),
     ErrorKind.CONTEXT_TOO_LONG, "too long"),
    ("its own fault", exception("internalServerException", "oops"), ErrorKind.UPSTREAM_ERROR,
     "oops"),
    ("the model's fault", exception("modelStreamErrorException", "oops"),
     ErrorKind.UPSTREAM_ERROR, "oops"),
    ("unavailable", exception("serviceUnavailableException", ""), ErrorKind.UPSTREAM_OVERLOADED,
     "serviceUnavailableException"),
    ("unmodeled", frame([(":message-type", 7, "error"), (":error-code", 7, "E"),
                         (":error-message", 7, "words")], b""), ErrorKind.UPSTREAM_ERROR, "words"),
    ("a block again", BEGIN + delta(0, text="a") + delta(1, text="b") + delta(0, text="c"),
     ErrorKind.UPSTREAM_PROTOCOL, "goes back to block 0"),
    ("interleaved calls", BEGIN + start(0, toolUse={"toolUseId": "a", "name": "f"})
     + start(1, toolUse={"toolUseId": "b", "name": "f"}) + delta(0, toolUse={"input": "{"}),
     ErrorKind.UPSTREAM_PROTOCOL, "tool call that did not begin|goes back to block 0"),
    ("text after its end", BEGIN + event("messageStop", {"stopReason": "end_turn"})
     + delta(0, text="late"), ErrorKind.UPSTREAM_PROTOCOL, "goes back"),
    ("arguments of no call", BEGIN + delta(0, toolUse={"input": "{"}),
     ErrorKind.UPSTREAM_PROTOCOL, "did not begin"),
    ("an image that failed", BEGIN + delta(0, image={"error": {"message": "No."}}),
     ErrorKind.UPSTREAM_ERROR, "could not make an image: No."),
    ("two broken events", BEGIN + event("contentBlockDelta", b"{") + event("messageStop", b"[]"),
     ErrorKind.UPSTREAM_PROTOCOL, "messageStop"),
    ("odd base64 twice", BEGIN + delta(0, reasoningContent={"redactedContent": "!"}) * 2,
     ErrorKind.UPSTREAM_PROTOCOL, "can't be read"),
]  # fmt: skip


@pytest.mark.parametrize("case", FAILURES, ids=[case[0] for case in FAILURES])
def test_failures_are_told(case: tuple[str, bytes, ErrorKind, str]) -> None:
    _, stream, kind, words = case
    events = read(stream)
    last = events[-1]
    assert isinstance(last, Failed)
    assert last.kind is kind
    assert any(word in last.message for word in words.split("|"))
    assert read(stream, *range(1, len(stream))) == events


def test_exceptions_are_exceptions_to_botocore_too() -> None:
    stream = BEGIN + exception("throttlingException", "slow")
    with pytest.raises(EventStreamError, match="slow"):
        judge_stream(stream)
    assert read(stream)[-1] == Failed(
        kind=ErrorKind.UPSTREAM_RATE_LIMIT, message="slow", code="throttlingException"
    )


def test_one_broken_event_is_skipped_and_counted() -> None:
    decoder = StreamDecoder()
    stream = BEGIN + delta(0, text="a") + event("contentBlockDelta", b'{"x":') + delta(0, text="b")
    events = decoder.feed(stream + stop(0) + event("news", {"x": 1}) + ending())
    assert decoder.broken == 1
    assert fold(events).choices[0].blocks == (Text(text="ab"),)


def test_deltas_of_unknown_or_unbegun_kinds_are_passed_over() -> None:
    odd = delta(0, toolResult=[{"text": "x"}]) + delta(0, news={"x": 1}) + delta(0)
    opened = start(1, toolResult={"toolUseId": "s"}) + delta(1, news=1) + stop(1)
    blocks = fold(read(BEGIN + odd + opened + ending())).choices[0].blocks
    assert [type(b) for b in blocks] == [Opaque]


def test_blocks_that_end_without_saying_so() -> None:
    pieces = [
        delta(0, reasoningContent={"text": "a", "signature": "s"}),
        delta(1, reasoningContent={"text": "b"}),
        delta(1, reasoningContent={"redactedContent": ""}),
        delta(1, text="c"), delta(2, text="d"),
    ]  # fmt: skip
    assert fold(read(BEGIN + b"".join(pieces) + ending())).choices[0].blocks == (
        Thinking(text="a", signature=Signature("s", OWN)), Thinking(text="b"),
        Thinking(encrypted=True), Text(text="c"), Text(text="d"),
    )  # fmt: skip


def test_the_same_index_again_is_a_new_call() -> None:
    first, second = ({"toolUseId": name, "name": "f"} for name in "ab")
    stream = BEGIN + start(0, toolUse=first) + start(0, toolUse=second) + ending("tool_use")
    calls = fold(read(stream)).choices[0].blocks
    assert [c.id for c in calls if isinstance(c, ToolCall)] == ["a", "b"]


def test_five_megabytes_of_arguments_come_through_in_fragments() -> None:
    text = '{"x":"' + "y" * (5 << 20) + '"}'
    stream = BEGIN + start(0, toolUse={"toolUseId": "a", "name": "f"})
    stream += b"".join(
        delta(0, toolUse={"input": text[n : n + 9000]}) for n in range(0, len(text), 9000)
    )
    (call,) = fold(read(stream + stop(0) + ending("tool_use"), 1000, 100_000)).choices[0].blocks
    assert isinstance(call, ToolCall)
    assert call.arguments == text


DEEP = b"[" * 100_000
BAD_REPLIES = [
    b"", b"null", b"[]", b"{}", b"\xff", DEEP, b'{"output":' + DEEP, b'{"output":{}}',
    b'{"output":{"message":{"content":[1]}}}', b'{"output":{"message":{"content":[{"text":1}]}}}',
    b'{"output":{"message":{"content":[{"toolUse":{"name":"a"}}]}}}', b'{"message":"no"}',
    b'{"output":{"message":{"content":[{"x":' + DEEP,
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_REPLIES)
def test_what_is_no_reply_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(ReplyError) as caught:
        decode_reply(body)
    assert caught.value.kind is ErrorKind.UPSTREAM_PROTOCOL


def test_an_image_that_failed_fails_the_reply() -> None:
    with pytest.raises(ReplyError, match="it does not say why"):
        decode_reply(whole_body([{"image": {"format": "png", "source": {}, "error": {}}}]))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["delta", "start", "text", "toolUse", "contentBlockIndex", "input", "usage",
                         "stopReason", "reasoningContent", "signature", "redactedContent", "image",
                         "citation", "output", "message", "content", "toolUseId", "name"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
names = st.sampled_from(
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop",
     "metadata", "other"]
)  # fmt: skip


@given(st.lists(st.tuples(names, json_values), max_size=8))
def test_no_stream_crashes_the_decoder(said: list[tuple[str, Any]]) -> None:
    read(b"".join(event(name, value) for name, value in said))


pieces = st.sampled_from([piece for answer in ANSWERS for piece in answer[2]])


@given(st.lists(pieces, max_size=12), st.booleans())
def test_no_order_of_pieces_breaks_the_grammar(said: list[bytes], begun: bool) -> None:
    read((BEGIN if begun else b"") + b"".join(said) + ending())


@given(json_values | st.binary())
def test_no_body_crashes_the_decoder_of_replies(value: Any) -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    try:
        decode_reply(body)
    except ReplyError as error:
        assert error.message


KINDS = [
    ("ThrottlingException", "", ErrorKind.UPSTREAM_RATE_LIMIT),
    ("ServiceQuotaExceededException", "", ErrorKind.UPSTREAM_RATE_LIMIT),
    ("com.amazon.coral.service#ThrottlingException:http://internal.amazon.com/coral/", "",
     ErrorKind.UPSTREAM_RATE_LIMIT),
    ("ModelNotReadyException", "", ErrorKind.UPSTREAM_OVERLOADED),
    ("ServiceUnavailableException", "", ErrorKind.UPSTREAM_OVERLOADED),
    ("ModelTimeoutException", "", ErrorKind.UPSTREAM_TIMEOUT),
    ("ModelErrorException", "", ErrorKind.UPSTREAM_ERROR),
    ("InternalServerException", "", ErrorKind.UPSTREAM_ERROR),
    ("ResourceNotFoundException", "", ErrorKind.MODEL_NOT_FOUND),
    ("AccessDeniedException", "", ErrorKind.UPSTREAM_AUTH),
    ("UnrecognizedClientException", "", ErrorKind.UPSTREAM_AUTH),
    ("ExpiredTokenException", "", ErrorKind.UPSTREAM_AUTH),
    ("ValidationException", "Malformed input request", ErrorKind.INVALID_REQUEST),
    ("ValidationException", "Input is too long for requested model.", ErrorKind.CONTEXT_TOO_LONG),
    ("validationException", "The model returned: prompt is too long: 9 tokens > 3 maximum",
     ErrorKind.CONTEXT_TOO_LONG),
    ("ValidationException", "Too many input tokens. Max input tokens: 1, request: 2",
     ErrorKind.CONTEXT_TOO_LONG),
    ("ValidationException", "The provided model identifier is invalid.",
     ErrorKind.MODEL_NOT_FOUND),
    ("ValidationException", "Model ID x with on-demand throughput isn\u2019t supported.",
     ErrorKind.MODEL_NOT_FOUND),
    ("", "", ErrorKind.UPSTREAM_ERROR),
]  # fmt: skip


@pytest.mark.parametrize(("name", "message", "kind"), KINDS)
def test_kinds_of_exceptions(name: str, message: str, kind: ErrorKind) -> None:
    assert kind_of_exception(name, message) is kind
