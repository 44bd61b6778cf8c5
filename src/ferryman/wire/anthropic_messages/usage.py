"""Usage objects of the Messages format, to and from disjoint classes.

https://platform.claude.com/docs/en/api/messages (``usage``). ``input_tokens`` excludes what was
read from or written to the cache; ``output_tokens`` includes thoughts, which
``output_tokens_details`` counts where the API says so. Tokens of a compaction stand in
``iterations`` only, and are added. ``speed`` and ``inference_geo``, which have prices of their own:
https://platform.claude.com/docs/en/build-with-claude/fast-mode,
https://platform.claude.com/docs/en/build-with-claude/data-residency.
"""

from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Extras, Usage, service_of
from ferryman.wire.anthropic_messages.types import CacheSplit, WireUsage

MAX_TOKENS = 1 << 40
"""A count above this is a mistake of the provider's, not a number of tokens."""

_usage: msgspec.json.Decoder[WireUsage | None] = msgspec.json.Decoder(WireUsage | None)
_value = msgspec.json.Decoder()


def read_usage(raw: Raw) -> WireUsage | None:
    """The object, also where counts come as ``12.0`` or ``"12"``; None when it is none."""
    if not bytes(raw):
        return None
    try:
        return _usage.decode(raw)
    except UNREADABLE:
        pass
    try:
        said: WireUsage | None
        said = msgspec.convert(_value.decode(raw), WireUsage | None, strict=False)
        return said
    except UNREADABLE:
        return None


def merged(old: WireUsage | None, new: WireUsage | None) -> WireUsage | None:
    """What is known after ``new`` has come: its members replace those of ``old``."""
    if old is None or new is None:
        return new or old
    return WireUsage(
        *(
            before if now is None else now
            for before, now in zip(
                msgspec.structs.astuple(old), msgspec.structs.astuple(new), strict=True
            )
        )
    )


def usage_of(wire: WireUsage | None) -> Usage | None:
    """Disjoint classes, or None when the object is missing, empty, or says impossible things."""
    if wire is None or (wire.input_tokens is None and wire.output_tokens is None):
        return None
    short, long = _written(wire.cache_creation_input_tokens, wire.cache_creation)
    made = wire.output_tokens or 0
    details = wire.output_tokens_details
    thought = min((details.thinking_tokens or 0) if details else 0, made)
    fresh, read = wire.input_tokens or 0, wire.cache_read_input_tokens or 0
    for step in wire.iterations or ():
        if step.type == "compaction":
            more, most = _written(step.cache_creation_input_tokens, step.cache_creation)
            short, long = short + more, long + most
            fresh += step.input_tokens or 0
            read += step.cache_read_input_tokens or 0
            made += step.output_tokens or 0
    classes = (fresh, read, short, long, made - thought, thought)
    if min(classes) < 0 or max(classes) > MAX_TOKENS:
        return None
    return Usage(fresh, read, short, long, 0, made - thought, thought, 0, _extras(wire))


def _extras(wire: WireUsage) -> Extras | None:
    tools = wire.server_tool_use
    searches = tools.get("web_search_requests") if isinstance(tools, dict) else 0
    if not isinstance(searches, int) or not 0 <= searches <= MAX_TOKENS:
        searches = 0
    service = service_of(wire.service_tier)
    if wire.speed == "fast":
        service = "fast"
    region = wire.inference_geo if wire.inference_geo == "us" else ""
    if not (service or region or searches):
        return None
    return Extras(service=service, region=region, searches=searches)


def _written(total: int | None, split: CacheSplit | None) -> tuple[int, int]:
    """Tokens written to the cache for five minutes and for an hour."""
    short = (split.ephemeral_5m_input_tokens or 0) if split else 0
    long = (split.ephemeral_1h_input_tokens or 0) if split else 0
    # In a stream the total grows after the split was said: what it lacks is of the usual kind.
    return (max(total - long, short) if total is not None else short), long


def usage_out(usage: Usage, *, split: bool) -> dict[str, Any]:
    """The object for ``usage``; with ``split`` as in a message, else as in ``message_delta``."""
    written = usage.cache_write + usage.cache_write_1h
    out: dict[str, Any] = {
        "input_tokens": usage.total_input - usage.total_cache_read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.total_cache_read,
    }
    if split:
        out["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        }
        if usage.extras is not None and usage.extras.region:
            out["inference_geo"] = usage.extras.region
    out["output_tokens"] = usage.total_output
    if usage.reasoning:
        out["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return out
