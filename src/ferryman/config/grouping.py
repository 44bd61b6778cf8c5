"""Routes as groups of units: which of their targets stand for themselves, which are groups.

A target that is a route is one unit of the route that names it, with an order of its own. Where
that makes no difference (it has but one target, or both ask their targets as written), its own
units take its place.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Final

from msgspec import Struct

from ferryman.config.model import RouteConfig

MOST_DEEP: Final = 10
MOST_TARGETS: Final = 1000
"""Targets that a route may lead to, those of groups within groups counted."""


class Grouped(Struct, frozen=True):
    """One route."""

    tiers: tuple[tuple[str, ...], ...]
    """Units by priority: targets as written, or names of routes that are groups."""
    weights: tuple[float, ...]
    """One for each unit, tier after tier."""
    fallbacks: tuple[str, ...]
    """The route's own, taken apart in the same way."""
    size: int
    """Targets that it leads to, fallbacks apart, those of groups counted each time."""
    depth: int
    """Groups within groups, itself counted."""


def grouped(
    routes: Mapping[str, RouteConfig], order: Iterable[str], alias: Callable[[str], str]
) -> dict[str, Grouped]:
    """The routes by name. ``order`` has those that others name before them.

    ``alias`` gives the route that a target names, or "".
    """
    done: dict[str, Grouped] = {}
    for name in order:
        done[name] = _grouped(routes[name], done, routes, alias)
    return done


def _grouped(
    route: RouteConfig,
    done: Mapping[str, Grouped],
    routes: Mapping[str, RouteConfig],
    alias: Callable[[str], str],
) -> Grouped:
    plain = route.strategy == "ordered"
    tiers: list[dict[str, float]] = []
    for tier in route.groups or (route.targets,):
        units: dict[str, float] = {}
        for text in tier:
            weight = route.weights.get(text, 1.0)
            for unit in _units(text, done, routes, alias, plain=plain):
                units[unit] = units.get(unit, 0.0) + weight
        tiers.append(units)
    if plain:  # the second tier comes after the first anyway
        tiers = [dict.fromkeys(chain.from_iterable(tiers), 1.0)]
    fallbacks = [_units(text, done, routes, alias, plain=True) for text in route.fallbacks]
    inner = [done[name] for name in map(alias, chain(*tiers, *fallbacks)) if name]
    own = [alias(unit) for unit in chain(*tiers)]
    return Grouped(
        tuple(tuple(units) for units in tiers),
        tuple(weight for units in tiers for weight in units.values()),
        tuple(dict.fromkeys(chain.from_iterable(fallbacks))),
        sum(done[name].size if name else 1 for name in own),
        1 + max((group.depth for group in inner), default=0),
    )


def _units(
    text: str,
    done: Mapping[str, Grouped],
    routes: Mapping[str, RouteConfig],
    alias: Callable[[str], str],
    *,
    plain: bool,
) -> tuple[str, ...]:
    """What takes the place of ``text`` in a group that is ``plain``: asked as written."""
    name = alias(text)
    if not name:
        return (text,)
    inner = done[name]
    if inner.size == 1 or (plain and routes[name].strategy == "ordered"):
        return tuple(chain.from_iterable(inner.tiers))
    return (name,)
