"""The order in which targets are tried."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.routing.plan import MEASURED, Facts, Group, Standing, plan

NONE = Group("ordered", [])
Places = dict[int, Facts]


def letters(found: Sequence[int]) -> str:
    """A plan as letters: ``a`` for the first candidate."""
    return "".join(chr(97 + i) for i in found)


def order(
    values: Sequence[float],
    strategy: str = "ordered",
    targets: int = -1,
    seed: int = 1,
    facts: Places | None = None,
    weights: Sequence[float] = (),
) -> str:
    """The plan over candidates with these measures. All are targets, unless said."""
    count = len(values) if targets < 0 else targets
    group = Group(strategy, range(count), weights)
    rest = Group("ordered", range(count, len(values)))
    standing = Standing(random.Random(seed), facts=facts, measures={strategy: values})
    return letters(plan(group, rest, count, standing))


def nested(group: Group, measures: dict[str, list[float]], facts: Places | None = None) -> str:
    standing = Standing(random.Random(1), facts=facts, measures=measures)
    return letters(plan(group, NONE, 99, standing))


def test_ordered_is_as_written() -> None:
    assert order([0] * 5, targets=3) == "abcde"


def test_fallbacks_alone_are_a_plan() -> None:
    assert order([0] * 2, targets=0) == "ab"


def test_those_that_rest_come_after_everyone_the_nearest_first() -> None:
    rests = {0: Facts(rests=9), 2: Facts(rests=2), 4: Facts(rests=5)}
    assert order([0] * 5, targets=3, facts=rests) == "bdcea"
    rests = {0: Facts(rests=3), 1: Facts(rests=1)}
    assert order([0, 0], facts=rests) == "ba", "the last one is never left out"


def test_latency_takes_the_quicker_of_two_and_never_the_slowest_of_several() -> None:
    plans = {order([0.9, 0.1, 0.5], "latency", seed=seed) for seed in range(200)}
    assert plans == {"bca", "cba"}
    assert order([0.9, 0.1], "latency") == "ba"
    assert order([0.9, 0], "latency") == "ba", "never measured"
    assert order([0, 0], "latency") == "ab", "as written among equals"


def test_who_is_measured_is_tried_first_when_it_has_rested() -> None:
    back = {1: Facts(trial=True)}
    assert order([0.1, 29, 0.2], "latency", facts=back)[0] == "b"
    assert order([0.1, 29, 0.2], "throughput", facts=back)[0] == "b"
    assert order([0, 0, 0], facts=back) == "abc", "but not before its place"


def test_weighted_draws_the_first_by_weight_and_leaves_the_others_as_written() -> None:
    found = [order([0] * 4, "weighted", 3, seed, weights=[6, 3, 1]) for seed in range(4000)]
    drawn = Counter(each[0] for each in found)
    assert 2200 < drawn["a"] < 2600
    assert 1050 < drawn["b"] < 1350
    assert 300 < drawn["c"] < 500
    assert set(found) == {"abcd", "bacd", "cabd"}


def test_weights_that_say_nothing_leave_the_order_as_written() -> None:
    assert {order([0, 0], "weighted", seed=seed, weights=[0, 0]) for seed in range(9)} == {"ab"}


def test_a_weight_of_zero_is_tried_only_after_others_failed() -> None:
    assert {order([0, 0], "weighted", seed=seed, weights=[0, 1]) for seed in range(50)} == {"ba"}


_rng = random.Random(5)
SEEDS = [_rng.getrandbits(64) | 1 for _ in range(4000)]
SALTS = [_rng.getrandbits(64) for _ in range(8)]


def sticky(weights: Sequence[float], seed: int, facts: Places | None = None) -> list[int]:
    group = Group("weighted", range(len(weights)), weights, "key", SALTS[: len(weights)])
    standing = Standing(random.Random(), facts=facts, seeds={"key": seed})
    return plan(group, NONE, len(weights), standing)


def test_sticky_callers_have_one_target_each_and_targets_their_share() -> None:
    first = Counter(sticky([6, 3, 1], seed)[0] for seed in SEEDS)
    assert 2250 < first[0] < 2550
    assert 1080 < first[1] < 1320
    assert 320 < first[2] < 480
    assert all(sticky([6, 3, 1], seed) == sticky([6, 3, 1], seed) for seed in SEEDS[:50])
    last = Counter(sticky([1, 1, 1], seed)[1] for seed in SEEDS if sticky([1, 1, 1], seed)[0] == 0)
    assert min(last.values()) > 500, "those whose target is gone go to all others"


def test_a_change_of_weights_moves_only_as_many_as_it_must() -> None:
    moves = Counter((sticky([6, 3, 1], seed)[0], sticky([6, 3, 3], seed)[0]) for seed in SEEDS)
    gone = {pair for pair in moves if pair[0] != pair[1]}
    assert gone == {(0, 2), (1, 2)}, "only towards the one that got more"
    assert moves[2, 2] > 320, "and it keeps those it had"
    for seed in SEEDS[:300]:
        before = sticky([1, 1, 1], seed)
        after = sticky([1, 1, 1], seed, {0: Facts(rests=1)})
        assert after == [i for i in before if i] + [0], "so too when one rests"


def test_a_call_without_the_identity_is_drawn_by_chance() -> None:
    group = Group("weighted", [0, 1], [1, 1], "session", [3, 4])
    found = {
        plan(group, NONE, 2, Standing(random.Random(seed), seeds={"key": 5}))[0]
        for seed in range(30)
    }
    assert found == {0, 1}


def test_least_loaded_counts_calls_for_their_weight() -> None:
    assert order([4, 2, 3], "least_loaded") == "bca"
    assert order([4, 2, 3], "least_loaded", weights=[10, 1, 1]) == "abc"
    found = {order([0] * 3, "least_loaded", seed=seed) for seed in range(60)}
    assert found == {"abc", "bca", "cab"}, "equals take turns, and so do those after them"


def test_cost_takes_the_cheapest_and_the_unknown_last() -> None:
    assert order([0, 3, 2], "cost") == "cba"
    assert {order([3, 3, 9], "cost", seed=seed) for seed in range(60)} == {"abc", "bac"}


def test_balanced_draws_by_the_inverse_square_of_the_price() -> None:
    found = Counter(order([3, 1, 2, 0], "balanced", seed=seed) for seed in range(4900))
    assert set(found) == {"bcad", "cbad", "abcd"}, "then the cheapest, and the unknown last"
    assert 3450 < found["bcad"] < 3750
    assert 780 < found["cbad"] < 1020
    assert 320 < found["abcd"] < 480
    assert order([0, 0], "balanced", seed=3) == "ab"


def test_throughput_and_headroom_take_the_best() -> None:
    for strategy in ("throughput", "headroom"):
        assert order([0.3, 0.1, 0.2], strategy) == "bca"
        assert order([0.3, 0, 0.2], strategy) == "bca", "of whom nothing is known yet"


def test_who_comes_back_gets_its_share_of_calls_and_no_more() -> None:
    back = {0: Facts(share=0.2)}
    first = Counter(order([0, 0], seed=seed, facts=back)[0] for seed in range(2000))
    assert 320 < first["a"] < 480


def test_a_group_is_chosen_as_a_whole_and_has_its_own_order() -> None:
    cheap = Group("cost", [1, 2])
    costs = [5.0, 4.0, 3.0]
    assert nested(Group("ordered", [0, cheap]), {"cost": costs}) == "acb"
    assert nested(Group("ordered", [cheap, 0]), {"cost": costs}) == "cba"
    assert nested(Group("cost", [0, Group("ordered", [1, 2])]), {"cost": [4.5, 6, 3]}) == "abc"
    assert nested(Group("cost", [0, Group("ordered", [2, 1])]), {"cost": [4.5, 6, 3]}) == "cba"


def test_the_share_of_a_group_does_not_grow_with_its_targets() -> None:
    group = Group("weighted", [0, Group("weighted", [1, 2, 3])], [1, 1])
    first = Counter(plan(group, NONE, 4, Standing(random.Random(seed)))[0] for seed in range(2000))
    assert 900 < first[0] < 1100
    assert all(270 < first[i] < 400 for i in (1, 2, 3))


def test_a_group_is_as_loaded_as_all_of_its_targets() -> None:
    group = Group("least_loaded", [0, Group("least_loaded", [1, 2])], [1, 1])
    assert nested(group, {"least_loaded": [3, 2, 2]}) == "abc"
    assert nested(group, {"least_loaded": [5, 2, 2]})[2] == "a"


def test_the_second_priority_comes_after_all_of_the_first() -> None:
    tiers = Group("ordered", [Group("latency", [0, 1]), Group("latency", [2, 3])])
    seconds = {"latency": [9.0, 8.0, 2.0, 1.0]}
    assert nested(tiers, seconds) == "badc"
    rests = {0: Facts(rests=1), 1: Facts(rests=2)}
    assert nested(tiers, seconds, rests) == "dcab"
    assert nested(tiers, seconds, {0: Facts(share=0)}) == "bdca", "who comes back is no crowd's"


def test_who_is_in_two_groups_is_asked_once() -> None:
    group = Group("ordered", [Group("cost", [0, 1]), Group("cost", [1, 2])])
    assert nested(group, {"cost": [2, 1, 3]}) == "bac"


_FACTS = st.builds(
    Facts,
    rests=st.just(0.0) | st.floats(0, 60),
    trial=st.booleans(),
    share=st.floats(0, 1),
)
_STRATEGIES = st.sampled_from(["ordered", "weighted", *MEASURED])


@st.composite
def _groups(draw: st.DrawFn, units: list[int], deep: int = 3) -> Group:
    """Any tree whose leaves are ``units``."""
    parts: list[int | Group] = []
    left = list(units)
    while left:
        take = draw(st.integers(1, len(left)))
        part, left = left[:take], left[take:]
        parts += [draw(_groups(part, deep - 1))] if deep and draw(st.booleans()) else part
    weights = [draw(st.floats(0.001, 10)) for _ in parts]
    return Group(draw(_STRATEGIES), parts, weights, draw(st.sampled_from(["", "key"])), units)


@given(data=st.data(), count=st.integers(0, 12), fallbacks=st.integers(0, 12), seed=st.integers())
@pytest.mark.parametrize("flat", [True, False])
def test_everyone_is_tried_once_the_well_before_the_others(
    flat: bool, data: st.DataObject, count: int, fallbacks: int, seed: int
) -> None:
    targets = max(count - fallbacks, 0)
    facts = data.draw(st.dictionaries(st.integers(0, max(count - 1, 0)), _FACTS))
    facts = {i: fact for i, fact in facts.items() if i < count}
    group = data.draw(_groups(list(range(targets)), 0 if flat else 3))
    values = data.draw(st.lists(st.floats(0, 1e12), min_size=count, max_size=count))
    measures = dict.fromkeys(MEASURED, values)

    def found() -> list[int]:
        standing = Standing(
            random.Random(seed), facts=facts, measures=measures, seeds={"key": seed}
        )
        return plan(group, Group("ordered", range(targets, count)), targets, standing)

    places = found()
    assert sorted(places) == list(range(count))
    rests = [facts[i].rests if i in facts else 0 for i in places]
    well = rests.count(0)
    assert rests[:well] == [0] * well
    assert rests[well:] == sorted(rests[well:])
    kinds = [i >= targets for i in places[:well]]
    assert kinds == sorted(kinds), "a fallback comes after every target that is well"
    assert found() == places, "a seed replays"
