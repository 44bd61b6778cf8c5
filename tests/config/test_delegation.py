"""Limits that are handed down: what is more than a parent's, and how it is brought down."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ferryman.config.delegation import (
    RATE_SECONDS,
    SECONDS,
    Scope,
    beyond,
    brought_down,
    lasting,
    lowered,
)
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


def usd(
    most: int, per: str, *, soft: bool = False, carry: bool = False, more: int = 0, until: int = 0,
    by: tuple[str, ...] = (),
) -> CallLimit:  # fmt: skip
    budget = Budget(
        unit="usd", most=most * PICO, per=per, soft=soft, carry_over=carry, extra=more * PICO,
        extra_until=until,
    )  # fmt: skip
    return CallLimit(name="", by=by, budgets=(budget,))


@pytest.mark.parametrize("scope", [Scope("acme", "", "", "key_1"), Scope("acme", "red", "ann")])
def test_what_a_scope_has_in_common_is_counted_at_once(scope: Scope) -> None:
    """One key, or one user's calls, are in one count of a limit for each of those."""
    assert beyond(usd(10, "day"), usd(9, "day", by=("user", "team")), scope)
    assert bool(beyond(usd(10, "day"), usd(9, "day", by=("key",)), scope)) is bool(scope.key)
    assert not beyond(usd(10, "day"), usd(9, "day", by=("metadata.project",)), scope)
    mine = usd(10, "day", by=("metadata.project",))
    assert beyond(mine, usd(9, "day", by=("metadata.project", "user")), scope)
    assert not beyond(mine, usd(9, "day", by=("metadata.project", "user")), Scope("acme"))


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
        (rate("31/month", 1), rate("1/day"), "requests: 31/month is more than 1/day"),
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
        (usd(5, "day", carry=True), usd(10, "day"), ""),
        (usd(6, "day", carry=True), usd(10, "day"),
         "budget: 6 USD per day, with 6 USD carried over, is more than 10 USD"),
        (usd(6, "day", carry=True), usd(10, "day", carry=True),
         "budget: 6 USD per day, with 6 USD carried over, is more than 10 USD"),
        (usd(11, "day"), usd(10, "day", carry=True), "budget: 11 USD per day is more than 10 USD"),
        (usd(4, "day", more=6, until=9), usd(10, "day"), ""),
        (usd(4, "day", more=7, until=9), usd(10, "day"),
         "budget: 11 USD per day with the increase is more than 10 USD"),
        (usd(4, "day", more=7, until=9), usd(9, "day", more=2, until=9), ""),
        (usd(4, "day", more=7, until=9), usd(9, "day", more=2, until=8),
         "budget: 11 USD per day with the increase is more than 9 USD"),
        (usd(4, "day", more=8, until=9), usd(9, "day", more=2, until=9),
         "budget: 12 USD per day with the increase is more than 11 USD with its increase"),
        (usd(10, "day"), usd(9, "day", more=2, until=9),
         "budget: 10 USD per day is more than 9 USD"),
        (usd(3, "month", more=1, until=9), usd(4, "month", more=2, until=9), ""),
        (usd(31, "month", more=1, until=9), usd(1, "day", more=2, until=9),
         "budget: 32 USD per month with the increase is more than 31 USD"),
        (usd(4, "day", carry=True, more=2, until=9), usd(10, "day"), ""),
        (usd(4, "day", carry=True, more=3, until=9), usd(10, "day"),
         "budget: 7 USD per day, with 4 USD carried over, with the increase is more than 10 USD"),
        (usd(9, "day", by=("key",)), usd(9, "day"), ""),
        (usd(10, "day", by=("key",)), usd(9, "day"), "budget: 10 USD per day is more than 9 USD"),
        (usd(99, "day"), usd(9, "day", by=("key",)), ""),
        (usd(99, "day", by=("user",)), usd(9, "day", by=("key",)), ""),
        (usd(10, "day", by=("key", "model")), usd(9, "day", by=("key",)),
         "budget: 10 USD per day is more than 9 USD"),
        (usd(10, "day"), usd(9, "day", by=("organisation",)),
         "budget: 10 USD per day is more than 9 USD"),
    ],
)  # fmt: skip
def test_what_is_more_is_told(child: CallLimit, parent: CallLimit, said: str) -> None:
    assert beyond(child, parent) == ([said] if said else [])
    assert (lowered(child, parent) == child) is (not said)


