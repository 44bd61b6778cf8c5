"""Chat requests that are wrong, odd or huge: refused with the place, or passed as they are."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.request import (
    CacheMark,
    Media,
    MediaKind,
    Message,
    Request,
    Signature,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from tests.wire.chat import ALL, CALL, PNG, USER, ask, decoded, encoded, part
from tests.wire.turns import model, user

BAD: list[tuple[bytes | dict[str, Any], str | None, str]] = [
    (b"", None, "empty"),
    (b"[]", None, "must be an object"),
    (b'{"model":"m"', None, "not valid JSON"),
    (b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}', "messages", "UTF-8"),
    (b'{"model":"m","messages":' + b"[" * 100_000, None, "nested too deeply"),
    ({"messages": [USER]}, "model", "missing"),
    ({"model": 3, "messages": [USER]}, "model", "must be a string"),
    ({"model": "m"}, "messages", "missing"),
    ({"model": "m", "messages": []}, "messages", "empty"),
    ({"model": "m", "messages": "hi"}, "messages", "must be an array"),
    (ask({"role": "wizard", "content": "x"}), "messages[0].role", "one of system, developer"),
    (ask({"content": "x"}), "messages[0].role", "missing"),
    (ask(USER, {"role": "user", "content": 5}), "messages[1].content", "a string or an array"),
    (ask({"role": "user"}), "messages[0].content", "must be a string or an array"),
    (ask({"role": "user", "content": [{"text": "x"}]}), "messages[0].content[0].type", "missing"),
    (ask({"role": "user", "content": [part("text", 5)]}), "messages[0].content[0].text", "string"),
    (ask({"role": "user", "content": ["x"]}), "messages[0].content[0]", "must be an object"),
    (
        ask({"role": "user", "content": [part("image_url", {"url": "data:image/png;base64,?"})]}),
        "messages[0].content[0].image_url.url",
        "not valid base64",
    ),
    (
        ask({"role": "user", "content": [part("image_url", {"url": PNG})]}),
        "messages[0].content[0].image_url.url",
        "must be a URL",
    ),
    (
        ask({"role": "user", "content": [part("input_audio", {"data": "#", "format": "wav"})]}),
        "messages[0].content[0].input_audio.data",
        "not valid base64",
    ),
    (
        ask({"role": "user", "content": [part("file", {"filename": "x"})]}),
        "messages[0].content[0].file",
        "file_data or file_id",
    ),
    (ask({"role": "tool", "content": "x"}), "messages[0].tool_call_id", "missing"),
    (ask({"role": "function", "name": "f", "content": "x"}), "messages[0].name", "no earlier"),
    (
        ask({"role": "assistant", "tool_calls": [{"id": "a", "type": "function"}]}),
        "messages[0].tool_calls[0].function",
        "missing",
    ),
    (
        ask({"role": "assistant", "tool_calls": [{**CALL, "function": {"arguments": "{}"}}]}),
        "messages[0].tool_calls[0].function.name",
        "missing",
    ),
    (
        ask({"role": "user", "content": "a", "cache_control": {"ttl": "long"}}),
        "messages[0].cache_control.ttl",
        "5m or 1h",
    ),
    (ask(temperature="hot"), "temperature", "must be a number"),
    (ask(max_tokens=0), "max_tokens", "1 or more"),
    (ask(n=0), "n", "1 or more"),
    (ask(stop=5), "stop", "a string or an array of strings"),
    (ask(stream="yes"), "stream", "true or false"),
    (ask(tools={}), "tools", "must be an array"),
    (ask(tools=[{"function": {}}]), "tools[0].type", "missing"),
    (ask(tools=[{"type": "function"}]), "tools[0].function", "missing"),
    (ask(tools=[{"type": "function", "function": {}}]), "tools[0].function.name", "missing"),
    (ask(tool_choice="sometimes"), "tool_choice", "none"),
    (ask(tool_choice={"type": "function"}), "tool_choice", "must name a tool"),
    (ask(response_format={}), "response_format.type", "missing"),
    (ask(response_format={"type": "json_schema"}), "response_format.json_schema", "missing"),
    (ask(reasoning_effort="extreme"), "reasoning_effort", "one of none, minimal"),
    (ask(reasoning={"max_tokens": -5}), "reasoning.max_tokens", "negative"),
    (ask(prompt_cache_retention="forever"), "prompt_cache_retention", "24h"),
    (ask(metadata={"a": {}}), "metadata", "plain values"),
]


@pytest.mark.parametrize(("body", "param", "words"), BAD)
def test_bad_requests_are_refused_with_the_place(
    body: bytes | dict[str, Any], param: str | None, words: str
) -> None:
    with pytest.raises(GatewayError) as caught:
        decoded(body)
    error = caught.value
    assert (error.status, error.kind) == (400, ErrorKind.INVALID_REQUEST)
    assert words in error.message
    assert error.param == param


def test_arguments_of_any_size_and_kind_pass_as_they_are() -> None:
    arguments = '{"a":"' + "x" * 5_000_000 + '","a":1}'
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    request = decoded(ask({"role": "assistant", "content": None, "tool_calls": [call]}))
    body, _ = encoded(request)
    assert body["messages"][0]["tool_calls"] == [call]


def test_keys_that_come_twice_are_read_once() -> None:
    request = decoded(b'{"model":"a","model":"b","messages":[{"role":"user","content":"x"}]}')
    assert request.model == "b"


def test_unknown_members_further_down_are_named_and_dropped() -> None:
    request = decoded(
        ask(
            {"role": "user", "content": [part("text", "x", odd=1)], "weight": 5},
            tools=[{"type": "function", "function": {"name": "f", "returns": {}, "x": 1}}],
        )
    )
    assert request.unknown == (
        "messages[0].weight",
        "messages[0].content[0].odd",
        "tools[0].function.x",
    )
    _, receipt = encoded(request)
    assert receipt.dropped == request.unknown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "image_url", "url", "function", "name"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={
        "content": JSON,
        "tool_calls": JSON,
        "reasoning_details": JSON,
        "tool_call_id": JSON,
        "audio": JSON,
        "annotations": JSON,
    },
)
NAMES = [
    "tools", "tool_choice", "response_format", "reasoning", "thinking", "stop", "metadata",
    "functions", "function_call", "stream_options", "modalities", "n", "seed", "audio",
]  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(
    st.lists(MESSAGE, max_size=4) | JSON, st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3)
)
def test_no_request_breaks_anything(messages: Any, more: dict[str, Any]) -> None:
    try:
        request = decoded({"model": "m", "messages": messages, **more})
    except GatewayError as error:
        assert error.status == 400
        return
    for quirks in ((), ALL, ("flat_content", "no_json_schema", "echo_reasoning_content")):
        try:
            encoded(request, *quirks)
        except GatewayError as error:
            assert error.status == 400


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60))
def test_no_bytes_break_anything(body: bytes) -> None:
    with pytest.raises(GatewayError):
        decoded(body)


WORDS = st.text(min_size=1, max_size=8)
MARKS = st.none() | st.sampled_from([CacheMark(), CacheMark(ttl=300), CacheMark(ttl=3600)])
PICTURES = st.builds(
    Media,
    kind=st.just(MediaKind.IMAGE),
    source=st.builds(Source, media_type=st.just("image/png"), data=st.just(PNG))
    | st.builds(Source, url=st.just("https://e.x/a")),
    detail=st.sampled_from(["", "low"]),
    cache=MARKS,
)
TEXTS = st.builds(Text, text=WORDS, cache=MARKS)
SIGNATURES = st.none() | st.builds(Signature, WORDS, st.just("openai_chat"))
CALLS = st.builds(
    ToolCall, id=st.text("abc123", min_size=1, max_size=40), name=WORDS, arguments=WORDS,
    free=st.booleans(), signature=SIGNATURES,
)  # fmt: skip
RESULTS = st.builds(
    ToolResult, call_id=st.just("c1"), blocks=st.lists(TEXTS | PICTURES, max_size=3).map(tuple)
)
THOUGHTS = st.builds(
    Thinking, text=WORDS, signature=st.just(Signature("v1|S", "openai_chat")), id=WORDS
)


def turn(thoughts: list[Thinking], text: Text | None, calls: list[ToolCall]) -> Message:
    blocks = (*thoughts, *([text] if text else []), *calls)
    return model(*blocks)


CONVERSATIONS = st.lists(
    st.tuples(
        st.lists(TEXTS | PICTURES, min_size=1, max_size=3).map(lambda blocks: user(*blocks)),
        st.builds(
            turn,
            st.lists(THOUGHTS, max_size=2),
            st.none() | TEXTS,
            st.lists(CALLS, min_size=1, max_size=2),
        ),
        RESULTS.map(user),
    ),
    min_size=1,
    max_size=3,
)  # fmt: skip


@settings(deadline=None)
@given(CONVERSATIONS)
def test_what_the_format_can_say_survives_it(turns: list[tuple[Message, ...]]) -> None:
    messages = tuple(message for turn in turns for message in turn)
    request = Request(model="m", messages=messages, origin="openai_chat")
    body, receipt = encoded(request, *ALL)
    assert decoded(body).messages == _plain_ids(messages)
    assert not receipt.dropped


def _plain_ids(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """An empty result is told as empty text."""
    out = []
    for message in messages:
        (first, *_) = message.blocks
        if isinstance(first, ToolResult) and not first.blocks:
            message = user(msgspec.structs.replace(first, blocks=(Text(text=""),)))
        out.append(message)
    return tuple(out)
