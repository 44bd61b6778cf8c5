"""Chat requests into the common language and out again, judged by the official SDK's types."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import ValidationError

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    CacheMark,
    HostedTool,
    Media,
    MediaKind,
    Message,
    Opaque,
    OutputFormat,
    OutputKind,
    Reasoning,
    Refusal,
    Request,
    Role,
    Signature,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from ferryman.wire.format import Aim
from ferryman.wire.openai_chat.decode import decode_request
from ferryman.wire.openai_chat.encode import encode_request
from tests.wire.sdk_types import judge

ALL = (
    "cache_control", "reasoning_details", "extra_content", "tool_images", "video_url",
    "audio_url", "audio_formats", "file_url", "allowed_tools", "top_k", "reasoning_object",
    "metadata",
)  # fmt: skip
"""Quirks of a provider that takes all there is."""
PNG = "iVBORw0KGgo="


def decoded(body: dict[str, Any] | bytes) -> Request:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode_request(data, "", False)


def ask(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages) or [{"role": "user", "content": "hi"}], **more}


def encoded(
    request: Request, *quirks: str, abilities: tuple[str, ...] = ()
) -> tuple[dict[str, Any], Receipt]:
    receipt = Receipt()
    aim = Aim(model="m", quirks=quirks, abilities=abilities)
    body = json.loads(encode_request(request, aim, receipt))
    return body, receipt


def plain(value: object) -> object:
    """With raw JSON as objects, so that it can be compared."""
    if isinstance(value, Raw | bytes):
        return json.loads(bytes(value)) if bytes(value) else None
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, msgspec.Struct):
        return (
            type(value).__name__,
            {f: plain(getattr(value, f)) for f in value.__struct_fields__},
        )
    return value


def part(kind: str, value: object, **more: object) -> dict[str, Any]:
    return {"type": kind, kind: value, **more}


USER = {"role": "user", "content": "hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1, "a": 2}'}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def says(*blocks: Any, role: Role = Role.USER, name: str = "") -> Message:
    return Message(role=role, blocks=blocks, name=name)


MESSAGES: list[tuple[dict[str, Any], Message]] = [
    ({"role": "system", "content": "s"}, says(Text(text="s"), role=Role.SYSTEM)),
    (
        {"role": "developer", "content": [part("text", "a"), part("text", "b")], "name": "n"},
        says(Text(text="a"), Text(text="b"), role=Role.DEVELOPER, name="n"),
    ),
    ({"role": "user", "content": ""}, says(Text(text=""))),
    (
        {"role": "user", "content": [part("text", "a", cache_control={"type": "ephemeral"})]},
        says(Text(text="a", cache=CacheMark())),
    ),
    (
        {
            "role": "user",
            "content": [
                part("image_url", {"url": f"data:image/png;base64,{PNG}", "detail": "low"}),
                part(
                    "image_url",
                    {"url": "https://e.x/a.png"},
                    cache_control={"type": "ephemeral", "ttl": "1h"},
                ),
                part("input_audio", {"data": "QUJD", "format": "mp3"}),
                part("input_audio", {"data": "QUJD", "format": "flac"}),
                part("audio_url", {"url": "https://e.x/a.wav"}),
                part("video_url", {"url": "https://e.x/a.mp4"}),
                part(
                    "file",
                    {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"},
                ),
                part("file", {"file_id": "file-1"}),
                part("file", {"file_data": "https://e.x/a.pdf", "filename": "x"}),
                {"type": "hologram", "hologram": {"a": [1.50, 2]}},
            ],
        },
        says(
            Media(
                kind=MediaKind.IMAGE,
                source=Source(media_type="image/png", data=PNG),
                detail="low",
            ),
            Media(
                kind=MediaKind.IMAGE,
                source=Source(url="https://e.x/a.png"),
                cache=CacheMark(ttl=3600),
            ),
            Media(kind=MediaKind.AUDIO, source=Source(media_type="audio/mpeg", data="QUJD")),
            Media(kind=MediaKind.AUDIO, source=Source(media_type="audio/flac", data="QUJD")),
            Media(kind=MediaKind.AUDIO, source=Source(url="https://e.x/a.wav")),
            Media(kind=MediaKind.VIDEO, source=Source(url="https://e.x/a.mp4")),
            Media(
                kind=MediaKind.DOCUMENT,
                source=Source(media_type="application/pdf", data="QUJD"),
                name="a.pdf",
            ),
            Media(kind=MediaKind.DOCUMENT, source=Source(file_id="file-1", origin="openai_chat")),
            Media(kind=MediaKind.DOCUMENT, source=Source(url="https://e.x/a.pdf"), name="x"),
            Opaque(
                origin="openai_chat",
                kind="hologram",
                raw=b'{"type": "hologram", "hologram": {"a": [1.5, 2]}}',
            ),
        ),
    ),
    (
        {"role": "assistant", "content": None, "refusal": "no"},
        says(Refusal(text="no"), role=Role.ASSISTANT),
    ),
    (
        {
            "role": "assistant",
            "content": "t",
            "tool_calls": [
                {**CALL, "extra_content": {"google": {"thought_signature": "S"}}},
                {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "x = 1"}},
            ],
            "reasoning_details": [
                {"type": "reasoning.text", "text": "hm", "signature": "A", "format": "v1",
                 "index": 0},
                {"type": "reasoning.encrypted", "data": "B", "id": "r", "index": 2},
            ],
        },
        says(
            Thinking(text="hm", signature=Signature("v1|A", "openai_chat")),
            Text(text="t"),
            Thinking(signature=Signature("|B", "openai_chat"), encrypted=True, id="r"),
            ToolCall(
                id="c1",
                name="f",
                arguments='{"a": 1, "a": 2}',
                signature=Signature("S", "openai_chat"),
            ),
            ToolCall(id="c2", name="g", arguments="x = 1", free=True),
            role=Role.ASSISTANT,
        ),
    ),
    (
        {"role": "assistant", "content": None, "audio": {"id": "audio_1"}},
        says(
            Media(
                kind=MediaKind.AUDIO, source=Source(file_id="audio_1", origin="openai_chat")
            ),
            role=Role.ASSISTANT,
        ),
    ),
    (
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
        says(ToolResult(call_id="c1", blocks=(Text(text="42"),))),
    ),
    (
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": [part("text", "a"), part("image_url", {"url": "https://e.x/i"})],
        },
        says(
            ToolResult(
                call_id="c1",
                blocks=(
                    Text(text="a"),
                    Media(kind=MediaKind.IMAGE, source=Source(url="https://e.x/i")),
                ),
            )
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "message"), MESSAGES)
def test_a_message_means_the_same_both_ways(wire: dict[str, Any], message: Message) -> None:
    request = decoded(ask(wire))
    assert plain(request.messages) == plain((message,))
    assert request.unknown == ()
    body, receipt = encoded(request, *ALL)
    assert body["messages"] == [wire]
    assert receipt.dropped == receipt.altered == ()


MEMBERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"max_tokens": 5}, {"max_output": 5}),
    (
        {"temperature": 0.5, "top_p": 0.25, "seed": 1, "presence_penalty": 1.0,
         "frequency_penalty": -1.5},
        {"temperature": 0.5, "top_p": 0.25, "seed": 1, "presence_penalty": 1.0,
         "frequency_penalty": -1.5},
    ),
    ({"top_k": 3}, {"top_k": 3}),
    ({"stop": ["a", "b"]}, {"stop": ("a", "b")}),
    ({"n": 2}, {"choices": 2}),
    ({"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
    (
        {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
        {
            "tools": (Tool(name="f", parameters=Raw(b'{"type":"object"}')),),
            "tool_choice": ToolChoice(mode=ToolMode.REQUIRED),
            "parallel_tools": False,
        },
    ),
    (
        {
            "tools": [
                {"type": "function", "function": {"name": "f", "description": "d", "strict": True}},
                {"type": "custom", "custom": {"name": "g", "format": {"type": "grammar",
                 "grammar": {"syntax": "regex", "definition": "a"}}}},
                {"type": "code_interpreter", "container": 1},
            ],
            "tool_choice": {"type": "custom", "custom": {"name": "g"}},
        },
        {
            "tools": (
                Tool(name="f", description="d", strict=True),
                Tool(name="g", free=True, grammar=Raw(
                    b'{"type":"grammar","grammar":{"syntax":"regex","definition":"a"}}')),
                HostedTool(origin="openai_chat", kind="code_interpreter",
                           raw=b'{"type":"code_interpreter","container":1}'),
            ),
            "tool_choice": ToolChoice(mode=ToolMode.REQUIRED, allowed=("g",)),
        },
    ),
    (
        {
            "tools": [TOOL],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
                {"type": "function", "function": {"name": "f"}}]}},
        },
        {
            "tools": (Tool(name="f", parameters=Raw(b'{"type":"object"}')),),
            "tool_choice": ToolChoice(mode=ToolMode.AUTO, allowed=("f",)),
        },
    ),
    (
        {"web_search_options": {"search_context_size": "low"}},
        {"tools": (HostedTool(origin="openai_chat", kind="web_search_options",
                              raw=b'{"search_context_size":"low"}'),)},
    ),
    ({"response_format": {"type": "text"}}, {"output": OutputFormat(kind=OutputKind.TEXT)}),
    ({"response_format": {"type": "json_object"}}, {"output": OutputFormat(kind=OutputKind.JSON)}),
    (
        {"response_format": {"type": "json_schema", "json_schema": {
            "name": "n", "description": "d", "schema": {"type": "object"}, "strict": True}}},
        {"output": OutputFormat(kind=OutputKind.SCHEMA, name="n", description="d",
                                schema=Raw(b'{"type":"object"}'), strict=True)},
    ),
    ({"response_format": {"type": "regex", "pattern": "a"}}, {
        "extra": (("response_format", Raw(b'{"type":"regex","pattern":"a"}')),)}),
    ({"reasoning": {"effort": "high", "exclude": True}},
     {"reasoning": Reasoning(effort="high", summary="none")}),
    ({"reasoning": {"max_tokens": 100}}, {"reasoning": Reasoning(budget=100)}),
    ({"reasoning": {"enabled": True}}, {"reasoning": Reasoning(adaptive=True)}),
    ({"verbosity": "low", "user": "u", "store": True, "service_tier": "flex"},
     {"verbosity": "low", "user": "u", "store": True, "service_tier": "flex"}),
    ({"metadata": {"a": "b"}}, {"metadata": (("a", "b"),)}),
    ({"modalities": ["text", "audio"], "audio": {"voice": "x", "format": "wav"}},
     {"modalities": ("text", "audio"), "audio": Raw(b'{"voice":"x","format":"wav"}')}),
    ({"prompt_cache_key": "k", "prompt_cache_retention": "24h"},
     {"cache_key": "k", "cache_seconds": 86400}),
    ({"prompt_cache_retention": "in_memory"}, {"cache_seconds": 300}),
    ({"stream": True, "stream_options": {"include_usage": True}},
     {"stream": True, "include_usage": True}),
    ({"logit_bias": {"5": -100}, "enable_thinking": False},
     {"extra": (("logit_bias", Raw(b'{"5":-100}')), ("enable_thinking", Raw(b"false")))}),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "fields"), MEMBERS)
def test_a_member_means_the_same_both_ways(wire: dict[str, Any], fields: dict[str, Any]) -> None:
    request = decoded(ask(**wire))
    expected = Request(model="m", messages=(says(Text(text="hi")),), origin="openai_chat", **fields)
    assert plain(request) == plain(expected)
    body, receipt = encoded(request, *ALL)
    assert body == ask(**wire)
    assert receipt.dropped == receipt.altered == ()


@pytest.mark.parametrize(
    ("wire", "same"),
    [
        ({"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 5, "max_tokens": 7}, {"max_tokens": 5}),
        ({"stop": "a", "seed": None, "stream": False, "stream_options": None}, {"stop": ["a"]}),
        ({"n": None, "foo": None, "tools": None, "tool_choice": None}, {}),
        ({"tools": [TOOL], "tool_choice": "any"}, {"tools": [TOOL], "tool_choice": "required"}),
        ({"functions": [{"name": "f"}], "function_call": "auto"},
         {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"}),
        ({"functions": [{"name": "f"}], "function_call": {"name": "f"}},
         {"tools": [{"type": "function", "function": {"name": "f"}}],
          "tool_choice": {"type": "function", "function": {"name": "f"}}}),
        ({"safety_identifier": "s"}, {"user": "s"}),
        ({"thinking": {"type": "disabled"}}, {"reasoning": {"max_tokens": 0}}),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, {"reasoning": {"max_tokens": 9}}),
        ({"thinking": {"type": "enabled"}}, {"reasoning": {"enabled": True}}),
        ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        ({"reasoning": {"enabled": False}}, {"reasoning": {"effort": "none"}}),
        ({"reasoning_effort": "default"}, {}),
        ({"metadata": {"a": 1, "b": True}}, {"metadata": {"a": "1", "b": "true"}}),
        ({"prompt_cache_retention": "in-memory"}, {"prompt_cache_retention": "in_memory"}),
    ],
)  # fmt: skip
def test_several_ways_to_say_the_same(wire: dict[str, Any], same: dict[str, Any]) -> None:
    assert plain(decoded(ask(**wire))) == plain(decoded(ask(**same)))


@pytest.mark.parametrize(
    ("wire", "same"),
    [
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "https://e.x/a"}]},
            {"role": "user", "content": [part("image_url", {"url": "https://e.x/a"})]},
        ),
        (
            {"role": "user", "content": "a", "cache_control": {"type": "ephemeral", "ttl": "5m"}},
            {"role": "user", "content": [
                part("text", "a", prompt_cache_breakpoint={"mode": "explicit", "ttl": "5m"})]},
        ),
        (
            {"role": "user", "content": [part("file", {"file_data": "QUJD", "filename": "a.csv"})]},
            {"role": "user", "content": [
                part("file", {"file_data": "data:text/csv;base64,QUJD", "filename": "a.csv"})]},
        ),
        (  # what the official SDK sends back of an answer
            {"role": "assistant", "content": "x", "refusal": None, "annotations": [],
             "audio": None, "function_call": None, "tool_calls": None, "parsed": None},
            {"role": "assistant", "content": "x"},
        ),
        (
            {"role": "assistant", "content": "", "tool_calls": [{**CALL, "index": 0}]},
            {"role": "assistant", "tool_calls": [CALL]},
        ),
        (
            {"role": "assistant", "content": "x", "reasoning": "r"},
            {"role": "assistant", "content": "x", "reasoning_content": "r"},
        ),
        (
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": [part("text", "r")]}, part("text", "x")]},
            {"role": "assistant", "content": "x", "reasoning_content": "r"},
        ),
        (  # fragments, as a client collects them from a stream
            {"role": "assistant", "content": "x", "reasoning_content": "ab", "reasoning_details": [
                {"type": "reasoning.text", "text": "a", "index": 0},
                {"type": "reasoning.text", "text": "b", "index": 0},
                {"type": "reasoning.text", "signature": "fm1:anthropic_messages:S", "index": 0}]},
            {"role": "assistant", "content": "x", "reasoning_details": [
                {"type": "reasoning.text", "text": "ab", "index": 0,
                 "signature": "fm1:anthropic_messages:S"}]},
        ),
    ],
)  # fmt: skip
def test_several_ways_to_write_a_message(wire: dict[str, Any], same: dict[str, Any]) -> None:
    one, other = decoded(ask(wire)), decoded(ask(same))
    assert plain(one) == plain(other)


def test_calls_and_results_of_the_older_kind_find_each_other() -> None:
    older = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "1"}}
    request = decoded(
        ask(
            older, {"role": "function", "name": "f", "content": "a"},
            older, {"role": "function", "name": "f", "content": "b"},
        )
    )  # fmt: skip
    blocks = [message.blocks[0] for message in request.messages]
    ids = [
        b.id if isinstance(b, ToolCall) else b.call_id for b in blocks if not isinstance(b, Text)
    ]
    assert ids[0] == ids[1] != ids[2] == ids[3]


def test_citations_come_back_with_their_text() -> None:
    note = {
        "type": "url_citation",
        "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 1},
    }
    request = decoded(ask({"role": "assistant", "content": "x", "annotations": [note]}))
    (text,) = request.messages[0].blocks
    assert isinstance(text, Text)
    (citation,) = text.citations
    assert (citation.url, citation.title, citation.start, citation.end) == ("u", "t", 0, 1)
    _, receipt = encoded(request)
    assert receipt.dropped == ("messages[0].citations",)


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
    (ask(metadata={"a": {}}), "metadata.a", "plain values"),
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
    assert param is None or error.param is None or error.param.startswith(param.split(".a")[0])
    assert error.param == param or param == "metadata.a"


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


# --- towards providers --------------------------------------------------------------------------


WHOLE, STREAMED = (
    judge(kind) for kind in (CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming)
)


def strictly(body: dict[str, Any]) -> None:
    """The SDK's own types accept ``body``, and know every member of it."""
    (STREAMED if body.get("stream") else WHOLE).validate_python(body)


