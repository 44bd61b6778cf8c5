"""The responses API: whole replies, and streams of typed, numbered events.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ferryman.simulator import text
from ferryman.simulator.answer import Answer, Call
from ferryman.simulator.ask import Ask
from ferryman.simulator.chat import CREATED
from ferryman.simulator.event import Event
from ferryman.simulator.pictures import PNG
from ferryman.simulator.seals import seal

Tell = Callable[..., Event]
"""Makes the next event: its kind, the tokens it carries, its members."""
LAST = ("response.completed", "response.incomplete", "response.failed")
INCOMPLETE = {"length": "max_output_tokens", "filter": "content_filter"}
"""Finishes with which a response is not complete, and this API's words for them."""


def usage(found: Answer) -> dict[str, Any]:
    """The ``usage`` object in this API's words."""
    details = {"cached_tokens": found.cached}
    if found.written:
        details["cache_write_tokens"] = found.written
    return {
        "input_tokens": found.prompt,
        "input_tokens_details": details,
        "output_tokens": found.output,
        "output_tokens_details": {"reasoning_tokens": found.reasoning},
        "total_tokens": found.prompt + found.output,
    }


def whole(ask: Ask, found: Answer, ident: str) -> dict[str, Any]:
    """A finished ``response``."""
    reason = INCOMPLETE.get(found.finish)
    reply = _response(ask, ident, "incomplete" if reason else "completed")
    reply["output"] = _items(ask, found, ident)
    if reason:
        reply["incomplete_details"] = {"reason": reason}
    if "no-usage" not in ask.behaviour:
        reply["usage"] = usage(found)
    return reply


def _response(ask: Ask, ident: str, status: str) -> dict[str, Any]:
    body = ask.body
    return {
        "id": f"resp_{ident}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": ask.limit,
        "model": ask.model,
        "output": [],
        "parallel_tool_calls": ask.parallel,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None, **(body.get("reasoning") or {})},
        "store": body.get("store") is not False,
        "temperature": body.get("temperature", 1.0),
        "text": {"format": {"type": "text"}, **(body.get("text") or {})},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": body.get("truncation") or "disabled",
        "usage": None,
        "metadata": body.get("metadata") or {},
    }


def _items(ask: Ask, found: Answer, ident: str) -> list[dict[str, Any]]:
    """The finished output: reasoning, images, the message, calls."""
    items = []
    if found.thought or found.redacted:
        items.append(_reasoning(ask, found, ident))
    if found.image:
        done = {"status": "completed", "result": PNG}
        items.append({"id": f"ig_{ident}", "type": "image_generation_call", **done})
    if found.tokens or not found.calls:
        content = [_part(found, found.text)]
        message = {"type": "message", "status": "completed", "role": "assistant"}
        items.append({"id": f"msg_{ident}", **message, "content": content})
    items += [_call(call, i, ident) for i, call in enumerate(found.calls)]
    return items


def _reasoning(ask: Ask, found: Answer, ident: str) -> dict[str, Any]:
    """A reasoning item: a summary if one was asked for, and the rest encrypted if that was."""
    wanted = ask.body.get("reasoning") or {}
    summed = "think" in ask.behaviour or wanted.get("summary") is not None
    said = found.musing if summed else ""
    summary = [{"type": "summary_text", "text": said}] if summed else []
    item: dict[str, Any] = {"id": f"rs_{ident}", "type": "reasoning", "summary": summary}
    if "reasoning.encrypted_content" in (ask.body.get("include") or []) or found.redacted:
        item["encrypted_content"] = seal("reasoning", said)
    return item


def _part(found: Answer, said: str) -> dict[str, Any]:
    if found.refusal:
        return {"type": "refusal", "refusal": said}
    notes = [_annotation(found)] if found.citations and said else []
    return {"type": "output_text", "text": said, "annotations": notes, "logprobs": []}


def _annotation(found: Answer) -> dict[str, Any]:
    end = len("".join(found.tokens[:1]))
    where = {"start_index": 0, "end_index": end}
    source = {"title": "Timetable", "url": "https://example.com/timetable"}
    return {"type": "url_citation", **where, **source}


