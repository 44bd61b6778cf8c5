"""What was read → a :class:`Config`, with the checks that need more than one key at a time."""

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path as File
from typing import Any

from msgspec.structs import replace

from ferryman.catalog.load import CatalogProvider
from ferryman.config import names
from ferryman.config.alerting import alerts_of
from ferryman.config.caching import caching_of, idempotency_of, stateless, timed
from ferryman.config.conditions import plain_number
from ferryman.config.contents import content_of, logs_of, storing_of
from ferryman.config.files import is_file, located
from ferryman.config.filtering import FilterCheck, filter_of, promised
from ferryman.config.grammar import FORMATS
from ferryman.config.group_grammar import groups_of
from ferryman.config.grouping import MOST_DEEP, MOST_TARGETS, Grouped, grouped
from ferryman.config.guarding import check_names, guards_of
from ferryman.config.identity import EVERYONE, identity_of
from ferryman.config.kinds import Reader, url_fault
from ferryman.config.limiting import (
    budgets_of,
    limit_of,
    limits_of,
    rates_of,
    shareable,
)
from ferryman.config.model import Config, Facts, ProviderConfig, Ref, Retention, RouteConfig
from ferryman.config.names import Known
from ferryman.config.pricing import mistakes, prices_in
from ferryman.config.problem import ERROR, WARNING, Path, Problem, either, near, shown
from ferryman.config.reporting import headers_of, telemetry_of
from ferryman.config.residency import residency_of
from ferryman.config.role_grammar import roles_of
from ferryman.config.secret import PLACEHOLDER, base_url_variable, fill, meant_for
from ferryman.config.snapshot import (
    HEDGE_BY_PACE,
    KEYLESS,
    WEIGHED,
    Account,
    Affinity,
    Condition,
    Probe,
    Residence,
    Rule,
    ServerSettings,
    Timeouts,
)
from ferryman.config.targets import TargetCheck
from ferryman.ir.price import PICO
from ferryman.wire.addresses import refused_address
from ferryman.wire.paths import PATHS, STREAM

Found = dict[str, Any]
"""A table as ``shapes.Table.read`` returns it: the keys that were right."""

SECRET_HEADER = re.compile(r"auth|key|token|secret|cookie|credential|password", re.IGNORECASE)
"""Headers whose value is taken for a secret."""
_OURS = frozenset({
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect",
    "host", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "user-agent",
})  # fmt: skip


