"""The bars for failover and overload, in short."""

import uvloop
from soak import overload


def test_one_of_three_dies_or_slows_down_and_callers_notice_nothing() -> None:
    with overload.harbour() as place:
        found = uvloop.run(overload.failover(place, seconds=4.0))
    assert found.dead.failed == 0
    assert found.noticed <= overload.SETTLES
    assert found.slow_share < 0.05
    assert found.down.failed == found.down.calls
    assert found.down.attempts <= 1.2 * found.down.calls
    assert found.down.longest <= 5.0 + 1.0, "errors come within the call's total time"
    assert found.recovered <= overload.SETTLES


def test_three_times_too_many_calls_cost_those_who_can_be_served_nothing() -> None:
    with overload.limited_plant() as place:
        found = uvloop.run(overload.overload(place.up(), seconds=10.0))
    assert found.goodput >= 0.9 * found.peak
    assert found.p99 <= overload.WAIT + overload.TAKES + 1.5, "queue, work, and a noisy machine"
    assert found.recovered <= overload.SETTLES
