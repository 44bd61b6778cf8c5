"""Prices: genai-prices' bundled data flattened into integers, for every model the catalogue lists,
and amended where a vendor's page says something else (``amendments.py``).

Only the control plane runs this; genai-prices (MIT, https://github.com/pydantic/genai-prices) is
imported inside functions. What is left out, and where the dearer of two prices is taken:
docs/catalog.md.
"""

import functools
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from ferryman.catalog.amendments import amended
from ferryman.catalog.load import models, providers
from ferryman.ir.price import PICO, Price, Rate, Special, Tiers

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, TieredPrices
    from genai_prices.types import Provider as GenaiProvider

V = TypeVar("V")
Steps = tuple[tuple[int, V], ...]
"""A step function: (start, value from there on), by rising start."""
Rates = tuple[Tiers, tuple[Special, ...]]
"""The standard rates, and those of service tiers and parts of the day."""
_CONTEXTS = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
}
"""Service tiers (``ir.usage.SERVICES``) → how genai-prices asks for them."""

_compact_date = re.compile(r"-20\d{6}(?!\d)")
_NEVER = 2**63


def prices() -> dict[str, dict[str, tuple[Price, ...]]]:
    """Provider → model → its prices, for all models of the catalogue that have a price.

    Covers the models' names, not every name a provider answers to: see :func:`lookup`.
    """
    out: dict[str, dict[str, tuple[Price, ...]]] = {}
    for provider, rows in models().items():
        priced = {}
        for model in rows:
            found = lookup(provider, model)
            if found:
                priced[model] = found
        out[provider] = priced
    return out


def lookup(provider: str, model: str) -> tuple[Price, ...]:
    """Prices of any model name at a provider of the catalogue; empty = unpriced.

    Names are matched as genai-prices itself matches them: a dated name has its model's price.
    """
    return amended(provider, model, of_genai(provider, model))


def of_genai(provider: str, model: str) -> tuple[Price, ...]:
    """The same before it is amended."""
    row = providers().get(provider)
    if row is None:
        return ()
    if row.free:
        return (Price(tiers=((-1, Rate()),)),)
    offers = []
    for source in row.genai:
        genai, _, suffix = source.partition(":")
        stem = model.removesuffix(f":{suffix}") if suffix else model
        if suffix and stem == model and ":" in model:
            continue
        found = _matchers()[genai].find(stem)
        timeline = _timeline_of(found) if found is not None else ()
        if timeline:
            offers.append(timeline)
            if stem != model or not suffix:
                break
    if not offers:
        return ()
    # a router that may pick any of several hosts: its dearest
    timeline = functools.reduce(lambda a, b: _merge(a, b, _dearest_offer), offers)
    ends = [start for start, _ in timeline[1:]] + [0]
    return tuple(
        Price(since=since, until=until, tiers=tiers, specials=specials, regions=row.regions)
        for (since, (tiers, specials)), until in zip(timeline, ends, strict=True)
    )


class _Matcher:
    """One genai-prices provider's models, found by name: exact names by dict, others in turn."""

    def __init__(self, provider: "GenaiProvider") -> None:
        self._provider = provider
        self._models = provider.models
        self._exact: dict[str, int] = {}
        self._others: list[tuple[int, Callable[[str], bool]]] = []
        for at, model in enumerate(self._models):
            names = exact_names(model)
            if names is None:
                self._others.append((at, model.match.is_match))
            else:
                for name in names:
                    self._exact.setdefault(name.lower(), at)

    def find(self, name: str) -> "ModelInfo | None":
        """The first model whose clauses match, as genai-prices does (fallback providers aside)."""
        name = name.lower()
        first = self._exact.get(name, _NEVER)
        for at, is_match in self._others:
            if at > first:
                break
            if is_match(name):
                first = at
                break
        if first != _NEVER:
            return self._models[first]
        # dates written without dashes get a second look there, too rare to be worth our own copy
        return self._provider.find_model(name) if _compact_date.search(name) else None