UNTIL = (3_000_000_000, 3_000_000_009)
"""When increases end, in days to come."""
_most = st.integers(1, 200)
_rates = st.builds(
    RateLimit, measure=st.sampled_from(RATES), most=_most, burst=_most,
    per=st.sampled_from(("second", *PERIODS)),
)  # fmt: skip
_budgets = st.builds(
    Budget, unit=st.sampled_from(("usd", "tokens")), most=st.integers(0, 200),
    per=st.sampled_from(PERIODS), soft=st.booleans(), carry_over=st.booleans(),
    extra=st.integers(0, 200), extra_until=st.sampled_from((0, 5, *UNTIL)),
)  # fmt: skip
_by = st.sampled_from(((), (), ("key",), ("user",), ("key", "model"), ("metadata.project",)))
LIMITS = st.builds(
    CallLimit, name=st.just(""), by=_by, parallel=st.integers(0, 5),
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
        assert new.most * RATE_SECONDS[old.per] <= old.most * RATE_SECONDS[new.per]
    for less, was in zip(found.budgets, child.budgets, strict=True):
        assert less == replace(was, most=less.most, extra=less.extra, extra_until=less.extra_until)
        assert (less.most <= was.most, less.extra <= was.extra) == (True, True)
        assert less.extra_until in (0, was.extra_until)
    assert lowered(found, parent) == found


_FAMILY = (
    Scope("acme"), Scope("acme", "red"), Scope("acme", "", "ann"), Scope("acme", "red", "ann"),
    Scope("acme", "red", "ann", "key_1"), Scope("acme", "blue"), Scope("acme", "blue", "", "key_2"),
)  # fmt: skip


def at_most(budget: Budget, times: int, at: int) -> int:
    """What may be spent in so many periods at that time, whatever was spent before."""
    return times * budget.most + (budget.extra if at < budget.extra_until else 0)


def check_within(scope: Scope, child: CallLimit, parent: CallLimit) -> None:
    """Counted anew: at no time may a child spend what its parent, without luck, may not."""
    common = {"organisation"} | {n for n in ("team", "user", "key") if getattr(scope, n)}
    if not set(parent.by) <= common | set(child.by) | ({"team", "user"} if scope.key else set()):
        return
    for mine in child.budgets:
        for bound in parent.budgets:
            if mine.unit != bound.unit or bound.soft:
                continue
            times = -(-SECONDS[mine.per] // SECONDS[bound.per])
            for at in (UNTIL[0] - 9, UNTIL[0], UNTIL[1] - 1, UNTIL[1]):
                most = at_most(mine, 2 if mine.carry_over else 1, at)
                assert most <= at_most(bound, times, at), (mine, bound, at)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(_FAMILY), LIMITS), max_size=9))
def test_all_that_are_brought_down_are_within_each_other(
    members: list[tuple[Scope, CallLimit]],
) -> None:
    found = brought_down(members)
    assert sorted(scope for scope, _ in found) == sorted(scope for scope, _ in members)
    for scope, child in found:
        for above, parent in found:
            if above.above(scope):
                assert not beyond(child, parent, scope)
                check_within(scope, child, parent)
    assert brought_down(found) == found


@given(LIMITS)
def test_an_increase_that_is_over_is_none(limits: CallLimit) -> None:
    assert lasting(limits, 1) == replace(limits, budgets=tuple(
        replace(each, extra=0) if not each.extra_until else each for each in limits.budgets
    ))  # fmt: skip
    assert all(each.extra == 0 for each in lasting(limits, UNTIL[1]).budgets)


@settings(max_examples=50)
@given(LIMITS, LIMITS)
def test_within_means_that_no_stretch_of_time_lets_more_through(
    child: CallLimit, parent: CallLimit
) -> None:
    """Counted anew: GCRA lets through burst + rate × time."""
    if beyond(child, parent) or not set(parent.by) <= {"organisation", *child.by}:
        return
    check_within(Scope("acme", "red"), child, parent)
    for mine in child.rates:
        for bound in parent.rates:
            for seconds in (0, 1, 59, 3600, 10**6):
                if mine.measure == bound.measure:
                    let = mine.burst + seconds * mine.most / RATE_SECONDS[mine.per]
                    assert (
                        let <= bound.burst + seconds * bound.most / RATE_SECONDS[bound.per] + 1e-6
                    )


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
