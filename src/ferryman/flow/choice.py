"""The candidates of a route as ``routing/plan.py`` wants them, and what each is measured by."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Final

from ferryman.config.snapshot import Route, Unit
from ferryman.routing.health import FADE_SECONDS, Health
from ferryman.routing.plan import MEASURED, Group
from ferryman.routing.quota import REFILL_SECONDS
from ferryman.upstream.fleet import Resolved, Target

Routes = Mapping[str, Route]


class Choice:
    """What a name leads to, worked out once for all its calls."""

    __slots__ = ("everyone", "fallbacks", "healths", "measures", "targets")

    def __init__(self, resolved: Resolved) -> None:
        self.everyone: tuple[Target, ...] = (*resolved.targets, *resolved.fallbacks)
        """Targets, then fallbacks: the candidates by their index."""
        self.healths: list[Health] = [health_of(target) for target in self.everyone]
        places = {(each.provider, each.model): i for i, each in enumerate(self.everyone)}
        count = len(resolved.targets)
        route, routes = resolved.route, resolved.routes
        leaves = list(range(count))
        last = list(range(count, len(self.everyone)))
        if route is None or not route.tiers:
            salts = [_salt(self.everyone[i].name) for i in leaves]
            sticky = route.sticky if route is not None else ""
            self.targets = Group(resolved.strategy, leaves, resolved.weights, sticky, salts)
        else:
            self.targets = _group(route, routes, places)
        if route is None or not route.last:
            self.fallbacks = Group("ordered", last)
        else:
            units, _ = _units(route.last, (), routes, places)
            self.fallbacks = Group("ordered", [*units.values(), *last])
        strategies = (resolved.strategy, *(route.strategies if route is not None else ()))
        self.measures = tuple(name for name in MEASURED if name in strategies)
        """Strategies that go by a measure."""


def _group(route: Route, routes: Routes, places: Mapping[tuple[str, str], int]) -> Group:
    """A route with tiers. Priorities are a group that asks one tier after the other."""
    tiers: list[int | Group] = []
    start = 0
    for tier in route.tiers or (route.targets,):
        weights = route.weights[start : start + len(tier)]
        start += len(tier)
        units, shares = _units(tier, weights, routes, places)
        salts = [_salt(name) for name in units]
        tiers.append(Group(route.strategy, list(units.values()), shares, route.sticky, salts))
    return Group("ordered", tiers)


def _units(
    units: Sequence[Unit],
    weights: Sequence[float],
    routes: Routes,
    places: Mapping[tuple[str, str], int],
) -> tuple[dict[str, "int | Group"], list[float]]:
    """Units by name, and their weights, without those that are not active, or left out."""
    found: dict[str, int | Group] = {}
    shares: dict[str, float] = {}
    for i, unit in enumerate(units):
        name = unit if isinstance(unit, str) else "/".join(unit)
        if isinstance(unit, str):
            found[name] = _group(routes[unit], routes, places)
        elif unit in places:
            found[name] = places[unit]
        else:
            continue
        shares[name] = shares.get(name, 0.0) + (weights[i] if weights else 1.0)
    return found, list(shares.values())


def _salt(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())


def choice_of(resolved: Resolved) -> Choice:
    """The choice that ``resolved`` offers."""
    choice = resolved.choice
    if choice is None:
        choice = resolved.choice = Choice(resolved)
    assert isinstance(choice, Choice)
    return choice


def health_of(target: Target) -> Health:
    """What is known of how a target fares."""
    health = target.health
    assert isinstance(health, Health)
    return health


USUAL_OUTPUT: Final = 500
"""Tokens of an answer whose length nobody limits."""


def measure(
    choice: Choice, strategy: str, now: float, size: int, max_output: int, stream: bool
) -> list[float]:
    """What ``strategy`` goes by of every candidate, as :func:`ferryman.routing.plan.plan` has it.

    ``size`` is the bytes of the request, ``max_output`` its limit of output tokens or 0.
    """
    healths = choice.healths
    if strategy == "least_loaded":
        return [float(health.in_flight) for health in healths]
    if strategy == "latency":
        tokens = 0 if stream else min(max_output or USUAL_OUTPUT, USUAL_OUTPUT)
        return [_seconds(health, now, tokens) * (health.in_flight + 1) for health in healths]
    if strategy == "throughput":
        return [health.token.expected(now) for health in healths]
    if strategy == "headroom":
        return [
            health.used * math.exp((health.used_at - now) / REFILL_SECONDS) for health in healths
        ]
    output = max_output or USUAL_OUTPUT
    return [_price(target, size, output) for target in choice.everyone]


def _seconds(health: Health, now: float, tokens: int) -> float:
    """Expected until the first token, or until the last of ``tokens``."""
    pace, token = health.pace, health.token
    seconds = pace.cost * math.exp((pace.at - now) / FADE_SECONDS)
    if tokens and token.cost:
        seconds += tokens * token.cost * math.exp((token.at - now) / FADE_SECONDS)
    return seconds


def _price(target: Target, size: int, output: int) -> float:
    """Picodollars that the request may cost there; 0 = its price is unknown."""
    taken, given, fee = target.dearest
    return fee + size / target.gauge.bytes_per_token * taken + output * given
