"""Usage objects of the OpenAI format, turned into disjoint classes.

Chat: https://platform.openai.com/docs/api-reference/chat/object (``usage``); Responses:
https://platform.openai.com/docs/api-reference/responses/object. ``prompt_tokens`` includes cached
and audio tokens, ``completion_tokens`` includes reasoning and audio tokens.
"""

from msgspec import Struct

from ferryman.ir.usage import Usage


class InputDetails(Struct, frozen=True):
    """``prompt_tokens_details`` / ``input_tokens_details``."""

    cached_tokens: int | None = 0
    cache_write_tokens: int | None = 0
    audio_tokens: int | None = 0


class OutputDetails(Struct, frozen=True):
    """``completion_tokens_details`` / ``output_tokens_details``."""

    reasoning_tokens: int | None = 0
    audio_tokens: int | None = 0


class WireUsage(Struct, frozen=True):
    """``usage`` of chat, completions and embeddings, and of Responses under its newer names."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    """Cached part of the prompt where a provider reports it beside the details."""
    cached_tokens: int | None = None


def usage_of(wire: WireUsage | None) -> Usage | None:
    """Disjoint classes, or None when the object is missing, empty, or says impossible things."""
    if wire is None:
        return None
    given = wire.prompt_tokens if wire.prompt_tokens is not None else wire.input_tokens
    made = wire.completion_tokens if wire.completion_tokens is not None else wire.output_tokens
    if given is None and made is None:
        given = wire.total_tokens
        if given is None:
            return None
    given, made = given or 0, made or 0
    read = wire.prompt_tokens_details or wire.input_tokens_details
    said = wire.completion_tokens_details or wire.output_tokens_details
    cached = written = heard = reasoned = spoken = 0
    if read is not None:
        cached = read.cached_tokens or 0
        written = read.cache_write_tokens or 0
        heard = read.audio_tokens or 0
    if not cached:
        cached = wire.prompt_cache_hit_tokens or wire.cached_tokens or 0
    if said is not None:
        reasoned = said.reasoning_tokens or 0
        spoken = said.audio_tokens or 0
    fresh = given - cached - written - heard
    text = made - reasoned - spoken
    if reasoned and text < 0 <= made - spoken:
        text = made - spoken  # some providers count reasoning beside the completion, not within
    if min(fresh, cached, written, heard, text, reasoned, spoken) < 0:
        return None
    return Usage(
        input=fresh,
        cache_read=cached,
        cache_write=written,
        audio_input=heard,
        output=text,
        reasoning=reasoned,
        audio_output=spoken,
    )