def _call(call: Call, index: int, ident: str) -> dict[str, Any]:
    base = {"status": "completed", "call_id": f"call_{ident}{index}", "name": call.name}
    if call.kind == "custom":
        item = {"id": f"ctc_{ident}{index}", "type": "custom_tool_call", **base}
        return {**item, "input": call.arguments}
    item = {"id": f"fc_{ident}{index}", "type": "function_call", **base}
    return {**item, "arguments": call.arguments}


def stream(ask: Ask, found: Answer, ident: str) -> Iterator[Event]:
    """The events of a streamed response; the last is ``response.completed``, not ``[DONE]``."""
    number = -1

    def tell(kind: str, tokens: int = 0, **fields: Any) -> Event:
        nonlocal number
        number += 1
        body = {"type": kind, "sequence_number": number, **fields}
        return Event(msgspec.json.encode(body), kind, tokens, kind in LAST)

    begun = _response(ask, ident, "in_progress")
    yield tell("response.created", response=begun)
    yield tell("response.in_progress", response=begun)
    step = max(1, ask.behaviour.count("per-chunk", 1))
    for index, item in enumerate(_items(ask, found, ident)):
        place: dict[str, Any] = {"output_index": index, "item_id": item["id"]}
        empty = {**item, "status": "in_progress"}
        if item["type"] == "message":
            yield tell(
                "response.output_item.added", output_index=index, item=empty | {"content": []}
            )
            yield from _said(found, place, tell, step)
        elif item["type"] == "reasoning":
            empty = {**item, "summary": []}
            yield tell("response.output_item.added", output_index=index, item=empty)
            yield from _summary(found if item["summary"] else Answer(), place, tell)
        elif item["type"] == "image_generation_call":
            empty["result"] = None
            yield tell("response.output_item.added", output_index=index, item=empty)
            for stage in ("in_progress", "generating", "completed"):
                yield tell(f"response.image_generation_call.{stage}", **place)
        else:
            key, kind = "arguments", "response.function_call_arguments"
            if item["type"] == "custom_tool_call":
                key, kind = "input", "response.custom_tool_call_input"
            yield tell("response.output_item.added", output_index=index, item=empty | {key: ""})
            for piece in text.pieces(item[key]):
                yield tell(f"{kind}.delta", 1, **place, delta=piece)
            named = {"name": item["name"]} if key == "arguments" else {}
            yield tell(f"{kind}.done", **place, **named, **{key: item[key]})
        yield tell("response.output_item.done", output_index=index, item=item)
    last = "response.incomplete" if found.finish in INCOMPLETE else "response.completed"
    yield tell(last, response=whole(ask, found, ident))


def _said(found: Answer, place: dict[str, Any], tell: Tell, step: int) -> Iterator[Event]:
    """The events of a message's content."""
    kind = "response.refusal" if found.refusal else "response.output_text"
    place = {**place, "content_index": 0}
    more: dict[str, Any] = {} if found.refusal else {"logprobs": []}
    yield tell("response.content_part.added", **place, part=_part(found, ""))
    for i in range(0, len(found.tokens), step):
        group = found.tokens[i : i + step]
        yield tell(f"{kind}.delta", len(group), **place, delta="".join(group), **more)
    if found.citations and not found.refusal:
        note = {"annotation_index": 0, "annotation": _annotation(found)}
        yield tell("response.output_text.annotation.added", **place, **note)
    full = {"refusal" if found.refusal else "text": found.text}
    yield tell(f"{kind}.done", **place, **full, **more)
    yield tell("response.content_part.done", **place, part=_part(found, found.text))


def _summary(found: Answer, place: dict[str, Any], tell: Tell) -> Iterator[Event]:
    """The events of a reasoning item's summary."""
    if not found.thought:
        return
    place = {**place, "summary_index": 0}
    kind = "response.reasoning_summary"
    yield tell(f"{kind}_part.added", **place, part={"type": "summary_text", "text": ""})
    for piece in found.thought:
        yield tell(f"{kind}_text.delta", 1, **place, delta=piece)
    yield tell(f"{kind}_text.done", **place, text=found.musing)
    yield tell(f"{kind}_part.done", **place, part={"type": "summary_text", "text": found.musing})
