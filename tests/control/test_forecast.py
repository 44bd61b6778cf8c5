"""What a month will cost, worked out by hand."""

from datetime import date, timedelta

from ferryman.control.forecast import Forecast, forecast

TODAY = date(2026, 11, 18)  # a Wednesday; twelve days of the month are left after it


def costs(days: int, of: dict[int, int], today: date = TODAY) -> dict[date, int]:
    """Cost of each of the days before, by day of the week."""
    found = [today - timedelta(days=n) for n in range(1, days + 1)]
    return {day: of.get(day.weekday(), 0) for day in found}


def test_days_of_the_week_count_for_themselves() -> None:
    daily = costs(56, dict.fromkeys(range(5), 100))  # nothing at weekends
    assert forecast(daily, TODAY, 0.5) == Forecast(
        spent=1200,  # 12 workdays from the 1st, a Sunday, to the 17th
        expected=1200 + 50 + 800,  # half of today, then 8 workdays
        low=2050, high=2050, days=56, method="weekday",
    )  # fmt: skip
    assert forecast(daily | {TODAY: 70}, TODAY, 0.5) == Forecast(
        spent=1270, expected=2120, low=2120, high=2120, days=56, method="weekday"
    )


def test_few_days_are_averaged_and_one_says_nothing() -> None:
    one, two = TODAY - timedelta(days=1), TODAY - timedelta(days=2)
    found = forecast({one: 100, two: 200}, TODAY, 0.0)
    assert found is not None
    assert (found.spent, found.expected, found.method) == (300, 300 + 13 * 150, "average")
    # A variance of 5,000, of 13 days and of an average that two days told: 1.2816 * sqrt(487,500).
    assert (found.low, found.high) == (2250 - 895, 2250 + 895)
    wild = forecast({one: 0, two: 200}, TODAY, 0.0)
    assert wild is not None
    assert wild.low == wild.spent == 200, "no less than was spent"
    assert forecast({one: 100}, TODAY, 0.0) is None
    assert forecast({TODAY: 100}, TODAY, 0.9) is None
    assert forecast({}, TODAY, 0.0) is None


def test_days_without_calls_count_and_older_ones_do_not() -> None:
    long_ago = TODAY - timedelta(days=400)
    assert forecast({long_ago: 10**9}, TODAY, 0.0) == Forecast(
        spent=0, expected=0, low=0, high=0, days=56, method="weekday"
    )


def test_the_more_days_differ_the_wider_is_the_range() -> None:
    even = {day: cost + 1 for day, cost in costs(56, dict.fromkeys(range(7), 100)).items()}
    odd = {day: 100 + (40 if day.toordinal() // 7 % 2 else -40) for day in even}
    one, other = forecast(even, TODAY, 0.0), forecast(odd, TODAY, 0.0)
    assert one is not None
    assert other is not None
    assert one.low == one.expected == one.high
    assert 100 < other.high - other.expected < 400
    assert abs((other.expected - other.low) - (other.high - other.expected)) <= 1


def test_the_last_day_of_a_year_ends_the_month() -> None:
    last = date(2026, 12, 31)
    found = forecast(costs(56, dict.fromkeys(range(7), 10), last), last, 0.25)
    assert found is not None
    assert (found.spent, found.expected) == (300, 308)
