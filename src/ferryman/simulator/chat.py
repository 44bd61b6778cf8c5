"""Chat completions and the older completions: whole replies and streams."""

from collections.abc import Iterator
from typing import Any

import msgspec

from ferryman.simulator import text
from ferryman.simulator.answer import Answer
from ferryman.simulator.ask import Ask

CREATED = 1_790_000_000
"""A fixed time, so that the same request gives the same bytes."""


class Event(msgspec.Struct, frozen=True):
    """One server-sent event."""

    data: bytes
    name: str = ""
    tokens: int = 0
    """Output tokens it carries: what pauses between events are counted in."""


DONE = Event(b"[DONE]")


def usage(found: Answer, output: int | None = None) -> dict[str, Any]:
    """The ``usage`` object; ``output`` when not all tokens have been sent yet."""
    sent = found.output if output is None else output
    return {
        "prompt_tokens": found.prompt,
        "completion_tokens": sent,
        "total_tokens": found.prompt + sent,
        "prompt_tokens_details": {"cached_tokens": found.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": found.reasoning,
            "audio_tokens": 0,
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
        message["reasoning_content"] = "".join(found.thought)
    if found.calls:
        message |= {"content": None, "tool_calls": [_call(c, i) for i, c in enumerate(found.calls)]}
    reply: dict[str, Any] = {
        "id": f"chatcmpl-{ident}",
        "object": "chat.completion",
        "created": CREATED,
        "model": ask.model,
        "choices": [
            {"index": i, "message": message, "logprobs": None, "finish_reason": found.finish}
            for i in range(found.choices)
        ],
        "usage": usage(found),
        "service_tier": "default",
        "system_fingerprint": "fp_simulator",
    }
    if "no-usage" in ask.behaviour:
        del reply["usage"]
    return reply


def _call(call: Any, index: int, arguments: str | None = None) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments if arguments is None else arguments}
    return {"id": f"call_sim{index:021d}", "type": "function", "function": function}


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

    def chunk(index: int, delta: Any, finish: str | None, tokens: int = 0) -> Event:
        nonlocal sent
        sent += tokens
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        body: dict[str, Any] = {**base, "choices": [choice]}
        if "usage-each" in wish or ("usage-last" in wish and finish):
            body["usage"] = usage(found, sent + (found.reasoning if finish else 0))
        elif ask.include_usage and "no-usage" not in wish and "usage-last" not in wish:
            body["usage"] = None
        return Event(msgspec.json.encode(body), tokens=tokens)

    for index in range(found.choices):
        role = {"role": "assistant", "content": None if found.calls else "", "refusal": None}
        yield chunk(index, role, None)
        for delta, tokens in _deltas(found, max(1, wish.count("per-chunk", 1))):
            yield chunk(index, delta, None, tokens)
        yield chunk(index, {}, found.finish)
    plain = not {"no-usage", "usage-last", "usage-each"} & wish.words.keys()
    if ask.include_usage and plain:
        yield Event(msgspec.json.encode({**base, "choices": [], "usage": usage(found)}))
    yield DONE


def _deltas(found: Answer, step: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Deltas of one choice and the tokens each carries."""
    for piece in found.thought:
        yield {"reasoning_content": piece}, 1
    key = "refusal" if found.refusal else "content"
    for i in range(0, len(found.tokens), step):
        group = found.tokens[i : i + step]
        yield {key: "".join(group)}, len(group)
    for index, call in enumerate(found.calls):
        yield {"tool_calls": [{"index": index, **_call(call, index, "")}]}, 0
        for piece in text.pieces(call.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, 1


def old_whole(ask: Ask, found: Answer, ident: str) -> dict[str, Any]:
    """A ``text_completion``."""
    choice = {"text": found.text, "logprobs": None, "finish_reason": found.finish}
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
            finish = found.finish if i == len(found.tokens) else None
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
