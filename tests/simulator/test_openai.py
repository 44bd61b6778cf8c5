"""What OpenAI refuses, and how calls and reasoning go round, judged by the official SDK."""

from typing import Any

import openai
import pytest

from tests.simulator.conftest import Sim
from tests.simulator.wire import chat, request, respond, talk

HELLO: Any = [{"role": "user", "content": "one two three"}]
SCHEMA = {"type": "object", "properties": {"strokes": {"type": "integer"}}}
TOOL: Any = {"type": "function", "function": {"name": "row", "parameters": SCHEMA}}
FLAT: Any = {"type": "function", "name": "row", "parameters": SCHEMA, "strict": False}
PNG = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture
def sdk(sim: Sim) -> openai.OpenAI:
    return openai.OpenAI(base_url=sim.url + "/v1", api_key="sk-any", max_retries=0)


def test_results_of_a_chat_answer_its_calls(sdk: openai.OpenAI) -> None:
    asked = sdk.chat.completions.create(model="sim-tools=2", messages=HELLO, tools=[TOOL])
    message: Any = asked.choices[0].message
    one, two = (call.id for call in message.tool_calls)
    assert one != two
    results = [
        {"role": "tool", "tool_call_id": two, "content": "rain"},
        {"role": "tool", "tool_call_id": one, "content": [{"type": "text", "text": "sun"}]},
    ]
    told = sdk.chat.completions.create(model="sim-echo", messages=[*HELLO, message, *results])
    assert told.choices[0].message.content == "[2 row: rain][1 row: sun]"
    for wrong, match in (
        ([*HELLO, message, results[0]], "did not have response messages"),
        ([*HELLO, message, *HELLO], "did not have response messages"),
        ([*HELLO, results[0]], "must be a response to a preceeding message"),
    ):
        with pytest.raises(openai.BadRequestError, match=match):
            sdk.chat.completions.create(model="sim", messages=wrong)


def test_media_of_a_chat_arrive(sim: Sim) -> None:
    parts = [
        {"type": "text", "text": "see "},
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {"format": "wav", "data": "AAAA"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
    ]
    reply = chat(sim.port, "sim-echo", messages=[{"role": "user", "content": parts}]).json()
    assert reply["choices"][0]["message"]["content"] == (
        "see [image/png 8 bytes][image https://example.com/a.png][audio/wav 3 bytes]"
        "[application/pdf 3 bytes]"
    )


def test_stop_sequences_and_log_probabilities(sim: Sim) -> None:
    reply = chat(sim.port, "sim", stop=["dawn", "river"], logprobs=True).json()["choices"][0]
    assert (reply["message"]["content"], reply["finish_reason"]) == (
        "The ferry leaves the bank at ",
        "stop",
    )
    assert [one["token"] for one in reply["logprobs"]["content"]][:2] == ["The", " ferry"]


def _call(**more: Any) -> list[Any]:
    call = {"id": "c1", "type": "function", "function": {"name": "row", "arguments": "{}"}}
    answer = {"role": "assistant", "tool_calls": [call | more]}
    return [*HELLO, answer, {"role": "tool", "tool_call_id": (call | more)["id"], "content": "a"}]


STRICT = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "model", "content": "a"}]},
        {"messages": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {
            "url": "data:image/png;base64,???"}}]}]},
        {"messages": _call(id="x" * 41)},
        {"messages": _call(function={"name": "row", "arguments": {}})},
        {"tool_choice": "auto"},
        {"tools": [TOOL], "tool_choice": "any"},
        {"tools": [{"type": "function", "function": {"name": "a b"}}]},
        {"response_format": STRICT},
        {"stop": ["a", "b", "c", "d", "e"]},
    ],
)  # fmt: skip
def test_chat_refuses(sim: Sim, fields: dict[str, Any]) -> None:
    reply = chat(sim.port, "sim", **fields)
    assert reply.status == 400, reply.body
    assert reply.json()["error"]["type"] == "invalid_request_error"
    good = chat(sim.port, "sim", messages=_call(id="x" * 40))
    assert good.status == 200


