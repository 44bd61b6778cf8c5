"""Usage objects of the OpenAI format, turned into disjoint classes.

Chat: https://platform.openai.com/docs/api-reference/chat/object (``usage``); Responses:
https://platform.openai.com/docs/api-reference/responses/object. ``prompt_tokens`` includes cached
and audio tokens, ``completion_tokens`` includes reasoning and audio tokens.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw
from msgspec.structs import astuple, replace

from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Extras, Usage
from ferryman.wire.openai_chat.types import WireUsage

CONTEXTS: Final = ("low", "medium", "high")
MAX_SECONDS: Final = 10.0**7
"""More audio than that is a mistake, too."""

_NOTHING_BESIDE: Final[tuple[Any, ...]] = astuple(WireUsage())[5:]
"""Of the fields after ``output_tokens``;"""
_NOTHING_MORE: Final[tuple[Any, ...]] = _NOTHING_BESIDE[7:]
"""and of those after the details and what was cached."""
_wire = msgspec.json.Decoder(WireUsage | None)
_object = msgspec.json.Decoder(dict[str, Any] | None)

MAX_TOKENS: Final = 1 << 40
"""A count above this is a mistake of the provider's, not a number of tokens."""


def usage_of(wire: WireUsage | None) -> Usage | None:
    """Disjoint classes, or None when the object is missing, empty, or says impossible things."""
    if wire is None:
        return None
    # All fields at once: compiled, to read one costs as much as five of these.
    fields: tuple[Any, ...] = astuple(wire)
    given: int | None = fields[0]
    made: int | None = fields[1]
    if given is None and made is None:
        given, made = wire.input_tokens, wire.output_tokens
        if given is None and made is None:
            given = wire.total_tokens
            if given is None:
                return timed(wire.seconds)
    given, made = given or 0, made or 0
    if given > MAX_TOKENS or made > MAX_TOKENS:
        return None
    if fields[5:] == _NOTHING_BESIDE:
        return Usage(given, 0, 0, 0, 0, made) if given >= 0 and made >= 0 else None
    return _detailed(wire, fields, given, made)


def _detailed(wire: WireUsage, fields: tuple[Any, ...], given: int, made: int) -> Usage | None:
    """The same of an object that says more than how much was read and written; its ``fields``."""
    read, said, newer, transcript, newer_said, hit, before = fields[5:12]
    read, said = read or newer or transcript, said or newer_said
    cached: int = hit or before or 0
    written = heard = seen = reasoned = spoken = drawn = heard_before = seen_before = 0
    if read is not None:
        counted, stored, sound, images, kinds = astuple(read)  # each may be None
        cached, written, heard, seen = counted or cached, stored or 0, sound or 0, images or 0
        if kinds is not None:
            heard_before, seen_before = kinds.audio_tokens or 0, kinds.image_tokens or 0
    if said is not None:
        thoughts, speech, pictures = astuple(said)
        reasoned, spoken, drawn = thoughts or 0, speech or 0, pictures or 0
    pieces = None
    if fields[12:] != _NOTHING_MORE:
        if wire.citation_tokens is not None and not reasoned:
            reasoned = wire.reasoning_tokens or 0
            made += reasoned
        pieces = _pieces(wire)
    beyond = cached or written or heard or seen or reasoned or spoken or drawn
    if not beyond and pieces is None:
        return Usage(given, 0, 0, 0, 0, made) if given >= 0 and made >= 0 else None
    if heard_before + seen_before > cached:
        return None
    # What was cached is among what was heard and seen.
    heard, seen = heard - min(heard_before, heard), seen - min(seen_before, seen)
    fresh = given - cached - written - heard
    seen = max(min(seen, fresh), 0)  # images may be among what was cached, and nobody says so
    fresh -= seen
    cached -= heard_before + seen_before
    text = made - reasoned - spoken - drawn
    if reasoned and text < 0 <= made - spoken - drawn:
        text = (
            made - spoken - drawn
        )  # some providers count reasoning beside the completion, not within
    classes = (
        fresh, cached, written, heard, seen, heard_before, seen_before, text, reasoned, spoken,
        drawn,
    )  # fmt: skip
    if min(classes) < 0 or max(classes) > MAX_TOKENS:
        return None
    extras = pieces
    if seen or drawn or heard_before or seen_before:
        extras = replace(
            pieces or Extras(),
            image_input=seen,
            image_output=drawn,
            audio_cache_read=heard_before,
            image_cache_read=seen_before,
        )
    return Usage(fresh, cached, written, 0, heard, text, reasoned, spoken, extras)


def _pieces(wire: WireUsage) -> Extras | None:
    """What else may have a price; None = nothing. Counts that are impossible count as none."""
    searches, files, runs = wire.num_search_queries or 0, 0, 0
    if wire.server_tool_use is not None:
        searches = wire.server_tool_use.web_search_requests or 0
    tools = wire.server_side_tool_usage_details
    if tools is not None:
        searches = (tools.web_search_calls or 0) + (tools.x_search_calls or 0)
        files, runs = tools.file_search_calls or 0, tools.code_interpreter_calls or 0
    cited, sources = wire.citation_tokens or 0, wire.num_sources_used or 0
    context = wire.search_context_size
    if context not in CONTEXTS:
        context = ""
    if not (searches or files or runs or cited or sources or context):
        return None
    counts = (searches, files, runs, cited, sources)
    if min(counts) < 0 or max(counts) > MAX_TOKENS:
        return None
    return Extras(
        searches=searches,
        file_searches=files,
        code_units=runs,
        citations=cited,
        sources=sources,
        context=context or "",
    )


def timed(seconds: float | None) -> Usage | None:
    """Usage of a transcript that is charged by time."""
    if seconds is None or not 0 <= seconds <= MAX_SECONDS:
        return None
    return Usage(extras=Extras(audio_ms=round(seconds * 1000)))


def read_usage(raw: Raw | None) -> Usage | None:
    """The usage that the JSON object ``raw`` tells of, if it is to be read at all."""
    try:
        return usage_of(_wire.decode(raw)) if raw else None
    except UNREADABLE:
        return odd_types(raw)


def odd_types(raw: Raw | None) -> Usage | None:
    """Usage whose counts are ``12.0`` or ``"12"``; None when it isn't to be read at all."""
    try:
        said = _object.decode(raw or b"null")
        return usage_of(msgspec.convert(said, WireUsage | None, strict=False))
    except UNREADABLE:
        return None


def usage_members(usage: Usage) -> dict[str, Any]:
    """The ``usage`` object for callers."""
    given, made = usage.total_input, usage.total_output
    return {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "prompt_tokens_details": {
            "cached_tokens": usage.total_cache_read,
            "cache_write_tokens": usage.cache_write + usage.cache_write_1h,
            "audio_tokens": usage.audio_input,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": usage.audio_output,
        },
    }
