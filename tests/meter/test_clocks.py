"""Budgets when clocks jump, days are skipped or doubled, and periods carry something over."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.config.snapshot import LENGTHS
from ferryman.meter.limits import (
    USD,
    Amounts,
    BudgetMeter,
    Grant,
    Limit,
    Moment,
    RateMeter,
    Refusal,
    admit,
)
from ferryman.meter.spending import PERIODS_KEPT, Spending
from ferryman.meter.throttle import SECOND
from ferryman.meter.window import PARTS, Window

NOW = 1_795_000_000
ZONES = (
    "UTC", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu",
    "America/Havana", "Africa/Cairo", "Africa/Casablanca", "Antarctica/Troll", "Pacific/Chatham",
    "America/St_Johns", "Asia/Tehran", "Pacific/Kiritimati", "America/Asuncion",
)  # fmt: skip
YEARS = st.integers(int(datetime(1995, 1, 1, tzinfo=UTC).timestamp()), 2_000_000_000)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(ZONES), st.sampled_from(sorted(LENGTHS)), YEARS, st.booleans())
def test_periods_follow_each_other_without_a_gap_in_every_zone(
    zone: str, per: str, at: int, rolling: bool
) -> None:
    window = Window(per, zone, rolling=rolling)
    start, end = window.bucket(at)
    assert start <= at < end
    fresh = Window(per, zone, rolling=rolling)
    assert fresh.bucket(start) == (start, end), "whichever moment is asked for first"
    if rolling:
        return
    assert fresh.bucket(end - 1) == (start, end)
    assert fresh.bucket(end)[0] == end
    assert fresh.bucket(start - 1)[1] == start
    local = datetime.fromtimestamp(start, ZoneInfo(zone))
    if per in ("day", "week", "month") and local.hour:
        before = datetime.fromtimestamp(start - 1, ZoneInfo(zone))
        assert before.utcoffset() != local.utcoffset(), "only where clocks skip midnight"


@pytest.mark.parametrize(
    ("zone", "at", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00+02:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00+01:00", 25),
        ("Australia/Lord_Howe", "2026-10-04T12:00+11:00", 23.5),
        ("Australia/Lord_Howe", "2026-04-05T12:00+10:30", 24.5),
        ("America/Havana", "2026-03-08T12:00-04:00", 23),  # midnight itself is skipped
        ("America/Havana", "2026-11-01T12:00-05:00", 25),
        ("Antarctica/Troll", "2026-03-29T12:00+02:00", 22),
        ("Pacific/Apia", "2011-12-29T12:00-10:00", 24),  # and the 30th never was
    ],
)
def test_days_are_as_long_as_they_are_there(zone: str, at: str, hours: float) -> None:
    start, end = Window("day", zone).bucket(int(datetime.fromisoformat(at).timestamp()))
    assert (end - start) / 3600 == hours


JUMPS = st.lists(
    st.tuples(
        st.sampled_from(("spend", "settle", "look")),
        st.one_of(
            st.integers(-5, 90), st.integers(-4000, 4000), st.integers(-90_000, 200_000),
            st.just(40 * 365 * 86_400), st.just(-40 * 365 * 86_400),
        ),
        st.integers(0, 50),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(JUMPS, st.sampled_from(("minute", "hour", "day")), st.booleans())
def test_what_is_spent_counts_whatever_the_clock_does(
    steps: list[tuple[str, int, int]], per: str, rolling: bool
) -> None:
    """Beside a plain list of all that was spent: never more, and no less than what is kept."""
    window = Window(per, rolling=rolling)
    spending = Spending(window)
    naive: dict[tuple[int, int], int] = {}
    held: list[tuple[int, int]] = []
    now = latest = NOW
    for what, jump, amount in steps:
        now = max(now + jump, 86_400)
        bucket = window.bucket(now)
        if what == "spend":
            held.append((spending.add("k", amount, now), amount))
            naive[bucket] = naive.get(bucket, 0) + amount
        elif what == "settle" and held:
            start, amount = held.pop(0)
            spending.change("k", start, -amount)
            for each in naive:
                if each[0] == start:
                    naive[each] -= amount
        total = spending.total("k", now)
        latest = max(latest, now)
        counts = {each: value for each, value in naive.items() if each[1] > now}
        assert 0 <= total <= sum(counts.values())
        kept = sorted(naive)[-(PARTS if rolling else PERIODS_KEPT) :]
        assert total >= sum(value for each, value in counts.items() if each in kept)
        assert spending.frees("k", 1, now) > now


def test_a_jump_and_back_forgets_nothing_and_holds_are_given_back() -> None:
    for rolling in (False, True):
        meter = BudgetMeter(USD, 100, Spending(Window("day", rolling=rolling)))
        meter.spending.known = True
        limit = Limit("l", [meter], 402)
        first = admit([(limit, "l")], Amounts(picodollars=80), Moment(0, NOW))
        assert isinstance(first, Grant)
        ahead = admit([(limit, "l")], Amounts(picodollars=80), Moment(1, NOW + 30 * 86_400))
        assert isinstance(ahead, Grant), "a month later there is a new day"
        back = admit([(limit, "l")], Amounts(picodollars=30), Moment(2, NOW + 60))
        assert isinstance(back, Refusal)
        first.settle(Amounts(picodollars=10), Moment(3, NOW + 70))
        ahead.settle(Amounts(), Moment(4, NOW + 70))
        assert meter.spending.total("l", NOW + 70) == 10
        assert isinstance(admit([(limit, "l")], Amounts(picodollars=90), Moment(5, NOW)), Grant)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-(10**7), 10**7), max_size=30))
def test_a_clock_that_goes_back_lets_no_more_than_the_burst_through(jumps: list[int]) -> None:
    meter = RateMeter("requests", 10, 60, 5, "minute")
    limit, ns, latest, passed = Limit("l", [meter], 429), 10**12, 10**12, 0
    for jump in jumps:
        ns = max(ns + jump, 0)
        latest = max(latest, ns)
        passed += isinstance(admit([(limit, "l")], Amounts(), Moment(ns, NOW)), Grant)
    assert passed <= 5 + (latest - 10**12) * 10 // (60 * SECOND) + 1


def carrying(most: int = 100) -> BudgetMeter:
    meter = BudgetMeter(USD, most, Spending(Window("day")), carries=True)
    meter.spending.known = True
    return meter


def test_what_is_left_of_a_day_is_added_to_the_next_and_not_to_the_one_after() -> None:
    meter, day = carrying(), 86_400
    at = NOW - NOW % day
    assert meter.most_at(at, "k") == 100, "before there was a call, nothing is left over"
    meter.spending.add("k", 30, at)
    assert meter.most_at(at + day, "k") == 170
    meter.spending.add("k", 5, at + day)
    assert meter.most_at(at + 2 * day, "k") == 195, "of its own 100; what it was given is gone"
    assert meter.most_at(at + 3 * day, "k") == 100
    meter.spending.add("k", 400, at + 2 * day)
    assert meter.most_at(at + 3 * day, "k") == 100, "too much is no debt"
    assert meter.since(at + 10) == at - day
    meter = carrying()
    meter.spending.add("k", 30, at)
    meter.spending.add("k", 5, at + day)
    assert meter.refusal("k", Amounts(picodollars=165), Moment(0, at + day)) is None
    assert meter.refusal("k", Amounts(picodollars=166), Moment(0, at + day)) is not None
    state = meter.state("k", Moment(0, at + day))
    assert (state.most, state.left) == (170, 165)
