"""The user's configuration joined with the catalogue → the :class:`Snapshot` that is published."""

import hashlib
import os
from collections.abc import Mapping
from fractions import Fraction
from itertools import chain
from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from ferryman.catalog import prices as catalogue_prices
from ferryman.catalog.load import CatalogModel, CatalogProvider
from ferryman.config import names
from ferryman.config.build import SECRET_HEADER, does_something
from ferryman.config.catalogue import current
from ferryman.config.file import Loaded
from ferryman.config.filtering import region_of
from ferryman.config.filters import ASKED, CATALOGUED
from ferryman.config.grouping import Grouped, grouped
from ferryman.config.model import Config, Facts, ProviderConfig, Ref, RouteConfig
from ferryman.config.names import Known
from ferryman.config.pricing import priced, there
from ferryman.config.problem import ConfigError
from ferryman.config.seal import seal
from ferryman.config.secret import (
    ENV,
    OTLP,
    SEALED,
    activate,
    base_url_variable,
    below,
    fill,
    header_seal_name,
    key_seal_name,
    meant_for,
    moved,
)
from ferryman.config.snapshot import (
    KEYLESS,
    WEIGHED,
    Account,
    Filter,
    ModelRow,
    Provider,
    Route,
    Secret,
    Snapshot,
    Telemetry,
    Unit,
)

Pair = tuple[str, str]
"""(provider, model)"""

_encoder = msgspec.msgpack.Encoder(order="deterministic")


def compile_snapshot(
    loaded: Loaded,
    *,
    seal_key: bytes,
    env: Mapping[str, str] = os.environ,
    known: Known | None = None,
) -> Snapshot:
    """The snapshot of ``loaded``. Equal inputs give equal snapshots, version included.

    Every provider of the catalogue is in it, with references to its keys: what is active is decided
    where the keys are, by ``secret.activate``. Literal keys are sealed under ``seal_key`` (32
    bytes, see ``Paths.seal_key``). Raises :class:`ConfigError` when ``loaded`` has errors.
    """
    if loaded.errors:
        raise ConfigError(loaded.problems)
    known = known or current()
    config = loaded.config
    providers = providers_of(config, known, env, seal_key)
    routes = _Routes(config, known, providers, env, seal_key).all()
    snapshot = Snapshot(
        version="",
        providers=providers,
        models=_models(config, known, routes, providers),
        bare=dict(known.bare),
        aliases={name: row for name, row in known.also.items() if name not in providers},
        routes=routes,
        rules=tuple(rule for rule in config.policies if does_something(rule)),
        residency=config.residency,
        limits=config.limits,
        alerts=config.alerts,
        timeouts=config.timeouts,
        keep_responses=config.keep_responses,
        caching=config.caching,
        idempotency=config.idempotency,
        content=config.content,
        guards=config.guards,
        server=config.server,
        ca_files=config.ca_files,
        issuers=config.issuers,
        sign_in=config.sign_in,
        telemetry=_telemetry(config, seal_key),
    )
    version = hashlib.sha256(_encoder.encode(snapshot)).hexdigest()[:32]
    return replace(snapshot, version=version)


# -- providers ------------------------------------------------------------------------------------


def providers_of(
    config: Config, known: Known, env: Mapping[str, str], seal_key: bytes
) -> dict[str, Provider]:
    """Every provider of the catalogue and of the file, base URLs filled as far as ``env`` goes."""
    out = {}
    for name in {**known.providers, **config.providers}:
        row, given = known.providers.get(name), config.providers.get(name)
        provider = moved(_provider(name, row, given, known, env, seal_key), env)
        own = given or ProviderConfig(name=name)
        out[name] = replace(
            provider,
            base_url=fill(provider.base_url, env) or provider.base_url,
            region=region_of(row, own, env),
            region_stated=bool(own.region),
        )
    return out


_OVERLAID: Final = (
    "format", "base_url", "auth", "endpoints", "quirks", "data_policy", "private",
)  # fmt: skip


