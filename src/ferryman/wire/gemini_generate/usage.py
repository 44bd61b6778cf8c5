"""``usageMetadata`` and disjoint classes, one from the other.

https://ai.google.dev/api/generate-content#UsageMetadata: ``promptTokenCount`` includes cached
tokens, ``toolUsePromptTokenCount`` (what tools of the provider gave to read) and
``thoughtsTokenCount`` stand beside the others; details say how many are of which modality.
"""

from collections.abc import Collection
from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Extras, Usage, service_of
from ferryman.wire.gemini_generate.types import Modality, Queries, SearchedOnly, UsageMetadata

MAX_TOKENS = 1 << 40
"""A count above this is a mistake of the provider's, not a number of tokens."""
QUERIES: Final = b'"webSearchQueries"'
"""Where this is, the provider has searched the web for the answer."""
_read = msgspec.json.Decoder(UsageMetadata).decode
_searched = msgspec.json.Decoder(SearchedOnly).decode
_queries = msgspec.json.Decoder(Queries).decode


def read_usage(raw: Raw | bytes) -> Usage | None:
    """Usage in disjoint classes; None where nothing usable is said."""
    if not raw:
        return None
    try:
        return usage_of(_read(raw))
    except UNREADABLE:
        return None


def queries_in(body: bytes) -> frozenset[str]:
    """The web searches that a reply or an event tells of.

    https://ai.google.dev/gemini-api/docs/google-search: what is charged for are queries that differ
    and are not empty.
    """
    try:
        said = _searched(body).candidates or ()
    except UNREADABLE:
        return frozenset()
    found = [each.grounding_metadata for each in said]
    return frozenset(q for each in found if each for q in each.web_search_queries or () if q)


def queries_of(grounding: Raw) -> frozenset[str]:
    """The same of one ``groundingMetadata``."""
    if QUERIES not in bytes(grounding):
        return frozenset()
    try:
        return frozenset(query for query in _queries(grounding).web_search_queries or () if query)
    except UNREADABLE:
        return frozenset()


def with_searches(usage: Usage | None, queries: Collection[str]) -> Usage | None:
    """``usage`` with as many searches."""
    if usage is None or not queries:
        return usage
    return replace(usage, extras=replace(usage.extras or Extras(), searches=len(queries)))


def usage_of(wire: UsageMetadata | None) -> Usage | None:
    """Disjoint classes, or None when the object is missing, empty, or says impossible things."""
    if wire is None:
        return None
    given, made = wire.prompt_token_count, wire.candidates_token_count
    if given is None and made is None and wire.total_token_count is None:
        return None
    prompt = given or 0
    cached = wire.cached_content_token_count or 0
    used = wire.tool_use_prompt_token_count or 0
    thoughts = wire.thoughts_token_count or 0
    said = made or 0
    if given is None and made is None:
        prompt = (wire.total_token_count or 0) - used - thoughts
    heard = _count(wire.prompt_tokens_details) + _count(wire.tool_use_prompt_tokens_details)
    heard_before = max(min(_count(wire.cache_tokens_details), cached), 0)
    heard = max(heard - heard_before, 0)
    spoken = _count(wire.candidates_tokens_details)
    drawn = _count(wire.candidates_tokens_details, "IMAGE")
    fresh = prompt - cached + used - heard
    text = said - spoken - drawn
    classes = (fresh, cached, heard, text, thoughts, spoken, drawn)
    if min(classes) < 0 or max(classes) > MAX_TOKENS:
        return None
    service = service_of(wire.service_tier or wire.traffic_type)
    extras = None
    if service or heard_before or drawn:
        extras = Extras(service=service, audio_cache_read=heard_before, image_output=drawn)
    return Usage(fresh, cached - heard_before, 0, 0, heard, text, thoughts, spoken, extras)


def _count(details: list[Modality] | None, modality: str = "AUDIO") -> int:
    if not details:
        return 0
    return sum(item.token_count or 0 for item in details if item.modality == modality)


def wire_usage(usage: Usage) -> UsageMetadata:
    """The object for a reply. Tokens written to a cache have no place but among the prompt's."""
    wire = UsageMetadata(
        prompt_token_count=usage.total_input,
        candidates_token_count=usage.total_output - usage.reasoning,
        total_token_count=usage.total_input + usage.total_output,
        cached_content_token_count=usage.total_cache_read or None,
        thoughts_token_count=usage.reasoning or None,
    )
    if usage.audio_input:
        wire.prompt_tokens_details = _split(usage.total_input, usage.audio_input)
    if usage.audio_output:
        made = usage.output + usage.audio_output
        wire.candidates_tokens_details = _split(made, usage.audio_output)
    return wire


def _split(total: int, audio: int) -> list[Modality]:
    parts = [Modality("AUDIO", audio)]
    return [Modality("TEXT", total - audio), *parts] if total > audio else parts
