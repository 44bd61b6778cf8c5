"""Budgets and limits together: windows in any zone, all or nothing, exact to the last unit."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.config.snapshot import LENGTHS
from ferryman.meter.limits import (
    INPUT,
    REQUESTS,
    TOKENS,
    USD,
    Amounts,
    BudgetMeter,
    Grant,
    Limit,
    Moment,
    ParallelMeter,
    RateMeter,
    Refusal,
    admit,
    key_of,
)
from ferryman.meter.spending import SWEPT_AT, Spending
from ferryman.meter.throttle import NEVER, SECOND
from ferryman.meter.window import PARTS, Window

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe",
         "Pacific/Apia", "America/Havana", "Africa/Cairo", "Asia/Kathmandu")  # fmt: skip
TIMES = st.integers(1_500_000_000, 1_900_000_000)


def unix(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


@given(st.sampled_from(tuple(LENGTHS)), st.sampled_from(ZONES), TIMES)
def test_periods_of_the_calendar_follow_each_other_without_gap(
    per: str, zone: str, at: int
) -> None:
    window = Window(per, zone)
    start, end = window.bucket(at)
    assert start <= at < end
    assert window.bucket(start) == window.bucket(end - 1) == (start, end)
    if per != "hour":  # of Lord Howe, where clocks change by half an hour
        assert window.bucket(end)[0] == end
        assert window.bucket(start - 1)[1] == start
    assert window.since(at) == start


@pytest.mark.parametrize(
    ("per", "zone", "at", "start", "hours"),
    [
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-29", 23),  # clocks go forward
        ("day", "Europe/Berlin", "2026-10-25T12:00", "2026-10-25", 25),
        ("day", "America/Havana", "2026-03-08T12:00", "2026-03-08", 23),  # at midnight
        ("day", "Asia/Kolkata", "2026-05-05T00:00", "2026-05-05", 24),
        ("week", "Europe/Berlin", "2026-11-26T12:00", "2026-11-23", 168),
        ("month", "Europe/Berlin", "2026-10-31T23:59", "2026-10-01", 745),
        ("month", "UTC", "2028-02-29T00:00", "2028-02-01", 29 * 24),
    ],
)
def test_days_are_as_long_as_they_are_there(
    per: str, zone: str, at: str, start: str, hours: int
) -> None:
    first, end = Window(per, zone).bucket(unix(at, zone))
    assert end - first == hours * 3600
    assert first == unix(start, zone)


@given(st.sampled_from(tuple(LENGTHS)), st.lists(st.tuples(TIMES, st.integers(0, 99)), max_size=30))
def test_a_rolling_period_counts_all_of_it_and_a_part_more(
    per: str, spent: list[tuple[int, int]]
) -> None:
    length = LENGTHS[per]
    base = 1_700_000_000
    spent = sorted((base + at % (3 * length), amount) for at, amount in spent)
    spending = Spending(Window(per, rolling=True))
    for i, (at, amount) in enumerate(spent, 1):
        spending.add("k", amount, at)
        total = spending.total("k", at)
        least = sum(a for when, a in spent[:i] if when > at - length)
        most = sum(a for when, a in spent[:i] if when > at - length - length // PARTS)
        assert least <= total <= most
    assert spending.total("k", base + 5 * length) == 0


def budget(most: int, *, measure: str = USD, **more: int | bool) -> BudgetMeter:
    meter = BudgetMeter(measure, most, Spending(Window("day")), **more)  # type: ignore[arg-type]
    meter.spending.known = True
    return meter


NOW = Moment(0, unix("2026-11-26T12:00"))


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40), st.integers(0, 9)), max_size=60),
    st.integers(0, 100),
)
def test_held_and_spent_never_exceed_a_budget_and_end_at_what_was_spent(
    calls: list[tuple[int, int, int]], most: int
) -> None:
    """Whatever is held, settled and in which order; more than was held is counted all the same."""
    meter = budget(most)
    limit = Limit("l", [meter], 402)
    open_calls: list[tuple[int, Grant, int]] = []
    spent = 0
    for i, (hold, used, later) in enumerate(calls):
        for due, grant, actual in [each for each in open_calls if each[0] <= i]:
            grant.settle(Amounts(picodollars=actual), NOW)
            grant.settle(Amounts(picodollars=actual + 7), NOW)
            open_calls.remove((due, grant, actual))
            spent += actual
        held = sum(grant.asked.picodollars for _, grant, _ in open_calls)
        assert meter.spending.total("l", NOW.unix) == spent + held
        found = admit([(limit, "l")], Amounts(picodollars=hold), NOW)
        assert isinstance(found, Grant) == (not hold or spent + held + hold <= most)
        if isinstance(found, Grant):
            open_calls.append((i + 1 + later, found, used))


def test_a_call_takes_of_all_its_limits_or_of_none() -> None:
    rate = RateMeter(REQUESTS, 5, 60, 5, "minute")
    parallel, tight, wide = ParallelMeter(9), budget(10), budget(1000)
    limits = [
        (Limit("a", [rate, parallel], 402), "a"),
        (Limit("b", [wide], 402), "b|x"),
        (Limit("c", [tight], 403), "c"),
    ]
    first = admit(limits, Amounts(picodollars=8), NOW)
    assert isinstance(first, Grant)
    assert first.budgets == ("b|x", "c")
    second = admit(limits, Amounts(picodollars=8), NOW)
    assert isinstance(second, Refusal)
    assert (second.limit, second.left, second.most, second.status) == ("c", 2, 10, 403)
    assert second.wait == unix("2026-11-27") - NOW.unix
    meters = ((rate, "a"), (parallel, "a"), (wide, "b|x"), (tight, "c"))
    assert [meter.state(key, NOW).left for meter, key in meters] == [4, 8, 992, 2]
    first.settle(Amounts(picodollars=3), NOW)
    assert isinstance(admit(limits, Amounts(picodollars=7), NOW), Grant)
    assert parallel.at_work == {"a": 1}


def test_the_longest_wait_is_told_and_what_never_fits_before_that() -> None:
    rate = RateMeter(INPUT, 60, 60, 60, "minute")
    spent = budget(10)
    limits = [(Limit("a", [rate], 402), "a"), (Limit("b", [spent], 402), "b")]
    assert isinstance(admit(limits, Amounts(input=60, picodollars=10), NOW), Grant)
    both = admit(limits, Amounts(input=30, picodollars=1), NOW)
    assert isinstance(both, Refusal)
    assert (both.limit, both.wait) == ("b", 12 * 3600)
    only = admit(limits, Amounts(input=30), NOW)
    assert isinstance(only, Refusal)
    assert (only.limit, only.wait, only.left, only.asked) == ("a", 30, 0, 30)
    never = admit(limits, Amounts(input=61, picodollars=1), NOW)
    assert isinstance(never, Refusal)
    assert (never.limit, never.wait) == ("a", NEVER)
    dear = admit(limits[1:], Amounts(picodollars=11), NOW)
    assert isinstance(dear, Refusal)
    assert dear.wait == NEVER


def test_a_budget_of_nothing_lets_through_what_costs_nothing() -> None:
    limits = [(Limit("a", [budget(0)], 402), "a")]
    assert isinstance(admit(limits, Amounts(), NOW), Grant)
    assert isinstance(admit(limits, Amounts(picodollars=1), NOW), Refusal)


def test_a_temporary_increase_ends() -> None:
    meter = budget(10, extra=5, extra_until=NOW.unix + 60)
    limits = [(Limit("a", [meter], 402), "a")]
    assert isinstance(admit(limits, Amounts(picodollars=15), NOW), Grant)
    assert isinstance(admit(limits, Amounts(picodollars=1), NOW), Refusal)
    assert meter.state("a", Moment(0, NOW.unix + 60)).left == 0


def test_a_soft_budget_counts_and_lets_through() -> None:
    meter = budget(10, measure=TOKENS, soft=True)
    limits = [(Limit("a", [meter], 402), "a")]
    assert isinstance(admit(limits, Amounts(tokens=11), NOW), Grant)
    assert meter.over("a", NOW.unix)


def test_a_call_counts_for_the_day_on_which_it_began() -> None:
    meter = budget(10)
    limits = [(Limit("a", [meter], 402), "a")]
    late = Moment(0, unix("2026-11-26T23:59:59"))
    grant = admit(limits, Amounts(picodollars=10), late)
    assert isinstance(grant, Grant)
    next_day = Moment(0, late.unix + 5)
    assert isinstance(admit(limits, Amounts(picodollars=10), next_day), Grant)
    grant.settle(Amounts(picodollars=9), next_day)
    assert meter.spending.total("a", next_day.unix) == 10


def test_until_what_was_spent_is_known_nothing_is() -> None:
    meter = BudgetMeter(USD, 10, Spending(Window("day")))
    limits = [(Limit("a", [meter], 402), "a")]
    refused = admit(limits, Amounts(picodollars=1), NOW)
    assert isinstance(refused, Refusal)
    assert refused.unknown
    meter.spending.add("a", 9, unix("2026-11-26T01:00"))
    meter.spending.known = True
    assert isinstance(admit(limits, Amounts(picodollars=1), NOW), Grant)
    assert isinstance(admit(limits, Amounts(picodollars=1), NOW), Refusal)


def test_a_changed_limit_goes_on_where_it_stood_as_far_as_it_is_the_same() -> None:
    old = Limit("a", [RateMeter(REQUESTS, 5, 60, 5, "minute"), ParallelMeter(3), budget(10)], 402)
    assert isinstance(admit([(old, "a")], Amounts(picodollars=4), NOW), Grant)
    raised = BudgetMeter(USD, 100, Spending(Window("day")))
    weekly = BudgetMeter(USD, 100, Spending(Window("week")))
    new = Limit(
        "a", [RateMeter(REQUESTS, 9, 60, 9, "minute"), ParallelMeter(7), raised, weekly], 402
    )
    new.inherit(old)
    lefts = [meter.state("a", NOW).left for meter in new.meters]
    assert lefts == [9, 6, 100 - 4, 100]
    assert [meter.known() for meter in new.meters] == [True, True, True, False]


def test_accounts_of_periods_that_are_over_are_forgotten() -> None:
    spending = Spending(Window("day"))
    for i in range(3 * SWEPT_AT):
        spending.add(f"k{i}", 1, NOW.unix + i * 3600)
    assert len(spending.keys()) <= SWEPT_AT + 1


def test_clocks_that_jump_back_forget_nothing() -> None:
    spending = Spending(Window("day"))
    spending.add("k", 5, NOW.unix)
    spending.add("k", 2, NOW.unix - 86_400)
    assert spending.total("k", NOW.unix - 86_400) == 7
    assert spending.total("k", NOW.unix) == 5


def test_values_with_the_sign_between_them_stay_apart() -> None:
    keys = {key_of("a", "b|c", "d"), key_of("a", "b", "c|d"), key_of("a", "b", "c", "d")}
    assert len(keys) == 3
    assert key_of("a") == "a"
    assert len(key_of("a", "x" * 1000)) < 200


def test_the_zone_of_the_tests_is_not_asked() -> None:
    assert Window("day").bucket(NOW.unix)[0] == int(datetime(2026, 11, 26, tzinfo=UTC).timestamp())
    assert Moment(SECOND, 1).ns == 10**9
