"""What is expected of a target's latency, after what was seen of it."""

from hypothesis import given
from hypothesis import strategies as st

from ferryman.ir.errors import ErrorKind
from ferryman.routing.health import (
    RETRY_FLOOR,
    STALE_SECONDS,
    STREAK,
    Health,
    PeakEwma,
    Rest,
    RetryBudget,
)
from ferryman.routing.reactions import reaction


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


def test_who_fails_slowly_is_slow_and_who_fails_quickly_is_not_quick() -> None:
    case = Case()
    case.works(took=0.2)
    case.fails(ErrorKind.UPSTREAM_ERROR, took=0.001)
    assert case.health.pace.expected(case.now) == 0.2
    case.fails(ErrorKind.UPSTREAM_TIMEOUT, took=9)
    assert case.health.pace.expected(case.now) == 9


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


# -- rests ----------------------------------------------------------------------------------------


class Case:
    """A target with two keys, and a clock."""

    def __init__(self) -> None:
        self.health = Health()
        self.keys = {"k1": Rest(), "k2": Rest()}
        self.now = 1000.0

    def fails(
        self, kind: ErrorKind, times: int = 1, key: str = "k1", hint: float = -1.0, took: float = 0
    ) -> None:
        for _ in range(times):
            self.health.bad(
                reaction(kind), kind, key, self.keys[key], self.now - took, self.now, hint, 1.0
            )

    def works(self, took: float = 0.1, key: str = "k1") -> None:
        self.health.good(key, took, self.now - took, self.now)
        self.keys[key].end(self.now - took)

    def rests(self, key: str = "k1") -> float:
        return max(self.health.resting(key, self.keys[key]).until - self.now, 0)


def test_a_target_rests_after_failures_in_a_row_and_longer_each_time() -> None:
    case = Case()
    case.fails(ErrorKind.UPSTREAM_ERROR, STREAK - 1)
    case.works()
    case.fails(ErrorKind.UPSTREAM_ERROR, STREAK - 1)
    assert case.rests() == 0, "not in a row"
    case.fails(ErrorKind.UPSTREAM_ERROR)
    rested = []
    for _ in range(6):
        rested.append(case.rests())
        case.now += case.rests() + 0.01
        assert case.rests() == 0
        case.fails(ErrorKind.UPSTREAM_ERROR)
    assert rested == [0.5, 1, 2, 4, 4, 4], "one failed trial is enough, and 4 s is the most"


def test_a_failure_of_long_ago_says_little_of_who_rests_unless_it_was_told_to() -> None:
    case = Case()
    case.fails(ErrorKind.UPSTREAM_ERROR, STREAK)
    rest = case.health.resting("k1", case.keys["k1"])
    assert not case.health.may_be_back(rest, case.now + STALE_SECONDS / 2)
    assert case.health.may_be_back(rest, case.now + STALE_SECONDS)
    case.fails(ErrorKind.UPSTREAM_RATE_LIMIT, hint=60)
    limit = case.health.resting("k1", case.keys["k1"])
    assert not case.health.may_be_back(limit, case.now + 30), "a limit does not end before its time"


def test_half_of_many_is_too_much_though_never_in_a_row() -> None:
    case = Case()
    for _ in range(9):
        case.fails(ErrorKind.UPSTREAM_CONNECT)
        case.works(0)
    assert case.rests() == 0
    case.fails(ErrorKind.UPSTREAM_CONNECT, 2)
    assert case.rests() > 0
    old = Case()
    for _ in range(9):
        old.fails(ErrorKind.UPSTREAM_CONNECT)
        old.works(0)
    old.now += 30
    old.fails(ErrorKind.UPSTREAM_CONNECT, 2)
    assert old.rests() == 0, "that was long ago"


def test_a_crowd_that_fails_together_is_one_failure_more() -> None:
    case = Case()
    case.fails(ErrorKind.UPSTREAM_ERROR, STREAK)
    first = case.rests()
    case.now += 0.1
    case.fails(ErrorKind.UPSTREAM_ERROR, 50, took=0.3)
    assert case.rests() < first, "they began before it rested"
    case.works(took=0.3)
    assert case.rests() > 0, "nor is an answer from before a recovery"


