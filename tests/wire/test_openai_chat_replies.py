"""Chat replies for callers, whole and streamed: what each answer becomes, judged by the SDK."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from openai import APIError, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from ferryman.ir.errors import ErrorKind
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
    Block,
    Citation,
    Media,
    MediaKind,
    Opaque,
    Reasoning,
    Refusal,
    Signature,
    Source,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.usage import Usage
from ferryman.wire.format import ReplyContext, ReplyError
from ferryman.wire.openai_chat.decode import decode_request
from ferryman.wire.openai_chat.reply import decode_reply, encode_reply
from tests.wire.chat_answers import (
    BEGIN,
    CALLED,
    STOP,
    answer,
    chunks_of,
    context,
    heard,
    written,
)
from tests.wire.turns import plain

OWN = "openai_chat"
WHOLE: TypeAdapter[Any] = TypeAdapter(ChatCompletion)
CHUNK: TypeAdapter[Any] = TypeAdapter(ChatCompletionChunk)


def whole(reply: Reply, call: ReplyContext | None = None) -> dict[str, Any]:
    """The body for a caller, which the SDK's types accept."""
    body = encode_reply(reply, call or context())
    WHOLE.validate_json(body)
    found: dict[str, Any] = json.loads(body)
    return found


def message(reply: Reply, call: ReplyContext | None = None) -> dict[str, Any]:
    (choice,) = whole(reply, call)["choices"]
    found: dict[str, Any] = choice["message"]
    return found


def collected(reply: Reply, call: ReplyContext | None = None) -> dict[str, Any]:
    """The message that the SDK puts together of the stream for ``reply``."""
    data = written(list(unfold(reply)), call)
    for one in chunks_of(data):
        CHUNK.validate_python(one)

    def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=data)

    client = OpenAI(
        api_key="x", base_url="http://x", max_retries=0,
        http_client=httpx.Client(transport=httpx.MockTransport(respond)),
    )  # fmt: skip
    wanted = [{"role": "user", "content": "hi"}]
    with client.chat.completions.stream(model="m", messages=wanted) as stream:  # type: ignore[arg-type]
        for _ in stream:
            pass
        completion = stream.get_final_completion()
    return completion.to_dict()


