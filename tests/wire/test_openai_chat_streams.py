"""Chat streams of providers into events: the format itself, and what compatible servers make of it.

Where the same answer has a whole form, both are read to the same reply.
"""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.catalog.quirks import usage_quirks
from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import Begin, Count, Delta, End, Failed, Finish, FinishReason, Open, Probs
from ferryman.ir.fold import fold
from ferryman.ir.request import (
    Block,
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
from ferryman.wire.openai_chat.reply import decode_reply
from ferryman.wire.openai_chat.stream import ChatStreamDecoder
from tests.wire.chat_answers import (
    BEGIN,
    CALLED,
    DONE,
    STOP,
    chunk,
    event,
    heard,
    stream,
    told,
)
from tests.wire.turns import plain

ROLE = chunk({"role": "assistant", "content": ""})
OWN = "openai_chat"


def call(
    index: int | None = None, ident: str | None = None, name: str | None = None,
    arguments: str | None = None, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """A fragment of a tool call, as one of ``tool_calls``."""
    function = {"name": name, "arguments": arguments}
    out: dict[str, Any] = {"function": {k: v for k, v in function.items() if v is not None}}
    if index is not None:
        out["index"] = index
    if ident is not None:
        out["id"] = ident
    return out | more


def calls(*fragments: dict[str, Any]) -> bytes:
    return chunk({"tool_calls": list(fragments)})


NOTE = {
    "type": "url_citation",
    "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 2},
}
CITED = Citation(
    url="u", title="t", start=0, end=2, origin=OWN,
    raw=json.dumps(NOTE, separators=(",", ":")).encode(),
)  # fmt: skip
END, ENDED = chunk(finish="stop"), chunk(finish="tool_calls")


def detail(kind: str, **members: Any) -> bytes:
    return chunk({"reasoning_details": [{"type": f"reasoning.{kind}", **members}]})


ANSWERS: list[tuple[str, list[bytes], tuple[Block, ...], Finish]] = [
    ("text", [ROLE, chunk({"content": "He"}), chunk({"content": "llo"}), END],
     (Text(text="Hello"),), STOP),
    ("roles and nothing repeated", [ROLE, ROLE, chunk({"role": "assistant", "content": None}),
     chunk({"content": "x", "role": "assistant", "refusal": None, "tool_calls": None}), END],
     (Text(text="x"),), STOP),
    ("the end with the last words", [chunk({"content": "x"}, "stop")], (Text(text="x"),), STOP),
    ("the end said twice", [chunk({"content": "x"}), END, END, chunk({"content": ""}, "stop")],
     (Text(text="x"),), STOP),
    ("nothing at all", [ROLE, END], (), STOP),
    ("a choice without a number", [chunk({"content": "x"}, "stop", index=None)],
     (Text(text="x"),), STOP),
    ("a message where a delta belongs",
     [event({"id": "x", "model": "m", "created": 5, "choices": [
         {"message": {"content": "x"}, "finish_reason": "stop"}]})], (Text(text="x"),), STOP),
    ("reasoning_content", [chunk({"reasoning_content": "a"}), chunk({"reasoning_content": "b",
     "content": None}), chunk({"content": "x", "reasoning_content": None}), END],
     (Thinking(text="ab"), Text(text="x")), STOP),
    ("reasoning", [chunk({"reasoning": "a"}), chunk({"reasoning": "b"}), chunk({"content": "x"}),
     END], (Thinking(text="ab"), Text(text="x")), STOP),
    ("both names at once", [chunk({"reasoning": "a", "reasoning_content": "a"}), END],
     (Thinking(text="a"),), STOP),
    ("details beside the text", [
        chunk({"reasoning": "a", "reasoning_details": [
            {"type": "reasoning.text", "text": "a", "format": "v1", "index": 0}]}),
        chunk({"reasoning": "b", "reasoning_details": [
            {"type": "reasoning.text", "text": "b", "format": "v1", "index": 0}]}),
        detail("text", signature="S", format="v1", index=0),
        chunk({"content": "x", "reasoning_details": []}), END],
     (Thinking(text="ab", signature=Signature("v1|S", OWN)), Text(text="x")), STOP),
    ("a signature alone after text by the other name", [
        chunk({"reasoning": "a"}), detail("text", signature="S", index=0), END],
     (Thinking(text="a", signature=Signature("|S", OWN)),), STOP),
    ("thoughts of two places", [
        detail("text", text="a", index=0), detail("text", text="b", index=1), END],
     (Thinking(text="a"), Thinking(text="b")), STOP),
    ("a summary and what it sums up", [
        detail("summary", summary="a", format="v2", index=0),
        detail("encrypted", data="D", format="v2", index=0), END],
     (Thinking(text="a", signature=Signature("v2||D", OWN)),), STOP),
    ("hidden thoughts", [detail("encrypted", data="D", id="r", format="v2", index=0), END],
     (Thinking(signature=Signature("v2|D", OWN), encrypted=True, id="r"),), STOP),
    ("content as parts", [
        chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]}),
        chunk({"content": [{"type": "text", "text": "x"}]}),
        chunk({"content": [{"type": "reference", "ids": [1]}, {"type": "text", "text": "y"}]}),
        END],
     (Thinking(text="a"), Text(text="x"),
      Opaque(origin=OWN, kind="reference", raw=b'{"type":"reference","ids":[1]}'),
      Text(text="y")), STOP),
    ("a refusal", [chunk({"content": None, "refusal": "I "}), chunk({"refusal": "won't"}), END],
     (Refusal(text="I won't"),),
     Finish(reason=FinishReason.REFUSAL)),
    ("a refusal as a part", [chunk({"content": [{"type": "refusal", "refusal": "no"}]}), END],
     (Refusal(text="no"),), Finish(reason=FinishReason.REFUSAL)),
    ("citations", [chunk({"content": "ab"}), chunk({"annotations": [NOTE]}, "stop")],
     (Text(text="ab", citations=(CITED,)),), STOP),
    ("sound", [chunk({"audio": {"id": "a1", "transcript": "he"}}),
               chunk({"audio": {"id": "a1", "data": "QUJD"}}),
               chunk({"audio": {"data": "QUJD", "transcript": "y"}}),
               chunk({"audio": {"expires_at": 9}}), END],
     (Media(kind=MediaKind.AUDIO, source=Source(file_id="a1", data="QUJDQUJD", origin=OWN),
            transcript="hey"),), STOP),
    ("images", [chunk({"content": "see", "images": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {"type": "image_url", "image_url": {"url": "https://e.x/a"}}, {"odd": 1},
        {"type": "image_url", "image_url": {"url": "data:a;b;base64,?"}}]}), END],
     (Text(text="see"),
      Media(kind=MediaKind.IMAGE, source=Source(media_type="image/png", data="QUJD")),
      Media(kind=MediaKind.IMAGE, source=Source(url="https://e.x/a")),
      Opaque(origin=OWN, kind="image", raw=b'{"odd":1}'),
      Opaque(origin=OWN, kind="image_url", raw=b'{"type":"image_url","image_url":{"url":'
                                               b'"data:a;b;base64,?"}}')), STOP),
    ("a signature of the text", [
        chunk({"content": "x", "extra_content": {"google": {"thought_signature": "S"}}}),
        chunk({"content": "y"}), END],
     (Text(text="xy", signature=Signature("S", OWN)),), STOP),
    ("a call", [calls(call(0, "a", "f", "")), calls(call(0, arguments='{"q"')),
                calls(call(0, arguments=":1}")), ENDED],
     (ToolCall(id="a", name="f", arguments='{"q":1}'),), CALLED),
    ("calls of the same function", [
        calls(call(0, "a", "f", "{}")), calls(call(1, "b", "f", "")),
        calls(call(1, arguments="{}")), ENDED],
     (ToolCall(id="a", name="f", arguments="{}"), ToolCall(id="b", name="f", arguments="{}")),
     CALLED),
    ("calls whole in one chunk without index", [
        calls(call(None, "a", "f", "{}"), call(None, "b", "g", "{}")), ENDED],
     (ToolCall(id="a", name="f", arguments="{}"), ToolCall(id="b", name="g", arguments="{}")),
     CALLED),
    ("calls all of index 0", [calls(call(0, "a", "f", "{}")), calls(call(0, "b", "f", "{}")),
                              ENDED],
     (ToolCall(id="a", name="f", arguments="{}"), ToolCall(id="b", name="f", arguments="{}")),
     CALLED),
    ("id and name said with every fragment", [
        calls(call(0, "a", "f", '{"q"')), calls(call(0, "a", "f", ":{")),
        calls(call(0, "", "f", "}}")), ENDED],
     (ToolCall(id="a", name="f", arguments='{"q":{}}'),), CALLED),
    ("the name after the id", [calls(call(0, "a")), calls(call(0, name="f", arguments="")),
                               calls(call(0, arguments="{}")), ENDED],
     (ToolCall(id="a", name="f", arguments="{}"),), CALLED),
    ("an index from 1, and a text before", [
        chunk({"content": "x"}), calls(call(1, "a", "f", "{}")), ENDED],
     (Text(text="x"), ToolCall(id="a", name="f", arguments="{}")), CALLED),
    ("a signed call", [calls(call(0, "a", "f", "{}", extra_content={
        "google": {"thought_signature": "S"}})), ENDED],
     (ToolCall(id="a", name="f", arguments="{}", signature=Signature("S", OWN)),), CALLED),
    ("arguments as an object", [calls({"id": "a", "function": {"name": "f", "arguments":
        {"q": 1}}}), ENDED], (ToolCall(id="a", name="f", arguments='{"q":1}'),), CALLED),
    ("a call of free text", [
        calls({"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}),
        calls({"index": 0, "custom": {"input": "y"}}), ENDED],
     (ToolCall(id="a", name="f", arguments="xy", free=True),), CALLED),
    ("a forced call that ends in stop", [calls(call(0, "a", "f", "{}")), END],
     (ToolCall(id="a", name="f", arguments="{}"),),
     Finish(reason=FinishReason.TOOL_CALLS, detail="stop")),
    ("arguments that are no JSON", [calls(call(0, "a", "f", '{"q":')), chunk(finish="length")],
     (ToolCall(id="a", name="f", arguments='{"q":'),), Finish(reason=FinishReason.LENGTH)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("chunks", "blocks", "finish"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS]
)
def test_answers(chunks: list[bytes], blocks: tuple[Block, ...], finish: Finish) -> None:
    choice = told(*chunks)
    assert choice.blocks == blocks
    assert choice.finish == finish


def test_calls_without_ids_get_some_that_no_other_call_has() -> None:
    one = told(calls(call(None, "", "f", "{}"), call(None, None, "f", "{}")), ENDED)
    ids = [block.id for block in one.blocks if isinstance(block, ToolCall)]
    assert len(set(ids)) == 2
    assert all(len(ident) == 29 for ident in ids)
    other = stream(calls(call(None, "", "f", "{}")), ENDED).replace(b'"id":"x"', b'"id":"y"')
    (block,) = fold(heard(other)).choices[0].blocks
    assert isinstance(block, ToolCall)
    assert block.id not in ids


def test_the_older_function_call() -> None:
    choice = told(
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": "{}"}}),
        chunk(finish="function_call"),
    )
    (block,) = choice.blocks
    assert isinstance(block, ToolCall)
    assert (block.name, block.arguments) == ("f", "{}")
    assert choice.finish == Finish(reason=FinishReason.TOOL_CALLS, detail="function_call")


@pytest.mark.parametrize(
    ("members", "reason", "detail", "sequence"),
    [
        ({"finish": "length"}, FinishReason.LENGTH, "", ""),
        ({"finish": "max_tokens"}, FinishReason.LENGTH, "max_tokens", ""),
        ({"finish": "model_length"}, FinishReason.CONTEXT, "model_length", ""),
        ({"finish": "eos"}, FinishReason.STOP, "eos", ""),
        ({"finish": "content_filter"}, FinishReason.CONTENT_FILTER, "", ""),
        ({"finish": "SAFETY"}, FinishReason.CONTENT_FILTER, "SAFETY", ""),
        ({"finish": "error"}, FinishReason.ERROR, "", ""),
        ({"finish": "insufficient_system_resource"}, FinishReason.ERROR,
         "insufficient_system_resource", ""),
        ({"finish": "stop", "native_finish_reason": "end_turn"}, FinishReason.STOP, "end_turn",
         ""),
        ({"finish": "stop", "native_finish_reason": "refusal"}, FinishReason.REFUSAL, "", ""),
        ({"finish": "stop", "native_finish_reason": "pause_turn"}, FinishReason.PAUSE,
         "pause_turn", ""),
        ({"finish": "stop", "stop_reason": "###"}, FinishReason.STOP_SEQUENCE, "stop", "###"),
        ({"finish": "stop", "matched_stop": "###"}, FinishReason.STOP_SEQUENCE, "stop", "###"),
        ({"finish": "stop", "stop_reason": 128009}, FinishReason.STOP, "", ""),
        ({"finish": "stop", "stop_reason": "end_turn"}, FinishReason.STOP, "end_turn", ""),
        ({"finish": "boredom"}, FinishReason.OTHER, "boredom", ""),
    ],
)  # fmt: skip
def test_endings_are_told_apart(
    members: dict[str, Any], reason: FinishReason, detail: str, sequence: str
) -> None:
    choice = told(chunk({"content": "x"}), chunk({}, **members))
    assert choice.finish == Finish(reason=reason, detail=detail, stop_sequence=sequence)


def test_an_end_without_a_reason_is_told_as_such() -> None:
    assert told(chunk({"content": "x"})).finish == Finish(reason=FinishReason.OTHER)


def test_choices_may_alternate() -> None:
    events = heard(
        stream(
            chunk({"content": "a"}, index=1), chunk({"content": "b"}, index=0),
            chunk({"content": "c"}, index=1), chunk(finish="length", index=1),
            chunk({"content": "d"}, index=0), chunk(finish="stop", index=0),
        )
    )  # fmt: skip
    first, second = fold(events).choices
    assert (first.blocks, second.blocks) == ((Text(text="bd"),), (Text(text="ac"),))
    assert second.finish == Finish(reason=FinishReason.LENGTH, choice=1)


def test_probabilities_come_with_their_tokens() -> None:
    token = {"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}
    events = heard(
        stream(
            chunk({"content": "x"}, logprobs={"content": [token], "refusal": None}),
            chunk({"refusal": "y"}, logprobs={"content": None, "refusal": [token]}),
            END,
        )
    )
    found = [plain(e.tokens) for e in events if isinstance(e, Probs)]
    assert found == [[token], [token]]
    assert isinstance(events[1], Probs)


USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
COUNTED = Usage(input=3, output=4)


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk({"content": "x"}), END, event({"id": "x", "choices": [], "usage": USAGE})],
        [chunk({"content": "x"}), END, event({"id": "x", "choices": None, "usage": USAGE})],
        [chunk({"content": "x"}),
         event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE})],
        [event({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}],
                "x_groq": {"usage": USAGE}})],
        [chunk({"content": "x"}), chunk({}, "stop", usage=USAGE)],
        [event({"choices": [{"delta": {"content": "x"}}], "usage": {**USAGE, "total_tokens": 1,
                "completion_tokens": 1}}),
         event({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": USAGE}),
         event({"choices": [], "usage": USAGE})],
        [chunk({"content": "x"}), END,
         event({"choices": [], "usage": {"prompt_tokens": 3.0, "completion_tokens": "4"}})],
    ],
)  # fmt: skip
def test_usage_is_read_wherever_it_stands(chunks: list[bytes]) -> None:
    reply = fold(heard(stream(*chunks)))
    assert reply.usage == COUNTED


