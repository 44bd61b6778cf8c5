"""Whole replies and streams of the Cohere format: the same answer both ways, judged by its SDK."""

import json
from itertools import pairwise
from typing import Any

import pytest
from cohere.core.unchecked_base_model import construct_type
from cohere.v2.types import V2ChatResponse, V2ChatStreamResponse
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import End, Event, Failed, Finish, FinishReason, Probs, Reply
from ferryman.ir.fold import fold, unfold
from ferryman.ir.grammar import Grammar
from ferryman.ir.request import Block, Citation, Opaque, Text, Thinking, ToolCall
from ferryman.ir.usage import Usage
from ferryman.wire.cohere_chat.reply import decode_reply
from ferryman.wire.cohere_chat.stream import StreamDecoder
from ferryman.wire.format import ReplyError

OWN = "cohere_chat"
STREAMED: Any = V2ChatStreamResponse
Json = dict[str, Any]


def checked(events: list[Event]) -> list[Event]:
    """The same, after the grammar has been found kept, up to a proper end."""
    grammar = Grammar()
    for event in events:
        grammar.check(event)
    assert isinstance(events[-1], End | Failed)
    return events


def events_of(pieces: list[bytes]) -> list[Event]:
    decoder = StreamDecoder()
    found = [event for piece in pieces for event in decoder.feed(piece)]
    return checked(found + decoder.close())


def sse(*said: Json) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (str(one.get("type")).encode(), json.dumps(one).encode())
        for one in said
    )


def lines(*said: Json) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in said)


def event(kind: str, index: int | None = None, **message: Any) -> Json:
    place = {} if index is None else {"index": index}
    return {"type": kind, **place, "delta": {"message": message}}


def block(index: int, kind: str, *pieces: str) -> list[Json]:
    """All events of a block of text or thoughts."""
    start = event("content-start", index, content={"type": kind, kind: ""})
    more = [event("content-delta", index, content={kind: piece}) for piece in pieces]
    return [start, *more, {"type": "content-end", "index": index}]


def call(index: int, ident: str, name: str, *pieces: str) -> list[Json]:
    """All events of a tool call."""
    use = {"id": ident, "type": "function", "function": {"name": name, "arguments": ""}}
    more = [
        event("tool-call-delta", index, tool_calls={"function": {"arguments": piece}})
        for piece in pieces
    ]
    end = {"type": "tool-call-end", "index": index}
    return [event("tool-call-start", index, tool_calls=use), *more, end]


def called(ident: str, name: str, arguments: str) -> Json:
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}


USAGE = {
    "billed_units": {"input_tokens": 10.0, "output_tokens": 5.0},
    "tokens": {"input_tokens": 70.0, "output_tokens": 6.0},
    "cached_tokens": 4.0,
}
BEGIN: Json = {
    "type": "message-start",
    "id": "c14c80c3",
    "delta": {"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [],
                          "citations": []}},
}  # fmt: skip


def ending(reason: str, usage: Json | None = USAGE) -> Json:
    delta: Json = {"finish_reason": reason}
    if usage is not None:
        delta["usage"] = usage
    return {"type": "message-end", "id": "c14c80c3", "delta": delta}


def whole(message: Json, reason: str, usage: Json | None = USAGE, **more: Any) -> bytes:
    said: Json = {"id": "c14c80c3", "finish_reason": reason,
                  "message": {"role": "assistant", **message}, **more}  # fmt: skip
    if usage is not None:
        said["usage"] = usage
    return json.dumps(said).encode()


CITED: Json = {
    "start": 2, "end": 5, "text": "bbb", "type": "TEXT_CONTENT",
    "sources": [
        {"type": "document", "id": "doc_1", "document": {"title": "T", "url": "https://u.example"}},
        {"type": "tool", "id": "look_1:0", "tool_output": {"a": 1}},
    ],
}  # fmt: skip
OF_PLAN: Json = CITED | {"type": "PLAN"}
QUOTED = (
    Citation(start=2, end=5, title="T", url="https://u.example", document=1, origin=OWN),
    Citation(start=2, end=5, origin=OWN),
)

