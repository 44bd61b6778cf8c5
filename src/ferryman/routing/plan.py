"""Which targets to try, in which order: a pure function of the route, live health and chance."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def plan(
    targets: Sequence[T],
    fallbacks: Sequence[T],
    strategy: str,
    weights: Sequence[float],
    expected_seconds: Callable[[T], float],
    rng: random.Random,
) -> list[T]:
    """Every target once in the strategy's order, then every fallback in its own.

    ``ordered``: as written. ``weighted``: the first drawn by weight, the others as written.
    ``latency``: by ``expected_seconds`` (0 = never measured, tried first).
    """
    order = list(targets)
    if strategy == "weighted" and len(order) > 1 and sum(weights) > 0:
        first = rng.choices(range(len(order)), weights)[0]
        order.insert(0, order.pop(first))
    elif strategy == "latency":
        order.sort(key=expected_seconds)
    return order + [f for f in fallbacks if f not in order]