def test_usage_may_come_before_the_answer() -> None:
    first = event({"id": "x", "choices": [], "usage": USAGE})
    assert fold(heard(stream(first, chunk({"content": "x"}, "stop")))).usage == COUNTED


def test_usage_that_is_not_said_is_unknown() -> None:
    for usage in (None, {}, {"prompt_tokens": -1, "completion_tokens": 2}, {"x": 1}):
        events = heard(stream(chunk({"content": "x"}), END, event({"choices": [], "usage": usage})))
        assert not [e for e in events if isinstance(e, Count)]


def test_usage_in_a_provider_s_own_way() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 9}
    data = stream(chunk({"content": "x"}), END, event({"choices": [], "usage": usage}))
    quirks = usage_quirks(("reasoning_beside_completion",))
    assert fold(heard(data, quirks)).usage == Usage(input=3, output=4, reasoning=2)


def test_a_first_chunk_may_tell_of_the_prompt_only() -> None:
    first = {"choices": [], "created": 0, "id": "", "model": "", "object": "",
             "prompt_filter_results": [{"prompt_index": 0}]}  # fmt: skip
    events = heard(stream(event(first), ROLE, chunk({"content": "x"}), END))
    assert events[0] == BEGIN


def test_what_a_stream_says_of_itself() -> None:
    said = {
        "id": 5, "model": None, "created": 9.0, "service_tier": "flex", "system_fingerprint": "fp",
        "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}],
    }  # fmt: skip
    begin = heard(stream(event(said)))[0]
    assert begin == Begin(id="5", created=9, service_tier="flex", fingerprint="fp")


