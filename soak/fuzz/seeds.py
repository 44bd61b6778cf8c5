"""Good requests, replies and streams of every format, played by the simulator."""

import functools
import itertools
import json
from typing import Any

import httptools

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Request
from ferryman.simulator.directives import parse
from ferryman.simulator.service import Service
from ferryman.wire.format import Aim
from ferryman.wire.formats import FORMATS, client_of
from ferryman.wire.paths import WAYS

_TOOL = {
    "name": "look",
    "description": "Looks.",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
}
_PNG = "data:image/png;base64,iVBORw0KGgo="
TALKS: tuple[dict[str, Any], ...] = (
    {"messages": [{"role": "user", "content": "Good morning, dear ferry ü🙂"}]},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": _PNG}},
            ]},
        ],
        "temperature": 0.5, "top_p": 0.9, "max_tokens": 50, "stop": ["\n", "x"], "seed": 5,
        "response_format": {"type": "json_object"}, "reasoning_effort": "low",
    },
    {
        "messages": [
            {"role": "user", "content": "Look."},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "call_1", "type": "function",
                 "function": {"name": "look", "arguments": '{"at":"x"}'}},
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "[1, 2]"},
        ],
        "tools": [{"type": "function", "function": _TOOL}],
        "tool_choice": "auto", "parallel_tool_calls": False, "metadata": {"a": "b"},
    },
)  # fmt: skip
BEHAVIOURS = (
    "", "tools", "think", "unicode,tokens=9", "citations", "refusal", "image", "redacted,think",
    "filtered", "error-event", "bad-event", "no-done", "comments", "preamble,tools=2", "usage-each",
    "context", "429", "quota", "html", "cut-clean", "crlf",
)  # fmt: skip
_SAFE = (*BEHAVIOURS[:12], "comments")
TASKS: dict[str, dict[str, Any]] = {
    "embeddings": {"model": "m", "input": ["one", "two"], "dimensions": 4},
    "embed_content": {"content": {"parts": [{"text": "one"}]}, "outputDimensionality": 4},
    "batch_embed_contents": {
        "requests": [{"model": "models/m", "content": {"parts": [{"text": "one"}]}}]
    },
    "embed": {"model": "m", "texts": ["one", "two"], "input_type": "search_query"},
    "rerank": {"model": "m", "query": "q", "documents": ["one", "two"], "top_n": 1},
    "images.generations": {"model": "m", "prompt": "a ferry", "n": 1, "size": "1024x1024"},
    "audio.speech": {"model": "m", "input": "hello", "voice": "alloy"},
}


class _Body:
    """What a script says: the reply's status and body."""

    def __init__(self) -> None:
        self.body = b""
        self.parser: Any = httptools.HttpResponseParser(self)

    def on_body(self, data: bytes) -> None:
        self.body += data


def played(path: str, body: bytes, words: str = "") -> bytes:
    """The body of what the simulator answers there."""
    service = _service()
    service.scripts.clear()
    headers = [(b"content-type", b"application/json"), (b"anthropic-version", b"2023-06-01"),
               (b"authorization", b"Bearer x"), (b"x-goog-api-key", b"x")]  # fmt: skip
    headers += [(b"x-sim", words.encode())] if words else []
    script = service.handle(b"POST", path.encode(), headers, body)
    reader = _Body()
    for _, data in script.steps:
        try:
            reader.parser.feed_data(data)
        except httptools.HttpParserError:
            break
    return reader.body


@functools.cache
def _service() -> Service:
    return Service(parse("tokens=4"))


@functools.cache
def talks() -> tuple[Request, ...]:
    """The conversations, read."""
    read = client_of("chat.completions").decode_request
    return tuple(
        read(json.dumps({"model": "m", **talk, "stream": stream}).encode(), "m", stream)
        for talk, stream in itertools.product(TALKS, (False, True))
    )


@functools.cache
def requests(name: str) -> tuple[bytes, ...]:
    """Requests of a format."""
    provider = FORMATS[name].provider
    assert provider is not None
    aim = Aim(model="m", abilities=("tools", "vision"), max_output=100)
    return tuple(provider.encode_request(talk, aim, Receipt()) for talk in talks())


@functools.cache
def answers(name: str, stream: bool) -> tuple[bytes, ...]:
    """Whole replies, or streams, of a format."""
    way = WAYS[name]
    prefix = {"gemini_generate": "/v1beta", "bedrock_converse": "", "cohere_chat": "/v2"}
    path = way.paths.get(f"{way.main}+stream", "") if stream else ""
    path = prefix.get(name, "/v1") + (path or way.paths[way.main]).replace("{model}", "m")
    asked = [requests(name)[stream], requests(name)[4 + stream]]
    found = [played(path, body, words) for body in asked for words in BEHAVIOURS]
    assert any(found), name
    return tuple(dict.fromkeys(found))