ANSWERS: list[tuple[str, Json, list[Json], str, tuple[Block, ...]]] = [
    ("nothing", {}, [], "COMPLETE", ()),
    (
        "text",
        {"content": [{"type": "text", "text": "Hello w\u00f6rld"}]},
        block(0, "text", "Hello ", "w\u00f6r", "ld"),
        "COMPLETE",
        (Text(text="Hello w\u00f6rld"),),
    ),
    (
        "thoughts before text",
        {"content": [{"type": "thinking", "thinking": "hm, so"}, {"type": "text", "text": "ok"}]},
        [*block(0, "thinking", "hm, ", "so"), *block(1, "text", "ok")],
        "MAX_TOKENS",
        (Thinking(text="hm, so"), Text(text="ok")),
    ),
    (
        "a plan and two calls of one tool",
        {
            "tool_plan": "I will look twice.",
            "tool_calls": [called("a", "look", '{"x": [1, "}"]}'), called("b", "look", "{}")],
        },
        [
            {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I will "}}},
            {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "look twice."}}},
            *call(0, "a", "look", '{"x": [1,', ' "}"]}'),
            *call(1, "b", "look"),
        ],
        "TOOL_CALL",
        (
            Thinking(text="I will look twice."),
            ToolCall(id="a", name="look", arguments='{"x": [1, "}"]}'),
            ToolCall(id="b", name="look", arguments="{}"),
        ),
    ),
    (
        "citations of a text, and one of a plan, which has no place",
        {
            "content": [{"type": "thinking", "thinking": "t"}, {"type": "text", "text": "aabbb"}],
            "citations": [CITED | {"content_index": 1}, OF_PLAN | {"content_index": 1}],
        },
        [
            *block(0, "thinking", "t"),
            *block(1, "text", "aa", "bbb"),
            event("citation-start", 0, citations=CITED | {"content_index": 1}),
            {"type": "citation-end", "index": 0},
            event("citation-start", 1, citations=OF_PLAN | {"content_index": 1}),
            {"type": "citation-end", "index": 1},
        ],
        "COMPLETE",
        (Thinking(text="t"), Text(text="aabbb", citations=(
            replace(QUOTED[0], raw=json.dumps(CITED | {"content_index": 1}).encode()), QUOTED[1]))),
    ),
    (
        "two texts",
        {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        [*block(0, "text", "a"), *block(1, "text", "b")],
        "STOP_SEQUENCE",
        (Text(text="a"), Text(text="b")),
    ),
]  # fmt: skip
NAMES = [name for name, *_ in ANSWERS]


@pytest.mark.parametrize(("_name", "message", "said", "reason", "blocks"), ANSWERS, ids=NAMES)
def test_whole_replies_and_streams_say_the_same(
    _name: str, message: Json, said: list[Json], reason: str, blocks: tuple[Block, ...]
) -> None:
    reply = decode_reply(whole(message, reason))
    [choice] = reply.choices
    assert choice.blocks == blocks
    assert reply.begin.id == "c14c80c3"
    assert reply.usage == Usage(6, 4, 0, 0, 0, 5)
    stream = [BEGIN, *said, ending(reason)]
    for data in (sse(*stream), lines(*stream), lines(*stream)[:-1], b"\xef\xbb\xbf" + sse(*stream),
                 sse(*stream).replace(b"\n", b"\r\n")):  # fmt: skip
        events = events_of([data])
        assert fold(events) == reply
        assert events_of([data[i : i + 1] for i in range(len(data))]) == events


@pytest.mark.parametrize(("_name", "message", "said", "reason", "_blocks"), ANSWERS, ids=NAMES)
def test_the_samples_are_what_the_sdk_takes(
    _name: str, message: Json, said: list[Json], reason: str, _blocks: tuple[Block, ...]
) -> None:
    V2ChatResponse.model_validate_json(whole(message, reason))
    for one in [BEGIN, *said, ending(reason)]:
        found = construct_type(type_=STREAMED, object_=one)
        assert found.type == one["type"]
        type(found).model_validate(one)


@pytest.mark.parametrize(
    ("reason", "meant", "detail"),
    [
        ("COMPLETE", FinishReason.STOP, ""),
        ("STOP_SEQUENCE", FinishReason.STOP_SEQUENCE, ""),
        ("MAX_TOKENS", FinishReason.LENGTH, ""),
        ("TOOL_CALL", FinishReason.TOOL_CALLS, ""),
        ("ERROR", FinishReason.ERROR, "ERROR"),
        ("TIMEOUT", FinishReason.ERROR, "TIMEOUT"),
        ("ERROR_TOXIC", FinishReason.CONTENT_FILTER, "ERROR_TOXIC"),
        ("ERROR_LIMIT", FinishReason.CONTEXT, ""),
        ("SOMETHING_NEW", FinishReason.OTHER, "SOMETHING_NEW"),
    ],
)
def test_no_end_stands_in_for_another(reason: str, meant: FinishReason, detail: str) -> None:
    finish = Finish(reason=meant, detail=detail)
    assert decode_reply(whole({}, reason)).choices[0].finish == finish
    assert finish in events_of([sse(BEGIN, ending(reason))])