def test_comments_blank_lines_and_other_line_ends_are_legal() -> None:
    data = (
        b"\xef\xbb\xbf: hello\r\n\r\nevent: message\r\nid: 1\r\ndata: "
        + chunk({"content": "x"})[6:-2].replace(b',"model"', b',\r\ndata: "model"')
        + b"\r\n\r\n: ping\n\n\n"
        + stream(END)
    )
    reply = fold(heard(data))
    assert reply.choices[0].blocks == (Text(text="x"),)


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", ErrorKind.UPSTREAM_TRUNCATED, "without its end mark"),
        (chunk({"content": "x"}), ErrorKind.UPSTREAM_TRUNCATED, "without its end mark"),
        (chunk({"content": "x"}, "stop"), ErrorKind.UPSTREAM_TRUNCATED, "without its end mark"),
        (chunk({"content": "x"}) + b"data: [DO", ErrorKind.UPSTREAM_TRUNCATED, "end mark"),
        (DONE, ErrorKind.UPSTREAM_PROTOCOL, "without an answer"),
        (event({"choices": []}) + DONE, ErrorKind.UPSTREAM_PROTOCOL, "without an answer"),
        (b"data: {\n\ndata: [\n\n", ErrorKind.UPSTREAM_PROTOCOL, "several of its events"),
        (event({"error": {"message": "too many", "code": "rate_limit_exceeded"}}),
         ErrorKind.UPSTREAM_RATE_LIMIT, "too many"),
        (chunk({"content": "x"}) + event({"error": {"message": "gone", "code": 502},
         "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}),
         ErrorKind.UPSTREAM_ERROR, "gone"),
        (event({"object": "error", "message": "sorry", "code": 500}), ErrorKind.UPSTREAM_ERROR,
         "sorry"),
        (b'event: error\ndata: {"message":"sorry"}\n\n', ErrorKind.UPSTREAM_ERROR, "sorry"),
        (b"event: error\ndata: sorry\n\n", ErrorKind.UPSTREAM_ERROR, "did not say"),
        (stream(chunk({"content": "x"}, "stop"), chunk({"content": "y"})),
         ErrorKind.UPSTREAM_PROTOCOL, "after its end"),
        (stream(calls(call(0, "a", "f", "{")), calls(call(1, "b", "f", "{")),
                calls(call(0, arguments="}"))),
         ErrorKind.UPSTREAM_PROTOCOL, "after the next block"),
        (stream(calls(call(0, "a", "f", "{")), calls(call(1, "b", "f", "{")),
                calls(call(0, "a", "f", arguments="}"))),
         ErrorKind.UPSTREAM_PROTOCOL, "after the next block"),
        (stream(calls(call(0, "a", None, "{}")), END), ErrorKind.UPSTREAM_PROTOCOL, "no name"),
    ],
)  # fmt: skip
def test_what_is_no_whole_stream_fails(data: bytes, kind: ErrorKind, words: str) -> None:
    failed = heard(data)[-1]
    assert isinstance(failed, Failed)
    assert failed.kind is kind
    assert words in failed.message


