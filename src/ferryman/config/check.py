"""What ``ferryman check`` says about a file, as plain text or as data for scripts."""

import os
import secrets
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ferryman.config.catalogue import current
from ferryman.config.compile import providers_of
from ferryman.config.conditions import said as said_of
from ferryman.config.file import Loaded
from ferryman.config.filtering import said as said_of_filter
from ferryman.config.model import RouteConfig
from ferryman.config.names import Known
from ferryman.config.problem import WARNING
from ferryman.config.secret import ENV, FILE, PLACEHOLDER, VAULT, activate, is_there, key_seal_name
from ferryman.config.snapshot import Provider

CLOUDS = {
    "sigv4": "credentials from AWS's own chain",
    "google": "application default credentials",
}
"""Where providers without a key take their credentials from, by kind of ``auth``."""


class ProviderState(Struct, frozen=True, kw_only=True):
    """Whether a provider would be active in this environment, and why."""

    name: str
    active: bool
    named: bool
    """True: it stands in the file."""
    why: str


def exit_code(loaded: Loaded) -> int:
    """0 = usable, warnings or not; 1 = not usable."""
    return 1 if loaded.errors else 0


def report(
    loaded: Loaded, *, env: Mapping[str, str] = os.environ, known: Known | None = None
) -> str:
    """Every problem with its place and the right form; for a usable file, what it sets up."""
    lines = [str(problem) for problem in loaded.problems]
    if lines:
        lines.append("")
    name = loaded.file or "no configuration file"
    warnings = _count(sum(p.severity == WARNING for p in loaded.problems), "warning")
    if loaded.errors:
        lines.append(f"{name}: not usable: {_count(len(loaded.errors), 'error')}, {warnings}")
        return "\n".join(lines) + "\n"
    lines.append(f"{name}: good, {warnings}")
    states = provider_states(loaded, env=env, known=known)
    lines += _section("Providers", [_provider_line(state) for state in states])
    config = loaded.config
    lines += _section("Models", [_route_line(route) for route in config.models.values()])
    policies = []
    for policy in config.policies:
        what = [policy.use] if policy.use else []
        what += [f"forbid: {policy.forbid}"] if policy.forbid else []
        what += [f"{key}: {value}" for key, value in policy.set]
        for name in ("connect", "first_byte", "idle", "total"):
            if seconds := getattr(policy, name):
                what.append(f"{name}: {seconds:g}s")
        for name in ("on_unsupported", "too_long"):
            if said := getattr(policy, name):
                what.append(f"{name}: {said}")
        if policy.content is not None:
            what.append(f"content: {policy.content.what}")
        what += [f"guard: {name}" for name in policy.guard]
        what += [f"only targets with: {said_of_filter(policy.filter)}"] if policy.filter else []
        what = what or ["(no model)"]
        policies.append(f"{policy.name}: {said_of(policy.when)} → {', '.join(what)}")
    lines += _section("Policies", policies)
    rules = [
        f"{rule.filter.source.partition(' ')[2]}: {said_of(rule.when)} → "
        f"only targets and gateways with: {said_of_filter(rule.filter)}"
        for rule in config.residency
    ]
    lines += _section("Residency", rules)
    return "\n".join(lines) + "\n"


def report_data(
    loaded: Loaded, *, env: Mapping[str, str] = os.environ, known: Known | None = None
) -> dict[str, Any]:
    """The same for ``--json``: ``ok``, ``file``, ``problems``, and ``providers``, ``models``."""
    ok = not loaded.errors
    return {
        "ok": ok,
        "file": loaded.file,
        "problems": [
            {
                "file": problem.file,
                "line": problem.line,
                "column": problem.column,
                "key": problem.key,
                "severity": problem.severity,
                "message": problem.message,
                "fix": problem.fix,
            }
            for problem in loaded.problems
        ],
        "providers": [
            {"name": state.name, "active": state.active, "named": state.named, "why": state.why}
            for state in (provider_states(loaded, env=env, known=known) if ok else ())
        ],
        "models": [
            {
                "name": route.name,
                "strategy": route.strategy,
                "targets": list(route.targets),
                "groups": [list(group) for group in route.groups],
                "fallbacks": list(route.fallbacks),
            }
            for route in (loaded.config.models.values() if ok else ())
        ],
    }


def provider_states(
    loaded: Loaded, *, env: Mapping[str, str] = os.environ, known: Known | None = None
) -> list[ProviderState]:
    """Providers named in the file, then those the environment alone makes active."""
    key = secrets.token_bytes(32)  # for this look only
    providers = providers_of(loaded.config, known or current(), env, key)
    named = loaded.config.providers
    states = []
    for name in [*named, *(name for name in providers if name not in named)]:
        provider = providers[name]
        keys = activate(provider, env, key)
        if name in named or keys is not None:
            why = _active(provider, env, key) if keys is not None else _inactive(provider, env)
            owner = provider.owner
            why += f"; it serves {owner} alone" if owner else ""
            state = ProviderState(name=name, active=keys is not None, named=name in named, why=why)
            states.append(state)
    return states


def _active(provider: Provider, env: Mapping[str, str], key: bytes) -> str:
    found = []
    sealed_for = key_seal_name(provider.name, provider.owner)
    for secret in provider.keys:
        if is_there(secret, sealed_for, env, key):
            told = {ENV: secret.value, FILE: f"the file {secret.value}"}
            found.append(told.get(secret.kind, "the configuration"))
    found = found[:1] if provider.alternatives else found
    if provider.auth in CLOUDS:
        return CLOUDS[provider.auth]
    return f"key from {', '.join(found)}" if found else "no key needed"


def _inactive(provider: Provider, env: Mapping[str, str]) -> str:
    unset = [name for name in PLACEHOLDER.findall(provider.base_url) if not env.get(name)]
    joint = " or " if provider.alternatives else " and "
    variables = joint.join(secret.value for secret in provider.keys if secret.kind == ENV)
    if unset:
        return f"set {' and '.join(unset)}"
    if not provider.keys:
        return "the catalogue's key is not for its base URL: give it one"
    if any(secret.kind == VAULT for secret in provider.keys):
        return "its key is in the vault, which this does not open (ferryman vault verify does)"
    if variables and not any(env.get(secret.value, "").strip() for secret in provider.keys):
        return f"set {variables}"
    if any(secret.kind == FILE for secret in provider.keys):
        return "its key file is missing, empty or not readable"
    if provider.headers:
        return "a header refers to a variable or file that is missing"
    return "its key cannot be sent in a header"


def _provider_line(state: ProviderState) -> str:
    source = "" if state.named else " (not in the file)"
    return f"{'active' if state.active else 'inactive':<10}{state.name:<20} {state.why}{source}"


def _route_line(route: RouteConfig) -> str:
    groups = route.groups or (route.targets,)
    targets = ", or else ".join(", ".join(group) for group in groups)
    fallbacks = f"; then {', '.join(route.fallbacks)}" if route.fallbacks else ""
    strategy = f"{route.strategy}: " if len(route.targets) > 1 else ""
    passing = f" (of these: {said_of_filter(route.filter)})" if route.filter else ""
    return f"{route.name:<20} {strategy}{targets}{fallbacks}{passing}"


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in lines)] if lines else []


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
