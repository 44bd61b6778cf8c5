"""Who is slow beside whom."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.routing.outliers import OUTLIER_SHARE, slow
from ferryman.routing.plan import Facts, Group, Standing, plan


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        ([0.2, 0.2, 2.0], [2]),
        ([2.0, 0.2], [0]),
        ([0.05, 0.5], []),  # ten times as slow, and yet quick
        ([4.0, 20.1, 3.9], [1]),
        ([4.0, 19.0, 3.9], []),
        ([0.0, 30.0], []),  # nothing to compare with
        ([0.1, 30.0, 30.0], []),  # most are like that
        ([], []),
    ],
)
def test_outliers_are_far_slower_than_the_others(seconds: list[float], found: list[int]) -> None:
    assert slow(seconds) == found


@given(st.lists(st.floats(0, 1000), max_size=8))
def test_the_quickest_is_never_left_out(seconds: list[float]) -> None:
    known = [each for each in seconds if each > 0]
    assert not known or seconds.index(min(known)) not in slow(seconds)


def test_a_slow_one_gets_a_few_calls_and_all_of_them_when_it_is_alone() -> None:
    rng = random.Random(5)

    def first(rests: float) -> int:
        facts = {0: Facts(share=OUTLIER_SHARE), 1: Facts(rests=rests)}
        standing = Standing(rng, facts=facts)
        group, none = Group("ordered", [0, 1]), Group("ordered", [])
        return sum(plan(group, none, 2, standing)[0] == 0 for _ in range(1000))

    assert 20 <= first(rests=0) <= 90
    assert first(rests=5) == 1000
