"""Prices, costs and holds, against a plain restatement of the rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.ir.price import PICO, Price, Rate
from ferryman.ir.usage import Usage
from ferryman.meter.cost import MOST, cost, hold, rate_at
from ferryman.upstream.fleet import dearest

CLASSES = Usage.__struct_fields__
amounts = st.integers(0, 10**9)
rates = st.builds(Rate, **dict.fromkeys(Rate.__struct_fields__, amounts))
usages = st.builds(Usage, **dict.fromkeys(CLASSES, st.integers(0, 10**6)))
tiers = st.lists(st.tuples(st.integers(0, 5 * 10**6), rates), max_size=3).flatmap(
    lambda more: rates.map(lambda first: ((-1, first), *sorted(more, key=lambda tier: tier[0])))
)
prices = tiers.map(lambda found: (Price(tiers=found),))


def test_a_call_costs_tokens_times_rate_to_the_picodollar() -> None:
    # gpt-4o-mini in November 2026: $0.15, $0.075 cached and $0.60 per million tokens.
    price = (Price(tiers=((-1, Rate(input=150_000, cache_read=75_000, output=600_000)),)),)
    assert cost(Usage(input=1000, cache_read=500, output=200), price, 0) == 307_500_000
    assert cost(Usage(input=1_000_000), price, 0) == PICO * 15 // 100


def test_unknown_usage_and_missing_prices_are_unknown_not_zero() -> None:
    price = (Price(since=100, until=200, tiers=((-1, Rate(input=1)),)),)
    assert cost(None, price, 150) is None
    assert cost(Usage(), (), 150) is None
    assert cost(Usage(), price, 99) is None
    assert cost(Usage(), price, 200) is None
    assert cost(Usage(), price, 100) == 0


def test_the_request_fee_is_charged_once() -> None:
    assert cost(Usage(), (Price(tiers=((-1, Rate(request=7)),)),), 0) == 7


@pytest.mark.parametrize(
    ("total", "expected"), [(0, 1), (200_000, 1), (200_001, 2), (500_000, 2), (500_001, 3)]
)
def test_the_last_tier_below_the_total_input_prices_the_whole_call(
    total: int, expected: int
) -> None:
    steps = ((-1, Rate(input=1)), (200_000, Rate(input=2)), (500_000, Rate(input=3)))
    price = (Price(tiers=steps),)
    assert rate_at(price, 0, total) == Rate(input=expected)
    assert cost(Usage(input=total), price, 0) == total * expected


@pytest.mark.parametrize(("at", "expected"), [(0, 1), (99, 1), (100, 2), (199, 2), (200, 3)])
def test_the_price_in_force_when_the_call_began_counts(at: int, expected: int) -> None:
    price = (
        Price(until=100, tiers=((-1, Rate(output=1)),)),
        Price(since=100, until=200, tiers=((-1, Rate(output=2)),)),
        Price(since=200, tiers=((-1, Rate(output=3)),)),
    )
    assert cost(Usage(output=1), price, at) == expected
    assert hold(dearest(price), 0, 1) == 3, "whenever it is"


@given(usages, prices)
def test_cost_is_the_sum_over_all_classes(usage: Usage, price: tuple[Price, ...]) -> None:
    total = sum(getattr(usage, name) for name in CLASSES[:5])
    assert total == usage.total_input
    rate = [tier for threshold, tier in price[0].tiers if threshold < total][-1]
    parts = [getattr(usage, name) * getattr(rate, name) for name in CLASSES]
    assert cost(usage, price, 0) == sum(parts) + rate.request


@given(usages, prices, st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_call_within_its_bounds_costs_more_than_its_hold(
    usage: Usage, price: tuple[Price, ...], bytes_over: int, output_over: int
) -> None:
    held = hold(dearest(price), usage.total_input + bytes_over, usage.total_output + output_over)
    spent = cost(usage, price, 0)
    assert spent is not None
    assert spent <= held


def test_a_hold_is_reached_by_the_dearest_classes() -> None:
    price = (Price(tiers=((-1, Rate(input=2, cache_write=3, output=4, reasoning=5, request=1)),)),)
    assert hold(dearest(price), 10, 20) == 1 + 10 * 3 + 20 * 5


def test_nothing_is_held_without_a_price() -> None:
    assert hold(dearest(()), 1000, 1000) == 0


def test_mad_numbers_stop_at_what_a_record_can_carry() -> None:
    """A caller may ask for any number of output tokens, an upstream report any number."""
    price = (Price(tiers=((-1, Rate(output=600_000)),)),)
    assert hold(dearest(price), 100, 10**30) == MOST
    assert cost(Usage(output=10**30), price, 0) == MOST