FULL = Request(
    model="x",
    messages=(
        says(Text(text="s"), role=Role.SYSTEM),
        says(Text(text="d"), Text(text="d2"), role=Role.DEVELOPER),
        says(
            Text(text="q", cache=CacheMark(ttl=7200)),
            Media(kind=MediaKind.IMAGE, source=Source(media_type="image/png", data=PNG)),
            Media(kind=MediaKind.AUDIO, source=Source(media_type="audio/x-wav", data="QUJD")),
            Media(
                kind=MediaKind.DOCUMENT,
                source=Source(media_type="application/pdf", data="QUJD"),
            ),
            Media(kind=MediaKind.DOCUMENT, source=Source(text="words"), name="Title"),
        ),
        says(
            Thinking(text="hm", signature=Signature("S", "anthropic_messages")),
            Text(text="a"),
            Text(text="b"),
            ToolCall(id="c" * 41, name="f", arguments=""),
            role=Role.ASSISTANT,
        ),
        says(ToolCall(id="c2", name="g", arguments="x", free=True), role=Role.ASSISTANT),
        says(
            Text(text="and"),
            ToolResult(call_id="c" * 41, blocks=(Text(text="1"), Text(text="2")), error=True),
        ),
        says(ToolResult(call_id="c2", blocks=())),
        says(Refusal(text="no"), role=Role.ASSISTANT),
        says(Text(text="go on")),
    ),
    stream=True,
    max_output=10,
    temperature=0.5,
    stop=("a",),
    choices=2,
    logprobs=True,
    top_logprobs=2,
    tools=(
        Tool(name="f", parameters=Raw(b'{"type":"object"}'), strict=True),
        Tool(
            name="g",
            free=True,
            grammar=Raw(b'{"type":"grammar","syntax":"lark","definition":"a"}'),
        ),
    ),
    tool_choice=ToolChoice(mode=ToolMode.AUTO),
    parallel_tools=True,
    output=OutputFormat(kind=OutputKind.SCHEMA, schema=Raw(b'{"type":"object"}')),
    reasoning=Reasoning(budget=4000),
    verbosity="low",
    user="u",
    service_tier="standard_only",
    cache_key="k",
    cache_seconds=300,
    origin="anthropic_messages",
)  # fmt: skip