def _provider(
    name: str,
    row: CatalogProvider | None,
    given: ProviderConfig | None,
    known: Known,
    env: Mapping[str, str],
    seal_key: bytes,
) -> Provider:
    if row is not None:
        provider = Provider(
            name=name,
            format=row.format,
            base_url=row.base_url,
            auth=row.auth,
            keys=tuple(Secret(ENV, variable) for variable in row.key_env),
            alternatives=True,
            keyless=row.keyless,
            # A server of one's own needs no key; saying where it is switches it on.
            enabled=row.keyless and bool(env.get(base_url_variable(name))),
            headers=tuple(row.headers.items()),
            endpoints=row.endpoints,
            paths=tuple(row.paths.items()),
            quirks=row.quirks,
        )
    else:
        provider = Provider(name=name, base_url="", auth="none")
    if given is None:
        return provider
    if given.format is not None and given.format != provider.format:
        # Of another format, nothing that the row says of its own holds but where the provider is.
        headers = tuple(known.headers(given.format).items())
        provider = replace(provider, endpoints=(), paths=(), quirks=(), headers=headers)
    elif given.base_url is not None:
        provider = replace(provider, paths=below(provider.paths))
    changes = {field: value for field in _OVERLAID if (value := getattr(given, field)) is not None}
    changes["limit"] = given.limit
    changes["rates"] = given.rates
    changes["accounts"] = {
        model: facts.account for model, facts in given.models.items() if facts.account != Account()
    }
    changes["probe"] = given.probe
    if given.keys:
        owner = changes["owner"] = next((ref.owner for ref in given.keys if ref.owner), "")
        sealed_for = key_seal_name(name, owner)
        changes["keys"] = tuple(_secret(ref, sealed_for, seal_key) for ref in given.keys)
        changes["alternatives"] = changes["keyless"] = False
        if provider.auth in KEYLESS and given.auth is None:
            changes["auth"] = known.auth(given.format or provider.format)
    elif given.auth in KEYLESS or row is None:
        changes.update(keys=(), keyless=True, auth=given.auth or "none")
    elif given.base_url is not None and not meant_for(row.base_url, given.base_url):
        changes.update(keys=(), alternatives=False)
    if given.headers:
        own = {header.lower() for header, _ in given.headers}
        changes["headers"] = (
            *(pair for pair in provider.headers if pair[0].lower() not in own),
            *((header, _header(header, ref, name, seal_key)) for header, ref in given.headers),
        )
    return replace(provider, enabled=True, **changes)


def _secret(ref: Ref, name: str, seal_key: bytes) -> Secret:
    kind, value = ref.kind, ref.value
    if ref.literal:
        kind, value = SEALED, seal(ref.literal.reveal(), key=seal_key, name=name)
    share = 1 - Fraction(ref.discount) / 100
    pays = (share.numerator, share.denominator)
    return Secret(kind, value, ref.weight, ref.calls, pays, ref.rates)


def _header(header: str, ref: Ref, provider: str, seal_key: bytes) -> str:
    """A header's value as the snapshot carries it: as it is, or a reference."""
    if ref.kind == "literal" and not SECRET_HEADER.search(header):
        return ref.literal.reveal()
    secret = _secret(ref, header_seal_name(provider, header), seal_key)
    return f"{secret.kind}:{secret.value}"


def _telemetry(config: Config, seal_key: bytes) -> Telemetry:
    found = config.telemetry
    if found.otlp is None:
        return found
    headers = tuple((name, _header(name, ref, OTLP, seal_key)) for name, ref in config.otlp_headers)
    return replace(found, otlp=replace(found.otlp, headers=headers))


# -- models and prices ----------------------------------------------------------------------------


def _models(
    config: Config,
    known: Known,
    routes: Mapping[str, Route],
    providers: Mapping[str, Provider],
) -> dict[str, Raw]:
    prices = catalogue_prices.prices()
    wanted: dict[str, set[str]] = {}
    for route in routes.values():
        for provider, model in (*route.targets, *route.fallbacks):
            wanted.setdefault(provider, set()).add(model)
    out = {}
    for name in {**known.providers, **config.providers}:
        given = config.providers.get(name, ProviderConfig(name=name))
        rows = dict(known.models.get(name, {}))
        listed = prices.get(name, {})
        for model in sorted({*wanted.get(name, ()), *given.prices, *given.models}):
            rows.setdefault(model, CatalogModel())
        table = {}
        for model, row in rows.items():
            if model in known.models.get(name, {}):
                found = listed.get(model, ())
            else:
                found = catalogue_prices.lookup(name, model)
            found = there(name, model, providers[name].base_url, found)
            facts = given.models.get(model, _NOTHING)
            table[model] = ModelRow(
                context=facts.context or row.context,
                max_output=facts.max_output or row.max_output,
                abilities=_abilities(row, facts),
                prices=priced(given, model, found, config.currencies),
                quantization=facts.quantization,
                region=facts.region,
                data_policy=facts.data_policy,
            )
        if table:
            out[name] = Raw(_encoder.encode(table))
    return out


_NOTHING = Facts()


def _abilities(row: CatalogModel, facts: Facts) -> tuple[str, ...]:
    """What the user says of it, by the catalogue's names, and what conditions don't ask for."""
    if facts.abilities is None:
        return row.abilities
    own = tuple(CATALOGUED.get(name, name) for name in facts.abilities)
    return (*own, *(name for name in row.abilities if name not in ASKED and name not in own))


# -- routes ---------------------------------------------------------------------------------------


