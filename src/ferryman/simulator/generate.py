"""Google's generateContent API, of Gemini and of Vertex AI: whole replies and streams.

https://ai.google.dev/api/generate-content, https://ai.google.dev/gemini-api/docs/thought-signatures
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from ferryman.simulator import lists
from ferryman.simulator.answer import Answer, Call
from ferryman.simulator.ask import Ask, words
from ferryman.simulator.event import Event
from ferryman.simulator.pictures import PCM, PNG
from ferryman.simulator.seals import seal

FINISHES = {
    "stop": "STOP",
    "sequence": "STOP",
    "length": "MAX_TOKENS",
    "calls": "STOP",
    "filter": "SAFETY",
    "refusal": "SAFETY",
    "pause": "OTHER",
}
BLOCKED = ("filter", "refusal")
"""Ends after which there is no content: https://ai.google.dev/gemini-api/docs/safety-settings."""
IMAGE_TOKENS = 1290
"""What an image counts: https://ai.google.dev/gemini-api/docs/pricing."""
CATEGORY = "HARM_CATEGORY_DANGEROUS_CONTENT"


def sign(name: str, args: Any) -> str:
    """The signature of a function call, whatever the order of its arguments."""
    return seal("call", name, msgspec.json.encode(args, order="sorted").decode())


SAID = seal("text")
"""The signature of text."""


def usage(found: Answer, output: int | None = None) -> dict[str, Any]:
    """``usageMetadata`` after ``output`` visible tokens: thoughts are counted apart from them."""
    seen = found.visible if output is None else output
    if found.image and not found.tokens:
        seen = IMAGE_TOKENS
    counts: dict[str, Any] = {
        "promptTokenCount": found.prompt,
        "candidatesTokenCount": seen,
        "totalTokenCount": found.prompt + seen + found.reasoning,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": found.prompt}],
    }
    if found.cached:
        counts["cachedContentTokenCount"] = found.cached
        counts["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": found.cached}]
    if found.reasoning:
        counts["thoughtsTokenCount"] = found.reasoning
    return counts


def whole(ask: Ask, found: Answer, ident: str) -> dict[str, Any]:
    """A ``GenerateContentResponse``."""
    reply = _reply(ask, ident)
    if "filter" in ask.behaviour:
        return reply | _blocked(found)
    parts = [part for part, _ in _parts(ask, found, ident, len(found.tokens) or 1, whole=True)]
    candidate = _end(found)
    if found.finish not in BLOCKED:
        candidate |= _candidate(parts, 0)
    if ask.body.get("generationConfig", {}).get("responseLogprobs"):
        candidate |= _logprobs(found.tokens)
    reply["candidates"] = [candidate | {"index": index} for index in range(found.choices)]
    if "no-usage" not in ask.behaviour:
        reply["usageMetadata"] = usage(found)
    return reply


def _reply(ask: Ask, ident: str) -> dict[str, Any]:
    return {"modelVersion": ask.model, "responseId": ident}


def _blocked(found: Answer) -> dict[str, Any]:
    """What stands for an answer when the prompt was not let through."""
    ratings = [{"category": CATEGORY, "probability": "HIGH", "blocked": True}]
    feedback = {"blockReason": "PROHIBITED_CONTENT", "safetyRatings": ratings}
    counts = {"promptTokenCount": found.prompt, "totalTokenCount": found.prompt}
    return {"promptFeedback": feedback, "usageMetadata": counts}


def _candidate(parts: list[dict[str, Any]], index: int) -> dict[str, Any]:
    return {"content": {"parts": parts, "role": "model"}, "index": index}


def _end(found: Answer) -> dict[str, Any]:
    """What a candidate says when it ends."""
    end: dict[str, Any] = {"finishReason": FINISHES[found.finish]}
    if found.finish in BLOCKED:
        end["safetyRatings"] = [{"category": CATEGORY, "probability": "HIGH", "blocked": True}]
    if found.finish == "refusal":
        end["finishMessage"] = found.text
    if found.citations:
        uri = "https://example.com/timetable"
        cited = {"startIndex": 0, "endIndex": len("".join(found.tokens[:1])), "uri": uri}
        end["citationMetadata"] = {"citationSources": [cited]}
    return end


def _logprobs(tokens: list[str]) -> dict[str, Any]:
    chosen = [{"token": t, "tokenId": i, "logProbability": -0.25} for i, t in enumerate(tokens)]
    top = [{"candidates": [one]} for one in chosen]
    result = {"chosenCandidates": chosen, "topCandidates": top}
    return {"avgLogprobs": -0.25, "logprobsResult": result}


