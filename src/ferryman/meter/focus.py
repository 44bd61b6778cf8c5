"""Charges in the form of FOCUS 1.2, the FinOps Open Cost and Usage Specification. Pure.

https://focus.finops.org/focus-specification/v1-2/ says what each column means and when it may be
null. A row is what calls of one period, model, key and so on have used of one thing at one unit
price, so quantity times unit price is the cost.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

from ferryman.ir.usage import CLASSES, Usage
from ferryman.meter.cost import Prices
from ferryman.meter.lines import lines

COLUMNS: Final = {
    "BilledCost": "decimal",
    "BillingAccountId": "text",
    "BillingAccountName": "text",
    "BillingCurrency": "text",
    "BillingPeriodEnd": "time",
    "BillingPeriodStart": "time",
    "ChargeCategory": "text",
    "ChargeClass": "text",
    "ChargeDescription": "text",
    "ChargeFrequency": "text",
    "ChargePeriodEnd": "time",
    "ChargePeriodStart": "time",
    "ConsumedQuantity": "decimal",
    "ConsumedUnit": "text",
    "ContractedCost": "decimal",
    "ContractedUnitPrice": "decimal",
    "EffectiveCost": "decimal",
    "InvoiceId": "text",
    "InvoiceIssuerName": "text",
    "ListCost": "decimal",
    "ListUnitPrice": "decimal",
    "PricingCategory": "text",
    "PricingQuantity": "decimal",
    "PricingUnit": "text",
    "ProviderName": "text",
    "PublisherName": "text",
    "RegionId": "text",
    "RegionName": "text",
    "ServiceCategory": "text",
    "ServiceName": "text",
    "ServiceSubcategory": "text",
    "SkuId": "text",
    "SkuMeter": "text",
    "SkuPriceDetails": "json",
    "SkuPriceId": "text",
    "SubAccountId": "text",
    "SubAccountName": "text",
    "SubAccountType": "text",
    "Tags": "json",
    "x_Model": "text",
}
"""Column → its type. What begins with ``x_`` is ours."""
PERIODS: Final = {"hour": 3600, "day": 86_400}
OTHER: Final = "other"
"""What a call cost beyond the lines of its price: calls of old records, holds of lost calls."""
_TOKENS: Final = (*CLASSES, "audio_cache_read", "image_input", "image_output")
_MILLION: Final = ("1000000 Tokens", 10**6, "Tokens", 1)
_UNITS: Final = {
    **dict.fromkeys(_TOKENS, _MILLION),
    "search": ("Searches", 1, "Searches", 1),
    "audio_ms": ("Hours", 3_600_000, "Seconds", 1000),
}
"""What → (PricingUnit, how many are one of it, ConsumedUnit, how many are one of it)."""
_REQUESTS: Final = ("Requests", 1, "Requests", 1)


class Charged(NamedTuple):
    """What the charges of a call have in common."""

    provider: str
    model: str
    key: str
    service: str
    region: str
    tags: str
    """A JSON object, or nothing."""


class _Group(NamedTuple):
    of: Charged
    price: str
    what: str
    rate: int
    """Picodollars; -1 = each call's own."""
    list_rate: int
    """The same; -1 = there is no list price."""


