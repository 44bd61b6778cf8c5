"""The active providers of a snapshot, compiled: what a call needs is looked up, not worked out."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Raw

from ferryman import __version__
from ferryman.catalog.quirks import (
    AWS_CHUNKS,
    BETAS_IN_BODY,
    PROVIDER_OBJECT,
    model_quirks,
    refused,
    request_quirks,
    usage_quirks,
)
from ferryman.catalog.tokens import Gauge
from ferryman.config.filters import ASKED, Written
from ferryman.config.secret import PoolKey
from ferryman.config.snapshot import Filter, ModelRow, Provider, Route, Snapshot
from ferryman.http1.connect import Origin
from ferryman.http1.pool import Pool, Pools
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.fixed import fixed
from ferryman.ir.price import PER_ONE, Price, Rate, scaled
from ferryman.upstream.cloud import Signer, signer_of
from ferryman.wire.addresses import reach
from ferryman.wire.format import Aim
from ferryman.wire.paths import PATHS, STREAM

NAMES_KEPT = 4096
"""Resolved model names kept; more distinct names than that are resolved again each time."""
HINTS_KEPT = 512
"""Unknown names of which is kept what they resemble."""

_rows = msgspec.msgpack.Decoder(dict[str, ModelRow])
_json = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_IN_PATH = "-._~:@"
"""Left as they are in a model's name within a path; slashes must not become levels of it."""
_VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


class Runtime:
    """One active provider: its connection pool, and request heads ready but for the length."""

    def __init__(
        self, provider: Provider, keys: list[PoolKey], pools: Pools, models: Raw | None
    ) -> None:
        self.name = provider.name
        self.provider = provider
        origin = msgspec.structs.replace(
            Origin.of(provider.base_url), reach=reach(provider.base_url, provider.private)
        )
        self.pool: Pool = pools.get(origin)
        self.rows = _rows.decode(models) if models is not None else {}
        self.ask_usage = "no_stream_options" not in provider.quirks
        self.request_quirks = request_quirks(provider.quirks)
        self.usage_quirks = usage_quirks(provider.quirks)
        self.refused = refused(provider.quirks)
        """Members of chat requests that must be left out."""
        self.betas_in_body = BETAS_IN_BODY in provider.quirks
        """Whether the header ``anthropic-beta`` must go into the body."""
        self.takes_preferences = PROVIDER_OBJECT in provider.quirks
        """Whether it heeds the object ``provider`` of a request itself."""
        self.aws_chunks = AWS_CHUNKS in provider.quirks
        """Whether streams come as AWS messages around events of the provider's format."""
        for key in keys:
            _head(provider, origin, "/", key.text)  # says now what can't be sent
        self.signer: Signer | None = signer_of(provider.auth, provider.region, origin.host)
        """Makes further header lines for each request; None where the head says it all."""
        # AWS encodes the path once more for the signature: no character may be in doubt.
        self._in_path = "-._~" if provider.auth == "sigv4" else _IN_PATH
        self._origin = origin
        pooled = keys or [PoolKey("", "")]
        self._keys = [key.text for key in pooled]
        self.secrets = [key.text for key in keys]
        """What guards look for."""
        self.keys = [f"{provider.name}#{_fingerprint(key)}" for key in self._keys]
        """What health knows the keys by."""
        self.key_names = [key.name for key in pooled]
        """What people know them by."""
        self.most = [key.calls for key in pooled]
        """Most calls at work at once with each; 0 = any number."""
        self.limited = any(self.most)
        self.rates = [key.rates for key in pooled]
        """What may be asked with each."""
        pays = [key.pays for key in pooled]
        self.pays = pays if set(pays) != {(1, 1)} else []
        """Which fraction of a price calls with each of the keys cost; empty = all of it."""
        self._weights = [key.weight for key in pooled]
        self._due = [0.0] * len(pooled)
        """How much each key has not had of its share."""
        self._paths = _paths(provider)
        self._heads: dict[str, list[bytes]] = {}
        """Heads ready to send, by path; as many as keys."""

    def take_turn(self, slots: list[int]) -> int:
        """The key whose turn it is among these, so that each gets its share (smooth weighted
        round robin)."""
        due, weights = self._due, self._weights
        best = slots[0]
        whole = 0.0
        for slot in slots:
            due[slot] += weights[slot]
            whole += weights[slot]
            if due[slot] > due[best]:
                best = slot
        due[best] -= whole
        return best

    def signature(self, head: bytes, body: bytes, now: float) -> bytes:
        """Header lines that vouch for a request with this head; see :class:`Signer`."""
        if self.signer is None:
            return b""
        method, target, _ = head[: head.index(b"\r\n")].decode("latin-1").split(" ")
        return self.signer.lines(method, target, self._origin.authority, body, now)

    def offers(self, endpoint: str) -> bool:
        """Whether calls of ``endpoint`` can be sent there as they are."""
        return endpoint in self._paths

    def head(self, endpoint: str, model: str, stream: bool, key: int = 0) -> bytes | None:
        """Request head up to ``content-length: ``, with that key; None = no such endpoint."""
        path = self._paths.get(endpoint)
        if path is None:
            return None
        if stream:
            path = self._paths.get(endpoint + STREAM, path)
        if "{model}" in path:
            path = path.replace("{model}", quote(model, safe=self._in_path))
        heads = self._heads.get(path)
        if heads is None:
            if len(self._heads) >= NAMES_KEPT:
                self._heads.clear()
            heads = [_head(self.provider, self._origin, path, given) for given in self._keys]
            self._heads[path] = heads
        return heads[key]


