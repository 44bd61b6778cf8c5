"""The order in which targets are tried."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.routing.plan import Facts, plan


def order(facts: list[Facts], strategy: str = "ordered", targets: int = -1, seed: int = 1) -> str:
    """The plan as letters: ``a`` for the first of ``facts``. All are targets, unless said."""
    count = len(facts) if targets < 0 else targets
    return "".join(chr(97 + i) for i in plan(facts, count, strategy, random.Random(seed)))


def seconds(*values: float) -> list[Facts]:
    return [Facts(seconds=value) for value in values]


def test_ordered_is_as_written() -> None:
    assert order([Facts()] * 5, targets=3) == "abcde"


def test_fallbacks_alone_are_a_plan() -> None:
    assert order([Facts()] * 2, targets=0) == "ab"


def test_those_that_rest_come_after_everyone_the_nearest_first() -> None:
    facts = [Facts(rests=9), Facts(), Facts(rests=2), Facts(), Facts(rests=5)]
    assert order(facts, targets=3) == "bdcea"
    assert order([Facts(rests=3), Facts(rests=1)]) == "ba", "the last one is never left out"


def test_latency_takes_the_quicker_of_two_and_never_the_slowest_of_several() -> None:
    plans = {order(seconds(0.9, 0.1, 0.5), "latency", seed=seed) for seed in range(200)}
    assert plans == {"bca", "cba"}
    assert order(seconds(0.9, 0.1), "latency") == "ba"
    assert order(seconds(0.9, 0), "latency") == "ba", "never measured"
    assert order(seconds(0, 0), "latency") == "ab", "as written among equals"
    crowded = [Facts(seconds=0.1, load=9), Facts(seconds=0.5)]
    assert order(crowded, "latency") == "ba"


def test_who_is_measured_is_tried_first_when_it_has_rested() -> None:
    facts = [Facts(seconds=0.1), Facts(seconds=29, trial=True), Facts(seconds=0.2)]
    assert order(facts, "latency")[0] == "b"
    assert order(facts, "ordered") == "abc", "but not before its place"


def test_weighted_draws_the_first_by_weight_and_leaves_the_others_as_written() -> None:
    facts = [Facts(weight=6), Facts(weight=3), Facts(weight=1), Facts()]
    drawn = Counter(order(facts, "weighted", 3, seed)[0] for seed in range(4000))
    assert 2200 < drawn["a"] < 2600
    assert 1050 < drawn["b"] < 1350
    assert 300 < drawn["c"] < 500
    plans = {order(facts, "weighted", 3, seed) for seed in range(99)}
    assert plans == {"abcd", "bacd", "cabd"}


def test_a_given_draw_makes_the_same_choice_whatever_the_chance() -> None:
    facts = [Facts(weight=1), Facts(weight=3)]
    for seed in range(9):
        rng = random.Random(seed)
        assert plan(facts, 2, "weighted", rng, 0.24) == [0, 1]
        assert plan(facts, 2, "weighted", rng, 0.26) == [1, 0]


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_weights_that_say_nothing_leave_the_order_as_written(draw: float) -> None:
    assert plan([Facts(weight=0)] * 2, 2, "weighted", random.Random(1), draw) == [0, 1]


def test_a_weight_of_zero_is_tried_only_after_others_failed() -> None:
    facts = [Facts(weight=0), Facts(weight=1)]
    assert {order(facts, "weighted", seed=seed) for seed in range(50)} == {"ba"}


def test_least_loaded_counts_calls_for_their_weight() -> None:
    facts = [Facts(load=4), Facts(load=2), Facts(load=3)]
    assert order(facts, "least_loaded") == "bca"
    facts = [Facts(load=4, weight=10), Facts(load=2), Facts(load=3)]
    assert order(facts, "least_loaded") == "abc"
    assert {order([Facts()] * 3, "least_loaded", seed=seed)[0] for seed in range(60)} == set("abc")


def test_cost_takes_the_cheapest_and_the_unknown_last() -> None:
    facts = [Facts(), Facts(price=3), Facts(price=2)]
    assert order(facts, "cost") == "cba"
    facts = [Facts(price=3), Facts(price=3), Facts(price=9)]
    assert {order(facts, "cost", seed=seed) for seed in range(60)} == {"abc", "bac"}


def test_who_comes_back_gets_its_share_of_calls_and_no_more() -> None:
    facts = [Facts(share=0.2), Facts()]
    first = Counter(order(facts, seed=seed)[0] for seed in range(2000))
    assert 320 < first["a"] < 480


_FACTS = st.builds(
    Facts,
    rests=st.just(0.0) | st.floats(0, 60),
    trial=st.booleans(),
    share=st.floats(0, 1),
    seconds=st.floats(0, 60),
    load=st.integers(0, 1000),
    weight=st.floats(0, 10),
    price=st.floats(0, 1e12),
)


@given(
    facts=st.lists(_FACTS, max_size=12),
    fallbacks=st.integers(0, 12),
    strategy=st.sampled_from(["ordered", "weighted", "latency", "least_loaded", "cost"]),
    seed=st.integers(),
)
def test_everyone_is_tried_once_the_well_before_the_others(
    facts: list[Facts], fallbacks: int, strategy: str, seed: int
) -> None:
    targets = max(len(facts) - fallbacks, 0)
    found = plan(facts, targets, strategy, random.Random(seed))
    assert sorted(found) == list(range(len(facts)))
    rests = [facts[i].rests for i in found]
    well = rests.count(0)
    assert rests[:well] == [0] * well
    assert rests[well:] == sorted(rests[well:])
    places = [i for i in found if not facts[i].rests]
    kinds = [i >= targets for i in places]
    assert kinds == sorted(kinds), "a fallback comes after every target that is well"
    assert plan(facts, targets, strategy, random.Random(seed)) == found, "a seed replays"
