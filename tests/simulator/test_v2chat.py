"""Cohere's chat, judged by its official SDK."""

from collections.abc import Iterator
from typing import Any

import cohere
import httpx
import pytest

from tests.simulator.conftest import Sim
from tests.simulator.wire import request, talk

SCHEMA = {"type": "object", "properties": {"pier": {"type": "string"}}, "required": ["pier"]}
ROW: Any = {"type": "function", "function": {"name": "row", "parameters": SCHEMA}}
USER: Any = {"role": "user", "content": "one two three"}


@pytest.fixture(scope="module")
def client(sim: Sim) -> Iterator[cohere.ClientV2]:
    with httpx.Client(trust_env=False, timeout=5) as http:
        yield cohere.ClientV2(api_key="key", base_url=sim.url, httpx_client=http)


def folded(events: Any) -> dict[str, Any]:
    """A stream as the message that it tells, with its end."""
    content: dict[int, dict[str, Any]] = {}
    calls: list[dict[str, Any]] = []
    out: dict[str, Any] = {"tool_plan": "", "citations": []}
    for event in events:
        said = event.model_dump(exclude_none=True)
        delta = said.get("delta", {})
        message = delta.get("message", {})
        if said["type"] == "content-start":
            content[said["index"]] = message["content"]
        elif said["type"] == "content-delta":
            for name, piece in message["content"].items():
                content[said["index"]][name] += piece
        elif said["type"] == "tool-plan-delta":
            out["tool_plan"] += message["tool_plan"]
        elif said["type"] == "tool-call-start":
            calls.append(message["tool_calls"])
        elif said["type"] == "tool-call-delta":
            calls[-1]["function"]["arguments"] += message["tool_calls"]["function"]["arguments"]
        elif said["type"] == "citation-start":
            out["citations"].append(message["citations"])
        elif said["type"] == "message-end":
            out |= delta
    return out | {"content": [content[index] for index in sorted(content)], "tool_calls": calls}


def both(client: cohere.ClientV2, model: str, **fields: Any) -> dict[str, Any]:
    """The whole reply, which the stream must tell, too."""
    asked: Any = {"model": model, "messages": [USER], **fields}
    reply = client.chat(**asked).model_dump(exclude_none=True)
    found: dict[str, Any] = {"tool_plan": "", "citations": [], "content": [], "tool_calls": []}
    found |= {**reply["message"], "finish_reason": reply["finish_reason"], "usage": reply["usage"]}
    streamed = folded(client.chat_stream(**asked))
    for call in (*found["tool_calls"], *streamed["tool_calls"]):
        assert call.pop("id")
    assert streamed == {name: found[name] for name in streamed}
    return found


def test_text_and_usage_billed_and_used(client: cohere.ClientV2) -> None:
    found = both(client, "sim-tokens=4+cached=2")
    assert found["content"] == [{"type": "text", "text": "The ferry leaves the"}]
    usage = found["usage"]
    assert usage["billed_units"] == {"input_tokens": 3, "output_tokens": 4}
    assert usage["tokens"] == {"input_tokens": 63, "output_tokens": 4}
    assert usage["cached_tokens"] == 2


def test_thoughts_plans_calls_and_citations(client: cohere.ClientV2) -> None:
    thought = both(client, "sim-think+citations+tokens=2")
    assert [part["type"] for part in thought["content"]] == ["thinking", "text"]
    assert thought["citations"][0]["sources"]
    planned = both(client, "sim-tools=2+preamble+tokens=2", tools=[ROW])
    assert planned["tool_plan"] == "The ferry"
    assert [call["function"]["name"] for call in planned["tool_calls"]] == ["row", "row"]
    assert not planned["content"]


@pytest.mark.parametrize(
    ("model", "fields", "reason"),
    [
        ("sim", {}, "COMPLETE"),
        ("sim", {"max_tokens": 2}, "MAX_TOKENS"),
        ("sim", {"stop_sequences": ["dawn"]}, "STOP_SEQUENCE"),
        ("sim", {"tools": [ROW], "tool_choice": "REQUIRED"}, "TOOL_CALL"),
        ("sim-tools", {"tools": [ROW], "tool_choice": "NONE"}, "COMPLETE"),
        ("sim-filtered", {}, "ERROR"),
        ("sim", {"response_format": {"type": "json_object", "schema": SCHEMA}}, "COMPLETE"),
    ],
)
def test_endings(client: cohere.ClientV2, model: str, fields: Any, reason: str) -> None:
    assert both(client, model, **fields)["finish_reason"] == reason


def test_it_tells_of_what_it_received(client: cohere.ClientV2) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,MTIzNDU="}}
    asked: Any = [{"role": "user", "content": [{"type": "text", "text": "see "}, image]}]
    assert both(client, "sim-echo", messages=asked)["content"][0]["text"] == (
        "see [image/png 5 bytes]"
    )


def test_results_answer_calls(client: cohere.ClientV2) -> None:
    message = client.chat(model="sim-tools=2", messages=[USER], tools=[ROW]).message
    one, two = message.tool_calls or []
    assert one.id != two.id
    results: Any = [
        {"role": "tool", "tool_call_id": two.id, "content": "rain"},
        {"role": "tool", "tool_call_id": one.id, "content": [
            {"type": "document", "document": {"data": {"content": "sun"}}}]},
    ]  # fmt: skip
    back: Any = [USER, message, *results]
    said = both(client, "sim-echo", messages=back, tools=[ROW])["content"][0]["text"]
    assert said == "[2 row: rain][1 row: sun]"
    with pytest.raises(cohere.BadRequestError, match="missing tool results"):
        client.chat(model="sim", messages=back[:-1], tools=[ROW])


def test_errors_before_and_within_a_stream(client: cohere.ClientV2) -> None:
    asked: Any = {"messages": [USER]}
    with pytest.raises(cohere.TooManyRequestsError, match="Trial key"):
        client.chat(model="sim-429", **asked)
    found = folded(client.chat_stream(model="sim-error-event+at=2", **asked))
    assert (found["finish_reason"], found["error"]) == ("ERROR", "internal server error")
    with pytest.raises(httpx.HTTPError):
        list(client.chat_stream(model="sim-cut", **asked))


def test_lines_for_those_who_accept_json(sim: Sim) -> None:
    body = {"model": "sim-tokens=2", "messages": [USER], "stream": True}
    reply = talk(sim.port, request("/v2/chat", body, {"accept": "application/json"}))
    assert reply.header("content-type") == "application/stream+json"
    assert [line[:9] for line in reply.body.splitlines()] == [b'{"type":"'] * 6


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"messages": []}, 400, "messages must not be empty"),
        ({"messages": [{"role": "robot", "content": "a"}]}, 400, "invalid role"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, "no content"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "a"}]}, 400, "not found"),
        ({"colour": 1}, 422, "colour"),
        ({"p": 1.0}, 400, "p"),
        ({"temperature": 2}, 400, "temperature"),
        ({"k": 501}, 400, "k"),
        ({"frequency_penalty": 2}, 400, "frequency_penalty"),
        ({"model": ""}, 400, "model is a required field"),
        ({"tools": [ROW], "response_format": {"type": "json_object"}}, 400, "not supported"),
    ],
)
def test_refusals(sim: Sim, fields: Any, status: int, words: str) -> None:
    body = {"model": "sim", "messages": [USER], **fields}
    reply = talk(sim.port, request("/v2/chat", body))
    assert reply.status == status
    assert list(reply.json()) == ["id", "message"]
    assert words in reply.json()["message"]