def test_reasoning_and_calls_of_a_response_go_round(sdk: openai.OpenAI) -> None:
    more: Any = {
        "tools": [FLAT],
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "low", "summary": "auto"},
    }
    events = list(sdk.responses.create(model="sim-tools=2", input="a", stream=True, **more))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds.count("response.output_item.added") == 3
    assert kinds.count("response.output_item.done") == 3
    assert "response.reasoning_summary_text.delta" in kinds
    done = [event.item for event in events if event.type == "response.output_item.done"]
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output == done
    reasoning, one, two = done
    assert reasoning.type == "reasoning"
    assert reasoning.encrypted_content
    assert one.type == two.type == "function_call"
    results = [
        {"type": "function_call_output", "call_id": two.call_id, "output": "rain"},
        {"type": "function_call_output", "call_id": one.call_id, "output": [
            {"type": "input_text", "text": "sun"}, {"type": "input_image", "image_url": PNG}]},
    ]  # fmt: skip
    items: Any = [{"role": "user", "content": "a"}, *(item.to_dict() for item in done), *results]
    told = sdk.responses.create(model="sim-echo", input=items, store=False)
    assert told.output_text == "[2 row: rain][1 row: sun[image/png 8 bytes]]"
    with pytest.raises(openai.BadRequestError, match="No tool output found"):
        sdk.responses.create(model="sim", input=items[:-1])
    with pytest.raises(openai.BadRequestError, match="without its required following item"):
        sdk.responses.create(model="sim", input=items[:2])
    items[1]["summary"][0]["text"] += "!"
    with pytest.raises(openai.BadRequestError, match="could not be verified"):
        sdk.responses.create(model="sim", input=items)
    del items[1]["encrypted_content"]
    with pytest.raises(openai.NotFoundError, match="Items are not persisted"):
        sdk.responses.create(model="sim", input=items)


def test_stored_responses_go_on(sdk: openai.OpenAI) -> None:
    first = sdk.responses.create(model="sim-tools", input="a", tools=[FLAT])
    (call,) = first.output
    assert call.type == "function_call"

    def go_on(previous: str, call_id: str) -> str:
        output: Any = {"type": "function_call_output", "call_id": call_id, "output": "sun"}
        return sdk.responses.create(
            model="sim-echo", input=[output], previous_response_id=previous
        ).output_text

    assert go_on(first.id, call.call_id) == "sun"
    with pytest.raises(openai.BadRequestError, match="No tool call found"):
        go_on(first.id, "call_other")
    with pytest.raises(openai.BadRequestError, match="not found"):
        go_on("resp_other", call.call_id)
    unstored = sdk.responses.create(model="sim", input="a", store=False)
    with pytest.raises(openai.BadRequestError, match="not found"):
        go_on(unstored.id, call.call_id)


def test_endings_of_a_response(sdk: openai.OpenAI) -> None:
    filtered = sdk.responses.create(model="sim-filtered", input="a")
    assert (
        filtered.status,
        filtered.incomplete_details and filtered.incomplete_details.reason,
    ) == (
        "incomplete",
        "content_filter",
    )
    events = list(sdk.responses.create(model="sim-refusal", input="a", stream=True))
    deltas = [event.delta for event in events if event.type == "response.refusal.delta"]
    assert "".join(deltas) == "I'm sorry, I can't help with that."
    for word, kind in {
        "image": "response.image_generation_call.completed",
        "citations": "response.output_text.annotation.added",
    }.items():
        events = list(sdk.responses.create(model=f"sim-{word}", input="a", stream=True))
        assert kind in [event.type for event in events]


def test_encrypted_reasoning_without_a_summary(sdk: openai.OpenAI) -> None:
    item = sdk.responses.create(model="sim-redacted", input="a").output[0]
    assert item.type == "reasoning"
    assert (item.summary, bool(item.encrypted_content)) == ([], True)


def test_custom_tools(sdk: openai.OpenAI) -> None:
    tool: Any = {"type": "custom", "name": "sing"}
    found = sdk.responses.create(model="sim-tools", input="a", tools=[tool])
    (call,) = found.output
    assert (call.type, call.input) == ("custom_tool_call", "ferry")
    chatted = sdk.chat.completions.create(
        model="sim-tools", messages=HELLO, tools=[{"type": "custom", "custom": {"name": "sing"}}]
    )
    (other,) = chatted.choices[0].message.tool_calls or []
    assert other.type == "custom"
    assert other.custom.input == "ferry"


@pytest.mark.parametrize(
    "given",
    [
        [{"role": "model", "content": "a"}],
        [{"role": "user", "content": [{"type": "text_url"}]}],
        [{"type": "tea"}],
        [{"type": "function_call", "call_id": "x" * 65, "name": "a", "arguments": "{}"}],
        [{"type": "function_call", "id": "call_1", "call_id": "x", "name": "a", "arguments": "{}"}],
    ],
)
def test_responses_refuses(sim: Sim, given: Any) -> None:
    assert respond(sim.port, "sim", input=given).status == 400


def test_one_tool_at_a_time_when_asked(sim: Sim) -> None:
    reply = chat(sim.port, "sim-tools=3", tools=[TOOL], parallel_tool_calls=False).json()
    assert len(reply["choices"][0]["message"]["tool_calls"]) == 1


def test_wrong_shapes_are_no_crash(sim: Sim) -> None:
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v2/chat",
                 "/model/sim/converse", "/v1beta/models/sim:generateContent"):  # fmt: skip
        for body in ({"model": "sim", "messages": 3, "contents": 3, "input": {"a": 1}}, [1], "a"):
            assert talk(sim.port, request(path, body, {"authorization": "Bearer x"})).status < 500
