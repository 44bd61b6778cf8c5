"""Efforts and budgets, one for the other."""

import pytest

from ferryman.wire.effort import EFFORTS, budget_of, effort_of, nearest


@pytest.mark.parametrize("effort", EFFORTS)
def test_an_effort_survives_the_way_through_a_budget(effort: str) -> None:
    assert effort_of(budget_of(effort)) == effort


def test_more_effort_is_a_greater_budget() -> None:
    budgets = [budget_of(effort) for effort in EFFORTS]
    assert budgets == sorted(set(budgets))


@pytest.mark.parametrize("effort", EFFORTS[1:])
def test_a_limit_of_the_output_leaves_room_for_an_answer(effort: str) -> None:
    assert 0 < budget_of(effort, 1000) < 1000
    assert budget_of(effort, 10**9) == budget_of(effort)


def test_what_is_not_said_stays_so() -> None:
    assert budget_of("") == budget_of("enormous", 9) == -1
    assert effort_of(-1) == ""


@pytest.mark.parametrize(
    ("budget", "effort"),
    [(1, "minimal"), (1024, "low"), (2000, "low"), (4000, "medium"), (10_000, "medium"),
     (16_000, "high"), (31_999, "xhigh"), (100_000, "max")],
)  # fmt: skip
def test_a_budget_between_two_efforts_is_the_nearer_one(budget: int, effort: str) -> None:
    assert effort_of(budget) == effort


def test_an_effort_that_is_not_offered_becomes_the_next_one() -> None:
    offered = ("low", "medium", "high")
    assert nearest("medium", offered) == "medium"
    assert nearest("max", offered) == "high"
    assert nearest("minimal", offered) == "low"
    assert nearest("none", ("minimal", "high")) == "minimal"
    assert nearest("enormous", offered) == "enormous"
