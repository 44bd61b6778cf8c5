"""Chat completions and the older completions: whole replies and streams.

https://platform.openai.com/docs/api-reference/chat
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from ferryman.simulator import text
from ferryman.simulator.answer import Answer, Call
from ferryman.simulator.ask import Ask
from ferryman.simulator.event import DONE, Event
from ferryman.simulator.pictures import WAV

CREATED = 1_790_000_000
"""A fixed time, so that the same request gives the same bytes."""


FINISHES = {
    "stop": "stop",
    "sequence": "stop",
    "length": "length",
    "calls": "tool_calls",
    "filter": "content_filter",
    "refusal": "stop",
    "pause": "stop",
}


def usage(found: Answer, output: int | None = None) -> dict[str, Any]:
    """The ``usage`` object; ``output`` when not all tokens have been sent yet."""
    sent = found.output if output is None else output
    details = {"cached_tokens": found.cached, "audio_tokens": 0}
    if found.written:
        details["cache_write_tokens"] = found.written
    return {
        "prompt_tokens": found.prompt,
        "completion_tokens": sent,
        "total_tokens": found.prompt + sent,
        "prompt_tokens_details": details,
        "completion_tokens_details": {
            "reasoning_tokens": found.reasoning,
            "audio_tokens": found.visible if found.audio else 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def whole(ask: Ask, found: Answer, ident: str) -> dict[str, Any]:
    """A ``chat.completion``."""
    message: dict[str, Any] = {"role": "assistant", "content": found.text, "refusal": None}
    if found.refusal:
        message |= {"content": None, "refusal": found.text}
    if found.thought:
        message["reasoning_content"] = found.musing
    if found.calls:
        called = [_call(c, i, ident) for i, c in enumerate(found.calls)]
        message |= {"content": found.text or None, "tool_calls": called}
    if found.citations:
        message["annotations"] = [_annotation(found)]
    if found.audio:
        message |= {"content": None, "audio": {**_sound(ident), "transcript": found.text}}
    logprobs = _logprobs(found.tokens) if ask.body.get("logprobs") is True else None
    finish = FINISHES[found.finish]
    reply: dict[str, Any] = {
        "id": f"chatcmpl-{ident}",
        "object": "chat.completion",
        "created": CREATED,
        "model": ask.model,
        "choices": [
            {"index": i, "message": message, "logprobs": logprobs, "finish_reason": finish}
            for i in range(found.choices)
        ],
        "usage": usage(found),
        "service_tier": "default",
        "system_fingerprint": "fp_simulator",
    }
    if "no-usage" in ask.behaviour:
        del reply["usage"]
    return reply


def _call(call: Call, index: int, ident: str, arguments: str | None = None) -> dict[str, Any]:
    said = call.arguments if arguments is None else arguments
    inner = {"input": said} if call.kind == "custom" else {"arguments": said}
    place = f"call_{ident}{index}"
    return {"id": place, "type": call.kind, call.kind: {"name": call.name, **inner}}


def _annotation(found: Answer) -> dict[str, Any]:
    end = len("".join(found.tokens[:1]))
    where = {"start_index": 0, "end_index": end}
    source = {"title": "Timetable", "url": "https://example.com/timetable"}
    return {"type": "url_citation", "url_citation": {**where, **source}}


def _sound(ident: str) -> dict[str, Any]:
    return {"id": f"audio_{ident}", "data": WAV, "expires_at": CREATED + 3600}


def _logprobs(tokens: list[str]) -> dict[str, Any]:
    def each(token: str) -> dict[str, Any]:
        return {"token": token, "logprob": -0.25, "bytes": list(token.encode())}

    content = [{**each(token), "top_logprobs": [each(token)]} for token in tokens]
    return {"content": content, "refusal": None}


def stream(ask: Ask, found: Answer, ident: str) -> Iterator[Event]:
    """The chunks of a chat stream, ``[DONE]`` included."""
    wish = ask.behaviour
    base = {
        "id": f"chatcmpl-{ident}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": ask.model,
        "service_tier": "default",
        "system_fingerprint": "fp_simulator",
    }
    sent = 0

    logged = ask.body.get("logprobs") is True

    def chunk(index: int, delta: Any, finish: str | None, tokens: int = 0) -> Event:
        nonlocal sent
        sent += tokens
        said = delta.get("content") if logged else None
        logprobs = _logprobs([said]) if said else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        body: dict[str, Any] = {**base, "choices": [choice]}
        if "usage-each" in wish or ("usage-last" in wish and finish):
            body["usage"] = usage(found, sent + (found.reasoning if finish else 0))
        elif ask.include_usage and "no-usage" not in wish and "usage-last" not in wish:
            body["usage"] = None
        return Event(msgspec.json.encode(body), tokens=tokens)

    for index in range(found.choices):
        first = "" if found.tokens and not found.audio else None
        yield chunk(index, {"role": "assistant", "content": first, "refusal": None}, None)
        for delta, tokens in _deltas(found, ident, max(1, wish.count("per-chunk", 1))):
            yield chunk(index, delta, None, tokens)
        yield chunk(index, {}, FINISHES[found.finish])
    plain = not {"no-usage", "usage-last", "usage-each"} & wish.words.keys()
    if ask.include_usage and plain:
        yield Event(msgspec.json.encode({**base, "choices": [], "usage": usage(found)}))
    yield DONE


def _deltas(found: Answer, ident: str, step: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Deltas of one choice and the tokens each carries."""
    for piece in found.thought:
        yield {"reasoning_content": piece}, 1
    key = "refusal" if found.refusal else "content"
    for i in range(0, len(found.tokens), step):
        group = found.tokens[i : i + step]
        said = "".join(group)
        if found.audio:
            yield {"audio": {"id": f"audio_{ident}", "transcript": said}}, len(group)
        else:
            yield {key: said}, len(group)
    if found.citations:
        yield {"annotations": [_annotation(found)]}, 0
    if found.audio:
        yield {"audio": _sound(ident)}, 0
    for index, call in enumerate(found.calls):
        yield {"tool_calls": [{"index": index, **_call(call, index, ident, "")}]}, 0
        key = "input" if call.kind == "custom" else "arguments"
        for piece in text.pieces(call.arguments):
            yield {"tool_calls": [{"index": index, call.kind: {key: piece}}]}, 1


