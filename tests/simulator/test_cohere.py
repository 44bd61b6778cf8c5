"""Cohere's API, judged by its official SDK; and the rankings of others."""

import json
import math
from typing import Any

import cohere
import pytest

from tests.simulator.conftest import Sim
from tests.simulator.wire import request, talk

HELLO: Any = [{"role": "user", "content": "one two three"}]
TOOLS: Any = [{"type": "function", "function": {"name": "row", "parameters": {
    "type": "object", "properties": {"strokes": {"type": "integer"}}}}}]  # fmt: skip
PNG = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture
def sdk(sim: Sim) -> cohere.ClientV2:
    return cohere.ClientV2(api_key="any", base_url=sim.url, timeout=10)


def folded(events: list[Any]) -> dict[str, Any]:
    """A stream's events as the whole reply they stand for."""
    assert (events[0].type, events[-1].type) == ("message-start", "message-end")
    message: dict[str, Any] = {"role": "assistant"}
    for event in events[1:-1]:
        part = event.delta.message if getattr(event, "delta", None) else None
        if event.type == "content-start":
            content = message.setdefault("content", [])
            assert event.index == len(content)
            kind = part.content.type
            content.append({"type": kind, kind: getattr(part.content, kind)})
        elif event.type == "content-delta":
            last = message["content"][event.index]
            last[last["type"]] += getattr(part.content, last["type"])
        elif event.type == "tool-plan-delta":
            message["tool_plan"] = message.get("tool_plan", "") + part.tool_plan
        elif event.type == "tool-call-start":
            calls = message.setdefault("tool_calls", [])
            assert event.index == len(calls)
            calls.append(part.tool_calls.function.dict(exclude_none=True))
        elif event.type == "tool-call-delta":
            message["tool_calls"][event.index]["arguments"] += part.tool_calls.function.arguments
        elif event.type == "citation-start":
            cited = part.citations.dict(exclude_none=True)
            message.setdefault("citations", []).append(cited)
    return {
        "message": message,
        "finish_reason": events[-1].delta.finish_reason,
        "usage": events[-1].delta.usage.dict(exclude_none=True),
    }


def both(sdk: cohere.ClientV2, model: str, messages: Any = HELLO, **more: Any) -> Any:
    """The whole reply, which the stream must add up to."""
    whole = sdk.chat(model=model, messages=messages, **more)
    told = whole.dict(exclude_none=True, exclude={"id"})
    for call in told["message"].get("tool_calls", []):
        call |= call.pop("function")
        del call["id"], call["type"]
    events = list(sdk.chat_stream(model=model, messages=messages, **more))
    assert folded(events) == told
    return whole


def test_text_and_usage(sdk: cohere.ClientV2) -> None:
    found = both(sdk, "sim?tokens=4&cached=2")
    assert found.message.content[0].text == "The ferry leaves the"
    billed = found.usage.billed_units
    assert (billed.input_tokens, billed.output_tokens, found.usage.cached_tokens) == (3, 4, 2)
    assert found.finish_reason == "COMPLETE"


def test_thinking(sdk: cohere.ClientV2) -> None:
    thought, said = both(sdk, "sim", thinking={"type": "enabled"}).message.content
    assert thought.thinking.startswith("Let me think")
    assert said.text.startswith("The ferry")


def test_calls_go_round(sdk: cohere.ClientV2) -> None:
    found = both(sdk, "sim-tools=2+preamble", tools=TOOLS)
    assert found.finish_reason == "TOOL_CALL"
    assert found.message.tool_plan.startswith("The ferry")
    one, two = found.message.tool_calls
    assert (one.function.name, one.function.arguments) == ("row", '{"strokes":7}')
    assert one.id != two.id
    results = [
        {"role": "tool", "tool_call_id": two.id, "content": "rain"},
        {"role": "tool", "tool_call_id": one.id, "content": [
            {"type": "document", "document": {"data": {"content": "sun"}}}]},
    ]  # fmt: skip
    back = [*HELLO, found.message, *results]
    told = sdk.chat(model="sim-echo", messages=back, tools=TOOLS).message.content
    assert told
    assert told[0].text == "[2 row: rain][1 row: sun]"
    with pytest.raises(cohere.BadRequestError, match="missing tool results"):
        sdk.chat(model="sim", messages=back[:-1], tools=TOOLS)
    with pytest.raises(cohere.BadRequestError, match="not found in the previous tool calls"):
        sdk.chat(model="sim", messages=[*HELLO, results[0]], tools=TOOLS)


