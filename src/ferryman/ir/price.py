"""A model's price as integers: picodollars (10⁻¹² USD) per token."""

from collections.abc import Collection, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Final

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
    request_low: int = 0
    """In place of ``request``, where usage says that a search brought in little of the web;"""
    request_medium: int = 0
    """or a middling part of it."""
    searched: int = 0
    """Per call that searched the web, however often."""
    image_cache_read: int = 0
    citation: int = 0
    """Per token of ``Extras.citations``."""
    character: int = 0
    """Per character of a text that is said."""
    image: int = 0
    """Per image made, where it isn't its tokens that are charged for."""
    file_search: int = 0
    code_unit: int = 0
    """Per one of ``Extras.code_units``."""
    source: int = 0


FLAT: Final = (
    "request", "request_low", "request_medium", "search", "searched", "file_search", "code_unit",
    "source",
)  # fmt: skip
"""Fields of :class:`Rate` that are fees: vendors charge them alike in every service tier;"""
PER_ONE: Final = (*FLAT, "audio_hour", "image")
"""and all whose amounts are not for a million."""
WIDER: Final[Mapping[str, tuple[str, ...]]] = {
    "cache_read": ("input",),
    "cache_write": ("input",),
    "cache_write_1h": ("cache_write", "input"),
    "audio_input": ("input",),
    "audio_cache_read": ("cache_read", "input"),
    "image_input": ("input",),
    "image_cache_read": ("cache_read", "input"),
    "reasoning": ("output",),
    "audio_output": ("output",),
    "image_output": ("output",),
    "request_low": ("request",),
    "request_medium": ("request",),
}
"""What costs the same as something else, unless its own price is told; the first that has one."""
_WHOLE: Final = Fraction(1)


def rate_of_amounts(amounts: Mapping[str, Decimal | None], worth: Fraction = _WHOLE) -> Rate:
    """Amounts per million tokens (:data:`PER_ONE`: for one) → picodollars.

    ``worth``: USD of one. What is left out costs as :data:`WIDER` says, or nothing. Each is rounded
    half up to a whole picodollar; amounts of USD with at most six decimals are whole.
    """

    def of(name: str) -> int:
        names = (name, *WIDER.get(name, ()))
        given = next((a for each in names if (a := amounts.get(each)) is not None), Decimal(0))
        return pico(name, given, worth)

    return Rate(**{name: of(name) for name in Rate.__struct_fields__})


def pico(name: str, amount: Decimal, worth: Fraction = _WHOLE) -> int:
    """What ``amount`` of a field of :class:`Rate` is in picodollars."""
    per = PICO if name in PER_ONE else PICO // 10**6
    return int(Fraction(amount) * worth * per + Fraction(1, 2))


Tiers = tuple[tuple[int, Rate], ...]
"""By rising threshold: the last tier whose threshold is *below* the call's total input tokens
applies to the whole call. The first tier's threshold is -1: it always applies."""


EVERY_DAY: Final = 0b111_1111


class Special(Struct, frozen=True, array_like=True, kw_only=True):
    """Rates of a service tier, of a part of the day, or of both; they replace the standard ones."""

    service: str = ""
    """Of ``ir.usage.SERVICES``; empty = the standard tier."""
    begins: int = 0
    """Seconds of the day (UTC) from which it holds;"""
    ends: int = 0
    """and up to which, perhaps of the next day. The same as ``begins`` = all day."""
    tiers: Tiers
    days: int = EVERY_DAY
    """Days of the week (UTC) on which it holds: 1 = Monday, 2 = Tuesday, 4 = Wednesday…"""


class Price(Struct, frozen=True, array_like=True, kw_only=True):
    """What a model costs within [``since``, ``until``) (Unix seconds; ``until`` 0 = open end)."""

    since: int = 0
    until: int = 0
    tiers: Tiers
    specials: tuple[Special, ...] = ()
    """The first that applies counts. For a service tier without one the standard rates do."""
    regions: tuple[tuple[str, int], ...] = ()
    """(region as usage names it, per mille of the rates for tokens there)."""
    audio_least_ms: int = 0
    """Milliseconds of audio that a call is charged for at least, if it is charged by time."""


def shared(tiers: Tiers, share: Fraction, but: Collection[str] = FLAT) -> Tiers:
    """``tiers`` times ``share``, rounded as :func:`scaled` does, but for the fields ``but``."""
    parts = zip(tiers, scaled(Price(tiers=tiers), *share.as_integer_ratio()).tiers, strict=True)
    return tuple(
        (size, replace(less, **{name: getattr(whole, name) for name in but}))
        for (size, whole), (_, less) in parts
    )


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