def old_whole(ask: Ask, found: Answer, ident: str) -> dict[str, Any]:
    """A ``text_completion``."""
    choice = {"text": found.text, "logprobs": None, "finish_reason": FINISHES[found.finish]}
    reply = _old(ask, ident, [{"index": i, **choice} for i in range(found.choices)])
    if "no-usage" not in ask.behaviour:
        reply["usage"] = usage(found)
    return reply


def old_stream(ask: Ask, found: Answer, ident: str) -> Iterator[Event]:
    """The chunks of a completion stream."""
    asked = ask.include_usage and "no-usage" not in ask.behaviour
    extra: dict[str, Any] = {"usage": None} if asked else {}
    for index in range(found.choices):
        for i, token in enumerate([*found.tokens, ""]):
            finish = FINISHES[found.finish] if i == len(found.tokens) else None
            choice = {"index": index, "text": token, "logprobs": None, "finish_reason": finish}
            body = _old(ask, ident, [choice]) | extra
            yield Event(msgspec.json.encode(body), tokens=0 if finish else 1)
    if asked:
        yield Event(msgspec.json.encode(_old(ask, ident, []) | {"usage": usage(found)}))
    yield DONE


def _old(ask: Ask, ident: str, choices: list[Any]) -> dict[str, Any]:
    return {
        "id": f"cmpl-{ident}",
        "object": "text_completion",
        "created": CREATED,
        "model": ask.model,
        "choices": choices,
        "system_fingerprint": "fp_simulator",
    }
