"""Which targets to try, in which order: a pure function of the route, live health and chance."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Final


class Facts:
    """How a candidate stands that is not simply well."""

    __slots__ = ("rests", "share", "trial")

    def __init__(self, *, rests: float = 0.0, trial: bool = False, share: float = 1.0) -> None:
        self.rests = rests
        """Seconds that it has still to rest; 0 = it may be asked."""
        self.trial = trial
        """Whether it has just rested, and nobody knows whether it is well again."""
        self.share = share
        """The part of its calls that it should get while it is coming back."""


class Group:
    """What is chosen from by one strategy: candidates, by their index, or groups as a whole."""

    __slots__ = ("leaves", "salts", "sticky", "strategy", "units", "weights")

    def __init__(
        self,
        strategy: str,
        units: Sequence["int | Group"],
        weights: Sequence[float] = (),
        sticky: str = "",
        salts: Sequence[int] = (),
    ) -> None:
        """``weights`` and ``salts`` are one for each unit; no weights = all alike.

        ``sticky`` says which identity of a call makes its choice, if the call has it; ``salts``
        are 64 random bits that stay with a unit wherever it stands.
        """
        self.strategy = strategy
        self.units = units
        leaves = [unit for unit in units if isinstance(unit, int)]
        self.leaves = leaves if len(leaves) == len(units) else None
        """The units, where none of them is a group."""
        self.weights = weights or [1.0] * len(units)
        self.sticky = sticky
        self.salts = salts


class Standing:
    """What is known of the candidates when a call is planned, and whose call it is."""

    __slots__ = ("facts", "measures", "rng", "seeds")

    def __init__(
        self,
        rng: random.Random,
        *,
        facts: Mapping[int, Facts] | None = None,
        measures: Mapping[str, Sequence[float]] | None = None,
        seeds: Mapping[str, int] | None = None,
    ) -> None:
        self.rng = rng
        self.facts: Mapping[int, Facts] = facts or {}
        """Of those that are not simply well."""
        self.measures: Mapping[str, Sequence[float]] = measures or {}
        """By strategy, what it goes by, of every candidate: see :func:`plan`."""
        self.seeds: Mapping[str, int] = seeds or {}
        """By kind of identity: 64 random bits that stand for whose call it is."""


MEASURED: Final = ("latency", "throughput", "headroom", "least_loaded", "cost", "balanced")
"""Strategies that go by a measure."""


def plan(targets: Group, fallbacks: Group, first_fallback: int, standing: Standing) -> list[int]:
    """The index of every candidate once, in the order to try.

    Those below ``first_fallback`` are targets, which stand for each other and come first, in the
    order of their group; then the fallbacks. Those that rest come last of all, the nearest first.

    ``ordered``: as written. ``weighted``: the first drawn by weight, the others as written; with
    the seed of an identity the whole order is drawn from that. By measures, least first:
    ``latency`` (seconds that this call is expected to take, times calls at work): the better of two
    drawn at random, then the others; ``throughput`` (seconds per token), ``headroom`` (share of the
    quota that is used up), ``least_loaded`` (calls at work; by weight), ``cost`` (picodollars; 0 =
    unknown, which comes last), as good ones as often as each other. ``balanced`` goes by the same
    as cost: the first drawn, with chances as one over the price squared, then the cheapest.

    A group counts as much as the candidate that it would choose, and for ``least_loaded`` as all
    of its candidates together.
    """
    facts = standing.facts
    rising: list[int] = []
    resting: list[int] = []
    for i in facts:
        fact = facts[i]
        if fact.rests > 0:
            resting.append(i)
        elif i < first_fallback and fact.share < 1 and standing.rng.random() >= fact.share:
            rising.append(i)
    away = {*resting, *rising} if facts else _NOBODY
    order = _order(targets, away, standing)
    if rising:
        order += rising
    order += _order(fallbacks, away, standing)
    if resting:
        order += sorted(resting, key=lambda i: facts[i].rests)
    if targets.leaves is None or fallbacks.leaves is None:
        return list(dict.fromkeys(order))  # who is in several groups is asked once
    return order


_NOBODY: Final[set[int]] = set()


def _order(group: Group, away: set[int], standing: Standing) -> list[int]:
    """The candidates of a group that are not ``away``, in the order of its strategy."""
    leaves = group.leaves
    if leaves is None:
        return _nested(group, away, standing)
    if not away:
        places: Sequence[int] = range(len(leaves))
        heads = leaves.copy()
    else:
        places = [k for k, i in enumerate(leaves) if i not in away]
        heads = [leaves[k] for k in places]
    if len(heads) < 2 or group.strategy == "ordered":
        return heads
    return [heads[rank] for rank in _ranks(group, places, heads, [], standing)]


def _nested(group: Group, away: set[int], standing: Standing) -> list[int]:
    """The same for a group of which some units are groups: each with its own order."""
    places: list[int] = []
    parts: list[list[int]] = []
    for k, unit in enumerate(group.units):
        if isinstance(unit, int):
            part = [] if unit in away else [unit]
        else:
            part = _order(unit, away, standing)
        if part:
            places.append(k)
            parts.append(part)
    order: list[int] = []
    if len(parts) < 2 or group.strategy == "ordered":
        for part in parts:
            order += part
        return order
    for rank in _ranks(group, places, [part[0] for part in parts], parts, standing):
        order += parts[rank]
    return order


def _ranks(
    group: Group,
    places: Sequence[int],
    heads: list[int],
    parts: list[list[int]],
    standing: Standing,
) -> list[int]:
    """Which of ``heads`` comes first, which second…: the first candidate of each unit.

    ``places`` says which units of the group they are of; ``parts`` are all candidates of each, if
    some have more than the one.
    """
    strategy, rng = group.strategy, standing.rng
    if strategy == "weighted":
        weights = [group.weights[k] for k in places]
        seed = standing.seeds.get(group.sticky, 0) if group.sticky else 0
        if seed:
            return _rendezvous(seed, [group.salts[k] for k in places], weights)
        ranks = list(range(len(heads)))
        return _led(ranks, _drawn(weights, rng.random()))
    measure = standing.measures[strategy]
    values = [measure[i] for i in heads]
    if strategy == "least_loaded":
        if parts:
            values = [sum([measure[i] for i in part]) for part in parts]
        values = [(value + 1) / group.weights[k] for value, k in zip(values, places, strict=True)]
    elif strategy in ("cost", "balanced"):
        values = [value or math.inf for value in values]
    ranks = sorted(range(len(values)), key=values.__getitem__)
    if strategy == "latency":
        ranks = _led(ranks, _better_of_two(len(ranks), rng))
    elif strategy == "balanced":
        ranks = _led(ranks, _drawn(_inverse_squares([values[r] for r in ranks]), rng.random()))
    else:
        alike = values.count(values[ranks[0]])
        if alike > 1:  # those after the first change, too: they don't all fall back on one
            turn = int(rng.random() * alike)
            ranks = ranks[turn:alike] + ranks[:turn] + ranks[alike:]
    if standing.facts:
        # Who is measured has to be shown to be back: what is known of it is of its failures.
        trials = [r for r in ranks if heads[r] in standing.facts and standing.facts[heads[r]].trial]
        ranks = trials + [rank for rank in ranks if rank not in trials] if trials else ranks
    return ranks


def _led(ranks: list[int], place: int) -> list[int]:
    """``ranks`` with the one at ``place`` before all others."""
    if place:
        ranks.insert(0, ranks.pop(place))
    return ranks


def _better_of_two(count: int, rng: random.Random) -> int:
    """The lower of two different places drawn at random; of two places the first."""
    one = int(rng.random() * count)
    other = int(rng.random() * (count - 1))
    return min(one, other + 1 if other >= one else other)


def _drawn(weights: list[float], draw: float) -> int:
    """A place drawn by weight; ``draw`` is 0 to 1. The first where weights say nothing."""
    left = draw * sum(weights)
    for place, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return place
    return 0


def _inverse_squares(prices: list[float]) -> list[float]:
    """Weights by price, cheapest first: one over its square; none for infinite ones."""
    least = prices[0]
    return [(least / price) ** 2 if price < math.inf else 0.0 for price in prices]


def _rendezvous(seed: int, salts: Sequence[int], weights: Sequence[float]) -> list[int]:
    """An order that equal seeds share. The first is as often one as its weight says.

    Weighted rendezvous hashing: each unit has its own chance with each seed, so that a change of
    one's weight, or its absence, moves only those that come to it or leave it.
    """
    scores = []
    for salt, weight in zip(salts, weights, strict=True):
        product = seed * salt  # both halves folded, as wyhash does, are as good as chance
        draw = (product ^ product >> 64) & _LOW
        scores.append((math.log(draw + 1) - _LOG) / weight)
    return sorted(range(len(scores)), key=scores.__getitem__, reverse=True)


_LOW: Final = (1 << 53) - 1
_LOG: Final = math.log(1 << 53)
