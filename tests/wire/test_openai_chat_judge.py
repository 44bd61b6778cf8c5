"""Chat requests that go out, judged by the official SDK's types."""

from typing import Any

import pytest
from msgspec import Raw
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import ValidationError

from ferryman.ir.request import (
    CacheMark,
    Media,
    MediaKind,
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
from tests.wire.chat import ALL, PNG, USER, ask, encoded
from tests.wire.sdk_types import judge
from tests.wire.turns import model, say, system, user

WHOLE, STREAMED = (
    judge(kind) for kind in (CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming)
)


def strictly(body: dict[str, Any]) -> None:
    """The SDK's own types accept ``body``, and know every member of it."""
    (STREAMED if body.get("stream") else WHOLE).validate_python(body)


GRAMMAR = Raw(b'{"type":"grammar","syntax":"lark","definition":"a"}')
FULL = Request(
    model="x",
    messages=(
        system(Text(text="s")),
        say(Role.DEVELOPER, Text(text="d"), Text(text="d2")),
        user(
            Text(text="q", cache=CacheMark(ttl=7200)),
            Media(kind=MediaKind.IMAGE, source=Source(media_type="image/png", data=PNG)),
            Media(kind=MediaKind.AUDIO, source=Source(media_type="audio/x-wav", data="QUJD")),
            Media(
                kind=MediaKind.DOCUMENT,
                source=Source(media_type="application/pdf", data="QUJD"),
            ),
            Media(kind=MediaKind.DOCUMENT, source=Source(text="words"), name="Title"),
        ),
        model(
            Thinking(text="hm", signature=Signature("S", "anthropic_messages")),
            Text(text="a"),
            Text(text="b"),
            ToolCall(id="c" * 41, name="f", arguments=""),
        ),
        model(ToolCall(id="c2", name="g", arguments="x", free=True)),
        user(
            Text(text="and"),
            ToolResult(call_id="c" * 41, blocks=(Text(text="1"), Text(text="2")), error=True),
        ),
        user(ToolResult(call_id="c2", blocks=())),
        model(Refusal(text="no")),
        user(Text(text="go on")),
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
        Tool(name="g", free=True, grammar=GRAMMAR),
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
