"""The simulator's words, which mean the same in every format."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from botocore.eventstream import EventStreamBuffer

from tests.simulator.conftest import Sim
from tests.simulator.wire import ANTHROPIC, SILENCE, Reply, request, talk

TEXT = "one two three"
SCHEMA = {"type": "object", "properties": {"strokes": {"type": "integer"}}}
BEARER = {"Authorization": "Bearer any"}
Json = dict[str, Any]


@dataclass(frozen=True)
class Format:
    """How to ask in a format, and how to read what comes back."""

    path: str
    """Of whole replies; with the model where it stands."""
    streamed: str
    body: Json
    tools: Json
    headers: dict[str, str]
    pieces: Callable[[Json], Iterator[str]]
    """The visible text in one event."""
    counts: Callable[[Json], tuple[int, int, int]]
    """Input tokens, those from a cache among them; these; output tokens, of a whole reply."""
    called: Callable[[Json], list[str]]
    """Names of the tools that a whole reply calls."""
    mark: str
    """What only a complete stream has."""


def chat_pieces(event: Json) -> Iterator[str]:
    for choice in event.get("choices", []):
        yield choice["delta"].get("content") or ""


def responses_pieces(event: Json) -> Iterator[str]:
    yield event["delta"] if event.get("type") == "response.output_text.delta" else ""


def messages_pieces(event: Json) -> Iterator[str]:
    delta = event.get("delta") or {}
    yield delta["text"] if delta.get("type") == "text_delta" else ""


def generate_pieces(event: Json) -> Iterator[str]:
    for candidate in event.get("candidates", []):
        for part in candidate["content"].get("parts", []):
            yield "" if part.get("thought") else part.get("text", "")


def converse_pieces(event: Json) -> Iterator[str]:
    yield (event.get("delta") or {}).get("text", "")


def cohere_pieces(event: Json) -> Iterator[str]:
    if event.get("type") == "content-delta":
        yield event["delta"]["message"]["content"].get("text", "")


def chat_counts(reply: Json) -> tuple[int, int, int]:
    usage = reply["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return usage["prompt_tokens"], cached, usage["completion_tokens"]


def responses_counts(reply: Json) -> tuple[int, int, int]:
    usage = reply["usage"]
    return (
        usage["input_tokens"],
        usage["input_tokens_details"]["cached_tokens"],
        usage["output_tokens"],
    )


def messages_counts(reply: Json) -> tuple[int, int, int]:
    usage = reply["usage"]
    cached = usage["cache_read_input_tokens"]
    return usage["input_tokens"] + cached, cached, usage["output_tokens"]


def generate_counts(reply: Json) -> tuple[int, int, int]:
    usage = reply["usageMetadata"]
    output = usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0)
    return usage["promptTokenCount"], usage.get("cachedContentTokenCount", 0), output


def converse_counts(reply: Json) -> tuple[int, int, int]:
    usage = reply["usage"]
    cached = usage["cacheReadInputTokens"]
    return usage["inputTokens"] + cached, cached, usage["outputTokens"]


def cohere_counts(reply: Json) -> tuple[int, int, int]:
    billed = reply["usage"]["billed_units"]
    return billed["input_tokens"], reply["usage"]["cached_tokens"], billed["output_tokens"]


def messages_called(reply: Json) -> list[str]:
    return [block["name"] for block in reply["content"] if block["type"] == "tool_use"]


def generate_called(reply: Json) -> list[str]:
    return [part["functionCall"]["name"] for part in reply["candidates"][0]["content"]["parts"]]


MESSAGES = {"max_tokens": 4096, "messages": [{"role": "user", "content": TEXT}]}
CLAUDE = {"anthropic_version": "bedrock-2023-05-31", **MESSAGES}
OPENAI_TOOL = {"type": "function", "function": {"name": "row", "parameters": SCHEMA}}
FORMATS = {
    "chat": Format(
        "/v1/chat/completions", "/v1/chat/completions",
        {"messages": [{"role": "user", "content": TEXT}]}, {"tools": [OPENAI_TOOL]}, {},
        chat_pieces, chat_counts,
        lambda reply: [c["function"]["name"] for c in reply["choices"][0]["message"]["tool_calls"]],
        "[DONE]",
    ),
    "responses": Format(
        "/v1/responses", "/v1/responses",
        {"input": TEXT}, {"tools": [{"type": "function", "name": "row", "parameters": SCHEMA}]}, {},
        responses_pieces, responses_counts,
        lambda reply: [i["name"] for i in reply["output"] if i["type"] == "function_call"],
        "response.completed",
    ),
    "messages": Format(
        "/v1/messages", "/v1/messages",
        MESSAGES, {"tools": [{"name": "row", "input_schema": SCHEMA}]}, ANTHROPIC,
        messages_pieces, messages_counts, messages_called, "message_stop",
    ),
    "generate": Format(
        "/v1beta/models/{}:generateContent", "/v1beta/models/{}:streamGenerateContent?alt=sse",
        {"contents": [{"role": "user", "parts": [{"text": TEXT}]}]},
        {"tools": [{"functionDeclarations": [{"name": "row", "parameters": SCHEMA}]}]}, {},
        generate_pieces, generate_counts,
        generate_called, "finishReason",
    ),
    "converse": Format(
        "/model/{}/converse", "/model/{}/converse-stream",
        {"messages": [{"role": "user", "content": [{"text": TEXT}]}]},
        {"toolConfig": {"tools": [{"toolSpec": {"name": "row", "inputSchema": {"json": SCHEMA}}}]}},
        BEARER, converse_pieces, converse_counts,
        lambda reply: [b["toolUse"]["name"] for b in reply["output"]["message"]["content"]],
        "stopReason",
    ),
    "invoke": Format(
        "/model/{}/invoke", "/model/{}/invoke-with-response-stream",
        CLAUDE, {"tools": [{"name": "row", "input_schema": SCHEMA}]}, BEARER,
        messages_pieces, messages_counts, messages_called, "message_stop",
    ),
    "v2chat": Format(
        "/v2/chat", "/v2/chat",
        {"messages": [{"role": "user", "content": TEXT}]}, {"tools": [OPENAI_TOOL]}, {},
        cohere_pieces, cohere_counts,
        lambda reply: [call["function"]["name"] for call in reply["message"]["tool_calls"]],
        "message-end",
    ),
}  # fmt: skip


@pytest.fixture(params=FORMATS)
def spoken(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


def ask(sim: Sim, spoken: Format, model: str, stream: bool = False, patience: float = 10,
        **more: Any) -> Reply:  # fmt: skip
    path = spoken.streamed if stream else spoken.path
    body = {**spoken.body, **more}
    if "{}" not in path:
        body |= {"model": model, **({"stream": True} if stream else {})}
    target = path.format(quote(model, safe=""))
    return talk(sim.port, request(target, body, spoken.headers), patience)


def events(reply: Reply) -> list[Any]:
    """A stream's events, of whatever framing."""
    if reply.header("content-type") != "application/vnd.amazon.eventstream":
        return reply.data
    buffer = EventStreamBuffer()
    buffer.add_data(reply.text)
    found = []
    for event in buffer:  # which checks both checksums
        body = json.loads(event.payload)
        chunk = event.headers.get(":event-type") == "chunk"
        found.append(json.loads(base64.b64decode(body["bytes"])) if chunk else body)
    return found