def test_one_event_that_cannot_be_read_is_skipped_and_counted() -> None:
    decoder = ChatStreamDecoder()
    data = stream(chunk({"content": "x"}), b"data: {oops\n\n", chunk({"content": "y"}), END)
    events = decoder.feed(data)
    assert fold(events).choices[0].blocks == (Text(text="xy"),)
    assert decoder.broken == 1


def test_an_end_mark_may_lack_its_blank_line() -> None:
    assert isinstance(heard(chunk({"content": "x"}, "stop") + b"data: [DONE]")[-1], End)


def test_huge_arguments_pass_in_fragments() -> None:
    decoder = ChatStreamDecoder()
    piece = "x" * 50_000
    data = stream(
        calls(call(0, "a", "f", "")), *[calls(call(0, arguments=piece)) for _ in range(100)], ENDED
    )
    size = 1 << 16
    cuts = [data[at : at + size] for at in range(0, len(data), size)]
    events = [event for cut in cuts for event in decoder.feed(cut)]
    (block,) = fold(events).choices[0].blocks
    assert isinstance(block, ToolCall)
    assert len(block.arguments) == 5_000_000


def test_an_event_of_no_end_is_not_kept() -> None:
    decoder = ChatStreamDecoder()
    piece, failed = b"data: " + b"x" * (1 << 20), None
    for _ in range(20):
        found = decoder.feed(piece)
        failed = failed or (found[0] if found else None)
    assert isinstance(failed, Failed)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(
        st.sampled_from(["type", "text", "index", "id", "function", "name", "arguments", "data"]),
        inner, max_size=3,
    ),
    max_leaves=8,
)  # fmt: skip
WORDS = st.sampled_from(["", "a", "{", "}", "{}"])
FRAGMENT = st.fixed_dictionaries({}, optional={
    "index": st.integers(0, 2), "id": st.sampled_from(["", "a", "b", None]),
    "function": st.fixed_dictionaries({}, optional={
        "name": st.sampled_from(["f", "g", None]), "arguments": WORDS}),
})  # fmt: skip
DETAIL = st.fixed_dictionaries(
    {"type": st.sampled_from(["reasoning.text", "reasoning.encrypted"])},
    optional={"text": WORDS, "data": WORDS, "signature": WORDS, "index": st.integers(0, 1)},
)
DELTA = st.fixed_dictionaries({}, optional={
    "content": WORDS | JSON, "reasoning_content": WORDS, "refusal": WORDS,
    "tool_calls": st.lists(FRAGMENT, max_size=2) | JSON,
    "reasoning_details": st.lists(DETAIL, max_size=2), "annotations": JSON, "audio": JSON,
    "images": JSON, "extra_content": st.just({"google": {"thought_signature": "S"}}) | JSON,
})  # fmt: skip
FINISH = st.sampled_from([None, None, None, "stop", "odd"])
CHUNK = st.builds(chunk, DELTA, FINISH, st.integers(0, 1)) | st.builds(event, JSON)