def _paths(provider: Provider) -> dict[str, str]:
    """Endpoint → path and query from the origin on."""
    url = urlsplit(provider.base_url)
    base = quote(url.path.rstrip("/"), safe="/%:@!$&'()*+,;=~-._")
    own = dict(provider.paths)
    offered = provider.endpoints or PATHS[provider.format]
    out = {}
    for name, path in {**PATHS[provider.format], **own}.items():
        if name.removesuffix(STREAM) in offered or name in own:
            joint = "&" if "?" in path else "?"
            at = path[1:] if path.startswith("//") else base + path
            out[name] = f"{at}{joint + url.query if url.query else ''}"
    return out


def _head(provider: Provider, origin: Origin, path: str, key: str) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        f"host: {origin.authority}",
        "content-type: application/json",
        "accept-encoding: identity",
        f"user-agent: ferryman/{__version__}",
    ]
    if key and provider.auth == "bearer":
        lines.append(f"authorization: Bearer {key}")
    elif key and provider.auth.startswith("header:"):
        lines.append(f"{provider.auth[7:].lower()}: {key}")
    elif key and provider.auth == "x-api-key":
        lines.append(f"x-api-key: {key}")
    lines += [f"{name.lower()}: {value}" for name, value in provider.headers]
    for line in lines:
        if "\r" in line or "\n" in line or "\0" in line:
            raise ValueError(f"provider {provider.name}: a key or header holds a line break")
    return ("\r\n".join(lines) + "\r\ncontent-length: ").encode("latin-1")


def _fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16] if key else ""


class Book:
    """The prices of a target, as one of its provider's keys pays them."""

    __slots__ = ("fixed", "id", "journaled", "prices")

    def __init__(self, provider: str, model: str, prices: tuple[Price, ...]) -> None:
        self.prices = prices
        self.fixed = fixed(prices)
        """The same as one rate, if it is always that."""
        self.id = hashlib.sha256(_pack((provider, model, prices))).hexdigest()[:16]
        """Of this price of this model, for good."""
        self.journaled = not prices
        """Whether the journal has it."""


