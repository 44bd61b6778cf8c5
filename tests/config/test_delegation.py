"""Limits that are handed down: what is more than a parent's, and how it is brought down."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ferryman.config.delegation import SECONDS, Scope, beyond, lowered
from ferryman.config.snapshot import PERIODS, RATES, Budget, CallLimit, RateLimit
from ferryman.ir.price import PICO
from ferryman.routing.conditions import compiled


def rate(text: str, burst: int = 0, measure: str = "requests") -> CallLimit:
    number, _, per = text.partition("/")
    most = int(number)
    found = RateLimit(measure=measure, most=most, per=per, burst=burst or most)
    return CallLimit(name="", rates=(found,))


def at_once(calls: int) -> CallLimit:
    return CallLimit(name="", parallel=calls)


def usd(most: int, per: str, *, soft: bool = False) -> CallLimit:
    return CallLimit(name="", budgets=(Budget(unit="usd", most=most * PICO, per=per, soft=soft),))


@pytest.mark.parametrize(
    ("child", "parent", "said"),
    [
        (rate("60/minute"), rate("60/minute"), ""),
        (rate("61/minute"), rate("60/minute"), "requests: 61/minute is more than 60/minute"),
        (rate("1/second"), rate("60/minute"), ""),
        (rate("2/second"), rate("60/minute"), "requests: 2/second is more than 60/minute"),
        (rate("600/hour"), rate("60/minute"), "requests: a burst of 600 is more than 60"),
        (rate("600/hour", 60), rate("60/minute"), ""),
        (rate("60/minute", measure="tokens"), rate("1/minute"), ""),
        (at_once(3), at_once(2), "parallel: 3 is more than 2"),
        (at_once(2), at_once(2), ""),
        (at_once(9), rate("1/minute"), ""),
        (usd(10, "month"), usd(10, "month"), ""),
        (usd(11, "month"), usd(10, "month"), "budget: 11 USD per month is more than 10 USD"),
        (usd(11, "day"), usd(10, "month"), "budget: 11 USD per day is more than 10 USD"),
        (usd(10, "day"), usd(10, "month"), ""),
        (usd(310, "month"), usd(10, "day"), ""),
        (usd(311, "month"), usd(10, "day"), "budget: 311 USD per month is more than 310 USD"),
        (usd(11, "month"), usd(10, "month", soft=True), ""),
        (usd(5, "day", soft=True), usd(4, "day"), "budget: 5 USD per day is more than 4 USD"),
    ],
)  # fmt: skip
def test_what_is_more_is_told(child: CallLimit, parent: CallLimit, said: str) -> None:
    assert beyond(child, parent) == ([said] if said else [])
    assert (lowered(child, parent) == child) is (not said)


_most = st.integers(1, 200)
_rates = st.builds(
    RateLimit, measure=st.sampled_from(RATES), most=_most, burst=_most,
    per=st.sampled_from(("second", "minute", "hour", "day")),
)  # fmt: skip
_budgets = st.builds(
    Budget, unit=st.sampled_from(("usd", "tokens")), most=st.integers(0, 200),
    per=st.sampled_from(PERIODS), soft=st.booleans(),
)  # fmt: skip
LIMITS = st.builds(
    CallLimit, name=st.just(""), parallel=st.integers(0, 5),
    rates=st.lists(_rates, max_size=3, unique_by=lambda each: each.measure).map(tuple),
    budgets=st.lists(_budgets, max_size=3).map(tuple),
)  # fmt: skip
"""Any limits."""


@settings(max_examples=50)
@given(LIMITS, LIMITS)
def test_what_was_brought_down_is_within_and_nothing_became_more(
    child: CallLimit, parent: CallLimit
) -> None:
    found = lowered(child, parent)
    assert not beyond(found, parent)
    assert found.parallel <= child.parallel
    for new, old in zip(found.rates, child.rates, strict=True):
        assert new.measure == old.measure
        assert new.burst <= old.burst
        assert new.most * SECONDS[old.per] <= old.most * SECONDS[new.per]
    for less, was in zip(found.budgets, child.budgets, strict=True):
        assert less == replace(was, most=less.most)
        assert less.most <= was.most
    assert lowered(found, parent) == found


@settings(max_examples=50)
@given(LIMITS, LIMITS, LIMITS)
def test_bringing_all_below_down_keeps_them_within_each_other(
    parent: CallLimit, child: CallLimit, below: CallLimit
) -> None:
    below = lowered(below, child)
    assert not beyond(lowered(below, parent), lowered(child, parent))


@settings(max_examples=50)
@given(LIMITS, LIMITS)
def test_within_means_that_no_stretch_of_time_lets_more_through(
    child: CallLimit, parent: CallLimit
) -> None:
    """Counted anew: GCRA lets through burst + rate × time."""
    if beyond(child, parent):
        return
    for mine in child.rates:
        for bound in parent.rates:
            for seconds in (0, 1, 59, 3600, 10**6):
                if mine.measure == bound.measure:
                    let = mine.burst + seconds * mine.most / SECONDS[mine.per]
                    assert let <= bound.burst + seconds * bound.most / SECONDS[bound.per] + 1e-6


_facts = st.sampled_from(("", "red", "ann"))
_scopes = st.builds(Scope, _facts, _facts, _facts, st.sampled_from(("", "key_1")))


@given(_scopes, _scopes.filter(lambda each: bool(each.key)))
def test_a_scope_is_about_the_calls_of_all_that_is_below_it(scope: Scope, key: Scope) -> None:
    """As the data plane asks: of a call, by what its key says."""
    if scope.key or not scope.kind:
        return
    said = {name: getattr(key, name) or None for name in ("organisation", "team", "user", "key")}
    assert compiled(scope.when)(said.get) is scope.above(key)
    assert compiled(key.when)(said.get)


def test_whose_is_above_whom() -> None:
    acme, red = Scope("acme"), Scope("acme", "red")
    ann, ann_of_red = Scope("acme", "", "ann"), Scope("acme", "red", "ann")
    key = Scope("acme", "red", "ann", "key_1")
    family = (acme, red, ann, ann_of_red, key)
    above = {(str(a), str(b)) for a in family for b in family if a.above(b)}
    assert above == {
        (str(a), str(b)) for a, b in (
            (acme, red), (acme, ann), (acme, ann_of_red), (acme, key), (red, ann_of_red),
            (red, key), (ann, ann_of_red), (ann, key), (ann_of_red, key),
        )
    }  # fmt: skip
    for other in (Scope("globex", "red"), Scope("", "red"), Scope("acme", "blue")):
        assert not red.above(other)
        assert not other.above(key)
    names = {each.name for each in (*family, Scope("", "red"), Scope("a/b"), Scope("a", "b"))}
    assert len(names) == 8, "no two share a counter"
    assert Scope('a"\\|\n').name == "organisation:a%22%5C%7C%0A"
