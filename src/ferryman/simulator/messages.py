"""Anthropic's Messages API: whole replies and streams.

https://platform.claude.com/docs/en/api/messages,
https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from ferryman.simulator import text
from ferryman.simulator.answer import Answer
from ferryman.simulator.ask import Ask
from ferryman.simulator.event import Event
from ferryman.simulator.seals import seal, wrap

HIDDEN = "What nobody but the model may read."
"""What encrypted reasoning says."""

STOPS = {
    "stop": "end_turn",
    "sequence": "stop_sequence",
    "length": "max_tokens",
    "calls": "tool_use",
    "filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
}


def usage(ask: Ask, found: Answer, output: int) -> dict[str, Any]:
    """The ``usage`` object after ``output`` tokens. Its input counts are disjoint."""
    return {
        "input_tokens": found.prompt - found.cached - found.written,
        "cache_creation_input_tokens": found.written,
        "cache_read_input_tokens": found.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": found.written - found.written_hour,
            "ephemeral_1h_input_tokens": found.written_hour,
        },
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": found.reasoning if output else 0},
        "service_tier": "standard",
    }


def whole(ask: Ask, found: Answer, ident: str) -> dict[str, Any]:
    """A finished ``message``."""
    reply = _message(ask, ident)
    reply["content"] = [_finished(block) for block in _blocks(ask, found, ident)]
    reply |= _end(found)
    if "no-usage" not in ask.behaviour:
        reply["usage"] = usage(ask, found, found.output)
    return reply


def count(ask: Ask, _found: Answer, _ident: str) -> dict[str, Any]:
    """The reply of ``count_tokens``."""
    return {"input_tokens": ask.behaviour.count("prompt", ask.prompt)}


def _message(ask: Ask, ident: str) -> dict[str, Any]:
    return {
        "id": f"msg_{ident}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _end(found: Answer) -> dict[str, Any]:
    """What tells why a message ended."""
    end: dict[str, Any] = {"stop_reason": STOPS[found.finish], "stop_sequence": found.sequence}
    if end["stop_reason"] == "refusal":
        said = "This request asks for help that can't be given."
        details = {"type": "refusal", "category": "general_harms", "explanation": said}
        end["stop_details"] = details
    return end


class Block(msgspec.Struct):
    """A content block: how it starts, its deltas with their tokens, and what it is when it ends."""

    start: dict[str, Any]
    deltas: list[tuple[dict[str, Any], int]]
    full: dict[str, Any]


def _blocks(ask: Ask, found: Answer, ident: str) -> Iterator[Block]:
    if found.thought:
        yield _thinking(ask, found)
    if found.redacted:
        block = {"type": "redacted_thinking", "data": wrap(HIDDEN)}
        yield Block(block, [], {})
    if found.tokens:
        yield _text(found, max(1, ask.behaviour.count("per-chunk", 1)))
    for index, call in enumerate(found.calls):
        start = {"type": "tool_use", "id": f"toolu_{ident}{index}", "name": call.name, "input": {}}
        pieces = [(_json_delta(""), 0)]
        pieces += [(_json_delta(piece), 1) for piece in text.pieces(call.arguments)]
        yield Block(start, pieces, {"input": msgspec.json.decode(call.arguments)})


def _json_delta(piece: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": piece}


def _thinking(ask: Ask, found: Answer) -> Block:
    """A thinking block. ``display: omitted`` leaves the signature, and no text."""
    wanted = ask.body.get("thinking")
    hidden = isinstance(wanted, dict) and wanted.get("display") == "omitted"
    thought = [] if hidden else found.thought
    signature = seal("thinking", "".join(thought))
    deltas: list[tuple[dict[str, Any], int]] = [
        ({"type": "thinking_delta", "thinking": piece}, 1) for piece in thought
    ]
    deltas.append(({"type": "signature_delta", "signature": signature}, 0))
    full = {"thinking": "".join(thought), "signature": signature}
    return Block({"type": "thinking", "thinking": "", "signature": ""}, deltas, full)


def _text(found: Answer, step: int) -> Block:
    deltas: list[tuple[dict[str, Any], int]] = []
    for i in range(0, len(found.tokens), step):
        group = found.tokens[i : i + step]
        deltas.append(({"type": "text_delta", "text": "".join(group)}, len(group)))
    start: dict[str, Any] = {"type": "text", "text": ""}
    full: dict[str, Any] = {"text": found.text}
    if found.citations:
        citation = {
            "type": "char_location",
            "cited_text": "The ferry leaves at dawn.",
            "document_index": 0,
            "document_title": "Timetable",
            "start_char_index": 0,
            "end_char_index": 25,
            "file_id": None,
        }
        deltas.insert(1, ({"type": "citations_delta", "citation": citation}, 0))
        start["citations"], full["citations"] = [], [citation]
    return Block(start, deltas, full)


def _finished(block: Block) -> dict[str, Any]:
    return {**block.start, **block.full}


def stream(ask: Ask, found: Answer, ident: str) -> Iterator[Event]:
    """The events of a streamed message, from ``message_start`` to ``message_stop``."""
    wish = ask.behaviour
    told = "no-usage" not in wish

    def event(kind: str, tokens: int = 0, **fields: Any) -> Event:
        body = {"type": kind, **fields}
        return Event(msgspec.json.encode(body), kind, tokens, kind == "message_stop")

    message = _message(ask, ident)
    if told and "usage-last" not in wish:
        # the first event counts the input, and the few output tokens there are by then
        message["usage"] = usage(ask, found, 1)
    yield event("message_start", message=message)
    for index, block in enumerate(_blocks(ask, found, ident)):
        yield event("content_block_start", index=index, content_block=block.start)
        if not index:
            yield Event(b'{"type": "ping"}', "ping")
        for delta, tokens in block.deltas:
            yield event("content_block_delta", tokens, index=index, delta=delta)
        yield event("content_block_stop", index=index)
    last: dict[str, Any] = {"delta": _end(found)}
    if told:
        last["usage"] = _cumulative(usage(ask, found, found.output))
    yield event("message_delta", **last)
    yield event("message_stop")


def _cumulative(counts: dict[str, Any]) -> dict[str, Any]:
    """The counts that ``message_delta`` repeats and completes."""
    left_out = ("cache_creation", "service_tier")
    return {name: value for name, value in counts.items() if name not in left_out}
