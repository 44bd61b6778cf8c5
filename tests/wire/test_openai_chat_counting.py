"""What becomes tokens of a chat request, on examples whose counts OpenAI has published."""

import json
from typing import Any

import pytest

from ferryman.catalog.tokenizer import count, function_tokens, vocabulary_of
from ferryman.wire.openai_chat.counting import weigh

HELLO = [
    {"role": "developer", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Hello!"},
]
"""https://platform.openai.com/docs/api-reference/chat/create: ``prompt_tokens`` 19."""


def counted(model: str = "gpt-4o", messages: Any = HELLO, **more: Any) -> tuple[int, bool]:
    body = json.dumps({"model": model, "messages": messages, **more}).encode()
    texts, frame, known = weigh(body, function_tokens(model))
    tokens = count(texts, vocabulary_of(model))
    assert tokens is not None
    return tokens + frame, known


def function(**members: Any) -> dict[str, Any]:
    return {"type": "function", "function": members}


def takes(properties: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **more}


PLACE = {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}
UNIT = {
    "type": "string",
    "description": "The unit of temperature to return",
    "enum": ["celsius", "fahrenheit"],
}
WEATHER = function(
    name="get_current_weather",
    description="Get the current weather in a given location",
    parameters=takes({"location": PLACE, "unit": UNIT}, required=["location"]),
)
ASKED = [
    {
        "role": "system",
        "content": "You are a helpful assistant that can answer to questions about the weather.",
    },
    {"role": "user", "content": "What's the weather like in San Francisco?"},
]
"""https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken, part 7."""


def test_a_published_conversation() -> None:
    assert counted() == (19, True)


@pytest.mark.parametrize(
    ("model", "tokens"), [("gpt-3.5-turbo", 105), ("gpt-4", 105), ("gpt-4o", 101)]
)
def test_a_published_tool(model: str, tokens: int) -> None:
    assert counted(model, ASKED, tools=[WEATHER]) == (tokens, True)


def test_names_cost_one_token_more_than_themselves() -> None:
    named = [HELLO[0], {**HELLO[1], "name": "Ada"}]
    assert counted(messages=named) == (19 + 1 + 1, True)


def test_settings_of_the_answer_cost_nothing() -> None:
    more = {"temperature": 0.5, "max_tokens": 9, "stop": ["a"], "stream": True, "user": "u"}
    assert counted(**more) == (19, True)


def test_one_text_is_the_same_in_a_list() -> None:
    listed = [HELLO[0], {"role": "user", "content": [{"type": "text", "text": "Hello!"}]}]
    assert counted(messages=listed) == (19, True)


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
ODD = {**UNIT, "enum": [1, None]}


@pytest.mark.parametrize(
    "more",
    [
        {"model": "gpt-5"},
        {"response_format": {"type": "json_object"}},
        {"tool_choice": "required", "tools": [WEATHER]},
        {"messages": [*HELLO, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
        {"messages": [*HELLO, {"role": "tool", "tool_call_id": "c", "content": "1"}]},
        {"messages": [*HELLO, {"role": "user", "content": [{"type": "text", "text": "a"}] * 2}]},
        {"messages": [{"role": "user", "content": [IMAGE]}, *HELLO]},
        {"tools": [function(name="f")]},
        {"tools": [function(name="f", description="d", parameters=None)]},
        {"tools": [function(name="f", description="d", parameters=[])]},
        {"tools": [function(name="f", description="d", parameters=takes({}), strict=True)]},
        {"tools": [function(name="f", description="d", parameters={"$ref": "#/x"})]},
        {"tools": [function(name="f", description="d", parameters=takes({"a": True}))]},
        {"tools": [function(name="f", description="d", parameters=takes({"a": {"type": "null"}}))]},
        {"tools": [function(name="f", description="d", parameters=takes({"a": ODD}))]},
        {"tools": [{"type": "custom", "custom": {"name": "f", "format": {"type": "text"}}}]},
    ],
)  # fmt: skip
def test_what_is_not_published_is_counted_but_not_called_exact(more: dict[str, Any]) -> None:
    tokens, known = counted(**more)
    assert not known
    assert tokens > 5
