"""The order in which targets are tried."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.routing.plan import plan


def order(
    targets: list[str],
    fallbacks: list[str] | None = None,
    strategy: str = "ordered",
    weights: list[float] | None = None,
    seconds: dict[str, float] | None = None,
    seed: int = 1,
) -> list[str]:
    """The plan for targets whose latencies are ``seconds`` (0 = never measured)."""
    known = seconds or {}
    rng = random.Random(seed)
    return plan(targets, fallbacks or [], strategy, weights or [], lambda t: known.get(t, 0.0), rng)


def test_ordered_is_as_written() -> None:
    assert order(["b", "a", "c"], ["e", "d"]) == ["b", "a", "c", "e", "d"]


def test_a_fallback_that_is_a_target_is_not_tried_twice() -> None:
    assert order(["a", "b"], ["b", "c", "a"]) == ["a", "b", "c"]


def test_fallbacks_alone_are_a_plan() -> None:
    assert order([], ["a", "b"]) == ["a", "b"]


def test_latency_takes_the_quickest_first_and_those_never_measured_before() -> None:
    seconds = {"a": 0.9, "b": 0.1, "c": 0.5}
    assert order(["a", "b", "c"], strategy="latency", seconds=seconds) == ["b", "c", "a"]
    assert order(["a", "b", "new"], strategy="latency", seconds=seconds) == ["new", "b", "a"]
    assert order(["a", "b"], ["c"], "latency", seconds=seconds) == ["b", "a", "c"]
    assert order(["x", "y"], strategy="latency") == ["x", "y"], "as written among equals"


def test_weighted_draws_the_first_by_weight_and_leaves_the_others_as_written() -> None:
    drawn = Counter(
        order(["a", "b", "c"], ["d"], "weighted", [6, 3, 1], seed=seed)[0] for seed in range(4000)
    )
    assert 2200 < drawn["a"] < 2600
    assert 1050 < drawn["b"] < 1350
    assert 300 < drawn["c"] < 500
    plans = {tuple(order(["a", "b", "c"], ["d"], "weighted", [6, 3, 1], seed=s)) for s in range(99)}
    assert plans == {("a", "b", "c", "d"), ("b", "a", "c", "d"), ("c", "a", "b", "d")}


@pytest.mark.parametrize("weights", [[], [0, 0]])
def test_weights_that_say_nothing_leave_the_order_as_written(weights: list[float]) -> None:
    assert order(["a", "b"], strategy="weighted", weights=weights) == ["a", "b"]


def test_a_weight_of_zero_is_tried_only_after_others_failed() -> None:
    plans = [order(["a", "b"], strategy="weighted", weights=[0, 1], seed=s) for s in range(50)]
    assert plans == [["b", "a"]] * 50


@given(
    targets=st.lists(st.sampled_from("abcdef"), unique=True),
    fallbacks=st.lists(st.sampled_from("abcdefgh"), unique=True),
    strategy=st.sampled_from(["ordered", "weighted", "latency"]),
    weight=st.lists(st.floats(0, 10), min_size=6, max_size=6),
    seconds=st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 60)),
    seed=st.integers(),
)
def test_every_target_is_tried_once_and_before_every_fallback(
    targets: list[str],
    fallbacks: list[str],
    strategy: str,
    weight: list[float],
    seconds: dict[str, float],
    seed: int,
) -> None:
    found = order(targets, fallbacks, strategy, weight[: len(targets)], seconds, seed)
    assert sorted(found[: len(targets)]) == sorted(targets)
    assert found[len(targets) :] == [f for f in fallbacks if f not in targets]