def said(spoken: Format, reply: Reply) -> str:
    parts = [e for e in events(reply) if isinstance(e, dict)]
    return "".join(piece for event in parts for piece in spoken.pieces(event))


def marked(spoken: Format, reply: Reply) -> bool:
    return any(spoken.mark in json.dumps(event) for event in events(reply))


def test_tokens_and_chunks(sim: Sim, spoken: Format) -> None:
    reply = ask(sim, spoken, "sim?tokens=8&per-chunk=4", stream=True)
    pieces = [p for e in events(reply) if isinstance(e, dict) for p in spoken.pieces(e) if p]
    assert pieces == ["The ferry leaves the", " bank at dawn, crosses"]
    assert marked(spoken, reply)


def test_counts(sim: Sim, spoken: Format) -> None:
    reply = ask(sim, spoken, "sim?tokens=5&prompt=100&cached=64&reasoning=7")
    assert spoken.counts(reply.json()) == (100, 64, 12)
    with pytest.raises((KeyError, TypeError)):
        spoken.counts(ask(sim, spoken, "sim-no-usage").json())


def test_parallel_calls(sim: Sim, spoken: Format) -> None:
    reply = ask(sim, spoken, "sim-tools=2", **spoken.tools).json()
    assert spoken.called(reply) == ["row", "row"]


