"""Chat requests into the common language and out again, on tables."""

from typing import Any

import pytest
from msgspec import Raw

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
from tests.wire.chat import ALL, CALL, PNG, TOOL, ask, decoded, encoded, part
from tests.wire.turns import model, plain, say, system, user

PDF = "data:application/pdf;base64,QUJD"
MESSAGES: list[tuple[dict[str, Any], Message]] = [
    ({"role": "system", "content": "s"}, system(Text(text="s"))),
    (
        {"role": "developer", "content": [part("text", "a"), part("text", "b")], "name": "n"},
        say(Role.DEVELOPER, Text(text="a"), Text(text="b"), name="n"),
    ),
    ({"role": "user", "content": ""}, user(Text(text=""))),
    (
        {"role": "user", "content": [part("text", "a", cache_control={"type": "ephemeral"})]},
        user(Text(text="a", cache=CacheMark())),
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
                part("file", {"filename": "a.pdf", "file_data": PDF}),
                part("file", {"file_id": "file-1"}),
                part("file", {"file_data": "https://e.x/a.pdf", "filename": "x"}),
                {"type": "hologram", "hologram": {"a": [1.50, 2]}},
            ],
        },
        user(
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
        model(Refusal(text="no")),
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
        model(
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
        ),
    ),
    (
        {"role": "assistant", "content": None, "audio": {"id": "audio_1"}},
        model(
            Media(
                kind=MediaKind.AUDIO, source=Source(file_id="audio_1", origin="openai_chat")
            ),
        ),
    ),
    (
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
        user(ToolResult(call_id="c1", blocks=(Text(text="42"),))),
    ),
    (
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": [part("text", "a"), part("image_url", {"url": "https://e.x/i"})],
        },
        user(
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
    expected = Request(model="m", messages=(user(Text(text="hi")),), origin="openai_chat", **fields)
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


def test_functions_are_tools_of_callers_who_take_one_call() -> None:
    older = decoded(ask(functions=[{"name": "f"}], function_call={"name": "f"}))
    assert older.tools == (Tool(name="f"),)
    assert older.tool_choice == ToolChoice(mode=ToolMode.REQUIRED, allowed=("f",))
    assert (older.parallel_tools, older.dialect, older.extra) == (False, "functions", ())
    assert decoded(ask(functions=[{"name": "f"}], function_call="none")).tool_choice == ToolChoice(
        mode=ToolMode.NONE
    )


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