@pytest.mark.parametrize("quirks", [("cache_breakpoint",), ("max_completion_tokens",), ALL[2:3]])
def test_the_official_types_accept_what_goes_out(quirks: tuple[str, ...]) -> None:
    body, receipt = encoded(FULL, *quirks)
    strictly(body)
    assert "messages[3].thinking" in receipt.dropped
    assert "messages[5].tool_result.error" in receipt.dropped
    assert ("messages[2].cache_control" in receipt.dropped) == ("cache_breakpoint" not in quirks)
    assert receipt.altered == (
        "messages[2].document=text",
        "reasoning.budget=effort medium",
        "service_tier=default",
    )
    roles = [message["role"] for message in body["messages"]]
    assert roles == [
        "system", "developer", "user", "assistant", "tool", "tool", "user", "assistant", "user",
    ]  # fmt: skip
    merged = body["messages"][3]
    assert merged["content"] == "ab"
    first, second = merged["tool_calls"]
    assert len(first["id"]) <= 40
    assert body["messages"][4]["tool_call_id"] == first["id"]
    assert first["function"]["arguments"] == "{}"
    assert (second["id"], second["custom"]["input"]) == ("c2", "x")
    assert body["stream_options"] == {"include_usage": True}


def test_the_judge_is_strict() -> None:
    strictly(ask())
    for wrong in (ask({**USER, "odd": 1}), ask(odd=1), ask({"role": "user", "content": [{}]})):
        with pytest.raises(ValidationError):
            strictly(wrong)


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
    return says(*blocks, role=Role.ASSISTANT)


CONVERSATIONS = st.lists(
    st.tuples(
        st.lists(TEXTS | PICTURES, min_size=1, max_size=3).map(lambda blocks: says(*blocks)),
        st.builds(
            turn,
            st.lists(THOUGHTS, max_size=2),
            st.none() | TEXTS,
            st.lists(CALLS, min_size=1, max_size=2),
        ),
        RESULTS.map(says),
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
            message = says(msgspec.structs.replace(first, blocks=(Text(text=""),)))
        out.append(message)
    return tuple(out)
