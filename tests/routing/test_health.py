"""What is expected of a target's latency, after what was seen of it."""

from hypothesis import given
from hypothesis import strategies as st

from ferryman.routing.health import DECAY_SECONDS, PENALTY_SECONDS, PeakEwma


def test_nothing_seen_is_nothing_expected() -> None:
    assert PeakEwma().expected(1000.0) == 0


def test_a_peak_counts_at_once_and_better_times_only_slowly() -> None:
    health = PeakEwma()
    health.observe(0.2, 100.0)
    assert health.expected(100.0) == 0.2
    health.observe(2.0, 101.0)
    assert health.expected(101.0) == 2.0
    health.observe(0.2, 102.0)
    assert 1.5 < health.expected(102.0) < 2.0
    for second in range(103, 180):
        health.observe(0.2, float(second))
    assert 0.2 <= health.expected(179.0) < 0.21


def test_a_failure_sends_it_to_the_back_until_the_memory_fades() -> None:
    failed, slow = PeakEwma(), PeakEwma()
    slow.observe(3.0, 100.0)
    failed.observe(0.1, 99.0)
    failed.fail(100.0)
    assert failed.expected(100.0) == PENALTY_SECONDS > slow.expected(100.0)
    later = 100.0 + 60 * DECAY_SECONDS
    assert failed.expected(later) < 0.01, "then it is tried again"


def test_one_good_answer_after_a_failure_is_not_yet_trust() -> None:
    health = PeakEwma()
    health.fail(100.0)
    health.observe(0.1, 100.5)
    assert health.expected(100.5) > 10
    health.observe(0.1, 100.5 + 10 * DECAY_SECONDS)
    assert health.expected(100.5 + 10 * DECAY_SECONDS) < 0.2


_SEEN = st.lists(st.tuples(st.floats(0, 60), st.floats(0, 30)), max_size=20)


@given(_SEEN, st.floats(0, 10_000))
def test_it_stays_between_nothing_and_the_worst_seen(
    seen: list[tuple[float, float]], wait: float
) -> None:
    health = PeakEwma()
    now = 1.0
    for seconds, pause in seen:
        now += pause
        health.observe(seconds, now)
    worst = max((seconds for seconds, _ in seen), default=0)
    found = health.expected(now + wait)
    assert 0 <= found <= worst * 1.000001
    assert health.expected(now + wait + 1) <= found, "it fades while nothing is seen"
