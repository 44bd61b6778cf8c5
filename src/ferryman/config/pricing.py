"""Prices of one's own: from the tables of the file to integers."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from ferryman.catalog.amendments import days, regional
from ferryman.config.model import Prices, ProviderConfig
from ferryman.config.problem import ERROR, WARNING, Path
from ferryman.ir.price import Price, Rate, Special, Tiers, rate_of_amounts, scaled, shared

Found = dict[str, Any]


def prices_in(found: Found) -> dict[str, tuple[Prices, ...]]:
    """A provider's prices as they were read, by model: those periods that are right, in order."""
    read = {model: _periods(price) for model, price in found.items()}
    return {model: periods for model, periods in read.items() if periods}


def _periods(found: Any) -> tuple[Prices, ...]:
    listed = [entry for _, entry in found] if isinstance(found, list) else [found]
    periods = [
        msgspec.convert(
            {**entry, "above": {int(size): more for size, more in entry.get("above", {}).items()}},
            Prices,
        )
        for entry in listed
        if "input" in entry and "output" in entry and _ordered(entry)
    ]
    return tuple(sorted(periods, key=lambda period: period.since or ""))


Mistake = tuple[Path, str, str, str]
"""Where, what, what to do, how bad."""


def mistakes(
    path: Path, found: Found, catalogued: bool, currencies: Iterable[str]
) -> Iterator[Mistake]:
    """What is wrong with a provider's prices, besides what is no price at all."""
    for name in ("discount", "discounts", "surcharge"):
        if not catalogued and found.get(name):
            message = "the catalogue has no prices of this provider that this could change"
            yield (*path, name), message, "Give prices instead.", WARNING
    for model, price in found.get("prices", {}).items():
        yield from _mistakes((*path, "prices", model), price, currencies)


def _mistakes(path: Path, found: Any, currencies: Iterable[str]) -> Iterator[Mistake]:
    places = [((*path, i), entry) for i, entry in found] if isinstance(found, list) else []
    for where, entry in places or [(path, found)]:
        currency = entry.get("currency", "USD")
        if currency != "USD" and currency not in currencies:
            fix = f"Say what it is worth: currencies: {{ {currency}: 1.08 }}"
            yield (*where, "currency"), f"{currency} is not among currencies", fix, ERROR
        wrong = [n for n in ("since", "until") if n in entry and _day(entry[n]) is None]
        for name in wrong:
            yield (*where, name), "there is no such day", f"Example: {name}: 2026-12-31", ERROR
        if not wrong and not _ordered(entry):
            fix = "Let since come before until; until is the first day without this price."
            yield (*where, "until"), "it ends before it begins", fix, ERROR
    periods = sorted(places, key=lambda place: place[1].get("since", ""))
    for (_, one), (where, other) in pairwise(periods):
        end, begin = one.get("until", "9999"), other.get("since", "")
        if begin < end:
            yield where, "two prices hold at once", "Give since and until.", ERROR
        elif begin > end:
            message = f"no price holds from {end} to {begin}: calls of then have no known cost"
            yield where, message, "Let one end when the next begins.", WARNING


def _ordered(entry: Found) -> bool:
    if any(name in entry and _day(entry[name]) is None for name in ("since", "until")):
        return False
    return str(entry.get("since", "")) < str(entry.get("until", "9999"))


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def there(provider: str, model: str, base_url: str, found: tuple[Price, ...]) -> tuple[Price, ...]:
    """``found`` as it is at the host of ``base_url``: some places cost more, fees apart."""
    per_cent = regional(provider, model, urlsplit(base_url).hostname or "") if found else 100
    if per_cent == 100:
        return found
    share = Fraction(per_cent) / 100
    return tuple(
        replace(
            price,
            tiers=shared(price.tiers, share),
            specials=tuple(
                replace(each, tiers=shared(each.tiers, share)) for each in price.specials
            ),
        )
        for price in found
    )


def priced(
    given: ProviderConfig, model: str, found: tuple[Price, ...], currencies: Mapping[str, Decimal]
) -> tuple[Price, ...]:
    """What ``model`` costs: as the file says it, or else as the catalogue does (``found``)."""
    own = given.prices.get(model)
    if own is not None:
        return tuple(own_price(period, currencies) for period in own)
    discount = given.discounts.get(model, given.discount)
    share = (1 - Fraction(discount) / 100) * (1 + Fraction(given.surcharge) / 100)
    return tuple(part(price, share) for price in found)


def part(price: Price, share: Fraction) -> Price:
    """``price`` times ``share``, each rate rounded half up to a whole picodollar."""
    return price if share == 1 else scaled(price, share.numerator, share.denominator)


def own_price(period: Prices, currencies: Mapping[str, Decimal]) -> Price:
    """A period of a model's own prices, in integers."""
    worth = Fraction(currencies.get(period.currency, Decimal(1)))
    amounts = {name: getattr(period, name) for name in _AMOUNTS}
    tiers: Tiers = ((-1, rate_of_amounts(amounts, worth)),)
    for size, more in sorted(period.above.items()):
        tiers += ((size, rate_of_amounts({**amounts, **more}, worth)),)
    return Price(
        since=_midnight(period.since),
        until=_midnight(period.until),
        tiers=tiers,
        specials=_specials(period, tiers),
        audio_least_ms=int(period.audio_least * 1000),
    )


def _specials(period: Prices, tiers: Tiers) -> tuple[Special, ...]:
    """Service tiers within hours first, then hours, then service tiers: the first that fits."""
    services = period.services.items()
    out = []
    for text, share in period.hours.items():
        named, _, clock = text.rpartition(" ")
        begins, ends = (_second(moment) for moment in clock.split("-"))
        for service, factor in (*services, ("", Decimal(100))):
            found = shared(tiers, Fraction(share) * Fraction(factor) / 10_000)
            out.append(
                Special(service=service, begins=begins, ends=ends, tiers=found, days=days(named))
            )
    for service, factor in services:
        found = shared(tiers, Fraction(factor) / 100)
        out.append(Special(service=service, tiers=found))
    return tuple(out)


def _second(moment: str) -> int:
    return int(moment[:2]) * 3600 + int(moment[3:]) * 60


def _midnight(day: str | None) -> int:
    if day is None:
        return 0
    return int(datetime.combine(date.fromisoformat(day), time(), UTC).timestamp())


_AMOUNTS: Final = tuple(Rate.__struct_fields__)