@pytest.mark.parametrize(
    ("usage", "meant"),
    [
        (None, None),
        ({}, None),
        ({"billed_units": None, "tokens": {"input_tokens": 7, "output_tokens": 2}},
         Usage(7, 0, 0, 0, 0, 2)),
        ({"billed_units": {"input_tokens": 3, "output_tokens": 2}, "cached_tokens": 9},
         Usage(0, 3, 0, 0, 0, 2)),
        ({"billed_units": {"input_tokens": -1, "output_tokens": 2}}, None),
        ({"billed_units": {"input_tokens": 1e300, "output_tokens": 2}}, None),
        ({"billed_units": {"search_units": 1}}, None),
    ],
)  # fmt: skip
def test_usage(usage: Json | None, meant: Usage | None) -> None:
    assert decode_reply(whole({}, "COMPLETE", usage)).usage == meant
    assert fold(events_of([sse(BEGIN, ending("COMPLETE", usage))])).usage == meant


def test_log_probabilities() -> None:
    said = block(0, "text", "Hello")
    said[1]["logprobs"] = {"text": "Hello", "token_ids": [1, 2], "logprobs": [-0.5, -0.25]}
    wanted = {"token": "Hello", "logprob": -0.75, "bytes": list(b"Hello"), "top_logprobs": []}
    events = events_of([sse(BEGIN, *said, ending("COMPLETE"))])
    [token] = [one for found in events if isinstance(found, Probs) for one in found.tokens]
    assert json.loads(bytes(token)) == wanted
    told = decode_reply(
        whole({"content": [{"type": "text", "text": "Hello"}]}, "COMPLETE",
              logprobs=[said[1]["logprobs"]])
    )  # fmt: skip
    assert told == fold(events)


def test_content_of_a_kind_not_known_comes_as_it_is() -> None:
    piece = {"type": "diagram", "lines": 3}
    [found] = decode_reply(whole({"content": [piece]}, "COMPLETE")).choices[0].blocks
    assert isinstance(found, Opaque)
    assert (found.origin, found.kind, json.loads(found.raw)) == (OWN, "diagram", piece)


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b'{"message": "model \'x\' not found"}', ErrorKind.UPSTREAM_ERROR, "model 'x' not found"),
        (b'{"id": "1"}', ErrorKind.UPSTREAM_PROTOCOL, "no answer"),
        (b"[]", ErrorKind.UPSTREAM_PROTOCOL, "no answer"),
        (b"<html>", ErrorKind.UPSTREAM_PROTOCOL, "no answer"),
        (b"", ErrorKind.UPSTREAM_PROTOCOL, "no answer"),
        (b'{"message": {"content": [{"type": "te', ErrorKind.UPSTREAM_PROTOCOL, "no answer"),
    ],
)
def test_what_is_no_answer(body: bytes, kind: ErrorKind, words: str) -> None:
    with pytest.raises(ReplyError, match=words) as caught:
        decode_reply(body)
    assert caught.value.kind is kind


def failure(*pieces: bytes) -> Failed:
    found = events_of(list(pieces))[-1]
    assert isinstance(found, Failed)
    return found


def test_errors_within_a_stream() -> None:
    said = [BEGIN, *block(0, "text", "a")]
    end = {"type": "message-end", "delta": {"error": "ran out of coal", "finish_reason": "ERROR"}}
    found = failure(sse(*said, end))
    assert (found.kind, found.message) == (ErrorKind.UPSTREAM_ERROR, "ran out of coal")
    assert found.code == "ERROR"
    found = failure(sse(*said, {"message": "too many tokens", "id": "1"}))
    assert found.message == "too many tokens"


