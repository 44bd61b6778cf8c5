"""Anthropic's Messages API, judged by its official SDK."""

from typing import Any

import anthropic
import pytest

from tests.simulator.conftest import Sim
from tests.simulator.wire import ANTHROPIC, message, request, talk

HELLO: Any = [{"role": "user", "content": "one two three"}]
ROW: Any = {
    "name": "row",
    "input_schema": {
        "type": "object",
        "properties": {"strokes": {"type": "integer"}},
        "required": ["strokes"],
    },
}
PNG = "iVBORw0KGgo="


@pytest.fixture
def sdk(sim: Sim) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=sim.url, api_key="sk-any", max_retries=0)


def ask(sdk: anthropic.Anthropic, model: str, **more: Any) -> anthropic.types.Message:
    asked: Any = {"max_tokens": 4096, "messages": HELLO, **more}
    return sdk.messages.create(model=model, **asked)


def kinds(found: anthropic.types.Message) -> list[str]:
    return [block.type for block in found.content]


def both(sdk: anthropic.Anthropic, model: str, **more: Any) -> anthropic.types.Message:
    """The whole reply, which the SDK must make of the stream, too."""
    asked: Any = {"max_tokens": 4096, "messages": HELLO, **more}
    whole = sdk.messages.create(model=model, **asked)
    with sdk.messages.stream(model=model, **asked) as events:
        streamed = events.get_final_message()
    skip = {"id", "usage"}
    assert streamed.model_dump(exclude=skip, exclude_none=True).keys()
    left, right = (m.model_dump(exclude=skip, exclude_none=True) for m in (streamed, whole))
    for block in (*left["content"], *right["content"]):
        block.pop("id", None)
        block.pop("parsed_output", None)
    left.pop("parsed_output", None)
    assert left == right
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert streamed.usage.input_tokens == whole.usage.input_tokens
    return whole


def test_text(sdk: anthropic.Anthropic) -> None:
    found = both(sdk, "sim?tokens=4+cached=64+cache-write=10")
    assert found.content[0].type == "text"
    assert found.content[0].text == "The ferry leaves the"
    usage = found.usage
    assert (usage.input_tokens, usage.output_tokens) == (0, 4)
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (64, 10)
    assert found.stop_reason == "end_turn"


def test_thinking_and_tools_go_round(sdk: anthropic.Anthropic) -> None:
    more: Any = {
        "tools": [ROW],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "messages": HELLO,
    }
    found = both(sdk, "sim-tools=2+redacted+preamble", **more)
    assert kinds(found) == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]
    assert found.stop_reason == "tool_use"
    uses = [block for block in found.content if block.type == "tool_use"]
    assert uses[0].id != uses[1].id
    assert uses[0].input == {"strokes": 7}
    results = [
        {"type": "tool_result", "tool_use_id": uses[1].id, "content": "rain", "is_error": True},
        {
            "type": "tool_result",
            "tool_use_id": uses[0].id,
            "content": [
                {"type": "text", "text": "sun"},
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                },
            ],
        },
    ]
    content = [block.model_dump(exclude_none=True) for block in found.content]
    turns: Any = [*HELLO, {"role": "assistant", "content": content}]
    more["messages"] = [*turns, {"role": "user", "content": results}]
    told = ask(sdk, "sim-echo", **more).content[-1]
    assert told.type == "text"
    assert told.text == "[2 row failed: rain][1 row: sun[image/png 8 bytes]]"
    content[0]["signature"] = "x" + content[0]["signature"][1:]
    with pytest.raises(anthropic.BadRequestError, match="Invalid `signature`"):
        ask(sdk, "sim", **more)
    del content[:2]
    with pytest.raises(anthropic.BadRequestError, match="Expected `thinking`"):
        ask(sdk, "sim", **more)


