"""Cohere's chat, version 2: whole replies and streams.

https://docs.cohere.com/reference/chat and https://docs.cohere.com/reference/chat-stream
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from ferryman.simulator import text
from ferryman.simulator.answer import Answer
from ferryman.simulator.ask import Ask
from ferryman.simulator.event import Event

STOPS = {
    "stop": "COMPLETE",
    "sequence": "STOP_SEQUENCE",
    "length": "MAX_TOKENS",
    "calls": "TOOL_CALL",
    "filter": "ERROR",
    "refusal": "COMPLETE",
    "pause": "COMPLETE",
}
_CITATION = {
    "start": 0,
    "end": 9,
    "text": "The ferry",
    "sources": [
        {"type": "document", "id": "doc:0", "document": {"id": "doc:0", "title": "Timetable"}}
    ],
    "type": "TEXT_CONTENT",
}


def usage(found: Answer) -> dict[str, Any]:
    """The ``usage`` object; what is billed leaves out what the service adds itself."""
    billed = {"input_tokens": found.prompt, "output_tokens": found.output}
    return {
        "billed_units": billed,
        "tokens": {**billed, "input_tokens": found.prompt + 60},
        "cached_tokens": found.cached,
    }


BROKEN = Event(
    b'{"type":"message-end","delta":{"error":"internal server error","finish_reason":"ERROR"}}',
    "message-end",
)
"""How a stream tells of an error."""


def _content(found: Answer) -> Iterator[tuple[str, str, list[str]]]:
    """Kind of a block, the member that holds its text, and its pieces."""
    if found.thought:
        yield "thinking", "thinking", found.thought
    if found.tokens and not found.calls:
        yield "text", "text", found.tokens


def _calls(found: Answer, ident: str) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{call.name}_{ident}{index}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for index, call in enumerate(found.calls)
    ]


def whole(ask: Ask, found: Answer, ident: str) -> dict[str, Any]:
    """A finished reply."""
    message: dict[str, Any] = {"role": "assistant"}
    content = [{"type": k, m: "".join(pieces)} for k, m, pieces in _content(found)]
    if content:
        message["content"] = content
    if found.calls:
        message |= {"tool_plan": found.text, "tool_calls": _calls(found, ident)}
    if found.citations:
        message["citations"] = [_CITATION]
    reply = {"id": ident, "finish_reason": STOPS[found.finish], "message": message}
    if "no-usage" not in ask.behaviour:
        reply["usage"] = usage(found)
    return reply


def stream(ask: Ask, found: Answer, ident: str) -> Iterator[Event]:
    """The events of a streamed reply, from ``message-start`` to ``message-end``."""

    def event(kind: str, tokens: int = 0, **fields: Any) -> Event:
        body = {"type": kind, **fields}
        return Event(msgspec.json.encode(body), kind, tokens, kind == "message-end")

    def delta(message: dict[str, Any]) -> dict[str, Any]:
        return {"message": message}

    empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield event("message-start", id=ident, delta=delta(empty))
    step = max(1, ask.behaviour.count("per-chunk", 1))
    for index, (kind, member, pieces) in enumerate(_content(found)):
        opening = {"content": {"type": kind, member: ""}}
        yield event("content-start", index=index, delta=delta(opening))
        for i in range(0, len(pieces), step):
            group = pieces[i : i + step]
            more = {"content": {member: "".join(group)}}
            yield event("content-delta", len(group), index=index, delta=delta(more))
        if found.citations and kind == "text":
            yield event("citation-start", index=0, delta=delta({"citations": _CITATION}))
            yield event("citation-end", index=0)
        yield event("content-end", index=index)
    for token in found.tokens if found.calls else ():  # before calls, text is a plan
        yield event("tool-plan-delta", 1, delta=delta({"tool_plan": token}))
    for index, call in enumerate(_calls(found, ident)):
        arguments = call["function"]["arguments"]
        start = {**call, "function": {**call["function"], "arguments": ""}}
        yield event("tool-call-start", index=index, delta=delta({"tool_calls": start}))
        for piece in text.pieces(arguments):
            said = {"tool_calls": {"function": {"arguments": piece}}}
            yield event("tool-call-delta", 1, index=index, delta=delta(said))
        yield event("tool-call-end", index=index)
    end: dict[str, Any] = {"finish_reason": STOPS[found.finish]}
    if "no-usage" not in ask.behaviour:
        end["usage"] = usage(found)
    yield event("message-end", id=ident, delta=end)