class Builder:
    """Builds a :class:`Config` from what the tables read, reporting into ``reader``."""

    def __init__(
        self, reader: Reader, *, env: Mapping[str, str], strict: bool, known: Known, folder: File
    ) -> None:
        self.reader = reader
        self.env = env
        self.strict = strict
        self.known = known
        self.folder = folder
        self.currencies: dict[str, Decimal] = {}

    def config(self, found: Found) -> Config:
        """The whole file; what was wrong is left out."""
        self.currencies = found.get("currencies", {})
        providers = {
            name: self._provider(name, ("providers", name), entry)
            for name, entry in found.get("providers", {}).items()
        }
        self._overridden(providers)
        models = self._models(found.get("models", {}), providers)
        timed(found, self._given(("cache",), "ttl"), self._at_key)
        stateless(found, self._given(("server",), "state"), self._at_key)
        policies = self._policies(found.get("policies", []), providers, models)
        places = [i for i, _ in found.get("policies", [])]
        residency = residency_of(found.get("residency", []), self._add)
        self._filters(providers, models, dict(zip(places, policies, strict=True)), residency)
        shareable(found, self.env, self.reader.keys, self._at_key)
        guards = guards_of(found.get("guards", {}), self._add)
        check_names(found, self._add)
        roles = roles_of(found.get("roles", {}), self._add)
        issuers, sign_in = identity_of(found.get("identity", {}), self.folder, roles, self._add)
        return Config(
            providers=providers,
            models=models,
            currencies=self.currencies,
            policies=policies,
            residency=tuple(residency.values()),
            limits=limits_of(found.get("limits", []), self.reader.keys, self._add),
            alerts=alerts_of(found.get("alerts", {}), self.folder, self.reader.keys, self._add),
            server=ServerSettings(**_floats(found.get("server", {}))),
            timeouts=self._timeouts(found.get("timeouts", {})),
            keep_responses=float(found.get("responses", {}).get("keep", 0)),
            caching=caching_of(found.get("cache", {})),
            idempotency=idempotency_of(found.get("idempotency", {})),
            ca_files=self._ca_files(found.get("tls", {}).get("ca_files", [])),
            content=content_of(found.get("content", {})),
            guards=guards,
            retention=_retention(found.get("ledger", {}), found.get("content", {})),
            roles=roles,
            issuers=issuers,
            sign_in=sign_in,
            groups=groups_of(found.get("identity", {}).get("groups", {}), roles, self._add),
            passwords=found.get("identity", {}).get("passwords") == EVERYONE,
            logs=logs_of(found.get("logs", {}), self.folder, self._add),
            telemetry=telemetry_of(found.get("telemetry", {})),
            otlp_headers=headers_of(found.get("telemetry", {}), self._value, self._at_key),
        )

    # -- reporting ---------------------------------------------------------------------------------

    def _add(self, path: Path, message: str, fix: str, severity: str = ERROR) -> None:
        self.reader.add(path, self.reader.at(path), message, fix, severity)

    def _at_key(self, path: Path, message: str, fix: str, severity: str = ERROR) -> None:
        mark = self.reader.keys.get(path) or self.reader.at(path)
        self.reader.add(path, mark, message, fix, severity)

    def _given(self, path: Path, name: str) -> bool:
        """Whether the key stands in the file, right or wrong."""
        return (*path, name) in self.reader.keys

    @property
    def _unsafe(self) -> str:
        return ERROR if self.strict else WARNING

    # -- providers ---------------------------------------------------------------------------------

    def _provider(self, name: str, path: Path, found: Found) -> ProviderConfig:
        row = self.known.providers.get(name)
        keys = self._keys(name, path, found)
        if row is None and not self._given(path, "base_url"):
            words = [self.known.also[name]] if name in self.known.also else []
            words = words or near(name, self.known.providers)
            fix = f"Did you mean {either(words)}? For" if words else "For"
            fix += " a server of your own, say where it is: base_url: http://host:8000/v1"
            self._at_key(path, "the catalogue has no provider of this name", fix)
        self._auth(path, found, keys, row)
        if "base_url" in found:
            self._placeholders((*path, "base_url"), found["base_url"])
            if refused_address(found["base_url"], found.get("private")):
                message = "the base URL is an address that it may not lead to"
                fix = "private: true allows private addresses, and those of clouds' metadata."
                self._add((*path, "base_url"), message, fix)
        self._endpoints(path, found, row)
        quirks = self._quirks(path, found)
        for mistake in mistakes(path, found, row is not None, self.currencies):
            self._at_key(*mistake)
        return ProviderConfig(
            name=name,
            keys=tuple(keys),
            format=found.get("format"),
            base_url=found.get("base_url"),
            region=found.get("region"),
            data_policy=promised(found["data_policy"]) if "data_policy" in found else None,
            private=found.get("private"),
            auth=found.get("auth"),
            headers=self._headers(path, found),
            endpoints=_values(found, "endpoints"),
            quirks=quirks,
            limit=limit_of(
                found, [key.calls for key in keys], path, self.reader.keys, self._at_key
            ),
            rates=rates_of(found),
            probe=_probe(found.get("probe")),
            discount=found.get("discount", Decimal(0)),
            discounts=found.get("discounts", {}),
            surcharge=found.get("surcharge", Decimal(0)),
            prices=prices_in(found.get("prices", {})),
            models={model: _facts(said) for model, said in found.get("models", {}).items()},
        )

    def _endpoints(self, path: Path, found: Found, row: CatalogProvider | None) -> None:
        usual = row.format if row else FORMATS[0]
        name = found.get("format", usual)
        known = {endpoint for endpoint in PATHS[name] if not endpoint.endswith(STREAM)}
        if row and name == usual:
            known |= row.paths.keys()
        for i, endpoint in found.get("endpoints", []):
            if endpoint not in known:
                message = f"the format {name} has no endpoint of this name"
                fix = f"It has {', '.join(e for e in PATHS[name] if e in known)}."
                self._add((*path, "endpoints", i), message, fix)

    def _quirks(self, path: Path, found: Found) -> tuple[str, ...] | None:
        good = []
        for i, quirk in found.get("quirks", []):
            if quirk in self.known.quirks:
                good.append(quirk)
                continue
            words = near(quirk, self.known.quirks) or sorted(self.known.quirks)
            fix = f"There are: {', '.join(words)}."
            self._add((*path, "quirks", i), "there is no quirk of this name", fix)
        return tuple(good) if "quirks" in found else None

    def _keys(self, name: str, path: Path, found: Found) -> list[Ref]:
        given = [((*path, "keys", i), entry) for i, entry in found.get("keys", [])]
        if "key" in found:
            given = [((*path, "key"), found["key"])]
        if self._given(path, "key") and self._given(path, "keys"):
            self._at_key((*path, "keys"), "key and keys are both given", "Keep one of them.")
        refs = [self._pooled(where, entry) for where, entry in given]
        if len({ref.owner for ref in refs}) > 1:
            message = "a provider with a key of an organisation serves that organisation alone"
            fix = "Give the others a provider of their own, at the same base_url."
            self._add((*path, "keys"), message, fix)
        asked = self._given(path, "key") or self._given(path, "keys")
        row = self.known.providers.get(name)
        url, keyed = found.get("base_url"), found.get("auth") not in KEYLESS
        if row and row.key_env and url and not asked and keyed and not meant_for(row.base_url, url):
            message = f"the catalogue's key is not for this base URL, but for {row.base_url}"
            fix = f"Give the key that it may have. Example: key: env:{row.key_env[0]}"
            self._at_key((*path, "base_url"), message, fix, WARNING)
        elif row and not asked and keyed and self._dormant(row):
            message = f"{either(row.key_env)} is not set, so the provider stays inactive"
            self._at_key(path, message, "Set it, or give key: env:NAME.", WARNING)
        return refs

    def _dormant(self, row: CatalogProvider) -> bool:
        return not row.keyless and not any(self.env.get(variable) for variable in row.key_env)

    def _pooled(self, path: Path, entry: Ref | Found) -> Ref:
        """A reference, with the weight and the limit that may stand beside it."""
        if isinstance(entry, Ref):
            return self._ref(path, entry)
        ref = self._ref((*path, "key"), entry["key"]) if "key" in entry else Ref(kind="literal")
        weight, calls = float(entry.get("weight", 1)), entry.get("max_in_flight", 0)
        off = entry.get("discount", Decimal(0))
        return replace(ref, weight=weight, calls=calls, discount=off, rates=rates_of(entry))

    def _ref(self, path: Path, ref: Ref) -> Ref:
        """Check one reference; a relative path is taken from the configuration's folder."""
        if ref.kind == "literal":
            fix = "Put it into the environment and write env:NAME, or into a file and file:/path."
            if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", ref.literal.reveal()):
                fix = "If this is the name of a variable, write env: in front of it. " + fix
            self._add(path, "a secret is written into the file", fix, self._unsafe)
        elif ref.kind == "env":
            if not self.env.get(ref.value, "").strip():
                message = f"the variable {shown(ref.value)} is not set, so this has no value"
                self._add(path, message, "Set it in the environment of the gateway.", WARNING)
        elif ref.kind == "file":
            file = located(self.folder, ref.value)
            ref = Ref(kind="file", value=str(file))
            if not is_file(file):
                message = "there is no such file here, so this has no value"
                self._add(path, message, "Create it, readable to the gateway.", WARNING)
        return ref

    def _auth(self, path: Path, found: Found, keys: list[Ref], row: CatalogProvider | None) -> None:
        auth = found.get("auth")
        where = (*path, "auth")
        keyed = bool(keys) or self._given(path, "key") or self._given(path, "keys")
        if auth in KEYLESS and keys:
            message = f"auth: {auth} sends no key, but a key is given"
            self._add(where, message, "Leave out one of them.")
        elif auth is not None and auth not in KEYLESS and not keyed and row is None:
            self._add(where, "this needs a key", "Add key: env:NAME, or write auth: none.")
        if auth is not None and auth.lower().removeprefix("header:") in _OURS:
            self._add(where, "the gateway sets this header itself", "Example: auth: header:api-key")

    def _headers(self, path: Path, found: Found) -> tuple[tuple[str, Ref], ...]:
        out: dict[str, tuple[str, Ref]] = {}
        for name, ref in found.get("headers", {}).items():
            where = (*path, "headers", name)
            if name.lower() in _OURS:
                self._at_key(where, "the gateway sets this header itself", "Remove it.")
            elif name.lower() == "authorization":
                fix = "Give the key as key: env:NAME; auth: bearer sends it this way."
                self._at_key(where, "keys do not belong under headers", fix)
            elif name.lower() in out:
                self._at_key(where, "this header is given twice", "Keep one of them.")
            else:
                out[name.lower()] = (name, self._value(where, name, ref))
        return tuple(out.values())

    def _value(self, path: Path, name: str, ref: Ref) -> Ref:
        """The value of the header ``name``, checked if it is a secret."""
        return self._ref(path, ref) if ref.kind != "literal" or SECRET_HEADER.search(name) else ref

    def _placeholders(self, path: Path, url: str) -> None:
        for variable in PLACEHOLDER.findall(url):
            if not self.env.get(variable):
                message = f"{shown(variable)} is not set, so the provider stays inactive"
                self._add(path, message, "Set it in the environment of the gateway.", WARNING)
        filled = fill(url, self.env)
        if filled is not None and (fault := url_fault(filled)):
            self._add(path, f"with its variables filled in: {fault}", "Correct the variables.")

    def _overridden(self, providers: Mapping[str, ProviderConfig]) -> None:
        """Check ``FERRYMAN_<NAME>_BASE_URL`` of every provider there is."""
        for name in {**self.known.providers, **providers}:
            variable = base_url_variable(name)
            if (url := self.env.get(variable)) and (fault := url_fault(url)):
                fix = f"Example: {variable}=http://127.0.0.1:8000/v1"
                problem = Problem(file="environment", key=variable, message=fault, fix=fix)
                self.reader.problems.append(problem)

    # -- models and policies -----------------------------------------------------------------------

    def _models(
        self, found: Found, providers: Mapping[str, ProviderConfig]
    ) -> dict[str, RouteConfig]:
        models = {name: self._model(name, entry) for name, entry in found.items()}
        targets = self._targets(providers, models)
        for route in models.values():
            self._afterwards(route, targets, models)
        graph: dict[str, list[str]] = {}
        for route in models.values():
            graph[route.name] = [
                target.alias
                for place in ("targets", "fallbacks")
                for path, text in self._written(route.name, place, found[route.name])
                if (target := targets.check(path, text)) and target.alias
            ]
        order, circles = names.ordered(graph)
        for circle in circles:
            path: Path = ("models", circle[0])
            trail = " → ".join(shown(name) for name in [*circle, circle[0]][:12])
            fix = "End it with provider/model."
            self._at_key(path, f"this name leads back to itself: {trail}", fix)
        if not circles:
            self._sizes(grouped(models, order, targets.alias))
        return models

    def _afterwards(
        self, route: RouteConfig, targets: TargetCheck, models: Mapping[str, RouteConfig]
    ) -> None:
        """Check what a model does when an answer is not what was hoped for."""
        path: Path = ("models", route.name)
        if route.on_content_filter:
            targets.check((*path, "on_content_filter"), route.on_content_filter)
        several = (*route.targets, *route.fallbacks)
        if len(several) != 1 or several[0] in models:
            return
        for key in ("retry_empty", "hedge", "rescue"):
            if getattr(route, key):
                message = f"{key} needs another target to ask, and there is one only"
                self._at_key((*path, key), message, "Add a target, or leave it out.", WARNING)

    def _sizes(self, groups: Mapping[str, Grouped]) -> None:
        """Report names that lead to more targets than a call could look at."""
        for name, group in groups.items():
            if group.size > MOST_TARGETS or group.depth > MOST_DEEP:
                message = f"more than {MOST_TARGETS} targets, or {MOST_DEEP} groups in groups"
                fix = "Name fewer: a target that is a route brings all of its own."
                self._at_key(("models", name), message, fix)
                return

    def _written(self, name: str, place: str, entry: Any) -> list[tuple[Path, str]]:
        if isinstance(entry, str):
            return [(("models", name), entry)] if place == "targets" else []
        return [(("models", name, place, *at), text) for at, text in _each(entry.get(place, []))]

    def _model(self, name: str, entry: Any) -> RouteConfig:
        path: Path = ("models", name)
        if isinstance(entry, str):
            return RouteConfig(name=name, targets=(entry,))
        for place in ("targets", "fallbacks"):
            seen: set[str] = set()
            for at, text in _each(entry.get(place, [])):
                if text in seen:
                    message = f"{shown(text)} stands here twice"
                    self._add((*path, place, *at), message, "Keep one of them.")
                seen.add(text)
        written = entry.get("targets", [])
        targets = tuple(text for _, text in _each(written))
        groups = tuple(tuple(text for _, text in _each([item])) for item in written)
        weights = {target: float(weight) for target, weight in entry.get("weights", {}).items()}
        strategy = entry.get("strategy", "ordered")
        unclear = self._given(path, "strategy") and "strategy" not in entry
        if weights and strategy not in WEIGHED and not unclear:
            message = f"weights mean nothing under strategy {strategy}"
            self._at_key((*path, "weights"), message, "Add strategy: weighted.")
        if "sticky" in entry and strategy != "weighted" and not unclear:
            message = f"sticky means nothing under strategy {strategy}"
            self._at_key((*path, "sticky"), message, "Add strategy: weighted.")
        for target in weights:
            if target not in targets:
                words = near(target, targets) or list(targets)
                fix = f"Targets are: {', '.join(shown(word) for word in words[:10])}."
                message = f"{shown(target)} is not among the targets"
                self._at_key((*path, "weights", target), message, fix)
        return RouteConfig(
            name=name,
            targets=targets,
            groups=() if all(isinstance(item, str) for _, item in written) else groups,
            strategy=strategy,
            sticky=entry.get("sticky", ""),
            affinity=_affinity(entry.get("affinity", {})),
            weights=weights,
            fallbacks=_values(entry, "fallbacks") or (),
            on_content_filter=entry.get("on_content_filter", ""),
            retry_empty=entry.get("retry_empty", False),
            hedge=_hedge(entry.get("hedge", False)),
            rescue=entry.get("rescue", False),
            filter=filter_of(entry.get("filter"), f"models.{name}"),
            guard=_values(entry, "guard") or (),
        )

    def _targets(
        self, providers: Mapping[str, ProviderConfig], models: Mapping[str, RouteConfig]
    ) -> TargetCheck:
        return TargetCheck(
            self.known, self.reader.keys, self._add, self._dormant, providers, models
        )

    def _policies(
        self,
        found: list[tuple[int, Found]],
        providers: Mapping[str, ProviderConfig],
        models: Mapping[str, RouteConfig],
    ) -> tuple[Rule, ...]:
        targets = self._targets(providers, models)
        names: set[str] = set()
        out = []
        for i, policy in found:
            path: Path = ("policies", i)
            name = policy.get("name", f"policy-{i + 1}")
            if name in names:
                message = f"another policy is called {shown(name)} already"
                self._add((*path, "name"), message, "Give each a name of its own.")
            names.add(name)
            self._policy(path, policy, targets)
            texts = ("use", "forbid", "on_unsupported", "too_long", "on_content_filter")
            said: Found = {key: policy[key] for key in texts if key in policy}
            said |= {key: float(value) for key, value in policy.get("timeouts", {}).items()}
            rule = Rule(
                name=name,
                when=policy.get("when", Condition(op="any")),
                set=tuple((key, plain_number(v)) for key, v in policy.get("set", {}).items()),
                filter=filter_of(policy.get("filter"), f"policy {name}"),
                cache=float(policy.get("cache", -1)),
                budgets=budgets_of(
                    policy.get("budget"), (*path, "budget"), self.reader.keys, self._add
                ),
                content=storing_of(policy["content"]) if "content" in policy else None,
                guard=_values(policy, "guard") or (),
                **said,
            )
            out.append(rule)
        return tuple(out)

    def _policy(self, path: Path, policy: Found, targets: TargetCheck) -> None:
        """Check what a policy does."""
        for key in ("use", "on_content_filter"):
            if key in policy:
                targets.check((*path, key), policy[key])
        if not any(self._given(path, key) for key in _DOES):
            self._add(path, "this policy does nothing", "Say which model serves: use: NAME")
        for key in _DOES:
            if self._given(path, "forbid") and key != "forbid" and self._given(path, key):
                message = f"a call that is refused has no use for {key}"
                self._at_key((*path, key), message, "Keep one of them, forbid or this.")

    def _filters(
        self,
        providers: Mapping[str, ProviderConfig],
        models: Mapping[str, RouteConfig],
        policies: Mapping[int, Rule],
        residency: Mapping[int, Residence],
    ) -> None:
        """Check who passes; ``policies`` and ``residency`` by their place in the file."""
        check = FilterCheck(
            self._add, self.known, providers, models, self.env, self.currencies
        ).check
        for route in models.values():
            check(("models", route.name, "filter"), route.filter, route.targets + route.fallbacks)
        for i, rule in policies.items():
            check(("policies", i, "filter"), rule.filter, (rule.use,) if rule.use else None)
        for i, each in residency.items():
            check(("residency", i), each.filter, None)

    # -- the rest ----------------------------------------------------------------------------------

    def _timeouts(self, found: Found) -> Timeouts:
        timeouts = Timeouts(**_floats(found))
        for name in ("connect", "first_byte", "idle"):
            if name in found and getattr(timeouts, name) > timeouts.total:
                message = f"this is longer than total ({timeouts.total:g}s), which ends the call"
                self._add(("timeouts", name), message, "Raise total, or lower this.", WARNING)
        return timeouts

    def _ca_files(self, found: list[tuple[int, str]]) -> tuple[str, ...]:
        out = []
        for i, name in found:
            file = located(self.folder, name)
            if not is_file(file):
                fix = "Give the path of a PEM file; a relative one starts at this file's folder."
                self._add(("tls", "ca_files", i), "there is no such file here", fix, WARNING)
            out.append(str(file))
        return tuple(out)


