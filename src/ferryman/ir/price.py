"""A model's price as integers: picodollars (10⁻¹² USD) per token."""

from msgspec import Struct

PICO = 10**12
"""Picodollars in one US dollar."""


class Rate(Struct, frozen=True, array_like=True, kw_only=True):
    """Picodollars per token of each :class:`~ferryman.ir.usage.Usage` class, and per request."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    output: int = 0
    reasoning: int = 0
    audio_output: int = 0
    request: int = 0


class Price(Struct, frozen=True, array_like=True, kw_only=True):
    """What a model costs within [``since``, ``until``) (Unix seconds; ``until`` 0 = open end).

    ``tiers`` is ordered by its threshold: the last tier whose threshold is *below* the call's total
    input tokens applies to the whole call. The first tier's threshold is -1: it always applies.
    """

    since: int = 0
    until: int = 0
    tiers: tuple[tuple[int, Rate], ...]