class _Routes:
    """Names of the user's own, worked out until only (provider, model) pairs are left."""

    def __init__(
        self,
        config: Config,
        known: Known,
        providers: Mapping[str, Provider],
        env: Mapping[str, str],
        seal_key: bytes,
    ) -> None:
        self._config = config
        self._known = known
        self._providers = providers
        self._env = env
        self._seal_key = seal_key
        self._flat: dict[str, Route] = {}
        """Routes as their targets alone say them, a weight for each."""
        self._done: dict[str, Route] = {}

    def all(self) -> dict[str, Route]:
        """Every route, in the order of the file."""
        models = self._config.models
        graph = {
            name: [
                target.alias
                for text in (*route.targets, *route.fallbacks)
                if (target := self._meaning(text)).alias
            ]
            for name, route in models.items()
        }
        order = names.ordered(graph)[0]
        groups = grouped(models, order, lambda text: self._meaning(text).alias)
        for name in order:
            flat = self._flat[name] = self._route(models[name])
            self._done[name] = self._grouping(flat, groups[name])
        return {name: self._done[name] for name in models}

    def _meaning(self, text: str) -> names.Target:
        found = names.meaning(
            text,
            providers=self._providers,
            aliases=self._config.models,
            bare=self._known.bare,
            also=self._known.also,
        )
        assert found is not None, "targets were checked when the file was loaded"
        return found

    def _route(self, route: RouteConfig) -> Route:
        """Every target, also those of targets that are routes, which share their weight.

        What such a route filters, it filters here as well.
        """
        own = (route.filter,) if route.filter is not None else ()
        filters: dict[Pair, tuple[Filter, ...]] = {}
        targets: dict[Pair, float] = {}
        fallbacks: dict[Pair, None] = {}
        inner_guards: list[str] = []
        for text in route.targets:
            inner = self._parts(text)
            inner_guards += inner.guard
            weight = route.weights.get(text, 1.0)
            parts = inner.weights or (1.0,) * len(inner.targets)
            whole = sum(parts)
            for pair, part in zip(inner.targets, parts, strict=True):
                targets[pair] = targets.get(pair, 0.0) + weight * part / whole
            fallbacks.update(dict.fromkeys(inner.fallbacks))
            _note_filters(filters, inner, own)
        for text in route.fallbacks:
            inner = self._parts(text)
            inner_guards += inner.guard
            fallbacks.update(dict.fromkeys((*inner.targets, *inner.fallbacks)))
            _note_filters(filters, inner, own)
        last = tuple(pair for pair in fallbacks if pair not in targets)
        return Route(
            targets=tuple(targets),
            weights=tuple(targets.values()) if route.strategy in WEIGHED else (),
            strategy=route.strategy,
            sticky=route.sticky,
            affinity=route.affinity,
            fallbacks=last,
            filters=tuple(filters[pair] for pair in (*targets, *last))
            if any(filters.values())
            else (),
            on_content_filter=route.on_content_filter,
            retry_empty=route.retry_empty,
            hedge=route.hedge,
            rescue=route.rescue,
            guard=tuple(dict.fromkeys((*route.guard, *inner_guards))),
        )

    def _grouping(self, route: Route, group: Grouped) -> Route:
        """``route`` with what its targets alone can't say: priorities, and routes within it."""
        tiers = tuple(tuple(self._unit(text) for text in tier) for tier in group.tiers)
        last = tuple(self._unit(text) for text in group.fallbacks)
        inner = [self._done[unit] for unit in chain(*tiers, last) if isinstance(unit, str)]
        identities = [route.sticky, *chain.from_iterable(part.identities for part in inner)]
        strategies = chain.from_iterable((part.strategy, *part.strategies) for part in inner)
        route = replace(
            route,
            identities=tuple(dict.fromkeys(filter(None, identities))),
            strategies=tuple(dict.fromkeys(strategies)),
            last=last if any(isinstance(unit, str) for unit in last) else (),
        )
        if len(tiers) == 1 and not any(isinstance(unit, str) for unit in tiers[0]):
            return route
        weights = group.weights if route.strategy in WEIGHED else ()
        return replace(route, tiers=tiers, weights=weights)

    def _unit(self, text: str) -> Unit:
        target = self._meaning(text)
        return target.alias or self._parts(text).targets[0]

    def _parts(self, text: str) -> Route:
        target = self._meaning(text)
        if target.alias:
            return self._flat[target.alias]
        if target.bare:
            return Route(targets=(self._first_active(self._known.bare[target.bare]),))
        return Route(targets=((target.provider, target.model),))

    def _first_active(self, candidates: tuple[Pair, ...]) -> Pair:
        """The candidate a bare name means here, as when a caller uses it; else the best one."""
        for provider, model in candidates:
            if activate(self._providers[provider], self._env, self._seal_key) is not None:
                return provider, model
        return candidates[0]


def _note_filters(
    filters: dict[Pair, tuple[Filter, ...]], inner: Route, own: tuple[Filter, ...]
) -> None:
    """Add what the parts of ``inner`` must pass. Who is there twice must pass the first way's."""
    pairs = (*inner.targets, *inner.fallbacks)
    for pair, theirs in zip(pairs, inner.filters or ((),) * len(pairs), strict=True):
        filters.setdefault(pair, (*own, *theirs))