def test_endings(sdk: anthropic.Anthropic) -> None:
    assert both(sdk, "sim", max_tokens=2).stop_reason == "max_tokens"
    stopped = both(sdk, "sim", stop_sequences=["dawn", "river"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "dawn")
    refused = both(sdk, "sim-refusal")
    assert refused.stop_reason == "refusal"
    assert refused.stop_details
    assert both(sdk, "sim-pause").stop_reason == "pause_turn"
    cited = both(sdk, "sim-citations").content[0]
    assert cited.type == "text"
    assert cited.citations
    assert cited.citations[0].type == "char_location"


def test_structured_output(sdk: anthropic.Anthropic) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    config: Any = {"format": {"type": "json_schema", "schema": schema}}
    found = both(sdk, "sim", output_config=config).content[0]
    assert found.type == "text"
    assert found.text == '{"a":7}'


def test_count_and_models(sdk: anthropic.Anthropic) -> None:
    assert sdk.messages.count_tokens(model="sim", messages=HELLO).input_tokens == 3
    assert "sim-tools" in [model.id for model in sdk.models.list()]
    assert sdk.models.retrieve("sim-429").id == "sim-429"


def test_cached_prefixes(sdk: anthropic.Anthropic) -> None:
    system: Any = [
        {"type": "text", "text": "be brief, dear ferry", "cache_control": {"type": "ephemeral"}}
    ]
    hour: Any = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "x y", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
            ],
        }
    ]
    first, second = (ask(sdk, "sim", system=system).usage for _ in range(2))
    assert (first.cache_creation_input_tokens, first.cache_read_input_tokens) == (4, 0)
    assert (second.cache_creation_input_tokens, second.cache_read_input_tokens) == (0, 4)
    assert (second.input_tokens, first.input_tokens) == (3, 3)
    longer = ask(sdk, "sim", system=system, messages=hour).usage
    assert (longer.cache_read_input_tokens, longer.cache_creation_input_tokens) == (4, 2)
    assert longer.cache_creation
    assert longer.cache_creation.ephemeral_1h_input_tokens == 2


def test_errors(sdk: anthropic.Anthropic) -> None:
    for model, kind in {
        "sim-429": anthropic.RateLimitError,
        "sim-401": anthropic.AuthenticationError,
        "sim-context": anthropic.BadRequestError,
        "sim-529": anthropic.InternalServerError,
        "sim-cut": anthropic.APIConnectionError,
    }.items():
        with pytest.raises(kind):
            ask(sdk, model)
    with (
        pytest.raises(anthropic.APIStatusError, match="Overloaded"),
        sdk.messages.stream(model="sim-error-event", max_tokens=9, messages=HELLO) as events,
    ):
        events.get_final_message()


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"colour": 1}, "colour: Extra inputs are not permitted"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "first message must use"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "non-empty"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "b": 1}]}]},
            "Extra inputs",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "x", "content": "a"}],
                    }
                ]
            },
            "unexpected `tool_use_id`",
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 4096}}, "greater than"),
        (
            {
                "thinking": {"type": "enabled", "budget_tokens": 1024},
                "tools": [ROW],
                "tool_choice": {"type": "any"},
            },
            "forces tool use",
        ),
        ({"tools": [{"type": "function", "function": {}}]}, "Input tag"),
        ({"temperature": 1.5}, "range: 0..1"),
    ],
)
def test_refusals(sim: Sim, fields: dict[str, Any], match: str) -> None:
    if fields == {"max_tokens": None}:
        body = {"model": "sim", "messages": HELLO}
        reply = talk(sim.port, request("/v1/messages", body, ANTHROPIC))
    else:
        reply = message(sim.port, "sim", **fields)
    assert reply.status == 400, reply.body
    error = reply.json()
    assert error["type"] == "error"
    assert error["error"]["type"] == "invalid_request_error"
    assert match in error["error"]["message"]
    assert error["request_id"] == reply.header("request-id")


def test_version_decides_on_sampling(sim: Sim) -> None:
    body = {"model": "sim", "max_tokens": 5, "messages": HELLO, "temperature": 0.5}
    for version, status in {"2023-06-01": 200, "2026-10-21": 400, "": 400}.items():
        headers = {"anthropic-version": version} if version else {}
        assert talk(sim.port, request("/v1/messages", body, headers)).status == status


def test_same_roles_in_a_row_are_one_turn(sim: Sim) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    assert message(sim.port, "sim-echo", messages=turns).json()["content"][0]["text"] == "ab"


def test_stream_is_what_the_api_sends(sim: Sim) -> None:
    reply = message(sim.port, "sim?tokens=2", stream=True)
    assert [event["event"] for event in reply.events] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert all(
        event["event"] == data["type"] for event, data in zip(reply.events, reply.data, strict=True)
    )
    assert reply.data[0]["message"]["usage"]["input_tokens"] == 4
    unfinished = message(sim.port, "sim-no-done", stream=True)
    assert unfinished.data[-1]["type"] == "message_delta"