def test_streams_that_break() -> None:
    said = [BEGIN, *block(0, "text", "a")]
    for cut in (b"", sse(*said), lines(*said), sse(*said)[:-9], lines(*said)[:-9]):
        assert failure(cut).kind is ErrorKind.UPSTREAM_TRUNCATED
    broken = b'data: {"type": "content-de\n\n'
    whole_end = sse(ending("COMPLETE"))
    assert isinstance(events_of([sse(*said) + broken + whole_end])[-1], End)  # one is forgiven
    assert "can't be read" in failure(sse(*said) + broken * 2 + whole_end).message
    late = sse(*said, *call(0, "a", "look"), *block(1, "text", "b"), said[2], ending("COMPLETE"))
    assert "goes back to block 0" in failure(late).message
    orphan = event("tool-call-delta", 0, tool_calls={"function": {"arguments": "{"}})
    assert "did not begin" in failure(sse(BEGIN, orphan, ending("TOOL_CALL"))).message


def test_what_may_be_missing_or_new() -> None:
    """Nothing but what is said is needed; events of types not known are skipped."""
    new = {"type": "weather-report", "delta": {"message": "rain"}}
    bare = event("content-delta", None, content={"text": "hi"})
    reply = fold(events_of([sse(new, bare, new, {"type": "message-end"}) + b"data: [DONE]\n\n"]))
    [choice] = reply.choices
    assert choice.blocks == (Text(text="hi"),)
    assert choice.finish == Finish(reason=FinishReason.OTHER)
    assert reply.usage is None


# --- anything at all ----------------------------------------------------------------------------

_NAMES = [
    "type", "id", "index", "delta", "message", "content", "text", "thinking", "tool_plan",
    "tool_calls", "function", "name", "arguments", "citations", "sources", "document", "start",
    "end", "content_index", "finish_reason", "usage", "billed_units", "tokens", "input_tokens",
    "output_tokens", "cached_tokens", "logprobs", "error",
]  # fmt: skip
_KINDS = [
    "message-start", "content-start", "content-delta", "content-end", "tool-plan-delta",
    "tool-call-start", "tool-call-delta", "tool-call-end", "citation-start", "message-end", "text",
    "thinking", "TEXT_CONTENT", "COMPLETE",
]  # fmt: skip
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5)
    | st.sampled_from(_KINDS),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=5),
    max_leaves=30,
)  # fmt: skip
_pieces = st.lists(st.text(min_size=1, max_size=4), max_size=3)
_event = st.fixed_dictionaries(
    {"type": st.sampled_from(_KINDS)},
    optional={
        "index": st.integers(-1, 3),
        "delta": st.fixed_dictionaries(
            {"message": st.dictionaries(st.sampled_from(_NAMES), _json, max_size=3)}
        ),
    },
)


@given(
    st.lists(_event | _json | st.binary(max_size=20), max_size=8), st.integers(1, 40), st.booleans()
)
def test_no_stream_breaks_the_decoder_or_the_grammar(
    said: list[Any], step: int, framed: bool
) -> None:
    head, tail = (b"data: ", b"\n\n") if framed else (b"", b"\n")
    data = b"".join(
        head + (one if isinstance(one, bytes) else json.dumps(one).encode()) + tail for one in said
    )
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    assert str(events_of(pieces)) == str(events_of([data]))


@given(_json | st.binary(max_size=40) | st.dictionaries(st.just("message"), _json))
def test_no_reply_breaks_the_decoder(said: Any) -> None:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    try:
        found = decode_reply(body)
    except ReplyError:
        return
    checked(list(unfold(found)))


@given(
    st.lists(st.tuples(st.sampled_from(["text", "thinking"]), _pieces), max_size=4),
    st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3), _pieces), max_size=3),
    _pieces,
    st.randoms(),
)
def test_streams_and_whole_answers_come_to_the_same(
    content: list[tuple[str, list[str]]],
    calls: list[tuple[str, str, list[str]]],
    plan: list[str],
    chance: Any,
) -> None:
    message = {
        "tool_plan": "".join(plan),
        "content": [{"type": kind, kind: "".join(pieces)} for kind, pieces in content],
        "tool_calls": [called(ident, name, "".join(pieces)) for ident, name, pieces in calls],
    }
    said = [event("tool-plan-delta", tool_plan=piece) for piece in plan]
    for index, (kind, pieces) in enumerate(content):
        said += block(index, kind, *pieces)
    for index, (ident, name, pieces) in enumerate(calls):
        said += call(index, ident, name, *pieces)
    data = sse(BEGIN, *said, ending("COMPLETE"))
    cuts = sorted(chance.randrange(len(data)) for _ in range(5))
    events = events_of([data[a:b] for a, b in pairwise([0, *cuts, len(data)])])
    found: Reply = fold(events)
    assert found == decode_reply(whole(message, "COMPLETE"))