def test_thoughts(sim: Sim, spoken: Format) -> None:
    for reply in (ask(sim, spoken, "sim-think"), ask(sim, spoken, "sim-think", stream=True)):
        told = "".join(json.dumps(event) for event in events(reply)) or reply.body.decode()
        assert "Let" in told


def test_echo(sim: Sim, spoken: Format) -> None:
    assert said(spoken, ask(sim, spoken, "sim-echo", stream=True)) == TEXT


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 429, 500, 502, 503, 504, 529])
def test_statuses(sim: Sim, spoken: Format, status: int) -> None:
    reply = ask(sim, spoken, f"sim-{status}", stream=True)
    assert (reply.status, reply.complete) == (status, True)
    told = reply.json()
    assert told.get("message") or told["error"]["message"]


def test_limits(sim: Sim, spoken: Format) -> None:
    assert ask(sim, spoken, "sim-429+retry-after=7").header("retry-after") == "7"
    for word in ("quota", "context", "html", "empty", "bad-json"):
        reply = ask(sim, spoken, f"sim-{word}")
        assert reply.complete
        assert reply.status in (400, 429, 502, 200)


def test_cuts(sim: Sim, spoken: Format) -> None:
    whole = said(spoken, ask(sim, spoken, "sim", stream=True))
    for word, ended in {"cut": "closed", "reset-mid": "reset"}.items():
        reply = ask(sim, spoken, f"sim-{word}+at=2", stream=True)
        assert (reply.complete, reply.ended) == (False, ended)
        assert said(spoken, reply) == "The ferry"
    reply = ask(sim, spoken, "sim-cut-clean+at=2", stream=True)
    assert reply.complete
    assert said(spoken, reply) == "The ferry"
    assert not marked(spoken, reply)
    unmarked = ask(sim, spoken, "sim-no-done", stream=True)
    assert said(spoken, unmarked) == whole
    assert not marked(spoken, unmarked)
    silent = ask(sim, spoken, "sim-stall+at=2", stream=True, patience=SILENCE)
    assert (silent.ended, said(spoken, silent)) == ("silent", "The ferry")


def test_errors_in_streams(sim: Sim, spoken: Format) -> None:
    reply = ask(sim, spoken, "sim-error-event+at=2", stream=True)
    assert reply.status == 200
    assert said(spoken, reply) == "The ferry"
    assert "error" in json.dumps(events(reply)[-1]) or "message" in events(reply)[-1]


@pytest.mark.parametrize("word", ["split", "bytes", "chunked", "gzip", "http10", "drip=9000000"])
def test_odd_but_whole(sim: Sim, spoken: Format, word: str) -> None:
    for stream in (False, True):
        plain = ask(sim, spoken, "sim-unicode", stream=stream)
        odd = ask(sim, spoken, f"sim-unicode+{word}", stream=stream)
        assert odd.complete
        if stream:
            assert said(spoken, odd) == said(spoken, plain)
        else:
            assert odd.json().keys() == plain.json().keys()