def _parts(
    ask: Ask, found: Answer, ident: str, step: int, *, whole: bool
) -> Iterator[tuple[dict[str, Any], int]]:
    """The parts of a candidate with their tokens, text in pieces of ``step`` tokens.

    In a stream the signature of text comes with an empty part of its own.
    """
    if found.finish == "refusal":
        return
    old = "old" in ask.behaviour
    for i in range(0, len(found.thought), step):
        group = found.thought[i : i + step]
        yield {"text": "".join(group), "thought": True}, len(group)
    for i in range(0, len(found.tokens), step):
        group = found.tokens[i : i + step]
        if found.audio:
            data = {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": PCM}
            yield {"inlineData": data}, len(group)
            break
        part: dict[str, Any] = {"text": "".join(group)}
        if found.thought and whole and not found.calls:
            part["thoughtSignature"] = SAID
        yield part, len(group)
    if found.image:
        yield {"inlineData": {"mimeType": "image/png", "data": PNG}}, 0
    if found.thought and found.tokens and not whole and not found.calls:
        yield {"text": "", "thoughtSignature": SAID}, 0
    for index, call in enumerate(found.calls):
        yield _call(call, index, ident, old=old, signed=not old or bool(found.thought)), 1


def _call(call: Call, index: int, ident: str, *, old: bool, signed: bool) -> dict[str, Any]:
    """A function call. Older models give it no id; the first of its step bears the signature."""
    args = msgspec.json.decode(call.arguments)
    part: dict[str, Any] = {"functionCall": {"name": call.name, "args": args}}
    if not old:
        part["functionCall"]["id"] = f"fc_{ident}{index}"
    if signed and not index:
        part["thoughtSignature"] = sign(call.name, args)
    return part


def stream(ask: Ask, found: Answer, ident: str) -> Iterator[Event]:
    """The chunks of a streamed response. Each counts the tokens so far; the last tells the end."""
    wish = ask.behaviour
    base = _reply(ask, ident)
    if "filter" in wish:
        yield Event(msgspec.json.encode(base | _blocked(found)), last=True)
        return
    logs = ask.body.get("generationConfig", {}).get("responseLogprobs")
    sent = 0

    def chunk(candidate: dict[str, Any], tokens: int, counts: dict[str, Any], last: bool) -> Event:
        body = {"candidates": [candidate], **base}
        if "no-usage" not in wish and (last or "usage-last" not in wish):
            body["usageMetadata"] = counts
        return Event(msgspec.json.encode(body), tokens=tokens, last=last)

    for index in range(found.choices):
        for part, tokens in _parts(
            ask, found, ident, max(1, wish.count("per-chunk", 1)), whole=False
        ):
            sent += 0 if part.get("thought") else tokens
            candidate = _candidate([part], index)
            if logs and part.get("text") and not part.get("thought"):
                candidate |= _logprobs([part["text"]])
            yield chunk(candidate, tokens, usage(found, sent), False)
    for index in range(found.choices):
        candidate = {"index": index} | _end(found)
        if found.finish not in BLOCKED:
            candidate |= _candidate([{"text": ""}], index)
        yield chunk(candidate, 0, usage(found), True)


def count(ask: Ask, _found: Answer, _ident: str) -> dict[str, Any]:
    """The reply of ``countTokens``."""
    total = ask.behaviour.count("prompt", ask.prompt)
    return {
        "totalTokens": total,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": total}],
    }


def embed(ask: Ask, _found: Answer, _ident: str) -> dict[str, Any]:
    """The reply of ``embedContent``, or of ``batchEmbedContents``: as many vectors as requests."""
    requests = ask.body.get("requests")
    found = [
        {"values": lists.vector(" ".join(words(one.get("content"))), _dimensions(one))}
        for one in (requests if isinstance(requests, list) else [ask.body])
    ]
    reply: dict[str, Any] = {"embeddings": found} if requests else {"embedding": found[0]}
    if "no-usage" not in ask.behaviour:
        reply["usageMetadata"] = {"promptTokenCount": ask.behaviour.count("prompt", ask.prompt)}
    return reply


def _dimensions(one: dict[str, Any]) -> int:
    config = one.get("embedContentConfig") or {}
    given = one.get("outputDimensionality") or config.get("outputDimensionality")
    return int(given or lists.DIMENSIONS)
