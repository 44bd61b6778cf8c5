"""What a call costs and what to hold for it, in integer picodollars. Pure."""

from typing import Final

from ferryman.ir.price import Price, Rate
from ferryman.ir.usage import Usage

MOST: Final = 2**63 - 1
"""Picodollars (9.2 million dollars) at which a sum stops: what journal and database can carry."""
Prices = tuple[Price, ...]
"""All prices of a model; at most one of them is in force at a time."""


def rate_at(prices: Prices, at_s: int, total_input: int) -> Rate | None:
    """The rate in force at ``at_s`` (Unix seconds) for a call of ``total_input`` tokens.

    None when the model has no price then.
    """
    for price in prices:
        if price.since <= at_s and (not price.until or at_s < price.until):
            tiers = price.tiers
            if len(tiers) == 1:
                return tiers[0][1]
            rate = None
            for threshold, tier in tiers:
                if threshold >= total_input:
                    break
                rate = tier
            return rate
    return None


def cost(usage: Usage | None, prices: Prices, at_s: int) -> int | None:
    """Picodollars for ``usage`` of a call that began at ``at_s`` (Unix seconds).

    None when the usage is unknown or the model has no price.
    """
    if usage is None:
        return None
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


def hold(dearest: tuple[int, int, int], body_bytes: int, max_output: int) -> int:
    """Picodollars that a call can cost at most, known before it goes upstream; 0 when unpriced.

    ``dearest``: the most that a token in, a token out and a request can cost. A token is at least
    one byte, so the body's bytes bound its input tokens; ``max_output`` is the call's own limit of
    output tokens, or else the model's. What the body only points to (an image by its URL, a stored
    conversation) is not in its bytes: such a call may cost more than its hold.
    """
    taken, given, fee = dearest
    return min(fee + body_bytes * taken + max_output * given, MOST)