def exact_names(model: "ModelInfo") -> list[str] | None:
    """The names a model answers to, or None when its clauses match more than a list of names."""
    from genai_prices.types import ClauseEquals, ClauseOr

    clauses = model.match.or_ if isinstance(model.match, ClauseOr) else [model.match]
    names = [clause.equals for clause in clauses if isinstance(clause, ClauseEquals)]
    return names if len(names) == len(clauses) else None


@functools.cache
def _matchers() -> dict[str, _Matcher]:
    return {provider.id: _Matcher(provider) for provider in genai_providers()}


def genai_providers() -> "list[GenaiProvider]":
    """genai-prices' bundled providers."""
    from genai_prices.data import providers as bundled

    return bundled


_timelines: dict[int, Steps[Rates]] = {}


def _timeline_of(model: "ModelInfo") -> Steps[Rates]:
    """Unix second → rates from then on; empty when the model isn't priced by tokens or calls."""
    known = _timelines.get(id(model))  # the bundled models live as long as the process
    if known is None:
        known = _timelines[id(model)] = _timeline(model)
    return known


def _timeline(model: "ModelInfo") -> Steps[Rates]:
    from genai_prices.types import ConditionalPrice, StartDateConstraint, TimeOfDateConstraint

    listed: Sequence[ConditionalPrice]
    if isinstance(model.prices, list):
        listed = model.prices
    else:
        listed = [ConditionalPrice(prices=model.prices)]
    variants = model.price_variants or ()
    when = [priced.constraint for priced in (*listed, *variants)]
    starts = {date(1970, 1, 1)} | {c.start_date for c in when if isinstance(c, StartDateConstraint)}
    hours = {
        moment.hour * 3600 + moment.minute * 60 + moment.second
        for c in when
        if isinstance(c, TimeOfDateConstraint)
        for moment in (_utc(c.start_time), _utc(c.end_time))
    }
    services = [
        (name, context)
        for name, context in _CONTEXTS.items()
        if any(variant.when.items() <= context.items() for variant in variants)
    ]
    steps: list[tuple[int, Rates]] = []
    for start in sorted(starts):
        rates = _in_force(model, start, sorted(hours), services)
        if rates[0] and (not steps or steps[-1][1] != rates):
            steps.append((_midnight(start), rates))
    return tuple(steps)


def _in_force(
    model: "ModelInfo", day: date, hours: list[int], services: list[tuple[str, dict[str, str]]]
) -> Rates:
    """The rates from ``day`` on, as genai-prices itself finds them.

    The standard ones are those of the first part of the day that begins at one of ``hours``.
    """
    parts = list(zip(hours or [0], hours[1:] + hours[:1] or [0], strict=True))
    by_part = [_found(model, day, begins, {}) for begins, _ in parts]
    standard = by_part[0]
    specials = []
    for (begins, ends), tiers in zip(parts, by_part, strict=True):
        for service, context in services:
            of_service = _found(model, day, begins, context)
            if of_service != tiers:
                specials.append(
                    Special(service=service, begins=begins, ends=ends, tiers=of_service)
                )
        if tiers != standard:
            specials.append(Special(begins=begins, ends=ends, tiers=tiers))
    return standard, tuple(specials)


def _found(model: "ModelInfo", day: date, second: int, context: dict[str, str]) -> Tiers:
    moment = datetime.combine(day, time(), UTC) + timedelta(seconds=second)
    return _tiers(model.get_prices(moment, context))


def _utc(moment: time) -> time:
    zone = moment.tzinfo or UTC
    return datetime.combine(date(1970, 1, 1), moment, zone).astimezone(UTC).time()


def _midnight(day: Any) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())


