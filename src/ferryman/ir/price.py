"""A model's price as integers: picodollars (10⁻¹² USD) per token."""

from msgspec import Struct
from msgspec.structs import asdict, replace

PICO = 10**12
"""Picodollars in one US dollar."""


class Rate(Struct, frozen=True, array_like=True, kw_only=True):
    """Picodollars per token of each :class:`~ferryman.ir.usage.Usage` class, and for the rest."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    output: int = 0
    reasoning: int = 0
    audio_output: int = 0
    request: int = 0
    """Per call."""
    search: int = 0
    """Per web search."""
    audio_cache_read: int = 0
    image_input: int = 0
    image_output: int = 0
    audio_hour: int = 0
    """Per hour of audio, where time is charged for."""


Tiers = tuple[tuple[int, Rate], ...]
"""By rising threshold: the last tier whose threshold is *below* the call's total input tokens
applies to the whole call. The first tier's threshold is -1: it always applies."""


class Special(Struct, frozen=True, array_like=True, kw_only=True):
    """Rates of a service tier, of a part of the day, or of both; they replace the standard ones."""

    service: str = ""
    """Of ``ir.usage.SERVICES``; empty = the standard tier."""
    begins: int = 0
    """Seconds of the day (UTC) from which it holds;"""
    ends: int = 0
    """and up to which, perhaps of the next day. The same as ``begins`` = all day."""
    tiers: Tiers


class Price(Struct, frozen=True, array_like=True, kw_only=True):
    """What a model costs within [``since``, ``until``) (Unix seconds; ``until`` 0 = open end)."""

    since: int = 0
    until: int = 0
    tiers: Tiers
    specials: tuple[Special, ...] = ()
    """The first that applies counts. For a service tier without one the standard rates do."""
    regions: tuple[tuple[str, int], ...] = ()
    """(region as usage names it, per mille of the rates for tokens there)."""


def scaled(price: Price, numerator: int, denominator: int) -> Price:
    """``price`` times a fraction, each rate rounded half up to a whole picodollar."""

    def part(tiers: Tiers) -> Tiers:
        return tuple((threshold, _rate(rate)) for threshold, rate in tiers)

    def _rate(rate: Rate) -> Rate:
        return Rate(**{name: _of(value) for name, value in asdict(rate).items()})

    def _of(value: int) -> int:
        return (2 * value * numerator + denominator) // (2 * denominator)

    specials = tuple(replace(special, tiers=part(special.tiers)) for special in price.specials)
    return replace(price, tiers=part(price.tiers), specials=specials)
