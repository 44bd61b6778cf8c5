"""What a call costs and what to hold for it, in integer picodollars. Pure."""

from typing import Final

from ferryman.ir.fixed import Fixed
from ferryman.ir.price import Price, Rate, Tiers
from ferryman.ir.tally import Tally
from ferryman.ir.usage import Extras, Usage

MOST: Final = 2**63 - 1
"""Picodollars (9.2 million dollars) at which a sum stops: what journal and database can carry."""
DAY: Final = 86_400
HOUR_MS: Final = 3_600_000
Prices = tuple[Price, ...]
"""All prices of a model; at most one of them is in force at a time."""


def price_at(prices: Prices, at_s: int) -> Price | None:
    """The price in force at ``at_s`` (Unix seconds); None when the model has none then."""
    for price in prices:
        if price.since <= at_s and (not price.until or at_s < price.until):
            return price
    return None


def rate_at(prices: Prices, at_s: int, total_input: int, service: str = "") -> Rate | None:
    """The rate in force at ``at_s`` (Unix seconds) for a call of ``total_input`` tokens.

    None when the model has no price then.
    """
    price = price_at(prices, at_s)
    return None if price is None else rate_of(price, at_s, total_input, service)


def rate_of(price: Price, at_s: int, total_input: int, service: str) -> Rate:
    """The rate of ``price`` for a call of ``total_input`` tokens that began at ``at_s``."""
    tiers = price.tiers
    if price.specials:
        tiers = tiers_at(price, at_s, service)
    rate = tiers[0][1]
    if len(tiers) > 1:
        for threshold, tier in tiers:
            if threshold >= total_input:
                break
            rate = tier
    return rate


def tiers_at(price: Price, at_s: int, service: str) -> Tiers:
    """The rates of a service tier at a Unix second, or else the standard ones then."""
    second = at_s % DAY
    today = 1 << ((at_s // DAY + 3) % 7)  # 1 January 1970 was a Thursday
    for special in price.specials:
        if special.service == service:
            begins, ends = special.begins, special.ends
            if begins == ends:
                within = True
            elif begins < ends:
                within = begins <= second < ends
            else:
                within = second >= begins or second < ends
            # What goes past midnight belongs to the day on which it began.
            day = today
            if within and ends < begins and second < ends:
                day = today >> 1 or 1 << 6
            if within and special.days & day:
                return special.tiers
    return tiers_at(price, at_s, "") if service else price.tiers


def cost(usage: Usage | None, prices: Prices, at_s: int) -> int | None:
    """Picodollars for ``usage`` of a call that began at ``at_s`` (Unix seconds).

    None when the usage is unknown or the model has no price.
    """
    return None if usage is None else cost_of(Tally(usage), prices, at_s)


def cost_of(usage: Tally, prices: Prices, at_s: int, always: Fixed | None = None) -> int | None:
    """The same of usage that is known; ``always``: the rate, where ``prices`` come to one."""
    extras = usage.extras
    if extras is not None:
        return _cost_with(usage, extras, prices, at_s)
    if always is None:
        found = rate_at(prices, at_s, usage.total_input)
        if found is None:
            return None
        always = Fixed(found)
    total = always.request + usage.input * always.input + usage.output * always.output
    if usage.cache_read:
        total += usage.cache_read * always.cache_read
    if usage.cache_write:
        total += usage.cache_write * always.cache_write
    if usage.cache_write_1h:
        total += usage.cache_write_1h * always.cache_write_1h
    if usage.audio_input:
        total += usage.audio_input * always.audio_input
    if usage.reasoning:
        total += usage.reasoning * always.reasoning
    if usage.audio_output:
        total += usage.audio_output * always.audio_output
    return capped(total)


def _cost_with(usage: Tally, extras: Extras, prices: Prices, at_s: int) -> int | None:
    price = price_at(prices, at_s)
    if price is None:
        return None
    rate = rate_of(price, at_s, usage.total_input, extras.service)
    if not tells(extras, rate):
        return None
    tokens = (
        usage.input * rate.input
        + usage.cache_read * rate.cache_read
        + usage.cache_write * rate.cache_write
        + usage.cache_write_1h * rate.cache_write_1h
        + usage.audio_input * rate.audio_input
        + extras.audio_cache_read * rate.audio_cache_read
        + extras.image_cache_read * rate.image_cache_read
        + extras.image_input * rate.image_input
        + usage.output * rate.output
        + usage.reasoning * rate.reasoning
        + usage.audio_output * rate.audio_output
        + extras.image_output * rate.image_output
        + extras.citations * rate.citation
    )
    if extras.region:
        tokens = (tokens * per_mille(price, extras.region) + 500) // 1000
    return capped(tokens + fees(extras, rate, price))


def fees(extras: Extras, rate: Rate, price: Price) -> int:
    """What is charged for beyond tokens."""
    total = (
        request_fee(extras, rate)
        + extras.searches * rate.search
        + extras.characters * rate.character
        + extras.images * rate.image
        + extras.file_searches * rate.file_search
        + extras.code_units * rate.code_unit
        + extras.sources * rate.source
    )
    if extras.searches:
        total += rate.searched
    if extras.audio_ms:
        total += by_time(max(extras.audio_ms, price.audio_least_ms), rate.audio_hour)
    return total


def request_fee(extras: Extras, rate: Rate) -> int:
    """Per call, by how much of the web its search brought in."""
    if extras.context == "low":
        return rate.request_low
    return rate.request_medium if extras.context == "medium" else rate.request


def by_time(audio_ms: int, audio_hour: int) -> int:
    """For milliseconds of audio, rounded half up."""
    return (2 * audio_ms * audio_hour + HOUR_MS) // (2 * HOUR_MS)


def tells(extras: Extras, rate: Rate) -> bool:
    """Whether what is told of a call is what it is charged for.

    Of some calls is known only how long a text or an audio was, or how many images were made. A
    model that is paid by its tokens may cost anything then.
    """
    if extras.audio_ms and not rate.audio_hour:
        return not (rate.input or rate.output)
    if extras.characters and not rate.character:
        return not (rate.input or rate.output)
    if extras.images and not rate.image:
        return not (rate.input or rate.output)
    return True


def per_mille(price: Price, region: str) -> int:
    """What tokens cost in ``region``, in thousandths of their rate."""
    for name, factor in price.regions:
        if name == region:
            return factor
    return 1000


def hold(dearest: tuple[int, int, int], body_bytes: int, max_output: int) -> int:
    """Picodollars that a call can cost at most, known before it goes upstream; 0 when unpriced.

    ``dearest``: the most that a token in, a token out and a request can cost. A token is at least
    one byte, so the body's bytes bound its input tokens; ``max_output`` is the call's own limit of
    output tokens, or else the model's. Of what the body only points to, ``flow/pictures.py`` knows
    the most; what the provider searches for is in neither: such a call may cost more than its hold.
    What it may be charged beyond tokens: ``flow/bounds.py``.
    """
    taken, given, fee = dearest
    return capped(fee + body_bytes * taken + max_output * given)


def capped(picodollars: int) -> int:
    """At most :data:`MOST`."""
    # Compiled, a number of 63 bits is an object, and dear to compare with.
    return picodollars if picodollars < _SURELY_LESS else min(picodollars, MOST)


_SURELY_LESS: Final = 2**61