def _merge(a: Steps[V], b: Steps[V], join: Callable[[V, V], V]) -> Steps[V]:
    """Two step functions joined value by value; where only one has begun, that one."""
    if not a or not b:
        return a or b
    out = []
    for start in sorted({start for start, _ in a + b}):
        left, right = _value(a, start), _value(b, start)
        if left is None or right is None:
            out.append((start, left if right is None else right))
        else:
            out.append((start, join(left, right)))
    return tuple((start, value) for start, value in out if value is not None)


def _value(steps: Steps[V], at: int) -> V | None:
    found = None
    for start, value in steps:
        if start > at:
            break
        found = value
    return found


def _dearest_offer(a: Rates, b: Rates) -> Rates:
    """Hosts' rates by service tier and hour are not joined: which host served nobody says."""
    return _dearest(a[0], b[0]), ()


def _dearest(a: Tiers, b: Tiers) -> Tiers:
    return _merge(a, b, _dearer)


def _dearer(a: Rate, b: Rate) -> Rate:
    if a == b:
        return a
    return Rate(
        **{name: max(getattr(a, name), getattr(b, name)) for name in Rate.__struct_fields__}
    )


def _tiers(prices: "ModelPrice") -> Tiers:
    """Total input tokens → rate above them; empty when priced by nothing that is counted here."""
    from genai_prices.types import TieredPrices

    listed = {name: price for name, price in vars(prices).items() if price is not None}
    if not listed:
        return ((-1, Rate()),)  # free of charge
    if listed.keys().isdisjoint(_PRICED):
        return ()
    tiered = {name: price for name, price in listed.items() if isinstance(price, TieredPrices)}
    if not tiered:
        return ((-1, _rate(listed)),)
    starts = {-1, *(tier.start for price in tiered.values() for tier in price.tiers)}
    return tuple(
        (start, _rate({**listed, **{name: _at(price, start) for name, price in tiered.items()}}))
        for start in sorted(starts)
    )


def _at(price: "TieredPrices", threshold: int) -> Decimal:
    value = price.base
    for tier in price.tiers:
        if tier.start <= threshold:
            value = tier.price
    return value


_PRICED = ("input_mtok", "output_mtok", "requests_kcount", "audio_hours", "input_mchars")
_PER_TOKEN = PICO // 10**6
_PER_CALL = PICO // 10**3


def _rate(usd: dict[str, Any]) -> Rate:
    """USD per million tokens by genai-prices' names → picodollars per token.

    A class without a price of its own costs what the wider class costs, as in genai-prices.
    """

    def pico(name: str, otherwise: int) -> int:
        price = usd.get(name)
        return otherwise if price is None else _rounded(price * _PER_TOKEN)

    fresh = pico("input_mtok", 0)
    text = pico("output_mtok", 0)
    read = pico("cache_read_mtok", fresh)
    write = pico("cache_write_mtok", fresh)
    heard = pico("input_audio_mtok", fresh)
    heard_before = read if "cache_read_mtok" in usd else heard
    request = _rounded(usd.get("requests_kcount", Decimal(0)) * _PER_CALL)
    return Rate(
        input=fresh,
        cache_read=read,
        cache_write=pico("cache_write_5m_mtok", write),
        cache_write_1h=pico("cache_write_1h_mtok", write),
        audio_input=heard,
        output=text,
        reasoning=pico("output_reasoning_mtok", text),
        audio_output=pico("output_audio_mtok", text),
        request=request,
        request_low=request,
        request_medium=request,
        search=_rounded(usd.get("web_searches_kcount", Decimal(0)) * _PER_CALL),
        audio_cache_read=pico("cache_audio_read_mtok", heard_before),
        image_input=pico("input_image_mtok", fresh),
        image_output=pico("output_image_mtok", text),
        audio_hour=_rounded(usd.get("audio_hours", Decimal(0)) * PICO),
        image_cache_read=pico("cache_image_read_mtok", read),
        citation=pico("output_citation_mtok", 0),
        character=pico("input_mchars", 0),
        file_search=_rounded(usd.get("storage_searches_kcount", Decimal(0)) * _PER_CALL),
    )


def _rounded(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_HALF_UP))