_DOES = (
    "use", "forbid", "set", "timeouts", "budget", "on_unsupported", "too_long", "filter",
    "on_content_filter", "cache", "content", "guard",
)  # fmt: skip
"""Keys of which a policy needs one, to do anything."""


def _hedge(value: Any) -> float:
    if isinstance(value, bool):
        return HEDGE_BY_PACE if value else 0.0
    return float(value)


def does_something(rule: Rule) -> bool:
    """Whether calls that match go any other way than without the policy."""
    return rule != Rule(name=rule.name, when=rule.when)


def _each(found: list[tuple[int, Any]]) -> list[tuple[Path, str]]:
    """Targets as read, those of lists within the list too, with their places."""
    out: list[tuple[Path, str]] = []
    for i, item in found:
        if isinstance(item, str):
            out.append(((i,), item))
        else:
            out += [((i, j), text) for j, text in item]
    return out


def _affinity(found: Found) -> Affinity | None:
    if "by" not in found:
        return None
    given = {"seconds": float(found["for"])} if "for" in found else {}
    return Affinity(by=found["by"], **given)


def _facts(found: Found) -> Facts:
    abilities = {"abilities": _values(found, "abilities")} if "abilities" in found else {}
    account = Account(rates=rates_of(found), calls=found.get("max_in_flight", 0))
    known = {name: value for name, value in found.items() if name in Facts.__struct_fields__}
    if "data_policy" in found:
        known["data_policy"] = promised(found["data_policy"])
    return Facts(**{**known, **abilities, "account": account})


def _values(found: Found, name: str) -> tuple[str, ...] | None:
    return tuple(value for _, value in found[name]) if name in found else None


def _probe(found: Found | None) -> Probe | None:
    if found is None:
        return None
    usual = Probe()
    dollars = found.get("usd_per_day")
    return Probe(
        every=float(found.get("every", usual.every)),
        picodollars=usual.picodollars if dollars is None else int(dollars * PICO),
    )


def _retention(found: Found, content: Found) -> Retention:
    usual = Retention()
    return Retention(
        calls=int(found.get("keep", usual.calls)),
        minutes=int(found.get("minutes", usual.minutes)),
        hours=int(found.get("hours", usual.hours)),
        content=int(content.get("keep", usual.content)),
        audit=int(found.get("audit", usual.audit)),
    )


def _floats(found: Found) -> Found:
    return {
        name: float(value) if isinstance(value, Decimal) else value for name, value in found.items()
    }