class Focus:
    """Adds up charges within a period."""

    def __init__(
        self, seconds: int, names: Callable[[str], str], listed: Callable[[str, str], Prices]
    ) -> None:
        """``seconds`` of a period; ``names``: key id → name; ``listed``: the public price of
        (provider, model), nothing where there is none."""
        self._seconds = seconds
        self._names = names
        self._listed = listed
        self._sums: dict[_Group, list[int]] = {}
        self.begin = 0
        """Unix seconds: the period that charges are added to."""

    def turn(self, at_s: int) -> Iterator[list[str | None]]:
        """Go on to the period of ``at_s``; yields the rows of the one before, if it is over."""
        begin = at_s - at_s % self._seconds
        if begin != self.begin:
            yield from self.rows()
            self.begin = begin

    def add(
        self, of: Charged, at_s: int, cost: int, usage: Usage | None, price: str, prices: Prices
    ) -> None:
        """Add what a call used: ``cost`` in all, billed by ``prices``, whose id is ``price``."""
        found = public = []
        if usage is not None:
            found = lines(usage, prices, at_s)
            public = lines(usage, self._listed(of.provider, of.model), at_s)
        rates = {line.what: line for line in public}
        for line in found:
            mate = rates.get(line.what)
            own = line.what not in _UNITS and line.what != "request"
            rate = -1 if own else line.rate
            list_rate = mate.rate if mate is not None and not own else -1
            list_cost = mate.pico if mate is not None else line.pico
            count = 1 if own else line.count
            self._put(_Group(of, price, line.what, rate, list_rate), count, line.pico, list_cost)
        rest = cost - sum(line.pico for line in found)
        if rest:
            self._put(_Group(of, price, OTHER, -1, -1), 1, rest, rest)

    def _put(self, group: _Group, count: int, cost: int, list_cost: int) -> None:
        sums = self._sums.setdefault(group, [0, 0, 0])
        sums[0] += count
        sums[1] += cost
        sums[2] += list_cost

    def rows(self) -> Iterator[list[str | None]]:
        """The rows of the period, in the order of ``COLUMNS``; it is empty then."""
        sums, self._sums = self._sums, {}
        for group in sorted(sums):
            row = self._row(group, *sums[group])
            yield [row.get(name) for name in COLUMNS]

    def _row(self, group: _Group, count: int, cost: int, list_cost: int) -> Mapping[str, Any]:
        of, price, what, rate, list_rate = group
        unit, size, consumed, part = _UNITS.get(what, _REQUESTS)
        times = 1 if what == "audio_ms" else size  # its rate is that of an hour
        each = _decimal(Decimal(cost).scaleb(-12) / count) if rate < 0 else _usd(rate * times)
        sku = "/".join(filter(None, (of.provider, of.model, what, of.service, of.region)))
        details = {"x_Meter": what, "x_ServiceTier": of.service or "standard", "x_Price": price}
        return {
            "BilledCost": _usd(cost),
            "BillingAccountId": of.provider,
            "BillingAccountName": of.provider,
            "BillingCurrency": "USD",
            **_month(self.begin),
            "ChargeCategory": "Usage",
            "ChargeDescription": _description(of, what),
            "ChargeFrequency": "Usage-Based",
            "ChargePeriodEnd": _time(self.begin + self._seconds),
            "ChargePeriodStart": _time(self.begin),
            "ConsumedQuantity": _decimal(Decimal(count) / part),
            "ConsumedUnit": consumed,
            "ContractedCost": _usd(cost),
            "ContractedUnitPrice": each,
            "EffectiveCost": _usd(cost),
            "InvoiceIssuerName": of.provider,
            "ListCost": _usd(list_cost if list_rate >= 0 else cost),
            "ListUnitPrice": _usd(list_rate * times) if list_rate >= 0 else None,
            "PricingCategory": "Standard",
            "PricingQuantity": _decimal(Decimal(count) / size),
            "PricingUnit": unit,
            "ProviderName": of.provider,
            "PublisherName": of.provider,
            "RegionId": of.region or None,
            "RegionName": of.region or None,
            "ServiceCategory": "AI and Machine Learning",
            "ServiceName": f"{of.provider} models",
            "ServiceSubcategory": "Generative AI",
            "SkuId": sku,
            "SkuMeter": _meter(what),
            "SkuPriceDetails": _json({name: value for name, value in details.items() if value}),
            "SkuPriceId": f"{sku}@{price or 'unlisted'}:{max(rate, 0)}",
            "SubAccountId": of.key,
            "SubAccountName": self._names(of.key),
            "SubAccountType": "Virtual key",
            "Tags": of.tags or None,
            "x_Model": of.model,
        }


def _description(of: Charged, what: str) -> str:
    if what == OTHER:
        return f"{of.model}: what is not told apart"
    return f"{of.model}: {_meter(what)}"


def _meter(what: str) -> str:
    words = {"audio_ms": "audio", "request": "requests", "search": "searches"}.get(what, what)
    tokens = " tokens" if what in _TOKENS else ""
    return (words.replace("_", " ") + tokens).capitalize()


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _usd(pico: int) -> str:
    return _decimal(Decimal(pico).scaleb(-12))


def _decimal(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _time(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=8)
def _month(second: int) -> Mapping[str, str]:
    day = datetime.fromtimestamp(second, UTC)
    begin = datetime(day.year, day.month, 1, tzinfo=UTC)
    end = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return {
        "BillingPeriodStart": _time(int(begin.timestamp())),
        "BillingPeriodEnd": _time(int(end.timestamp())),
    }
