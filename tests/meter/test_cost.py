"""Prices, costs and holds, against a plain restatement of the rules."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.flow.deliver import usd
from ferryman.ir.price import EVERY_DAY, PER_ONE, PICO, Price, Rate, Special
from ferryman.ir.usage import CLASSES, EXTRA_COUNTS, PIECES, SERVICES, Extras, Usage
from ferryman.meter.cost import DAY, MOST, cost, fees, hold, rate_at
from ferryman.meter.lines import lines
from ferryman.upstream.fleet import dearest, most_fees

amounts = st.integers(0, 10**9)
numbers = st.integers(0, 10**6)
rates = st.builds(Rate, **dict.fromkeys(Rate.__struct_fields__, amounts))
MORE = ("audio_cache_read", "image_cache_read", "image_input", "image_output")
more = st.none() | st.builds(Extras, **dict.fromkeys(MORE, numbers))
usages = st.builds(Usage, **dict.fromkeys(CLASSES, numbers), extras=more)
any_extras = st.builds(
    Extras,
    service=st.sampled_from(("", *SERVICES)),
    region=st.sampled_from(("", "us", "mars")),
    context=st.sampled_from(("", "low", "medium", "high")),
    **dict.fromkeys((*EXTRA_COUNTS, *PIECES), numbers),
)
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
    extras = usage.extras or Extras()
    total = sum(getattr(usage, name) for name in CLASSES[:5])
    total += extras.audio_cache_read + extras.image_cache_read + extras.image_input
    assert total == usage.total_input
    rate = [tier for threshold, tier in price[0].tiers if threshold < total][-1]
    parts = [getattr(usage, name) * getattr(rate, name) for name in CLASSES]
    parts += [getattr(extras, name) * getattr(rate, name) for name in MORE]
    assert cost(usage, price, 0) == sum(parts) + rate.request


windows = st.tuples(*[st.integers(0, DAY - 1)] * 2)
specials = st.builds(
    lambda service, window, found, days: Special(
        service=service, begins=window[0], ends=window[1], tiers=found, days=days
    ),
    st.sampled_from(("", *SERVICES)), windows, tiers, st.integers(0, EVERY_DAY),
)  # fmt: skip


@given(usages, any_extras, tiers, st.lists(specials, max_size=4), st.integers(0, 3 * DAY))
def test_lines_add_up_to_the_cost(
    usage: Usage,
    extras: Extras,
    found: tuple[tuple[int, Rate], ...],
    more: list[Special],
    at: int,
) -> None:
    whole = Price(tiers=found, specials=tuple(more), regions=(("us", 1100),), audio_least_ms=9999)
    usage = msgspec.structs.replace(usage, extras=extras)
    assert sum(line.pico for line in lines(usage, (whole,), at)) == (cost(usage, (whole,), at) or 0)


def _at(hour: int, service: str = "") -> int:
    """The rate of input in a price with an off-peak window and a flex tier, at an hour."""
    night = Special(begins=16 * 3600, ends=2 * 3600, tiers=((-1, Rate(input=2)),))
    flex_night = Special(
        service="flex", begins=16 * 3600, ends=2 * 3600, tiers=((-1, Rate(input=1)),)
    )
    flex = Special(service="flex", tiers=((-1, Rate(input=4)),))
    price = (Price(tiers=((-1, Rate(input=8)),), specials=(flex_night, night, flex)),)
    rate = rate_at(price, 5 * DAY + hour * 3600, 0, service)
    assert rate is not None
    return rate.input


def test_hours_and_service_tiers_have_rates_of_their_own() -> None:
    assert [_at(hour) for hour in (0, 1, 2, 15, 16, 23)] == [2, 2, 8, 8, 2, 2]
    assert [_at(hour, "flex") for hour in (1, 2, 16)] == [1, 4, 1]
    assert [_at(hour, "priority") for hour in (1, 2)] == [2, 8], "the standard rates of that hour"


def test_hours_on_days_of_the_week_go_on_past_midnight() -> None:
    late = Special(begins=22 * 3600, ends=2 * 3600, days=0b10000, tiers=((-1, Rate(input=2)),))
    price = (Price(tiers=((-1, Rate(input=8)),), specials=(late,)),)
    friday = 1 * DAY  # 2 January 1970
    found = [rate_at(price, friday + hour * 3600, 0) for hour in (1, 21, 22, 23, 24, 25, 26, 46)]
    assert [rate.input for rate in found if rate] == [8, 8, 2, 2, 2, 2, 8, 8]


def test_a_fee_may_depend_on_how_much_of_the_web_was_read() -> None:
    rate = Rate(request=12, request_low=5, request_medium=8, search=100, searched=1000)
    price = (Price(tiers=((-1, rate),)),)
    sizes = [
        cost(Usage(extras=Extras(context=size)), price, 0) for size in ("low", "medium", "high")
    ]
    assert sizes == [5, 8, 12]
    assert cost(Usage(extras=Extras(searches=3)), price, 0) == 12 + 300 + 1000


@pytest.mark.parametrize(
    ("told", "comes_to"),
    [
        (Extras(audio_ms=5000), 1000),
        (Extras(characters=9), 63),
        (Extras(images=2), 18),
    ],
)
def test_what_is_not_charged_for_does_not_tell_what_a_call_costs(
    told: Extras, comes_to: int
) -> None:
    """A model paid by its tokens may cost anything where nobody counts them."""
    usage = Usage(extras=told)
    by_token = (Price(tiers=((-1, Rate(input=1)),)),)
    assert cost(usage, by_token, 0) is None and lines(usage, by_token, 0) == []
    free = (Price(tiers=((-1, Rate()),)),)
    assert cost(usage, free, 0) == 0
    priced = (Price(tiers=((-1, Rate(input=1, audio_hour=720_000, character=7, image=9)),)),)
    assert cost(usage, priced, 0) == comes_to


def test_a_region_adds_to_tokens_and_not_to_fees() -> None:
    price = (Price(tiers=((-1, Rate(input=5, request=7, search=11)),), regions=(("us", 1100),)),)
    there = Usage(3, extras=Extras(region="us", searches=2))
    assert cost(there, price, 0) == 17 + 7 + 22, "16.5 picodollars are rounded half up"
    elsewhere = Usage(3, extras=Extras(region="eu", searches=2))
    assert cost(elsewhere, price, 0) == 15 + 7 + 22


def test_audio_by_time_is_charged_by_the_hour() -> None:
    price = (Price(tiers=((-1, Rate(audio_hour=PICO * 36 // 100)),)),)  # $0.006 a minute
    assert cost(Usage(extras=Extras(audio_ms=90_000)), price, 0) == PICO * 9 // 1000


@given(
    usages, prices, st.lists(specials, max_size=3), st.sampled_from(("", *SERVICES)),
    st.sampled_from(("", "us")), st.integers(500, 2500), st.integers(0, 10**6),
)  # fmt: skip
def test_no_call_within_its_bounds_costs_more_than_its_hold(
    usage: Usage,
    price: tuple[Price, ...],
    more: list[Special],
    service: str,
    region: str,
    factor: int,
    over: int,
) -> None:
    """Whichever service tier and region it is served in."""
    served = Extras(service=service, region=region)
    extras = msgspec.structs.replace(usage.extras or served, service=service, region=region)
    usage = msgspec.structs.replace(usage, extras=extras)
    price = (msgspec.structs.replace(price[0], specials=tuple(more), regions=(("us", factor),)),)
    held = hold(dearest(price), usage.total_input + over, usage.total_output + over)
    spent = cost(usage, price, 0)
    assert spent is not None
    assert spent <= held


@given(any_extras, prices, st.lists(specials, max_size=3), st.integers(0, 3 * DAY), numbers)
def test_no_call_costs_more_beyond_its_tokens_than_is_held_for_that(
    used: Extras, price: tuple[Price, ...], more: list[Special], at: int, over: int
) -> None:
    pieces = ("searches", "audio_ms", *PIECES[2:])
    counts = {name: getattr(used, name) for name in pieces}
    whole = msgspec.structs.replace(price[0], specials=tuple(more), audio_least_ms=10_000)
    extras = Extras(service=used.service, context=used.context, **counts)
    spent = cost(Usage(extras=extras), (whole,), at) or 0
    held = hold(dearest((whole,)), 0, 0)
    most = most_fees((whole,))
    if most is not None:
        bound = Extras(**{name: count + over for name, count in counts.items()})
        held += fees(bound, most.tiers[0][1], most)
    assert spent <= held


def test_a_price_by_tokens_alone_has_no_fees() -> None:
    rate = Rate(**{n: 5 for n in Rate.__struct_fields__ if n not in (*PER_ONE, "character")})
    assert most_fees((Price(tiers=((-1, rate),)),)) is None
    assert most_fees(()) is None


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


@given(st.integers(0, MOST), st.integers(0, 18))
def test_amounts_are_told_as_exact_and_as_short_as_can_be(number: int, zeros: int) -> None:
    picodollars = number // 10**zeros * 10**zeros
    said = usd(picodollars)
    assert Decimal(said) == Decimal(picodollars).scaleb(-12)
    whole, point, places = said.partition(".")
    assert (whole, point, places) == (whole.lstrip("0") or "0", point, places.rstrip("0"))
    assert bool(point) == bool(places)