class Target:
    """One model at one provider, ready to be called."""

    __slots__ = (
        "aim", "books", "by_character", "by_image", "context", "dearest", "fees", "gauge", "health",
        "labels", "max_output", "model", "model_json", "name", "named", "prices", "provider",
        "quota", "responses_only", "runtime", "timed", "written",
    )  # fmt: skip

    def __init__(self, runtime: Runtime, model: str, health: object, gauge: Gauge) -> None:
        self.health = health
        """Of ``routing/health.py``, which this room doesn't know; kept across snapshots."""
        self.gauge = gauge
        self.runtime = runtime
        provider = runtime.provider
        self.provider = runtime.name
        self.model = model
        self.name = f"{runtime.name}/{model}"
        self.timed = False
        """Whether a strategy wants to know how long its tokens take."""
        self.quota = False
        """Whether a strategy wants to know what is left of its rate limits."""
        self.model_json = _json(model)
        row = runtime.rows.get(model)
        self.named = row is not None
        """Whether metrics may show the name: it isn't one that a caller made up."""
        self.prices: tuple[Price, ...] = row.prices if row else ()
        self.books = [
            Book(self.provider, model, tuple([scaled(price, *share) for price in self.prices]))
            for share in runtime.pays
        ] or [Book(self.provider, model, self.prices)]
        """By the provider's keys; one if they pay alike."""
        self.context = row.context if row else 0
        self.max_output = row.max_output if row else 0
        self.aim = Aim(
            model=model,
            max_output=self.max_output,
            abilities=row.abilities if row else (),
            quirks=(*provider.quirks, *model_quirks(provider.format, model, provider.quirks)),
        )
        self.responses_only: bool = "responses_only" in self.aim.quirks and runtime.offers(
            "responses"
        )
        """Whether the model is not to be had by chat completions, but by its sister."""
        self.dearest = dearest(self.prices)
        self.fees = most_fees(self.prices)
        """The most that is charged for beyond tokens; None = nothing is but for the call."""
        dearest_fees = self.fees.tiers[0][1] if self.fees is not None else Rate()
        self.by_character = dearest_fees.character > 0
        self.by_image = dearest_fees.image > 0
        own = row or ModelRow()
        self.written = Written(
            runtime.name,
            model,
            own.region or provider.region,
            own.data_policy or provider.data_policy,
            own.quantization,
        )
        """What filters may ask about it."""
        # The name came from a caller: what is no plain header text must not get into a header.
        shown = quote(model, safe=_VISIBLE)
        self.labels = (
            f"x-ferryman-provider: {runtime.name}\r\nx-ferryman-model: {shown}\r\n".encode()
        )


def book_of(target: Target, slot: int) -> Book:
    """What a call costs there with the provider's key number ``slot``."""
    books = target.books
    return books[slot] if slot < len(books) else books[0]