@settings(deadline=None, max_examples=200)
@given(st.lists(CHUNK, max_size=6))
def test_no_stream_breaks_the_grammar(chunks: list[bytes]) -> None:
    heard(stream(*chunks))


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60))
def test_no_bytes_break_anything(data: bytes) -> None:
    heard(b"data: " + data)


def _message(chunks: list[bytes]) -> dict[str, Any] | None:
    """The one delta of a stream that has its answer in one, as a whole message."""
    said = [json.loads(c[6:])["choices"][0] for c in chunks]
    full = [choice for choice in said if choice.get("delta")]
    if len(full) != 1:
        return None
    finish = said[-1]["finish_reason"]
    message = {"role": "assistant", **full[0]["delta"]}
    return {"index": 0, "message": message, "finish_reason": finish}


@pytest.mark.parametrize("row", [row for row in ANSWERS if _message(row[1])], ids=lambda r: r[0])
def test_a_whole_reply_says_the_same(row: tuple[str, list[bytes], Any, Any]) -> None:
    body = {"id": "x", "model": "m", "created": 5, "choices": [_message(row[1])]}
    assert decode_reply(json.dumps(body, separators=(",", ":")).encode()) == fold(
        heard(stream(*row[1]))
    )


def test_the_first_words_are_not_held_back() -> None:
    decoder = ChatStreamDecoder()
    kinds = [type(e) for e in decoder.feed(ROLE + chunk({"content": "x"}))]
    assert kinds == [Begin, Open, Delta]