FOREIGN = Signature("Sig", "anthropic_messages")
BLOCKS: list[tuple[str, tuple[Block, ...], Finish, dict[str, Any]]] = [
    ("text", (Text(text="a"), Text(text="b")), STOP, {"content": "ab"}),
    ("a refusal", (Refusal(text="no"),), Finish(reason=FinishReason.REFUSAL),
     {"refusal": "no"}),
    ("a refusal without words", (), Finish(reason=FinishReason.REFUSAL),
     {"refusal": "The model declined to answer."}),
    ("a refusal in a detail", (Text(text="a"),),
     Finish(reason=FinishReason.REFUSAL, detail="policy"), {"content": "a", "refusal": "policy"}),
    ("calls", (ToolCall(id="a", name="f", arguments='{"q":1}'),
               ToolCall(id="b", name="f", arguments="")), CALLED,
     {"tool_calls": [
         {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"q":1}'}},
         {"id": "b", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
    ("arguments that are no JSON", (ToolCall(id="a", name="f", arguments='{"q'),), CALLED,
     {"tool_calls": [
         {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"q'}}]}),
    ("a signed call", (ToolCall(id="a", name="f", arguments="{}",
                                signature=Signature("S", "gemini_generate")),), CALLED,
     {"tool_calls": [{"id": "a", "type": "function",
                      "function": {"name": "f", "arguments": "{}"},
                      "extra_content": {"google": {
                          "thought_signature": "fm1:gemini_generate:S"}}}]}),
    ("a signed text", (Text(text="x", signature=Signature("S", OWN)),), STOP,
     {"content": "x", "extra_content": {"google": {"thought_signature": "S"}}}),
    ("thoughts", (Thinking(text="t"), Text(text="x")), STOP,
     {"content": "x", "reasoning_content": "t"}),
    ("signed thoughts", (Thinking(text="t", signature=FOREIGN), Text(text="x")), STOP,
     {"content": "x", "reasoning_content": "t", "reasoning_details": [
         {"type": "reasoning.text", "text": "t", "format": "anthropic-claude-v1", "index": 0,
          "signature": "fm1:anthropic_messages:Sig"}]}),
    ("hidden thoughts", (Thinking(signature=FOREIGN, encrypted=True, id="r"), Text(text="x")),
     STOP, {"content": "x", "reasoning_details": [
         {"type": "reasoning.encrypted", "data": "fm1:anthropic_messages:Sig", "id": "r",
          "format": "anthropic-claude-v1", "index": 0}]}),
    ("citations", (Text(text="ab"), Text(text="cde", citations=(
        Citation(url="u", title="t", start=1, end=2), Citation(url="v")))), STOP,
     {"content": "abcde", "annotations": [
         {"type": "url_citation", "url_citation": {
             "url": "u", "title": "t", "start_index": 3, "end_index": 4}},
         {"type": "url_citation", "url_citation": {
             "url": "v", "title": "", "start_index": 2, "end_index": 5}}]}),
    ("images", (Media(kind=MediaKind.IMAGE, source=Source(media_type="image/png", data="QUJD")),),
     STOP, {"images": [
         {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("blocks", "finish", "members"), [row[1:] for row in BLOCKS], ids=[row[0] for row in BLOCKS]
)
def test_what_callers_get_whole(
    blocks: tuple[Block, ...], finish: Finish, members: dict[str, Any]
) -> None:
    found = message(answer(*blocks, finish=finish))
    assert found == {"role": "assistant", "content": None, "refusal": None} | members


@pytest.mark.parametrize(
    ("blocks", "finish", "members"), [row[1:] for row in BLOCKS], ids=[row[0] for row in BLOCKS]
)
def test_the_sdk_puts_the_same_together_of_a_stream(
    blocks: tuple[Block, ...], finish: Finish, members: dict[str, Any]
) -> None:
    completion = collected(answer(*blocks, finish=finish))
    assert (completion["id"], completion["model"], completion["created"]) == ("x", "m", 5)
    (choice,) = completion["choices"]
    found = {k: v for k, v in choice["message"].items() if v not in (None, "")}
    if blocks and finish is CALLED:
        for call in found["tool_calls"]:
            call["function"].pop("parsed_arguments", None)
            call.pop("index", None)
    for image in found.get("images", ()):
        assert image.pop("index") == 0
    assert found == {"role": "assistant"} | members


ENDINGS = [
    (Finish(reason=FinishReason.STOP, detail="end_turn"), "stop", "end_turn", ()),
    (Finish(reason=FinishReason.LENGTH), "length", None, ()),
    (Finish(reason=FinishReason.CONTENT_FILTER, detail="SAFETY"), "content_filter", "SAFETY", ()),
    (Finish(reason=FinishReason.STOP_SEQUENCE, stop_sequence="#"), "stop", "stop_sequence",
     ("finish_reason=stop for #",)),
    (Finish(reason=FinishReason.CONTEXT), "length", "context",
     ("finish_reason=length for context",)),
    (Finish(reason=FinishReason.PAUSE, detail="pause_turn"), "length", "pause_turn",
     ("finish_reason=length for pause_turn",)),
    (Finish(reason=FinishReason.OTHER, detail="boredom"), "stop", "boredom",
     ("finish_reason=stop for boredom",)),
    (Finish(reason=FinishReason.OTHER), "stop", None, ("finish_reason=stop for none said",)),
]  # fmt: skip


@pytest.mark.parametrize(("finish", "word", "native", "receipt"), ENDINGS)
def test_endings(finish: Finish, word: str, native: str | None, receipt: tuple[str, ...]) -> None:
    reply = answer(Text(text="x"), finish=finish)
    call, streamed = context(), context()
    (choice,) = whole(reply, call)["choices"]
    last = chunks_of(written(list(unfold(reply)), streamed))[-1]["choices"][0]
    for found in (choice, last):
        assert (found["finish_reason"], found.get("native_finish_reason")) == (word, native)
    assert last["delta"] == {}
    assert call.receipt.altered == streamed.receipt.altered == receipt


@pytest.mark.parametrize(
    ("detail", "refusal"),
    [("SAFETY: We can't help", "We can't help"), ("SAFETY", None), ("", None)],
)
@pytest.mark.parametrize("blocks", [(), (Text(text="We"),)])
def test_the_words_of_a_filter_are_a_refusal(
    blocks: tuple[Block, ...], detail: str, refusal: str | None
) -> None:
    reply = answer(*blocks, finish=Finish(reason=FinishReason.CONTENT_FILTER, detail=detail))
    (choice,) = whole(reply)["choices"]
    streamed = chunks_of(written(list(unfold(reply))))
    said = [chunk["choices"][0]["delta"].get("refusal") for chunk in streamed]
    assert choice["finish_reason"] == "content_filter"
    assert choice["message"]["refusal"] == refusal
    assert [words for words in said if words] == ([refusal] if refusal else [])


def test_an_answer_that_was_given_up_is_no_answer() -> None:
    reply = answer(Text(text="x"), finish=Finish(reason=FinishReason.ERROR, detail="overheated"))
    with pytest.raises(ReplyError, match="overheated") as caught:
        encode_reply(reply, context())
    assert caught.value.kind is ErrorKind.UPSTREAM_ERROR
    with pytest.raises(ReplyError, match="overheated"):
        written(list(unfold(reply)))


USAGE = Usage(
    input=10, cache_read=20, cache_write=3, cache_write_1h=4, audio_input=5, output=6, reasoning=7,
    audio_output=8,
)  # fmt: skip
COUNTS = {
    "prompt_tokens": 42,
    "completion_tokens": 21,
    "total_tokens": 63,
    "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 7, "audio_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 7, "audio_tokens": 8},
}


def test_usage() -> None:
    assert whole(answer(Text(text="x"), usage=USAGE))["usage"] == COUNTS
    assert "usage" not in whole(answer(Text(text="x")))


def test_usage_comes_in_a_stream_if_asked_for() -> None:
    events = list(unfold(answer(Text(text="x"), usage=USAGE)))
    *before, last = chunks_of(written(events, context(include_usage=True)))
    assert (last["choices"], last["usage"]) == ([], COUNTS)
    assert all(one["usage"] is None for one in before)
    assert all("usage" not in one for one in chunks_of(written(events)))
    unknown = [event for event in events if not isinstance(event, Count)]
    chunks = chunks_of(written(unknown, context(include_usage=True)))
    assert all(one["usage"] is None and one["choices"] for one in chunks)


def test_what_an_answer_says_of_itself() -> None:
    bare = Reply(begin=Begin(), choices=(Choice(finish=STOP),))
    found = whole(bare)
    assert [found[name] for name in ("id", "created", "model")] == ["req_1", 7, "p/m"]
    for tier, said in (("standard", "default"), ("flex", "flex"), ("batch", None)):
        begin = Begin(service_tier=tier, fingerprint="fp")
        call = context()
        found = whole(Reply(begin=begin, choices=(Choice(finish=STOP),)), call)
        assert (found.get("service_tier"), found["system_fingerprint"]) == (said, "fp")
        assert call.receipt.dropped == (() if said else ("service_tier",))


def test_a_stream_is_as_the_format_says() -> None:
    blocks = (Thinking(text="t"), Text(text="ab"), ToolCall(id="a", name="f", arguments="{}"),
              ToolCall(id="b", name="g", arguments="{}"))  # fmt: skip
    chunks = chunks_of(written(list(unfold(answer(*blocks, finish=CALLED)))))
    assert {one["id"] for one in chunks} == {"x"}
    deltas = [one["choices"][0]["delta"] for one in chunks]
    assert deltas == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "t"},
        {"content": "ab"},
        {"tool_calls": [{"index": 0, "id": "a", "type": "function",
                         "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {"tool_calls": [{"index": 1, "id": "b", "type": "function",
                         "function": {"name": "g", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]  # fmt: skip
    reasons = [one["choices"][0]["finish_reason"] for one in chunks]
    assert reasons == [None] * 7 + ["tool_calls"]


def test_several_choices() -> None:
    reply = Reply(
        begin=BEGIN,
        choices=(
            Choice(blocks=(Text(text="a"),), finish=STOP),
            Choice(blocks=(Text(text="b"),), finish=CALLED),
        ),
    )
    assert [c["message"]["content"] for c in whole(reply)["choices"]] == ["a", "b"]
    found = collected(reply)["choices"]
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in found] == [
        (0, "a", "stop"),
        (1, "b", "tool_calls"),
    ]


TOKEN = Raw(b'{"token":"x","logprob":-1.5,"bytes":[120],"top_logprobs":[]}')


@pytest.mark.parametrize(
    ("block", "name"), [(Text(text="x"), "content"), (Refusal(text="x"), "refusal")]
)
def test_probabilities(block: Block, name: str) -> None:
    reply = answer(block, logprobs=(TOKEN,))
    (choice,) = whole(reply)["choices"]
    said = {"content": None, "refusal": None, name: [json.loads(bytes(TOKEN))]}
    assert choice["logprobs"] == said
    chunks = [one["choices"][0] for one in chunks_of(written(list(unfold(reply))))]
    assert [c["logprobs"] for c in chunks if c["logprobs"]] == [said]
    assert next(c for c in chunks if c["logprobs"])["delta"] == {name: "x"}


def test_probabilities_of_no_words_are_not_lost() -> None:
    chunks = chunks_of(written(list(unfold(answer(logprobs=(TOKEN,))))))
    assert [c["choices"][0]["logprobs"] is not None for c in chunks] == [False, True, False]


def test_sound() -> None:
    sound = Media(kind=MediaKind.AUDIO, source=Source(data="QUJD"), transcript="hi")
    found = message(answer(sound))
    assert found["audio"] == {
        "id": "audio_req_1_0", "data": "QUJD", "transcript": "hi", "expires_at": 7,
    }  # fmt: skip
    deltas = [c["choices"][0]["delta"] for c in chunks_of(written(list(unfold(answer(sound)))))]
    assert {"audio": {"id": "audio_req_1_0", "transcript": "hi", "data": "QUJD"}} in deltas


def test_what_the_format_has_no_place_for_is_in_the_receipt() -> None:
    blocks = (
        Text(text="x", citations=(Citation(document=1, quote="q"),)),
        Opaque(origin="anthropic_messages", kind="server_tool_use", raw=b"{}"),
        Media(kind=MediaKind.VIDEO, source=Source(url="https://e.x/v")),
    )
    for call in (context(), context()):
        whole(answer(*blocks), call)
        assert call.receipt.dropped == ("citations", "server_tool_use", "video")
        written(list(unfold(answer(*blocks))), call)
        assert call.receipt.dropped == ("citations", "server_tool_use", "video")


def test_thoughts_are_not_shown_to_whom_does_not_want_them() -> None:
    blocks = (Thinking(text="t", signature=FOREIGN), Text(text="x"))
    call = context(reasoning=Reasoning(effort="low", summary="none"))
    found = message(answer(*blocks), call)
    assert "reasoning_content" not in found
    assert "reasoning_details" in found  # the provider needs them on the next turn
    chunks = chunks_of(written(list(unfold(answer(*blocks))), call))
    assert not any("reasoning_content" in c["choices"][0]["delta"] for c in chunks)


def test_callers_of_the_older_form_get_one_function_call() -> None:
    blocks = (ToolCall(id="a", name="f", arguments="{}"), ToolCall(id="b", name="g", arguments="1"))
    call = context(dialect="functions")
    (choice,) = whole(answer(*blocks, finish=CALLED), call)["choices"]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert call.receipt.dropped == ("function_call g",)
    chunks = chunks_of(written(list(unfold(answer(*blocks, finish=CALLED))), call))
    assert [c["choices"][0]["delta"] for c in chunks[1:]] == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
        {},
    ]


def test_a_stream_that_fails_has_an_error_and_no_end() -> None:
    events: list[Event] = [
        BEGIN,
        Open(index=0, block=Text(text="")),
        Delta(index=0, text="x"),
        Failed(kind=ErrorKind.UPSTREAM_OVERLOADED, message="too busy"),
    ]
    data = written(events)
    assert b"[DONE]" not in data
    assert b'"too busy"' in data

    def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=data)

    client = OpenAI(
        api_key="x", base_url="http://x", max_retries=0,
        http_client=httpx.Client(transport=httpx.MockTransport(respond)),
    )  # fmt: skip
    wanted: Any = [{"role": "user", "content": "hi"}]
    with pytest.raises(APIError, match="too busy"):
        list(client.chat.completions.create(model="m", messages=wanted, stream=True))


# --- there and back -----------------------------------------------------------------------------

WORDS = st.text(min_size=1, max_size=6)
OWN_SIGNATURE = st.builds(Signature, st.sampled_from(["v1|S", "|S", "v2||S"]), st.just(OWN))
TOOL_CALLS = st.builds(
    ToolCall, id=st.uuids().map(str), name=WORDS, arguments=WORDS,
    signature=st.none() | st.just(Signature("S", OWN)),
)  # fmt: skip
ANSWERS = st.tuples(
    st.lists(st.builds(Thinking, text=WORDS, signature=OWN_SIGNATURE), max_size=1),
    st.lists(st.builds(Text, text=WORDS), max_size=1),
    st.lists(TOOL_CALLS, max_size=2),
).map(lambda parts: tuple(block for part in parts for block in part))


@settings(deadline=None)
@given(ANSWERS, st.sampled_from([None, USAGE]))
def test_what_the_format_can_say_survives(blocks: tuple[Block, ...], usage: Usage | None) -> None:
    finish = CALLED if any(isinstance(block, ToolCall) for block in blocks) else STOP
    if usage is not None:  # how long a cache is kept is not said here
        usage = Usage(input=10, cache_read=20, cache_write=7, output=6, reasoning=7)
    reply = answer(*blocks, finish=finish, usage=usage)
    assert decode_reply(encode_reply(reply, context())) == reply
    data = written(list(unfold(reply)), context(include_usage=True))
    assert plain(fold(heard(data))) == plain(reply)


SIGNED: list[tuple[Block, ...]] = [
    (Thinking(text="a", signature=FOREIGN), Text(text="x"),
     ToolCall(id="a", name="f", arguments="{}")),
    (Thinking(signature=FOREIGN, encrypted=True), Text(text="x")),
    (Thinking(text="s", signature=FOREIGN, encrypted=True, id="r"), Text(text="x")),
    (Thinking(text="a", signature=FOREIGN), Text(text="x"), Thinking(text="b", signature=FOREIGN),
     ToolCall(id="a", name="f", arguments="{}"), Thinking(text="c", signature=FOREIGN),
     ToolCall(id="b", name="f", arguments="{}", signature=Signature("S", "gemini_generate"))),
    (Text(text="x", signature=Signature("S", "gemini_generate")),),
    (Thinking(text="a", signature=FOREIGN), Thinking(text="b", signature=FOREIGN)),
    (Thinking(signature=FOREIGN), Text(text="x")),
    (Thinking(text="a", signature=Signature("v1||D", OWN)), Text(text="x")),
]  # fmt: skip


@pytest.mark.parametrize("blocks", SIGNED)
@pytest.mark.parametrize("streamed", [False, True])
def test_signatures_come_back_on_the_next_turn(blocks: tuple[Block, ...], streamed: bool) -> None:
    """What the SDK gives an application of the answer, sent back as it is, is the same turn."""
    reply = answer(*blocks)
    said = collected(reply)["choices"][0]["message"] if streamed else message(reply)
    body = json.dumps({"model": "m", "messages": [said]}).encode()
    request = decode_request(body, "", False)
    assert request.messages[0].blocks == blocks


def test_events_in_their_own_order() -> None:
    """A seal before the last words, a citation before the range is known, nothing empty."""
    events: list[Event] = [
        BEGIN,
        Open(index=0, block=Thinking(text="")),
        Delta(index=0, text="a"),
        Seal(index=0, signature=FOREIGN),
        Delta(index=0, text="b"),
        Close(index=0),
        Open(index=1, block=Text(text="")),
        Cite(index=1, citation=Citation(url="u")),
        Delta(index=1, text="xyz"),
        Close(index=1),
        STOP,
        End(),
    ]
    deltas = [one["choices"][0]["delta"] for one in chunks_of(written(events))]
    assert deltas[1:3] == [{"reasoning_content": "a"}, {"reasoning_content": "b"}]
    assert deltas[3]["reasoning_details"][0]["text"] == "ab"
    assert deltas[4] == {"content": "xyz"}
    assert deltas[5]["annotations"][0]["url_citation"]["end_index"] == 3


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", ErrorKind.UPSTREAM_PROTOCOL, "not what the format says"),
        (b"<html>", ErrorKind.UPSTREAM_PROTOCOL, "not what the format says"),
        (b"[" * 100_000, ErrorKind.UPSTREAM_PROTOCOL, "not what the format says"),
        (b'{"choices":[{"message":5}]}', ErrorKind.UPSTREAM_PROTOCOL, "not what the format says"),
        (b'{"choices":[]}', ErrorKind.UPSTREAM_PROTOCOL, "no choices"),
        (b"{}", ErrorKind.UPSTREAM_PROTOCOL, "no choices"),
        (b'{"error":{"message":"slow down","type":"rate_limit_error"}}',
         ErrorKind.UPSTREAM_RATE_LIMIT, "slow down"),
        (b'{"object":"error","message":"sorry"}', ErrorKind.UPSTREAM_ERROR, "sorry"),
    ],
)  # fmt: skip
def test_replies_that_are_none(body: bytes, kind: ErrorKind, words: str) -> None:
    with pytest.raises(ReplyError, match=words) as caught:
        decode_reply(body)
    assert caught.value.kind is kind


def test_choices_without_numbers_keep_their_places() -> None:
    one = {"message": {"content": "a"}, "finish_reason": "stop"}
    two = {"message": {"content": "b"}, "finish_reason": "stop"}
    reply = decode_reply(json.dumps({"choices": [one, two]}).encode())
    assert [choice.blocks for choice in reply.choices] == [(Text(text="a"),), (Text(text="b"),)]