def test_one_trial_at_a_time_and_a_slow_start_after_it() -> None:
    case = Case()
    case.fails(ErrorKind.UPSTREAM_ERROR, STREAK)
    assert case.health.share(case.now) == 1
    case.now += 1
    assert case.rests() == 0
    case.health.claim("k1", case.keys["k1"], case.now)
    assert case.rests() > 0, "others wait for the trial's end"
    case.now += 0.2
    case.works()
    assert case.rests() == 0
    shares = [round(case.health.share(case.now + t), 2) for t in (0, 1, 2, 3, 9)]
    assert shares == [0.1, 0.4, 0.7, 1, 1]
    assert case.health.pace.expected(case.now) == 0.1, "its failures are forgotten"


def test_an_overloaded_target_rests_at_once_for_as_long_as_it_says() -> None:
    case = Case()
    case.fails(ErrorKind.UPSTREAM_OVERLOADED)
    assert case.rests("k1") == case.rests("k2") == 0.5
    case.fails(ErrorKind.UPSTREAM_OVERLOADED, hint=7)
    assert case.rests("k2") == 7
    case.fails(ErrorKind.UPSTREAM_OVERLOADED, hint=1e6)
    assert case.rests() == 30, "a target as a whole gets a trial by then"
    case.fails(ErrorKind.UPSTREAM_RATE_LIMIT, hint=1e6)
    assert case.rests() == 3600, "an hour is the longest that a word is taken for"


def test_a_rate_limit_is_one_of_a_key_and_a_model() -> None:
    case, other = Case(), Case()
    other.keys = case.keys
    case.fails(ErrorKind.UPSTREAM_RATE_LIMIT, hint=20)
    assert (case.rests("k1"), case.rests("k2"), other.rests("k1")) == (20, 0, 0)
    case.now += 21
    case.works()
    assert not case.health.limits


def test_who_refuses_more_calls_than_it_takes_is_sent_fewer() -> None:
    case = Case()
    for _ in range(10):
        case.works()
    case.fails(ErrorKind.UPSTREAM_RATE_LIMIT, 9, hint=1)
    assert case.health.share(case.now) == 1, "it rests, that is enough"
    case.now += 1.1
    case.works()
    assert case.health.share(case.now) == 1, "it took more than it refused"
    case.fails(ErrorKind.UPSTREAM_RATE_LIMIT, 30, hint=1)
    case.now += 1.1
    case.works()
    assert case.health.share(case.now) == 25 / 52, "twice the 12 that it took, of 51"
    case.now += 10
    assert case.health.share(case.now) == 1
    assert not case.health.pressed


def test_money_and_access_are_the_keys_own_at_every_model() -> None:
    for kind in (ErrorKind.UPSTREAM_NO_CREDIT, ErrorKind.UPSTREAM_AUTH):
        case, other = Case(), Case()
        other.keys = case.keys
        case.fails(kind)
        assert (case.rests("k1"), other.rests("k1"), case.rests("k2")) == (30, 30, 0)
        other.now += 1
        other.works()
        assert case.rests("k1") == 0, "an answer to that key says that it is good again"


def test_what_the_request_is_to_blame_for_costs_nobody_anything() -> None:
    case = Case()
    for kind in (
        ErrorKind.INVALID_REQUEST, ErrorKind.CONTEXT_TOO_LONG, ErrorKind.CONTENT_FILTERED,
        ErrorKind.CANCELLED,
    ):  # fmt: skip
        case.fails(kind, 20)
    assert case.rests() == 0
    assert case.health.pace.expected(case.now) == 0


def test_the_retry_budget_is_a_fifth_of_the_calls_or_a_hundred() -> None:
    budget = RetryBudget()
    assert sum(budget.spend(5.0) for _ in range(500)) == RETRY_FLOOR
    assert sum(budget.spend(14.9) for _ in range(500)) == 0, "within ten seconds"
    assert sum(budget.spend(15.0) for _ in range(500)) == RETRY_FLOOR
    for _ in range(2000):
        budget.call(16.0)
    assert sum(budget.spend(17.0) for _ in range(5000)) == 400 - RETRY_FLOOR
    assert sum(budget.spend(1e6) for _ in range(500)) == RETRY_FLOOR, "all of it is forgotten"
    assert sum(budget.spend(2e6, 0.5) for _ in range(500)) == RETRY_FLOOR / 2
    assert sum(budget.spend(2e6) for _ in range(500)) == RETRY_FLOOR / 2
