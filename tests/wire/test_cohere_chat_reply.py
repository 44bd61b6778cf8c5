"""Whole replies and streams of the Cohere format: the same answer both ways, read by its SDK."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import Begin, Event, Failed, Finish, FinishReason
from ferryman.ir.fold import fold, unfold
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Block,
    Citation,
    Message,
    Opaque,
    Request,
    Role,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.usage import Usage
from ferryman.wire.cohere_chat.reply import decode_reply
from ferryman.wire.cohere_chat.request import encode_request
from ferryman.wire.cohere_chat.stream import StreamDecoder
from ferryman.wire.format import Aim, ReplyError
from tests.wire.judges_cohere_chat import judge_reply, judge_stream
from tests.wire.turns import checked, drained, split

# the SDK's own
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecatedSince20")
OWN = "cohere_chat"
Json = dict[str, Any]


def event(kind: str, message: Json | None = None, **more: Any) -> Json:
    said: Json = {"type": kind, **more}
    return said if message is None else said | {"delta": {"message": message}}


def text_start(index: int, kind: str = "text") -> Json:
    return event("content-start", {"content": {"type": kind, kind: ""}}, index=index)


def text_more(index: int, said: str, kind: str = "text") -> Json:
    return event("content-delta", {"content": {kind: said}}, index=index)


def text_end(index: int) -> Json:
    return event("content-end", index=index)


def call_start(index: int, call_id: str, arguments: str = "") -> Json:
    function = {"name": "look", "arguments": arguments}
    calls = {"id": call_id, "type": "function", "function": function}
    return event("tool-call-start", {"tool_calls": calls}, index=index)


def call_more(index: int, arguments: str) -> Json:
    calls = {"function": {"arguments": arguments}}
    return event("tool-call-delta", {"tool_calls": calls}, index=index)


def call_end(index: int) -> Json:
    return event("tool-call-end", index=index)


def cite(index: int, citation: Json) -> Json:
    return event("citation-start", {"citations": citation}, index=index)


USAGE = {"billed_units": {"input_tokens": 10.0, "output_tokens": 5.0},
         "tokens": {"input_tokens": 70.0, "output_tokens": 6.0}}  # fmt: skip
COUNTED = Usage(10, 0, 0, 0, 0, 5)
BEGIN = event("message-start", id="m1",
              delta={"message": {"role": "assistant"}})  # fmt: skip


def end(reason: str = "COMPLETE", usage: Json | None = USAGE, **more: Any) -> Json:
    return {"type": "message-end", "id": "m1",
            "delta": {"finish_reason": reason, "usage": usage, **more}}  # fmt: skip


def sse(events: Iterable[Json]) -> bytes:
    return b"".join(
        f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events
    )  # fmt: skip


def lines(events: Iterable[Json]) -> bytes:
    return b"".join(json.dumps(e).encode() + b"\n" for e in events)


OF_DOCUMENT = {"start": 0, "end": 2, "text": "ok", "type": "TEXT_CONTENT", "content_index": 0,
               "sources": [
                   {"type": "document", "id": "doc_1",
                    "document": {"id": "doc_1", "title": "T", "url": "https://d.example"}},
                   {"type": "tool", "id": "c1:0", "tool_output": {"a": "b"}}]}  # fmt: skip
OF_PLAN = {"start": 0, "end": 1, "text": "p", "type": "PLAN", "sources": []}
OF_SECOND = {"start": 2, "end": 5, "text": "bbb", "content_index": 1,
             "sources": [{"type": "document", "id": "doc_1"}]}  # fmt: skip
BARE = {"start": 3, "end": 5, "text": "no"}
CITED = (
    Citation(start=0, end=2, url="https://d.example", title="T", document=1, origin=OWN,
             raw=json.dumps(OF_DOCUMENT).encode()),
    Citation(start=0, end=2, origin=OWN),
    Citation(start=3, end=5, origin=OWN, raw=json.dumps(BARE).encode()),
)  # fmt: skip

ANSWERS: list[tuple[str, Json, list[Json], tuple[Block, ...]]] = [
    ("nothing", {}, [], ()),
    ("text", {"content": [{"type": "text", "text": "Hi w\u00f6rld"}]},
     [text_start(0), text_more(0, "Hi "), text_more(0, "w\u00f6rld"), text_end(0)],
     (Text(text="Hi w\u00f6rld"),)),
    ("thoughts and text",
     {"content": [{"type": "thinking", "thinking": "hm, so"}, {"type": "text", "text": "ok"}]},
     [text_start(0, "thinking"), text_more(0, "hm, ", "thinking"), text_more(0, "so", "thinking"),
      text_end(0), text_start(1), text_more(1, "ok"), text_end(1)],
     (Thinking(text="hm, so"), Text(text="ok"))),
    ("a plan and two calls of one tool",
     {"tool_plan": "I will look.", "tool_calls": [
         {"id": "a", "type": "function",
          "function": {"name": "look", "arguments": '{"x": [1, "}"]}'}},
         {"id": "b", "type": "function", "function": {"name": "look", "arguments": "{}"}}]},
     [event("tool-plan-delta", {"tool_plan": "I will "}),
      event("tool-plan-delta", {"tool_plan": "look."}),
      call_start(0, "a"), call_more(0, '{"x": [1,'), call_more(0, ' "}"]}'), call_end(0),
      call_start(1, "b"), call_end(1)],
     (Thinking(text="I will look."), ToolCall(id="a", name="look", arguments='{"x": [1, "}"]}'),
      ToolCall(id="b", name="look", arguments="{}"))),
    ("citations after the text's end",
     {"content": [{"type": "text", "text": "ok no"}], "citations": [OF_DOCUMENT, OF_PLAN, BARE]},
     [text_start(0), text_more(0, "ok no"), cite(0, OF_DOCUMENT), event("citation-end", index=0),
      text_end(0), cite(1, OF_PLAN), cite(2, BARE), event("citation-end", index=2)],
     (Text(text="ok no", citations=CITED),)),
    ("two texts", {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
     [text_start(0), text_more(0, "a"), text_end(0), text_start(1), text_more(1, "b"), text_end(1)],
     (Text(text="a"), Text(text="b"))),
    ("a citation of the second block",
     {"content": [{"type": "thinking", "thinking": "t"}, {"type": "text", "text": "aabbb"}],
      "citations": [OF_SECOND]},
     [text_start(0, "thinking"), text_more(0, "t", "thinking"), text_end(0), text_start(1),
      text_more(1, "aa"), text_more(1, "bbb"), text_end(1), cite(0, OF_SECOND)],
     (Thinking(text="t"), Text(text="aabbb", citations=(
         Citation(start=2, end=5, document=1, origin=OWN, raw=json.dumps(OF_SECOND).encode()),)))),
]  # fmt: skip


def whole_body(message: Json, reason: str = "COMPLETE", usage: Json | None = USAGE) -> bytes:
    said = {"role": "assistant", **message}
    return json.dumps(
        {"id": "m1", "finish_reason": reason, "message": said, "usage": usage}
    ).encode()  # fmt: skip


def read(data: bytes, *cuts: int) -> list[Event]:
    """All events of a stream cut at ``cuts``; the grammar holds."""
    return drained(StreamDecoder(), split(data, *cuts), late=sse([BEGIN]))


@pytest.mark.parametrize("case", ANSWERS, ids=[case[0] for case in ANSWERS])
def test_answers_whole_and_streamed_are_the_same(
    case: tuple[str, Json, list[Json], tuple[Block, ...]],
) -> None:
    _, message, pieces, blocks = case
    body = whole_body(message)
    reply = decode_reply(body)
    assert reply.begin == Begin(id="m1")
    assert reply.choices[0].blocks == blocks
    assert reply.choices[0].finish == Finish(reason=FinishReason.STOP)
    assert reply.usage == COUNTED
    assert fold(unfold(reply)) == reply
    stream = sse([BEGIN, *pieces, end()])
    events = read(stream)
    assert fold(events) == reply
    for cut in range(0, len(stream), 1 + len(stream) // 400):
        assert read(stream, cut) == events
    for other in (
        stream + b"data: [DONE]\n\n",
        b"\xef\xbb\xbf" + stream.replace(b"\n", b"\r\n"),
        b": note\n\n" + stream.replace(b"\n", b"\r"),
        stream[:-2],
        lines([BEGIN, *pieces, end()]),
        b"\xef\xbb\xbf \n" + lines([BEGIN, *pieces, end()]).replace(b"\n", b"\r\n\r\n"),
        lines([BEGIN, *pieces, end()])[:-1],
    ):
        assert read(other) == events
        assert read(other, *range(1, len(other))) == events
    judged = judge_reply(body)
    assert len(judged.message.content or ()) == len(message.get("content", ()))
    assert [e.type for e in judge_stream(stream)] == [
        e["type"] for e in (BEGIN, *pieces, end())
    ]  # fmt: skip


@given(st.integers(0, len(ANSWERS) - 1), st.booleans(), st.data())
def test_random_cuts_give_the_same_events(number: int, plain: bool, data: st.DataObject) -> None:
    stream = (lines if plain else sse)([BEGIN, *ANSWERS[number][2], end()])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    assert read(stream, *cuts) == read(stream)


def test_what_came_goes_back_as_it_came() -> None:
    for _, message, _, _ in ANSWERS[1:]:
        blocks = decode_reply(whole_body(message)).choices[0].blocks
        messages = (Message(role=Role.ASSISTANT, blocks=blocks),)
        request = Request(model="m", messages=messages, origin="openai_chat")
        wire = json.loads(encode_request(request, Aim(model="m"), Receipt()))
        (said,) = wire["messages"]
        content = said.get("content", [])
        if isinstance(content, str):
            said["content"] = [{"type": "text", "text": content}]
        kept = [c for c in message.get("citations", ()) if c is not OF_PLAN]
        wanted = message | ({"citations": kept} if kept else {})
        assert said == {"role": "assistant", **wanted}


REASONS = [
    ("COMPLETE", Finish(reason=FinishReason.STOP)),
    ("STOP_SEQUENCE", Finish(reason=FinishReason.STOP_SEQUENCE)),
    ("MAX_TOKENS", Finish(reason=FinishReason.LENGTH)),
    ("TOOL_CALL", Finish(reason=FinishReason.TOOL_CALLS)),
    ("ERROR", Finish(reason=FinishReason.ERROR, detail="ERROR")),
    ("TIMEOUT", Finish(reason=FinishReason.ERROR, detail="TIMEOUT")),
    ("ERROR_LIMIT", Finish(reason=FinishReason.CONTEXT)),
    ("ERROR_TOXIC", Finish(reason=FinishReason.CONTENT_FILTER, detail="ERROR_TOXIC")),
    ("NEW", Finish(reason=FinishReason.OTHER, detail="NEW")),
    ("", Finish(reason=FinishReason.OTHER)),
]


@pytest.mark.parametrize(("word", "finish"), REASONS)
def test_endings_stay_what_they_are(word: str, finish: Finish) -> None:
    reply = decode_reply(whole_body({}, word))
    assert reply.choices[0].finish == finish
    assert fold(read(sse([BEGIN, end(word)]))) == reply


USAGES: list[tuple[Json | None, Usage | None]] = [
    (None, None),
    ({}, None),
    ({"billed_units": {}, "tokens": None}, None),
    (USAGE, COUNTED),
    (USAGE | {"cached_tokens": 4.0}, Usage(6, 4, 0, 0, 0, 5)),
    (USAGE | {"cached_tokens": 60}, Usage(0, 10, 0, 0, 0, 5)),
    ({"tokens": {"input_tokens": 70, "output_tokens": 6}}, Usage(70, 0, 0, 0, 0, 6)),
    ({"billed_units": None, "tokens": {"input_tokens": 7}}, Usage(7)),
    ({"billed_units": {"search_units": 1}}, None),
    ({"billed_units": {"output_tokens": 3}, "tokens": {"input_tokens": 7}},
     Usage(7, 0, 0, 0, 0, 3)),
    ({"billed_units": {"input_tokens": -1, "output_tokens": 3}}, None),
    ({"billed_units": {"input_tokens": 1e30, "output_tokens": 3}}, None),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "usage"), USAGES)
def test_usage_is_what_is_billed(wire: Json | None, usage: Usage | None) -> None:
    assert decode_reply(whole_body({}, usage=wire)).usage == usage
    assert fold(read(sse([BEGIN, end(usage=wire)]))).usage == usage


def test_logprobs_are_those_of_the_pieces() -> None:
    pieces = [{"text": "a", "token_ids": [1], "logprobs": [-0.5]},
              {"text": "\u00e9", "token_ids": [2, 3], "logprobs": [-1.0, -0.25]}]  # fmt: skip
    wanted = (
        Raw(b'{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[]}'),
        Raw(b'{"token":"\xc3\xa9","logprob":-1.25,"bytes":[195,169],"top_logprobs":[]}'),
    )
    message = {"content": [{"type": "text", "text": "a\u00e9"}]}
    body = json.loads(whole_body(message)) | {"logprobs": pieces}
    reply = decode_reply(json.dumps(body).encode())
    assert reply.choices[0].logprobs == wanted
    said = [text_more(0, p["text"]) | {"logprobs": p} for p in pieces]
    assert fold(read(sse([BEGIN, text_start(0), *said, text_end(0), end()]))) == reply


def test_citations_of_a_text_that_was_left_come_at_the_end() -> None:
    events = [
        BEGIN, text_start(0), text_more(0, "ok no"), text_end(0), cite(0, OF_DOCUMENT),
        text_start(1), text_more(1, "so"), text_end(1), cite(1, OF_DOCUMENT), cite(2, OF_PLAN),
        call_start(0, "a"), cite(3, BARE), call_end(0), end("TOOL_CALL"),
    ]  # fmt: skip
    left = tuple([replace(one, start=-1, end=-1) for one in (*CITED[:2], CITED[2])])
    assert fold(read(sse(events))).choices[0].blocks == (
        Text(text="ok no", citations=CITED[:2]),
        Text(text="so"),
        ToolCall(id="a", name="look", arguments="{}"),
        Text(text="", citations=left),
    )


def test_an_answer_may_lack_its_frills() -> None:
    body = b'{"message":{"content":[{"text":"a"},{"thinking":"t"},{"type":"new","x":1}],' \
           b'"tool_calls":[{}]}}'  # fmt: skip
    reply = decode_reply(body)
    assert reply.choices[0].blocks == (
        Text(text="a"), Thinking(text="t"),
        Opaque(origin=OWN, kind="new", raw=b'{"type":"new","x":1}'),
        ToolCall(id="", name="", arguments="{}"),
    )  # fmt: skip
    assert reply.usage is None
    odd = [
        event("debug", prompt="p"), event("tool-plan-delta"), event("content-delta"),
        event("tool-call-delta"), event("citation-start"), event("message-start"),
        event("content-delta", {}),
        text_more(0, ""), event("citation-start", {}), event("tool-call-start", {}),
        event("content-start"), BEGIN, BEGIN,
    ]  # fmt: skip
    reply = fold(read(sse([*odd, {"type": "message-end"}])))
    assert (reply.choices[0].blocks, reply.usage) == ((), None)
    assert reply.choices[0].finish == Finish(reason=FinishReason.OTHER)
    assert fold(read(sse([{"type": "message-end"}]))).begin == Begin()


def test_text_that_begins_without_saying_so() -> None:
    stream = sse([text_more(0, "a"), text_more(0, "b", "thinking"), end()])
    assert fold(read(stream)).choices[0].blocks == (Text(text="a"), Thinking(text="b"))
    nameless = {k: v for k, v in text_more(0, "c").items() if k != "index"}
    assert fold(read(sse([text_start(2), nameless, end()]))).choices[0].blocks == (Text(text="c"),)


def test_a_start_may_leave_its_kind_to_its_member() -> None:
    starts = [event("content-start", {"content": {kind: "x"}}, index=n)
              for n, kind in enumerate(("text", "thinking"))]  # fmt: skip
    blocks = fold(read(sse([BEGIN, *starts, end()]))).choices[0].blocks
    assert blocks == (Text(text="x"), Thinking(text="x"))


def test_the_same_index_again_is_a_new_block() -> None:
    stream = sse([BEGIN, call_start(0, "a"), call_start(0, "b", "{}"), end()])
    calls = fold(read(stream)).choices[0].blocks
    assert [(c.id, c.arguments) for c in calls if isinstance(c, ToolCall)] == [
        ("a", "{}"), ("b", "{}"),
    ]  # fmt: skip
    again = [call_start(0, "a"), call_start(1, "b"), call_start(0, "c"), call_more(0, '{"x":1}')]
    (*_, last) = fold(read(sse([BEGIN, *again, end()]))).choices[0].blocks
    assert last == ToolCall(id="c", name="look", arguments='{"x":1}')
    stream = sse([BEGIN, text_start(0), text_more(0, "a"), text_start(0), text_more(0, "b"), end()])
    assert fold(read(stream)).choices[0].blocks == (Text(text="a"), Text(text="b"))


CUT = "ended before its end"
FAILURES: list[tuple[str, bytes, ErrorKind, str]] = [
    ("nothing at all", b"", ErrorKind.UPSTREAM_TRUNCATED, CUT),
    ("a part of a mark", b"\xef\xbb", ErrorKind.UPSTREAM_TRUNCATED, CUT),
    ("only a beginning", sse([BEGIN, text_more(0, "a")]), ErrorKind.UPSTREAM_TRUNCATED, CUT),
    ("all but its end", sse([BEGIN]) + b"data: [DONE]\n\n", ErrorKind.UPSTREAM_TRUNCATED, CUT),
    ("lines without an end", lines([BEGIN, text_more(0, "a")]), ErrorKind.UPSTREAM_TRUNCATED, CUT),
    ("cut within its end", lines([BEGIN, end()])[:-9], ErrorKind.UPSTREAM_TRUNCATED, CUT),
    ("an error at its end", sse([BEGIN, end("ERROR", error="It broke.")]),
     ErrorKind.UPSTREAM_ERROR, "It broke."),
    ("an error instead", b'data: {"message":"too many tokens: 9","id":"x"}\n\n',
     ErrorKind.CONTEXT_TOO_LONG, "too many tokens"),
    ("an error instead, in lines", b'{"message":"oops"}', ErrorKind.UPSTREAM_ERROR, "oops"),
    ("interleaved calls", sse([BEGIN, call_start(0, "a"), call_start(1, "b"), call_more(0, "{")]),
     ErrorKind.UPSTREAM_PROTOCOL, "goes back to block 0"),
    ("text again", sse([text_more(0, "a"), text_more(1, "b"), text_more(0, "c")]),
     ErrorKind.UPSTREAM_PROTOCOL, "goes back to block 0"),
    ("arguments of no call", sse([BEGIN, call_more(0, "{")]), ErrorKind.UPSTREAM_PROTOCOL,
     "did not begin"),
    ("two broken events", sse([BEGIN]) + b"data: {\n\ndata: [1]\n\n" + sse([end()]),
     ErrorKind.UPSTREAM_PROTOCOL, "can't be read"),
    ("two malformed events", sse([event("message-end", delta=3), event("content-end", index="x")]),
     ErrorKind.UPSTREAM_PROTOCOL, "malformed"),
    ("no stream", b"<html>\n\n</html>", ErrorKind.UPSTREAM_TRUNCATED, CUT),
]  # fmt: skip


@pytest.mark.parametrize("case", FAILURES, ids=[case[0] for case in FAILURES])
def test_failures_are_told(case: tuple[str, bytes, ErrorKind, str]) -> None:
    _, stream, kind, words = case
    events = read(stream)
    last = events[-1]
    assert isinstance(last, Failed)
    assert (last.kind, words in last.message) == (kind, True)
    assert last.code == ("ERROR" if b'"ERROR"' in stream else "")
    assert read(stream, *range(1, len(stream))) == events


def test_one_broken_event_is_skipped_and_counted() -> None:
    decoder = StreamDecoder()
    head = sse([BEGIN, text_start(0), text_more(0, "a")])
    events = decoder.feed(head + b"data: {oops\n\n" + sse([text_more(0, "b"), end()]))
    assert decoder.broken == 1
    assert fold(events).choices[0].blocks == (Text(text="ab"),)


def test_a_line_without_end_is_refused() -> None:
    for start in (b"{", b"data: {"):
        decoder = StreamDecoder()
        events = decoder.feed(start)
        for _ in range(17):
            events += decoder.feed(b"x" * (1 << 20))
        assert [type(e) for e in events] == [Failed]


def test_five_megabytes_of_arguments_come_through_in_fragments() -> None:
    text = '{"x":"' + "y" * (5 << 20) + '"}'
    more = [call_more(0, text[n : n + 9000]) for n in range(0, len(text), 9000)]
    stream = sse([BEGIN, call_start(0, "a"), *more, call_end(0), end("TOOL_CALL")])
    (call,) = fold(read(stream, 1000, 100_000)).choices[0].blocks
    assert isinstance(call, ToolCall)
    assert call.arguments == text


DEEP = b"[" * 100_000
BAD_REPLIES = [
    b"<html>", b'{"id": "1"}', b'{"message": {"content": [{"type": "te',
    b"", b"null", b"[]", b"{}", b"\xff", DEEP, b'{"message":' + DEEP, b'{"message":3}',
    b'{"message":""}',
    b'{"message":{"content":[1]}}', b'{"message":{"content":"text"}}',
    b'{"message":{"content":[{"x":' + DEEP, b'{"message":{"citations":[1]}}',
    b'{"message":{},"usage":{"tokens":{"input_tokens":"3"}}}',
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_REPLIES)
def test_what_is_no_reply_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(ReplyError, match="no answer") as caught:
        decode_reply(body)
    assert caught.value.kind is ErrorKind.UPSTREAM_PROTOCOL


def test_an_error_in_place_of_a_reply_speaks_for_itself() -> None:
    with pytest.raises(ReplyError, match="no such thing") as caught:
        decode_reply(b'{"message":"no such thing","id":"x"}')
    assert caught.value.kind is ErrorKind.UPSTREAM_ERROR


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["type", "delta", "message", "content", "text", "thinking", "tool_calls",
                         "function", "arguments", "index", "citations", "usage", "tokens",
                         "billed_units", "input_tokens", "logprobs", "start", "sources", "id"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
kinds = st.sampled_from(
    ["message-start", "content-start", "content-delta", "content-end", "tool-plan-delta",
     "tool-call-start", "tool-call-delta", "tool-call-end", "citation-start", "message-end", "new"]
)  # fmt: skip


@given(st.lists(st.tuples(kinds, values, values), max_size=8), st.booleans())
def test_no_stream_crashes_the_decoder(said: list[tuple[str, Any, Any]], plain: bool) -> None:
    data = (lines if plain else sse)({"type": k, "delta": d, "index": i} for k, d, i in said)
    assert read(data, *range(7, len(data), 7)) == read(data)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_decoder(data: bytes) -> None:
    assert read(data) == read(data, *range(1, len(data)))


pieces = st.sampled_from([piece for answer in ANSWERS for piece in answer[2]])


@given(st.lists(pieces, max_size=12), st.booleans())
def test_no_order_of_pieces_breaks_the_grammar(said: list[Json], begun: bool) -> None:
    read(sse([*([BEGIN] if begun else []), *said, end()]))


@given(values | st.binary() | st.dictionaries(st.just("message"), values))
def test_no_body_crashes_the_decoder_of_replies(value: Any) -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    try:
        reply = decode_reply(body)
    except ReplyError as error:
        assert error.message
    else:
        checked(unfold(reply))


texts = st.lists(st.text(min_size=1, max_size=4), max_size=3)


@given(
    st.lists(st.tuples(st.sampled_from(["text", "thinking"]), texts), max_size=4),
    st.lists(st.tuples(st.text(max_size=3), texts), max_size=3),
    texts,
    st.data(),
)
def test_any_answer_is_the_same_whole_and_streamed(
    content: list[tuple[str, list[str]]],
    calls: list[tuple[str, list[str]]],
    plan: list[str],
    data: st.DataObject,
) -> None:
    message = {
        "tool_plan": "".join(plan),
        "content": [{"type": kind, kind: "".join(said)} for kind, said in content],
        "tool_calls": [
            {"id": ident, "function": {"name": "look", "arguments": "".join(said)}}
            for ident, said in calls
        ],
    }
    events = [event("tool-plan-delta", {"tool_plan": said}) for said in plan]
    for n, (kind, words) in enumerate(content):
        events += [text_start(n, kind), *(text_more(n, said, kind) for said in words), text_end(n)]
    for n, (ident, words) in enumerate(calls):
        events += [call_start(n, ident), *(call_more(n, said) for said in words), call_end(n)]
    stream = sse([BEGIN, *events, end()])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    assert fold(read(stream, *cuts)) == decode_reply(whole_body(message))
