"""The responses API: whole replies, and streams of typed, numbered events."""

from collections.abc import Iterator
from typing import Any

import msgspec

from ferryman.simulator import text
from ferryman.simulator.answer import Answer
from ferryman.simulator.ask import Ask
from ferryman.simulator.chat import CREATED, Event


def usage(found: Answer) -> dict[str, Any]:
    """The ``usage`` object in this API's words."""
    return {
        "input_tokens": found.prompt,
        "input_tokens_details": {"cached_tokens": found.cached},
        "output_tokens": found.output,
        "output_tokens_details": {"reasoning_tokens": found.reasoning},
        "total_tokens": found.prompt + found.output,
    }


def whole(ask: Ask, found: Answer, ident: str) -> dict[str, Any]:
    """A finished ``response``."""
    short = found.finish == "length"
    reply = _response(ask, ident, "incomplete" if short else "completed")
    reply["output"] = [_item(found, i, ident, "completed") for i in range(_items(found))]
    if short:
        reply["incomplete_details"] = {"reason": "max_output_tokens"}
    if "no-usage" not in ask.behaviour:
        reply["usage"] = usage(found)
    return reply


def _response(ask: Ask, ident: str, status: str) -> dict[str, Any]:
    return {
        "id": f"resp_{ident}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": ask.max_output_tokens,
        "model": ask.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": ask.tool_choice or "auto",
        "tools": ask.tools or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "metadata": {},
    }


def _items(found: Answer) -> int:
    return len(found.calls) or 1


def _part(found: Answer, said: str) -> dict[str, Any]:
    if found.refusal:
        return {"type": "refusal", "refusal": said}
    return {"type": "output_text", "text": said, "annotations": [], "logprobs": []}


def _item(found: Answer, index: int, ident: str, status: str) -> dict[str, Any]:
    """Output item ``index``: the message, or a function call."""
    done = status == "completed"
    if found.calls:
        call = found.calls[index]
        return {
            "id": f"fc_{ident}{index}",
            "type": "function_call",
            "status": status,
            "call_id": f"call_sim{index:021d}",
            "name": call.name,
            "arguments": call.arguments if done else "",
        }
    content = [_part(found, found.text)] if done else []
    message = {"type": "message", "status": status, "role": "assistant", "content": content}
    return {"id": f"msg_{ident}", **message}


def stream(ask: Ask, found: Answer, ident: str) -> Iterator[Event]:
    """The events of a streamed response; the last is ``response.completed``, not ``[DONE]``."""
    number = -1

    def event(kind: str, tokens: int = 0, **fields: Any) -> Event:
        nonlocal number
        number += 1
        body = {"type": kind, "sequence_number": number, **fields}
        return Event(msgspec.json.encode(body), kind, tokens)

    begun = _response(ask, ident, "in_progress")
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    for index in range(_items(found)):
        item = _item(found, index, ident, "in_progress")
        place: dict[str, Any] = {"output_index": index, "item_id": item["id"]}
        yield event("response.output_item.added", output_index=index, item=item)
        if found.calls:
            kind = "response.function_call_arguments"
            whole_text = found.calls[index].arguments
            for piece in text.pieces(whole_text):
                yield event(f"{kind}.delta", 1, **place, delta=piece)
            yield event(f"{kind}.done", **place, arguments=whole_text)
        else:
            kind = "response.refusal" if found.refusal else "response.output_text"
            place["content_index"] = 0
            full: dict[str, Any] = {"refusal" if found.refusal else "text": found.text}
            yield event("response.content_part.added", **place, part=_part(found, ""))
            for token in found.tokens:
                yield event(f"{kind}.delta", 1, **place, delta=token)
            yield event(f"{kind}.done", **place, **full)
            yield event("response.content_part.done", **place, part=_part(found, found.text))
        item = _item(found, index, ident, "completed")
        yield event("response.output_item.done", output_index=index, item=item)
    last = "response.incomplete" if found.finish == "length" else "response.completed"
    yield event(last, response=whole(ask, found, ident))
