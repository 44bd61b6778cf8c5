"""Where single providers leave the OpenAI format: small named functions, called by name from rows.

Three oddities need no name here, because ``wire/openai_chat`` reads them from everybody: usage in
``x_groq.usage``, cached tokens in ``usage.prompt_cache_hit_tokens`` or ``usage.cached_tokens``, and
usage that comes with the last content chunk or with every chunk (the last one counts).
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Raw

Fields = dict[str, Raw]
"""A request body's members, each still the JSON bytes the caller sent."""

_model = msgspec.json.Decoder(str)
_only_completion_tokens = re.compile(r"(?:o[1-9]|gpt-[5-9])(?!\d)")


def no_stream_options(fields: Fields) -> None:
    """Drop ``stream_options``: the provider refuses it, and sends usage on streams without it.

    https://github.com/openai/openai-agents-python/issues/442 (422 ``extra_forbidden``),
    https://github.com/continuedev/continue/issues/12936 (400 ``unknown field``).
    """
    fields.pop("stream_options", None)


def max_tokens_only(fields: Fields) -> None:
    """Send ``max_completion_tokens`` under its older name ``max_tokens``.

    https://github.com/editor-code-assistant/eca/issues/231 (422 ``extra_forbidden``).
    """
    limit = fields.pop("max_completion_tokens", None)
    if limit is not None:
        fields.setdefault("max_tokens", limit)


def max_completion_tokens(fields: Fields) -> None:
    """Send ``max_tokens`` as ``max_completion_tokens`` where the *model* refuses the older name.

    Reads ``model``, which must already name the provider's model. Reasoning models answer 400
    "Unsupported parameter: 'max_tokens'": https://github.com/teilomillet/gollm/issues/33,
    https://github.com/dsp05/overleaf-copilot/pull/43.
    """
    if "max_tokens" not in fields or "model" not in fields:
        return
    try:
        name = _model.decode(fields["model"]).rpartition("/")[2]
    except msgspec.MsgspecError:
        return
    if _only_completion_tokens.match(name):
        fields.setdefault("max_completion_tokens", fields.pop("max_tokens"))
        fields.pop("max_tokens", None)


def usage_in_choice(reply: dict[str, Any]) -> None:
    """Lift ``choices[0].usage`` of a stream's last chunk to where the format has it.

    https://github.com/earendil-works/pi/issues/2017.
    """
    choices = reply.get("choices")
    if reply.get("usage") is None and isinstance(choices, list) and choices:
        usage = choices[0].get("usage") if isinstance(choices[0], dict) else None
        if isinstance(usage, dict):
            reply["usage"] = usage


def cached_tokens_top_level(reply: dict[str, Any]) -> None:
    """Move ``usage.cache_read_input_tokens`` (part of ``prompt_tokens``) into the details.

    Also ``usage.reasoning_tokens`` (part of ``completion_tokens``). As genai-prices 0.2.3 reads it.
    """
    usage = reply.get("usage")
    if not isinstance(usage, dict):
        return
    for old, group, new in (
        ("cache_read_input_tokens", "prompt_tokens_details", "cached_tokens"),
        ("reasoning_tokens", "completion_tokens_details", "reasoning_tokens"),
    ):
        count = usage.get(old)
        details = usage.get(group) or {}
        if isinstance(count, int) and isinstance(details, dict) and not details.get(new):
            usage[group] = {**details, new: count}


def reasoning_beside_completion(reply: dict[str, Any]) -> None:
    """Count reasoning within ``completion_tokens`` when the provider counts it beside.

    Then ``total_tokens`` is larger than prompt and completion together, and the rest is reasoning:
    https://docs.x.ai/docs/key-information/consumption-and-rate-limits,
    https://github.com/vercel/ai/pull/12425, https://github.com/mozilla-ai/any-llm/issues/1290.
    """
    usage = reply.get("usage")
    if not isinstance(usage, dict):
        return
    total, given, made = (
        usage.get(name) for name in ("total_tokens", "prompt_tokens", "completion_tokens")
    )
    made = made or 0
    if not (isinstance(total, int) and isinstance(given, int) and isinstance(made, int)):
        return
    beside = total - given - made
    if beside <= 0:
        return
    details = usage.get("completion_tokens_details") or {}
    if not isinstance(details, dict):
        return
    usage["completion_tokens"] = made + beside
    usage["completion_tokens_details"] = {
        **details,
        "reasoning_tokens": details.get("reasoning_tokens") or beside,
    }


REQUEST_QUIRKS: dict[str, Callable[[Fields], None]] = {
    "no_stream_options": no_stream_options,
    "max_tokens_only": max_tokens_only,
    "max_completion_tokens": max_completion_tokens,
}
"""Change a request's members in place, once ``model`` names the target. Never raise."""

USAGE_QUIRKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "usage_in_choice": usage_in_choice,
    "cached_tokens_top_level": cached_tokens_top_level,
    "reasoning_beside_completion": reasoning_beside_completion,
}
"""Change a decoded reply, or stream chunk, in place so that ``usage`` says what the format says.

For reading usage only: what the caller gets are the provider's own bytes. Never raise.
"""


def request_quirks(names: Iterable[str]) -> tuple[Callable[[Fields], None], ...]:
    """Those of ``names`` (a provider's quirks) that concern requests."""
    return tuple(REQUEST_QUIRKS[name] for name in names if name in REQUEST_QUIRKS)


def usage_quirks(names: Iterable[str]) -> tuple[Callable[[dict[str, Any]], None], ...]:
    """Those of ``names`` (a provider's quirks) that concern usage."""
    return tuple(USAGE_QUIRKS[name] for name in names if name in USAGE_QUIRKS)
