"""Which targets to try, in which order: a pure function of the route, live health and chance."""

import random
from collections.abc import Sequence


class Facts:
    """What is known of one target when a call is planned."""

    __slots__ = ("load", "price", "rests", "seconds", "share", "trial", "weight")

    def __init__(
        self,
        *,
        rests: float = 0.0,
        trial: bool = False,
        share: float = 1.0,
        seconds: float = 0.0,
        load: int = 0,
        weight: float = 1.0,
        price: float = 0.0,
    ) -> None:
        self.rests = rests
        """Seconds that it has still to rest; 0 = it may be asked."""
        self.trial = trial
        """Whether it has just rested, and nobody knows whether it is well again."""
        self.share = share
        """The part of its calls that it should get while it is coming back."""
        self.seconds = seconds
        """Expected to its first byte; 0 = never measured."""
        self.load = load
        """Calls that it is working on."""
        self.weight = weight
        self.price = price
        """What this request is expected to cost there; 0 = unknown."""


def plan(
    facts: Sequence[Facts], targets: int, strategy: str, rng: random.Random, draw: float = -1.0
) -> list[int]:
    """Every index of ``facts`` once, in the order to try.

    The first ``targets`` of them stand for each other and come first, in the strategy's order; the
    rest are fallbacks, in their own. Those that rest come last of all, the nearest first. ``draw``
    (0 to 1) makes the weighted choice, so that equal callers get equal ones; negative = by chance.

    ``ordered``: as written. ``weighted``: the first drawn by weight, the others as written.
    ``latency``: the quicker of two drawn at random, then the others, quickest first; a call that
    waits counts as long as itself. ``least_loaded``: who has the fewest calls for its weight.
    ``cost``: the cheapest first, and unknown prices last; as cheap ones as often as each other.
    """
    well: list[int] = []
    rising: list[int] = []
    resting: list[int] = []
    for i in range(targets):
        fact = facts[i]
        if fact.rests > 0:
            resting.append(i)
        elif fact.share < 1 and rng.random() >= fact.share:
            rising.append(i)
        else:
            well.append(i)
    order = _ordered(facts, well, strategy, rng, draw) if len(well) > 1 else well
    order += rising
    for i in range(targets, len(facts)):
        (order if facts[i].rests <= 0 else resting).append(i)
    if len(resting) > 1:
        resting.sort(key=lambda i: facts[i].rests)
    return order + resting


def _ordered(
    facts: Sequence[Facts], well: list[int], strategy: str, rng: random.Random, draw: float
) -> list[int]:
    if strategy == "ordered":
        return well
    if strategy == "weighted":
        return _drawn(well, [facts[i].weight for i in well], rng.random() if draw < 0 else draw)
    # Who measures has to be shown that a target is back: its memory is of the failures.
    trials = [i for i in well if facts[i].trial]
    known = [i for i in well if not facts[i].trial]
    if strategy == "latency":
        known.sort(key=lambda i: facts[i].seconds * (facts[i].load + 1))
        if len(known) > 2:
            known.insert(0, known.pop(min(rng.sample(range(len(known)), 2))))
    elif strategy == "least_loaded":
        rng.shuffle(known)
        known.sort(key=lambda i: (facts[i].load + 1) / max(facts[i].weight, 1e-9))
    elif strategy == "cost":
        rng.shuffle(known)
        known.sort(key=lambda i: facts[i].price or float("inf"))
    return trials + known


def _drawn(well: list[int], weights: list[float], draw: float) -> list[int]:
    """``well`` with one first, by weight; those after it in the order they have."""
    left = draw * sum(weights)
    if left <= 0 and not any(weights):
        return well
    for place, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return [well[place], *well[:place], *well[place + 1 :]]
    return well
