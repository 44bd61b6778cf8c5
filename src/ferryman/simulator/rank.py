"""Vectors in Cohere's shape, and rankings in Cohere's, Jina's and Voyage's.

https://docs.cohere.com/reference/embed, https://docs.cohere.com/reference/rerank,
https://api.jina.ai/redoc#tag/rerank, https://docs.voyageai.com/reference/reranker-api
"""

import base64
import struct
from collections.abc import Callable
from typing import Any

from ferryman.simulator import lists
from ferryman.simulator.answer import Answer
from ferryman.simulator.ask import Ask, RefusedError, Request, media, words

EMBED = {
    "model", "input_type", "texts", "images", "inputs", "max_tokens", "output_dimension",
    "embedding_types", "truncate", "priority", "sim",
}  # fmt: skip
RERANK = {"model", "query", "documents", "top_n", "max_tokens_per_doc", "relevant_spans",
          "priority", "sim"}  # fmt: skip
PURPOSES = ("search_document", "search_query", "classification", "clustering", "image")
META = {"api_version": {"version": "2"}}


def read_embed(request: Request) -> Ask:
    """A request for vectors of texts or images, each a vector of its own."""
    body = _only(request.json(), EMBED, ("model", "input_type"))
    if body["input_type"] not in PURPOSES:
        raise RefusedError(f"invalid request: valid input_type values are: {', '.join(PURPOSES)}")
    if sum(name in body for name in ("texts", "images", "inputs")) != 1:
        raise RefusedError("invalid request: one of texts, images or inputs has to be set")
    return _ask(request, body, len(words(inputs(body))))


def read_rerank(request: Request) -> Ask:
    """A request to rank texts, as Cohere has it."""
    body = _only(request.json(), RERANK, ("model", "query", "documents"))
    if any(not isinstance(document, str) for document in body["documents"]):
        raise RefusedError("invalid type: documents have to be strings", status=422)
    return _ask(request, body, 0)


def read_other(request: Request) -> Ask:
    """A request to rank texts, as Jina and Voyage have it."""
    body = request.json()
    for name in ("model", "query", "documents"):
        if name not in body:
            raise RefusedError(f"{name}: Field required", status=422)
    return _ask(request, body, len(words([body["query"], body["documents"]])))


def _only(body: dict[str, Any], known: set[str], required: tuple[str, ...]) -> dict[str, Any]:
    for name in body:
        if name not in known:
            raise RefusedError(
                f"unknown field: parameter '{name}' is not a valid field", status=422
            )
    for name in required:
        if name not in body:
            raise RefusedError(f"invalid request: {name} is a required field")
    return body


def _ask(request: Request, body: dict[str, Any], count: int) -> Ask:
    behaviour = request.wishes(body["model"], body.get("sim"))
    return Ask(model=body["model"], body=body, behaviour=behaviour, prompt=count)


def inputs(body: dict[str, Any]) -> list[str]:
    """What is to become vectors: texts, images as ``echo`` tells of them, or both together."""
    if "texts" in body:
        return [str(text) for text in body["texts"]]
    if "images" in body:
        return [media("image", image) for image in body["images"]]
    found = []
    for one in body["inputs"]:
        parts = one["content"]
        found.append("".join(
            media("image", part["image_url"]["url"]) if "image_url" in part else str(part["text"])
            for part in parts
        ))  # fmt: skip
    return found


KINDS: dict[str, Callable[[list[float]], Any]] = {
    "float": lambda vector: vector,
    "int8": lambda vector: [round(value * 127) for value in vector],
    "uint8": lambda vector: [round(value * 127) + 128 for value in vector],
    "binary": lambda vector: [byte - 128 for byte in _packed(vector)],
    "ubinary": lambda vector: list(_packed(vector)),
    "base64": lambda vector: base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode(),
}
"""The kinds of vectors, and how each comes from floats."""


def _packed(vector: list[float]) -> bytes:
    """A bit for each number: whether it is positive."""
    bits = "".join("1" if value > 0 else "0" for value in vector)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def embed(ask: Ask, _found: Answer, ident: str) -> dict[str, Any]:
    """The reply with vectors."""
    body = ask.body
    size = body.get("output_dimension") or lists.DIMENSIONS
    vectors = [lists.vector(text, size) for text in inputs(body)]
    kinds = body.get("embedding_types") or ["float"]
    for kind in kinds:
        if kind not in KINDS:
            raise RefusedError(f"invalid request: '{kind}' is no embedding type")
    reply: dict[str, Any] = {
        "id": ident,
        "embeddings": {kind: [KINDS[kind](vector) for vector in vectors] for kind in kinds},
        "texts": body.get("texts") or [],
        "response_type": "embeddings_by_type",
    }
    if "no-usage" not in ask.behaviour:
        counted = ask.behaviour.count("prompt", ask.prompt)
        billed = {"images": len(body["images"])} if "images" in body else {"input_tokens": counted}
        reply["meta"] = {**META, "billed_units": billed}
    return reply


def ranked(query: str, documents: list[Any], most: int | None) -> list[tuple[int, float]]:
    """The best documents and their scores: the share of the query's words that they have."""
    wanted = {word.lower() for word in words(query)}
    scores = []
    for index, document in enumerate(documents):
        has = {word.lower() for word in words(document)}
        scores.append((-len(wanted & has) / max(len(wanted), 1), index))
    best = [(index, round(0.99 * -score + 0.001, 6)) for score, index in sorted(scores)]
    return best[:most]


def rerank(ask: Ask, _found: Answer, ident: str) -> dict[str, Any]:
    """The ranking in Cohere's shape."""
    body = ask.body
    best = ranked(body["query"], body["documents"], body.get("top_n"))
    results = [{"index": index, "relevance_score": score} for index, score in best]
    meta = {**META, "billed_units": {"search_units": ask.behaviour.count("prompt", 1)}}
    return {"id": ident, "results": results, "meta": meta}


def rerank_other(ask: Ask, _found: Answer, _ident: str) -> dict[str, Any]:
    """The ranking in Jina's shape, or in Voyage's when the request has members of that one."""
    body = ask.body
    voyages = "top_k" in body or "truncation" in body
    best = ranked(body["query"], body["documents"], body.get("top_k" if voyages else "top_n"))
    results = []
    for index, score in best:
        one: dict[str, Any] = {"index": index, "relevance_score": score}
        if body.get("return_documents", not voyages):
            document = body["documents"][index]
            text = document.get("text") if isinstance(document, dict) else document
            one["document"] = text if voyages else {"text": text}
        results.append(one)
    usage = {"total_tokens": ask.behaviour.count("prompt", ask.prompt)}
    reply = {"object": "list", "model": ask.model, "usage": usage}
    return {**reply, "data" if voyages else "results": results}
