"""Filters as read → :class:`Filter`, and the checks that show which of them let nothing through."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from ferryman.catalog import prices as catalogue_prices
from ferryman.catalog.load import CatalogProvider
from ferryman.config import names
from ferryman.config.filters import PRICES, Written, barred, picodollars, policies
from ferryman.config.model import Facts, ProviderConfig, RouteConfig
from ferryman.config.names import Known
from ferryman.config.pricing import priced
from ferryman.config.problem import ERROR, WARNING, Path, either, near, shown
from ferryman.config.secret import base_url_variable
from ferryman.config.snapshot import Filter
from ferryman.ir.price import PICO, Price

Add = Callable[[Path, str, str, str], None]
"""Reports a problem: where, what, what to do, and how bad it is."""
Pair = tuple[str, str]

_LISTS: Final = ("only", "ignore", "regions", "quantizations")
_HELP: Final = {
    "only": "Name some of its targets.",
    "ignore": "Leave some of its targets.",
    "regions": "State where providers compute: providers: { NAME: { region: eu } }.",
    "data_policy": "State what is promised: providers: { NAME: { data_policy: no_training } }.",
    "quantizations": "State it, or add unknown: providers: { NAME: { models: { MODEL: "
    "{ quantization: bf16 } } } }.",
    "max_price": "Allow more, or give prices under providers.",
}


def filter_of(found: dict[str, Any] | None, source: str) -> Filter | None:
    """The filter that a table says; None where it says nothing. ``source`` names it to callers."""
    if not found:
        return None
    said: dict[str, Any] = {"source": source}
    for name in _LISTS:
        if name in found:
            said[name] = tuple(dict.fromkeys(value for _, value in found[name]))
    for name in PRICES:
        if name in found.get("max_price", {}):
            said[f"{name}_price"] = picodollars(found["max_price"][name], name)
    for name in ("require_abilities", "require_parameters"):
        if name in found:
            said[name] = found[name]
    if "data_policy" in found:
        said["data_policy"] = promised(found["data_policy"])
    return Filter(**said)


def promised(found: str | list[tuple[int, str]]) -> str:
    """One data policy, or several, as the snapshot has them."""
    return policies([found] if isinstance(found, str) else [word for _, word in found])


def region_of(row: CatalogProvider | None, own: ProviderConfig, env: Mapping[str, str]) -> str:
    """Where a provider computes: as the file says, or the catalogue's ``row`` as long as the base
    URL is the catalogue's; empty = unknown."""
    if own.region or row is None:
        return own.region or ""
    url = env.get(base_url_variable(own.name), "").rstrip("/") or own.base_url or row.base_url
    return row.region if url == row.base_url else ""