def dearest(prices: tuple[Price, ...]) -> tuple[int, int, int]:
    """Most picodollars that a token in, a token out, and a request can cost.

    Whenever it is, in whichever service tier and region: an account may be served in a dearer one
    though the call did not ask for it.
    """
    listed = [price.tiers for price in prices]
    listed += [special.tiers for price in prices for special in price.specials]
    rates = [rate for tiers in listed for _, rate in tiers]
    dearer = max((f for price in prices for _, f in price.regions), default=1000)
    taken = [
        max(
            r.input,
            r.cache_read,
            r.cache_write,
            r.cache_write_1h,
            r.audio_input,
            r.audio_cache_read,
            r.image_cache_read,
            r.image_input,
        )
        for r in rates
    ]
    given = [max(r.output, r.reasoning, r.audio_output, r.image_output) for r in rates]
    fees = [max(r.request, r.request_low, r.request_medium) for r in rates]
    most = [max(each, default=0) for each in (taken, given)]
    taken_most, given_most = (-(-each * max(dearer, 1000) // 1000) for each in most)
    return taken_most, given_most, max(fees, default=0)


_FEES: Final = tuple(name for name in (*PER_ONE, "character") if not name.startswith("request"))


def most_fees(prices: tuple[Price, ...]) -> Price | None:
    """The most that one of each can cost that is charged for beyond tokens, as a price; None =
    nothing. Its ``request`` is 0."""
    listed = [price.tiers for price in prices]
    listed += [special.tiers for price in prices for special in price.specials]
    rates = [rate for tiers in listed for _, rate in tiers]
    most = {name: max([getattr(r, name) for r in rates], default=0) for name in _FEES}
    if not any(most.values()):
        return None
    least = max([price.audio_least_ms for price in prices])
    return Price(tiers=((-1, Rate(**most)),), audio_least_ms=least)


_TIMED = frozenset(("latency", "throughput"))


class Resolved:
    """What a model name leads to."""

    __slots__ = (
        "bound", "choice", "extras", "fallbacks", "filtered", "filters", "left_out", "narrowed",
        "route", "routes", "strategy", "targets", "uneven", "weights",
    )  # fmt: skip

    def __init__(
        self,
        targets: tuple[Target, ...],
        fallbacks: tuple[Target, ...] = (),
        strategy: str = "ordered",
        weights: tuple[float, ...] = (),
        route: Route | None = None,
        routes: Mapping[str, Route] | None = None,
        filters: tuple[tuple[Filter, ...], ...] = (),
    ) -> None:
        """``route`` is where it comes from, of ``routes``, which may be within it."""
        self.route = route
        self.routes: Mapping[str, Route] = routes or {}
        self.bound = route is not None and bool(route.identities or route.affinity)
        """Whether it matters whose call it is, or to which others it belongs."""
        self.choice: object = None
        """Of ``flow/choice.py``, which this room doesn't know."""
        self.targets = targets
        self.fallbacks = fallbacks
        self.strategy = strategy
        self.weights = weights
        self.extras = route if route is not None and route.special else None
        """The route, where it wants more than its targets asked one after the other."""
        self.filters = filters
        """What each target and then each fallback must pass; empty = nothing."""
        self.uneven = len(targets) + len(fallbacks) > 1 and _uneven((*targets, *fallbacks))
        """Whether one is known to lack an ability that another is known to have."""
        self.filtered = self.uneven or bool(filters)
        """Whether it may depend on the request who comes into question."""
        self.narrowed: dict[str, Resolved] = {}
        """What is left of it for every call that meets the policy of that name."""
        self.left_out: dict[Target, str] | None = None
        """Who was left out of it, and why."""


def _uneven(targets: tuple[Target, ...]) -> bool:
    known = [set(target.aim.abilities) & _ASKED for target in targets if target.aim.abilities]
    return any(one != known[0] for one in known)


_ASKED: Final = frozenset(ASKED)


class Fleet:
    """Every active provider and every name that leads to one."""

    def __init__(
        self,
        snapshot: Snapshot,
        pools: Pools,
        pool_of: Callable[[Provider], list[PoolKey] | None],
        near: Callable[[str, list[str]], list[str]],
        live: Callable[[str], tuple[object, Gauge]],
    ) -> None:
        """``pool_of`` gives a provider's keys (none for a keyless one), or None = not active.

        ``live`` gives what is kept of a target across snapshots.
        """
        self.snapshot = snapshot
        self.pools = pools
        timeouts = snapshot.timeouts
        # Asked for at every call: an attribute of ours costs a fraction of a struct's.
        self.configured = bool(snapshot.version)
        """Whether it is of a configuration."""
        self.first_byte: float = timeouts.first_byte
        self.idle: float = timeouts.idle
        self.total: float = timeouts.total
        self.cancelled: float = timeouts.cancelled
        self.problems: list[str] = []
        self._near = near
        self._resolved: dict[str, Resolved] = {}
        self._targets: dict[tuple[str, str], Target] = {}
        self._hints: dict[str, str] = {}
        self._live = live
        self.runtimes: dict[str, Runtime] = {}
        for provider in snapshot.providers.values():
            keys = pool_of(provider)
            if keys is None:
                continue
            try:
                models = snapshot.models.get(provider.name)
                self.runtimes[provider.name] = Runtime(provider, keys, pools, models)
            except ValueError as error:
                self.problems.append(f"provider {provider.name} left out: {error}")

    def resolve(self, name: str) -> Resolved:
        """Targets for a model name. Raises :class:`GatewayError` (404) naming what is near."""
        known = self._resolved.get(name)
        if known is None:
            known = self._resolve(name)
            if len(self._resolved) >= NAMES_KEPT:
                self._resolved.clear()
                self._targets.clear()
            self._resolved[name] = known
        return known

    def _resolve(self, name: str) -> Resolved:
        route = self.snapshot.routes.get(name)
        if route is not None:
            weights = () if route.tiers else route.weights  # those of tiers are their units'
            pairs = [
                (target, weights[i] if i < len(weights) else 1.0)
                for i, (provider, model) in enumerate(route.targets)
                if (target := self._target(provider, model)) is not None
            ]
            fallbacks = [self._target(provider, model) for provider, model in route.fallbacks]
            strategies = {route.strategy, *route.strategies}
            filters = [
                theirs
                for pair, theirs in zip(
                    (*route.targets, *route.fallbacks), route.filters, strict=False
                )
                if self._target(*pair) is not None
            ]
            for target in [target for target, _ in pairs] + fallbacks:
                if target is not None:
                    target.named = True
                    target.timed = target.timed or not _TIMED.isdisjoint(strategies)
                    target.quota = target.quota or "headroom" in strategies
            if not pairs and not any(fallbacks):
                raise self._inactive(name, sorted({p for p, _ in route.targets + route.fallbacks}))
            return Resolved(
                tuple(target for target, _ in pairs),
                tuple(target for target in fallbacks if target is not None),
                route.strategy,
                tuple(weight for _, weight in pairs),
                route,
                self.snapshot.routes,
                tuple(filters),
            )
        provider, slash, model = name.partition("/")
        if slash and model and provider in self.snapshot.providers:
            target = self._target(provider, model)
            if target is None:
                raise self._inactive(name, [provider])
            return Resolved((target,))
        candidates = self.snapshot.bare.get(name, ())
        if slash and model and not candidates and provider in self.snapshot.aliases:
            return self._resolve(f"{self.snapshot.aliases[provider]}/{model}")
        for provider, model in candidates:
            target = self._target(provider, model)
            if target is not None and not target.runtime.provider.owner:
                return Resolved((target,))
        if candidates:
            raise self._inactive(name, [provider for provider, _ in candidates[:3]])
        raise self.unknown(name)

    def _target(self, provider: str, model: str) -> Target | None:
        target = self._targets.get((provider, model))
        if target is None and provider in self.runtimes:
            target = self._targets[provider, model] = Target(
                self.runtimes[provider], model, *self._live(f"{provider}/{model}")
            )
        return target

    def _inactive(self, asked: str, names: list[str]) -> GatewayError:
        hints = []
        for name in names:
            provider = self.snapshot.providers[name]
            if provider.owner:  # whose that is, and what it lacks, is nobody else's business
                continue
            variables = [secret.value for secret in provider.keys if secret.kind == "env"]
            stored = [secret.value for secret in provider.keys if secret.kind == "vault"]
            hint = f" (`ferryman vault set {stored[0]}`)" if stored else ""
            hints.append(name + (f" (set {variables[0]})" if variables else hint))
        if not hints:
            return self.unknown(asked)
        return GatewayError(
            404,
            ErrorKind.MODEL_NOT_FOUND,
            f"No provider for this model is active: {', '.join(hints)}. A provider is active as "
            "soon as its key is in the gateway's environment or configuration.",
            param="model",
        )

    def unknown(self, name: str) -> GatewayError:
        """The refusal (404) of a name that leads nowhere."""
        shown = name if len(name) <= 100 else name[:100] + "…"
        hint = self._hints.get(shown)
        if hint is None:  # looked for once: callers with a wrong name mostly repeat it
            near = [each for each in self._near(name, self.names()) if each != name]
            hint = f" Near: {', '.join(near)}." if near else ""
            if len(self._hints) >= HINTS_KEPT:
                self._hints.clear()
            self._hints[shown] = hint
        return GatewayError(
            404,
            ErrorKind.MODEL_NOT_FOUND,
            f"There is no model {shown!r} here.{hint} GET /v1/models lists what there is.",
            param="model",
        )

    def targets(self) -> list[Target]:
        """Every target that a name has led to so far."""
        return list(self._targets.values())

    def names(self) -> list[str]:
        """Names that anybody may be told: the user's own, then ``provider/model`` of every active
        provider; not those that lead to an organisation's alone."""
        owned = {each.name for each in self.snapshot.providers.values() if each.owner}
        routes = self.snapshot.routes.items()
        out = sorted(
            name for name, route in routes
            if not owned or any(p not in owned for p, _ in (*route.targets, *route.fallbacks))
        )  # fmt: skip
        for runtime in self.runtimes.values():
            if runtime.name not in owned:
                out += [f"{runtime.name}/{model}" for model in runtime.rows]
        return out
