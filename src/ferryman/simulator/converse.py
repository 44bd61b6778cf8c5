"""Amazon Bedrock's Converse: whole replies and streams.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from ferryman.simulator import text
from ferryman.simulator.answer import Answer
from ferryman.simulator.ask import Ask
from ferryman.simulator.event import Event
from ferryman.simulator.messages import HIDDEN
from ferryman.simulator.pictures import PNG
from ferryman.simulator.seals import seal, wrap

STOPS = {
    "stop": "end_turn",
    "sequence": "stop_sequence",
    "length": "max_tokens",
    "calls": "tool_use",
    "filter": "content_filtered",
    "refusal": "content_filtered",
    "pause": "end_turn",
}
_METRICS = {"latencyMs": 318}
CITATION = {
    "title": "Timetable",
    "sourceContent": [{"text": "The ferry leaves at dawn."}],
    "location": {"documentChar": {"documentIndex": 0, "start": 0, "end": 25}},
}


def whole(ask: Ask, found: Answer, ident: str) -> dict[str, Any]:
    """A finished reply."""
    content = [full for _, _, full in _blocks(ask, found, ident)]
    reply: dict[str, Any] = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": STOPS[found.finish],
        "metrics": _METRICS,
    }
    if "no-usage" not in ask.behaviour:
        reply["usage"] = usage(found)
    return reply


def usage(found: Answer) -> dict[str, Any]:
    """The ``usage`` object: its input counts are disjoint, its total holds them all."""
    hour, short = found.written_hour, found.written - found.written_hour
    details = [{"ttl": ttl, "inputTokens": n} for ttl, n in (("1h", hour), ("5m", short)) if n]
    return {
        "inputTokens": found.prompt - found.cached - found.written,
        "outputTokens": found.output,
        "totalTokens": found.prompt + found.output,
        "cacheReadInputTokens": found.cached,
        "cacheWriteInputTokens": found.written,
        **({"cacheDetails": details} if details else {}),
    }


Block = tuple[dict[str, Any] | None, list[tuple[dict[str, Any], int]], dict[str, Any]]
"""What starts a block (None: nothing does), its deltas with their tokens, and all of it."""


def _blocks(ask: Ask, found: Answer, ident: str) -> Iterator[Block]:
    if found.thought:
        signature = seal("thinking", found.musing)
        deltas = [({"reasoningContent": {"text": piece}}, 1) for piece in found.thought]
        deltas.append(({"reasoningContent": {"signature": signature}}, 0))
        told = {"text": found.musing, "signature": signature}
        yield None, deltas, {"reasoningContent": {"reasoningText": told}}
    if found.redacted:
        hidden = {"reasoningContent": {"redactedContent": wrap(HIDDEN)}}
        yield None, [(hidden, 0)], hidden
    if found.tokens:
        step = max(1, ask.behaviour.count("per-chunk", 1))
        groups = [found.tokens[i : i + step] for i in range(0, len(found.tokens), step)]
        said = [({"text": "".join(g)}, len(g)) for g in groups]
        if found.citations:
            cited = {"content": [{"text": found.text}], "citations": [CITATION]}
            yield None, [*said, ({"citation": CITATION}, 0)], {"citationsContent": cited}
        else:
            yield None, said, {"text": found.text}
    if found.image:
        source = {"format": "png", "source": {"bytes": PNG}}
        image = {"source": source["source"]}
        yield {"image": {"format": "png"}}, [({"image": image}, 0)], {"image": source}
    for index, call in enumerate(found.calls):
        use = {"toolUseId": f"tooluse_{ident}{index}", "name": call.name}
        pieces = [({"toolUse": {"input": piece}}, 1) for piece in text.pieces(call.arguments)]
        full = {"toolUse": {**use, "input": msgspec.json.decode(call.arguments)}}
        yield {"toolUse": use}, pieces, full


def stream(ask: Ask, found: Answer, ident: str) -> Iterator[Event]:
    """The events of a streamed reply, from ``messageStart`` to ``metadata``."""

    def event(kind: str, tokens: int = 0, **fields: Any) -> Event:
        last = kind in ("messageStop", "metadata")
        return Event(msgspec.json.encode(fields), kind, tokens, last)

    yield event("messageStart", role="assistant")
    for index, (start, deltas, _) in enumerate(_blocks(ask, found, ident)):
        if start is not None:
            yield event("contentBlockStart", contentBlockIndex=index, start=start)
        for delta, tokens in deltas:
            yield event("contentBlockDelta", tokens, contentBlockIndex=index, delta=delta)
        yield event("contentBlockStop", contentBlockIndex=index)
    yield event("messageStop", stopReason=STOPS[found.finish])
    if "no-usage" not in ask.behaviour:
        yield event("metadata", usage=usage(found), metrics=_METRICS)
