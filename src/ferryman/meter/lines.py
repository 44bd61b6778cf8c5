"""A cost to the line: what was used, at which rate, and what that comes to. Pure."""

from typing import Final

from msgspec import Struct

from ferryman.ir.usage import CLASSES, Extras, Usage
from ferryman.meter.cost import (
    MOST,
    Prices,
    by_time,
    cost,
    per_mille,
    price_at,
    rate_of,
    request_fee,
    tells,
)

_BY_TOKEN: Final = (
    ("audio_cache_read", "audio_cache_read"),
    ("image_cache_read", "image_cache_read"),
    ("image_input", "image_input"),
    ("image_output", "image_output"),
    ("citations", "citation"),
)
"""What is counted, and the rate for one of it."""
_BY_PIECE: Final = (
    ("searches", "search"),
    ("characters", "character"),
    ("images", "image"),
    ("file_searches", "file_search"),
    ("code_units", "code_unit"),
    ("sources", "source"),
)


class Line(Struct, frozen=True, kw_only=True):
    """A part of a cost. The parts add up to :func:`~ferryman.meter.cost.cost`, exactly."""

    what: str
    """A class of tokens, the name of a fee, ``audio_ms``, or ``region NAME``."""
    count: int
    """How many; of a region, how much of 1000 it adds to the tokens' costs."""
    rate: int
    """Picodollars for one; of audio, for an hour; of a region, the tokens' costs."""
    pico: int


def lines(usage: Usage, prices: Prices, at_s: int) -> list[Line]:
    """What a call of ``at_s`` (Unix seconds) cost, without the parts that are nothing.

    Empty when it has no price, or that isn't known.
    """
    extras = usage.extras or Extras()
    price = price_at(prices, at_s)
    if price is None:
        return []
    rate = rate_of(price, at_s, usage.total_input, extras.service)
    if not tells(extras, rate):
        return []
    counts = [(name, getattr(usage, name), name) for name in CLASSES]
    counts += [(rated, getattr(extras, name), rated) for name, rated in _BY_TOKEN]
    out = [_line(name, count, getattr(rate, rated)) for name, count, rated in counts if count]
    if extras.region:
        tokens = sum(line.pico for line in out)
        more = per_mille(price, extras.region) - 1000
        over = (tokens * (1000 + more) + 500) // 1000 - tokens
        out.append(Line(what=f"region {extras.region}", count=more, rate=tokens, pico=over))
    out.append(_line("request", 1, request_fee(extras, rate)))
    out += [_line(rated, getattr(extras, name), getattr(rate, rated)) for name, rated in _BY_PIECE]
    out.append(_line("searched", 1 if extras.searches else 0, rate.searched))
    heard = max(extras.audio_ms, price.audio_least_ms) if extras.audio_ms else 0
    pico = by_time(heard, rate.audio_hour)
    out.append(Line(what="audio_ms", count=heard, rate=rate.audio_hour, pico=pico))
    out = [line for line in out if line.pico or line.what in CLASSES]
    excess = sum(line.pico for line in out) - (cost(usage, prices, at_s) or 0)
    if excess:
        out.append(Line(what="most that is counted", count=1, rate=MOST, pico=-excess))
    return out


def _line(what: str, count: int, rate: int) -> Line:
    return Line(what=what, count=count, rate=rate, pico=count * rate)
