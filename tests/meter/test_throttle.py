"""Rates: never more than burst + rate × time, whatever is taken, corrected or given back."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from ferryman.meter.throttle import LOWS_KEPT, NEVER, SECOND, SWEPT_AT, Throttle

STEPS = st.lists(
    st.tuples(
        st.integers(0, 3 * SECOND),  # time since the step before
        st.integers(0, 12),  # taken
        st.integers(0, 12),  # used
        st.integers(0, 9),  # settled after so many further steps
    ),
    max_size=60,
)
RATES = st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(1, 20))


class Bucket:
    """What flows in must never stand higher than the burst; the plain definition, in fractions."""

    def __init__(self, most: int, seconds: int) -> None:
        self.rate = Fraction(most, seconds * SECOND)
        self.level = Fraction(0)
        self.at = 0

    def fill(self, units: int, now: int) -> Fraction:
        self.level = max(self.level - self.rate * (now - self.at), Fraction(0)) + units
        self.at = now
        return self.level


@given(RATES, st.lists(st.tuples(st.integers(0, 3 * SECOND), st.integers(0, 9)), max_size=80))
def test_exactly_what_fits_is_let_through(
    rate: tuple[int, int, int], calls: list[tuple[int, int]]
) -> None:
    throttle, model, now = Throttle(*rate), Bucket(*rate[:2]), 0
    for pause, units in calls:
        now += pause
        before = model.fill(0, now)
        wait = throttle.wait("k", units, now)
        assert (wait == 0) == (before + units <= rate[2])
        assert (wait == NEVER) == (units > rate[2])
        assert throttle.left("k", now)[0] == (rate[2] - before) // 1
        if wait > 0:
            assert throttle.wait("k", units, now + wait) == 0
            assert throttle.wait("k", units, now + wait - 1) > 0
        if not wait:
            throttle.take("k", units, now)
            model.fill(units, now)


@given(RATES, STEPS)
def test_what_is_really_used_never_exceeds_burst_and_rate(
    rate: tuple[int, int, int], steps: list[tuple[int, int, int, int]]
) -> None:
    """Calls take an upper bound and give back what they don't use, later and in any order.

    Then the bucket of what was used, as of when each call came, never overflows; and what is let
    through with corrections is at least what is let through without.
    """
    throttle, strict, model, now = Throttle(*rate), Throttle(*rate), Bucket(*rate[:2]), 0
    due: list[tuple[int, int, int, int]] = []
    for i, (pause, taken, used, later) in enumerate(steps):
        now += pause
        for at, number, held, actual in [each for each in due if each[0] <= i]:
            throttle.settle("k", number, held, actual, now)
            due.remove((at, number, held, actual))
        used = min(used, taken)
        if throttle.wait("k", taken, now) == 0:
            assert model.fill(used, now) <= rate[2]
            due.append((i + 1 + later, throttle.take("k", taken, now), taken, used))
        assert throttle.left("k", now)[0] <= (rate[2] - model.fill(0, now)) // 1
        assert strict.left("k", now)[0] <= rate[2]


def test_what_is_not_used_can_be_taken_again_at_once() -> None:
    throttle = Throttle(100, 60, 100)
    number = throttle.take("k", 100, 0)
    assert throttle.wait("k", 1, 0) > 0
    throttle.settle("k", number, 100, 10, SECOND)
    assert throttle.left("k", SECOND)[0] == 91  # of 10 used, one has flowed off in a second


def test_what_has_flowed_off_is_not_given_back() -> None:
    throttle = Throttle(1, 1, 100)
    first = throttle.take("k", 100, 0)
    throttle.take("k", 100, 100 * SECOND)
    throttle.settle("k", first, 100, 10, 100 * SECOND)
    assert throttle.left("k", 100 * SECOND)[0] == 0


def test_more_than_was_taken_is_paid_for_by_those_that_come_later() -> None:
    throttle = Throttle(1, 1, 10)
    number = throttle.take("k", 1, 0)
    throttle.settle("k", number, 1, 30, 0)
    assert throttle.left("k", 0) == (0, 30 * SECOND)
    assert throttle.wait("k", 1, 0) == 21 * SECOND


def test_keys_are_apart_and_forgotten_once_they_are_full_again() -> None:
    throttle = Throttle(1, 1, 1)
    for i in range(3 * SWEPT_AT):
        assert throttle.wait(f"k{i}", 1, i * SECOND) == 0
        throttle.take(f"k{i}", 1, i * SECOND)
    assert len(throttle.keys()) <= SWEPT_AT + 1


def test_what_is_remembered_of_a_busy_key_is_bounded() -> None:
    throttle = Throttle(1, 1, 10**6)
    numbers = [throttle.take("k", 10, i) for i in range(10 * LOWS_KEPT)]
    for number in numbers:
        throttle.settle("k", number, 10, 10 - number % 3, SECOND)
    [level] = throttle._levels.values()
    assert len(level.lows) <= LOWS_KEPT