def test_endings(sdk: cohere.ClientV2) -> None:
    assert both(sdk, "sim", max_tokens=2).finish_reason == "MAX_TOKENS"
    assert both(sdk, "sim", stop_sequences=["dawn"]).finish_reason == "STOP_SEQUENCE"
    assert both(sdk, "sim-filtered").finish_reason == "ERROR"
    assert both(sdk, "sim", tools=TOOLS, tool_choice="REQUIRED").finish_reason == "TOOL_CALL"
    assert both(sdk, "sim-citations").message.citations[0].text == "The ferry"
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_object", "json_schema": schema}
    assert both(sdk, "sim", response_format=form).message.content[0].text == '{"a":7}'


def test_images_arrive(sdk: cohere.ClientV2) -> None:
    content = [{"type": "text", "text": "see "}, {"type": "image_url", "image_url": {"url": PNG}}]
    found = both(sdk, "sim-echo", [{"role": "user", "content": content}])
    assert found.message.content[0].text == "see [image/png 8 bytes]"


def test_streams_are_events_or_lines(sim: Sim) -> None:
    asked = {"model": "sim?tokens=2", "messages": HELLO, "stream": True}
    lines = talk(sim.port, request("/v2/chat", asked, {"accept": "application/json"}))
    assert lines.header("content-type") == "application/stream+json"
    events = talk(sim.port, request("/v2/chat", asked))
    kinds = [event["type"] for event in events.data]
    assert kinds == [json.loads(line)["type"] for line in lines.body.splitlines()]
    assert [event["event"] for event in events.events] == kinds


def test_vectors(sdk: cohere.ClientV2) -> None:
    found = sdk.embed(
        model="sim", input_type="classification", texts=["a", "b", "a"],
        embedding_types=["float", "int8", "ubinary", "base64"], output_dimension=64,
    )  # fmt: skip
    vectors = found.embeddings
    assert vectors.float_ and vectors.int8 and vectors.ubinary and vectors.base64
    one, two, again = vectors.float_
    assert one == again != two
    assert math.isclose(math.hypot(*one), 1, rel_tol=1e-6)
    assert (len(vectors.int8[0]), len(vectors.ubinary[0])) == (64, 8)


def test_rankings(sdk: cohere.ClientV2, sim: Sim) -> None:
    texts = ["goats", "the slow green river", "green apples"]
    found = sdk.rerank(model="sim", query="green river", documents=texts, top_n=2)
    assert [result.index for result in found.results] == [1, 2]
    assert found.results[0].relevance_score == 0.991
    asked: dict[str, Any] = {"model": "sim", "query": "green river", "documents": texts}
    jina = talk(sim.port, request("/v1/rerank", asked)).json()
    assert jina["results"][0]["document"] == {"text": texts[1]}
    voyage = talk(sim.port, request("/v1/rerank", asked | {"top_k": 1})).json()
    assert voyage["data"] == [{"index": 1, "relevance_score": 0.991}]
    missing = talk(sim.port, request("/v1/rerank", {"model": "sim"}))
    assert (missing.status, missing.json()) == (422, {"detail": "query: Field required"})


def test_errors(sdk: cohere.ClientV2) -> None:
    for model, kind in {
        "sim-429": cohere.TooManyRequestsError,
        "sim-401": cohere.UnauthorizedError,
        "sim-context": cohere.BadRequestError,
        "sim-503": cohere.ServiceUnavailableError,
    }.items():
        with pytest.raises(kind) as caught:
            sdk.chat(model=model, messages=HELLO, request_options={"max_retries": 0})
        assert caught.value.body["message"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"colour": 1}, 422), ({"p": 1.0}, 400), ({"temperature": 2}, 400), ({"messages": []}, 400)],
)
def test_refusals(sim: Sim, fields: dict[str, Any], status: int) -> None:
    asked = {"model": "sim", "messages": HELLO, **fields}
    reply = talk(sim.port, request("/v2/chat", asked))
    assert (reply.status, list(reply.json())) == (status, ["id", "message"])
