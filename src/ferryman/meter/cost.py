"""What a call costs and what to hold for it, in integer picodollars. Pure."""

from typing import Final

from ferryman.ir.price import Price, Rate, Tiers
from ferryman.ir.usage import Extras, Usage

MOST: Final = 2**63 - 1
"""Picodollars (9.2 million dollars) at which a sum stops: what journal and database can carry."""
DAY: Final = 86_400
HOUR_MS: Final = 3_600_000
Prices = tuple[Price, ...]
"""All prices of a model; at most one of them is in force at a time."""


def rate_at(prices: Prices, at_s: int, total_input: int, service: str = "") -> Rate | None:
    """The rate in force at ``at_s`` (Unix seconds) for a call of ``total_input`` tokens.

    None when the model has no price then.
    """
    for price in prices:
        if price.since <= at_s and (not price.until or at_s < price.until):
            tiers = price.tiers
            if price.specials:
                tiers = tiers_at(price, at_s % DAY, service)
            if len(tiers) == 1:
                return tiers[0][1]
            rate = None
            for threshold, tier in tiers:
                if threshold >= total_input:
                    break
                rate = tier
            return rate
    return None


def tiers_at(price: Price, second: int, service: str) -> Tiers:
    """The rates of a service tier at a second of the day, or else the standard ones there."""
    for special in price.specials:
        if special.service == service:
            begins, ends = special.begins, special.ends
            if begins == ends:
                return special.tiers
            within = begins <= second < ends
            if within or (ends < begins and (second >= begins or second < ends)):
                return special.tiers
    return tiers_at(price, second, "") if service else price.tiers


def cost(usage: Usage | None, prices: Prices, at_s: int) -> int | None:
    """Picodollars for ``usage`` of a call that began at ``at_s`` (Unix seconds).

    None when the usage is unknown or the model has no price.
    """
    if usage is None:
        return None
    extras = usage.extras
    if extras is not None:
        return _cost_with(usage, extras, prices, at_s)
    # Each field is read once: that costs more than to multiply by it.
    fresh, read, written = usage.input, usage.cache_read, usage.cache_write
    written_1h, heard = usage.cache_write_1h, usage.audio_input
    rate = rate_at(prices, at_s, fresh + read + written + written_1h + heard)
    if rate is None:
        return None
    total = rate.request + fresh * rate.input + usage.output * rate.output
    if read:
        total += read * rate.cache_read
    if written:
        total += written * rate.cache_write
    if written_1h:
        total += written_1h * rate.cache_write_1h
    if heard:
        total += heard * rate.audio_input
    reasoned, spoken = usage.reasoning, usage.audio_output
    if reasoned:
        total += reasoned * rate.reasoning
    if spoken:
        total += spoken * rate.audio_output
    return total if total <= MOST else MOST


def _cost_with(usage: Usage, extras: Extras, prices: Prices, at_s: int) -> int | None:
    rate = rate_at(prices, at_s, usage.total_input, extras.service)
    if rate is None:
        return None
    tokens = (
        usage.input * rate.input
        + usage.cache_read * rate.cache_read
        + usage.cache_write * rate.cache_write
        + usage.cache_write_1h * rate.cache_write_1h
        + usage.audio_input * rate.audio_input
        + extras.audio_cache_read * rate.audio_cache_read
        + extras.image_input * rate.image_input
        + usage.output * rate.output
        + usage.reasoning * rate.reasoning
        + usage.audio_output * rate.audio_output
        + extras.image_output * rate.image_output
    )
    if extras.region:
        tokens = (tokens * per_mille(prices, at_s, extras.region) + 500) // 1000
    fees = rate.request + extras.searches * rate.search
    if extras.audio_ms:
        fees += (2 * extras.audio_ms * rate.audio_hour + HOUR_MS) // (2 * HOUR_MS)
    return min(tokens + fees, MOST)


def per_mille(prices: Prices, at_s: int, region: str) -> int:
    """What tokens cost in ``region``, in thousandths of their rate."""
    for price in prices:
        if price.since <= at_s and (not price.until or at_s < price.until):
            for name, factor in price.regions:
                if name == region:
                    return factor
    return 1000


def hold(dearest: tuple[int, int, int], body_bytes: int, max_output: int) -> int:
    """Picodollars that a call can cost at most, known before it goes upstream; 0 when unpriced.

    ``dearest``: the most that a token in, a token out and a request can cost. A token is at least
    one byte, so the body's bytes bound its input tokens; ``max_output`` is the call's own limit of
    output tokens, or else the model's. What the body only points to (an image by its URL, a stored
    conversation) and what the provider searches for are not in its bytes: such a call may cost more
    than its hold.
    """
    taken, given, fee = dearest
    return min(fee + body_bytes * taken + max_output * given, MOST)