class FilterCheck:
    """Finds filters that let nothing through, and names in them that are nobody's."""

    def __init__(
        self,
        add: Add,
        known: Known,
        providers: Mapping[str, ProviderConfig],
        models: Mapping[str, RouteConfig],
        env: Mapping[str, str],
        currencies: Mapping[str, Decimal],
    ) -> None:
        self._add = add
        self._env = env
        self._currencies = currencies
        self._known = known
        self._own = providers
        self._models = models
        self._names = {**dict.fromkeys(known.providers), **dict.fromkeys(providers)}

    def check(self, path: Path, wanted: Filter | None, targets: Iterable[str] | None) -> None:
        """Check one filter of targets as written in the file; of any target there is for None."""
        if wanted is None:
            return
        for key in ("only", "ignore"):
            for i, name in enumerate(getattr(wanted, key)):
                self._provider((*path, key, i), name)
        both = [name for name in wanted.only if name in wanted.ignore]
        if both:
            message = f"only and ignore both name {', '.join(shown(name) for name in both[:10])}"
            self._add((*path, "ignore"), message, "Leave it out of one of them.", ERROR)
            return
        if wanted.only and not any(name.partition("/")[0] in self._names for name in wanted.only):
            return  # told already
        reasons: dict[tuple[str, str], list[str]] = {}
        for pair, others in self._pairs(targets):
            reason = self._reason(pair, (wanted, *others))
            if reason is None:
                return
            shown_as = f"{pair[0]}/{pair[1]}" if pair[1] else pair[0]
            reasons.setdefault(reason, []).append(shown_as)
        if reasons:
            said = {(key, whose): key if whose == wanted.source else f"{key} of {whose}"
                    for key, whose in reasons}  # fmt: skip
            out = "; ".join(f"{said[why]} leaves out {_some(out)}" for why, out in reasons.items())
            message = f"none of its targets passes: {out}"
            if targets is None:
                message = f"no target there is passes {' and '.join(said.values())}"
            keys = dict.fromkeys(key for key, _ in reasons)
            # The catalogue's prices change without the file: that must not keep it from starting.
            severity = WARNING if "max_price" in keys else ERROR
            self._add(path, message, " ".join(_HELP[key] for key in keys), severity)

    def _provider(self, path: Path, name: str) -> None:
        provider = name.partition("/")[0]
        if provider in self._names:
            return
        words = [self._known.also[provider]] if provider in self._known.also else []
        words = words or near(provider, self._names)
        fix = f"Did you mean {either(words)}?" if words else "Names are those of providers."
        self._add(path, f"there is no provider {shown(provider)}", fix, ERROR)

    def _reason(self, pair: Pair, filters: Iterable[Filter]) -> tuple[str, str] | None:
        """Which key of whose filter leaves it out; None = it passes them all."""
        for wanted in filters:
            key = barred(self._written(*pair), wanted) or self._too_dear(*pair, wanted)
            if key:
                return key, wanted.source
        return None

    def _written(self, provider: str, model: str) -> Written:
        row = self._known.providers.get(provider)
        own = self._own.get(provider, ProviderConfig(name=provider))
        facts = own.models.get(model, Facts())
        region = region_of(row, own, self._env)
        return Written(
            provider, model, facts.region or region, facts.data_policy or own.data_policy or "",
            facts.quantization,
        )  # fmt: skip

    def _too_dear(self, provider: str, model: str, wanted: Filter) -> str:
        """``max_price`` where the model costs more at any hour and size."""
        limits = [wanted.input_price, wanted.output_price, wanted.request_price]
        if max(limits) < 0 or not model:
            return ""
        own = self._own.get(provider, ProviderConfig(name=provider))
        found = catalogue_prices.lookup(provider, model)
        least = _least(priced(own, model, found, self._currencies))
        if not least or any(price > limit >= 0 for price, limit in zip(least, limits, strict=True)):
            return "max_price"
        return ""

    def _pairs(self, targets: Iterable[str] | None) -> Iterable[tuple[Pair, tuple[Filter, ...]]]:
        """What the targets lead to in the end, and the filters of routes on the way there; every
        provider and model that is known for None."""
        if targets is None:
            for provider in self._names:
                yield (provider, ""), ()
                own = self._own.get(provider)
                yield from (((provider, model), ()) for model in (own.models if own else ()))
            return
        seen: set[str] = set()
        left: deque[tuple[str, tuple[Filter, ...]]] = deque((text, ()) for text in targets)
        while left:
            text, filters = left.popleft()
            if text in seen:
                continue
            seen.add(text)
            found = names.meaning(
                text, providers=self._names, aliases=self._models, bare=self._known.bare,
                also=self._known.also,
            )  # fmt: skip
            if found is None:
                continue
            if found.alias:
                route = self._models[found.alias]
                inner = filters if route.filter is None else (*filters, route.filter)
                left += [(each, inner) for each in (*route.targets, *route.fallbacks)]
            elif found.bare:
                yield from ((pair, filters) for pair in self._known.bare[found.bare])
            else:
                yield (found.provider, found.model), filters


def _least(prices: tuple[Price, ...]) -> list[int]:
    """The lowest prices, whatever the hour and the size; empty = unknown."""
    listed = [price.tiers for price in prices]
    listed += [s.tiers for price in prices for s in price.specials if not s.service]
    rates = [rate for tiers in listed for _, rate in tiers]
    return [min(getattr(rate, name) for rate in rates) for name in PRICES] if rates else []


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(shown(name) for name in names[:4]) + more


def said(wanted: Filter) -> str:
    """A filter in a line, for people."""
    parts = [f"{name} {', '.join(getattr(wanted, name))}" for name in _LISTS
             if getattr(wanted, name)]  # fmt: skip
    if wanted.data_policy:
        parts += wanted.data_policy.split()
    for name in PRICES:
        limit = getattr(wanted, f"{name}_price")
        if limit >= 0:
            usd = Decimal(limit) / (PICO if name == "request" else PICO // 10**6)
            parts.append(f"{name} ≤ ${usd.normalize():f}")
    if wanted.require_abilities is not None:
        parts.append(f"abilities {'required' if wanted.require_abilities else 'ignored'}")
    if wanted.require_parameters:
        parts.append("parameters required")
    return "; ".join(parts)
