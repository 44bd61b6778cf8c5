"""The endpoints that only come whole: embeddings, moderations, models."""

import base64
import hashlib
import math
import struct
from typing import Any

from ferryman.simulator.ask import Ask, Request, typed, words
from ferryman.simulator.chat import CREATED
from ferryman.simulator.chat_read import model as named

DIMENSIONS = 256
MODELS = (
    "sim", "sim-tools", "sim-unicode", "sim?ttft=300&tps=30&tokens=100", "sim-think?tps=50",
    "sim-429", "sim-503", "sim-cut", "sim-stall",
)  # fmt: skip


def read(request: Request) -> Ask:
    """A request whose reply needs no answer made up."""
    body = request.json()
    model = named(request, body)
    return Ask(model=model, body=body, behaviour=request.wishes(model, body.get("sim")))


def vector(text: str, dimensions: int) -> list[float]:
    """A unit vector that depends only on ``text``."""
    raw = hashlib.shake_128(text.encode()).digest(dimensions * 2)
    values = [value / 32768 for value in struct.unpack(f"<{dimensions}h", raw)]
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return [value / length for value in values]


def embeddings(ask: Ask) -> dict[str, Any]:
    """A vector for each input: a text, texts, one list of tokens, or lists of tokens."""
    given = ask.body.get("input")
    many = isinstance(given, list) and bool(given) and not isinstance(given[0], int)
    inputs: list[Any] = list(given or []) if many else [given]
    dimensions = typed(ask.body, "dimensions", int) or DIMENSIONS
    data = []
    for index, item in enumerate(inputs):
        found: Any = vector(" ".join(words(item)), dimensions)
        if ask.body.get("encoding_format") == "base64":
            found = base64.b64encode(struct.pack(f"<{dimensions}f", *found)).decode()
        data.append({"object": "embedding", "index": index, "embedding": found})
    count = ask.behaviour.count("prompt", len(words(given)))
    reply: dict[str, Any] = {"object": "list", "data": data, "model": ask.model}
    if "no-usage" not in ask.behaviour:
        reply["usage"] = {"prompt_tokens": count, "total_tokens": count}
    return reply


def moderations(ask: Ask, ident: str) -> dict[str, Any]:
    """Flags an input that has the word ``violence``."""
    given = ask.body.get("input")
    inputs = given if isinstance(given, list) else [given]
    results = []
    for item in inputs:
        flagged = "violence" in [word.lower().strip(".,!?") for word in words(item)]
        names = ("harassment", "hate", "self-harm", "sexual", "violence")
        categories = {name: flagged and name == "violence" for name in names}
        scores = {name: 0.97 if hit else 0.001 for name, hit in categories.items()}
        results.append({"flagged": flagged, "categories": categories, "category_scores": scores})
    return {"id": f"modr-{ident}", "model": ask.model, "results": results}


def models() -> dict[str, Any]:
    """Some of the names that the simulator answers to (it answers to any)."""
    return {"object": "list", "data": [model(name) for name in MODELS]}


def model(name: str) -> dict[str, Any]:
    """One model."""
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "ferryman"}


def messages_models() -> dict[str, Any]:
    """The same in the shape of Anthropic's API, as one page."""
    data = [messages_model(name) for name in MODELS]
    return {"data": data, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}


def messages_model(name: str) -> dict[str, Any]:
    """One model in that shape: https://platform.claude.com/docs/en/api/models/retrieve."""
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": "2026-09-21T13:33:20Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
    }


def generate_models() -> dict[str, Any]:
    """The same in the shape of Gemini's API, as one page."""
    return {"models": [generate_model(name) for name in MODELS]}


def generate_model(name: str) -> dict[str, Any]:
    """One model in that shape: https://ai.google.dev/api/models."""
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"],
        "thinking": True,
    }
