"""A cost to the line: what was used, at which rate, and what that comes to. Pure."""

from msgspec import Struct

from ferryman.ir.usage import CLASSES, Extras, Usage
from ferryman.meter.cost import HOUR_MS, MOST, Prices, cost, per_mille, rate_at

_IMAGES_AND_SOUND = ("audio_cache_read", "image_input", "image_output")


class Line(Struct, frozen=True, kw_only=True):
    """A part of a cost. The parts add up to :func:`~ferryman.meter.cost.cost`, exactly."""

    what: str
    """A class of tokens, ``request``, ``search``, ``audio_ms``, or ``region NAME``."""
    count: int
    """How many; of a region, how much of 1000 it adds to the tokens' costs."""
    rate: int
    """Picodollars for one; of audio, for an hour; of a region, the tokens' costs."""
    pico: int


def lines(usage: Usage, prices: Prices, at_s: int) -> list[Line]:
    """What a call of ``at_s`` (Unix seconds) cost, without the parts that are nothing.

    Empty when it has no price.
    """
    extras = usage.extras or Extras()
    rate = rate_at(prices, at_s, usage.total_input, extras.service)
    if rate is None:
        return []
    counts = [(name, getattr(usage, name)) for name in CLASSES]
    counts += [(name, getattr(extras, name)) for name in _IMAGES_AND_SOUND]
    out = [_line(name, count, getattr(rate, name)) for name, count in counts if count]
    if extras.region:
        tokens = sum(line.pico for line in out)
        more = per_mille(prices, at_s, extras.region) - 1000
        over = (tokens * (1000 + more) + 500) // 1000 - tokens
        out.append(Line(what=f"region {extras.region}", count=more, rate=tokens, pico=over))
    out.append(_line("request", 1, rate.request))
    out.append(_line("search", extras.searches, rate.search))
    heard = (2 * extras.audio_ms * rate.audio_hour + HOUR_MS) // (2 * HOUR_MS)
    out.append(Line(what="audio_ms", count=extras.audio_ms, rate=rate.audio_hour, pico=heard))
    out = [line for line in out if line.pico or line.what in CLASSES]
    excess = sum(line.pico for line in out) - (cost(usage, prices, at_s) or 0)
    if excess:
        out.append(Line(what="most that is counted", count=1, rate=MOST, pico=-excess))
    return out


def _line(what: str, count: int, rate: int) -> Line:
    return Line(what=what, count=count, rate=rate, pico=count * rate)
