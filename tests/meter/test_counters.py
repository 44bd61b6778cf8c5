"""The script of shared counters on a real server, against the meters in memory as its oracle."""

import itertools
import random
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ferryman.config.delegation import RATE_SECONDS
from ferryman.meter import counters
from ferryman.meter.limits import (
    INPUT,
    REQUESTS,
    TOKENS,
    USD,
    Amounts,
    BudgetMeter,
    Grant,
    Limit,
    Meter,
    Moment,
    ParallelMeter,
    RateMeter,
    Refusal,
    admit,
)
from ferryman.meter.spending import Spending
from ferryman.meter.window import Window
from tests.valkey import Server

pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.decode
_fresh = itertools.count()
CLOCK = """
local time = {string.format('%.0f', math.floor(ARGV[3] / 1000000)),
              string.format('%.0f', ARGV[3] % 1000000)}
"""
"""The server's clock, in the hands of the test."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("counters"))
    yield running
    running.end()


class Shared:
    """Asks the script, as data planes do, at a time that the test gives."""

    def __init__(self, server: Server) -> None:
        script = counters.SCRIPT
        assert "local time = redis.call('TIME')" in script
        # What is kept must not expire by the real clock.
        script = script.replace("local time = redis.call('TIME')", CLOCK)
        script = script.replace(", 'PX', string.format('%.0f', empty))", ")")
        expires = "redis.call('EXPIREAT', of('b', key), string.format('%.0f', over))"
        assert expires in script
        script = script.replace(expires, "")
        self._client = server.client()
        self._run = self._client.register_script(script)
        self.prefix = f"test-{next(_fresh)}:"
        self.us = 0

    def __call__(self, operation: str, *arguments: object) -> Any:
        args = [operation, pack(["g", *arguments]), str(self.us)]
        return unpack(self._run(keys=[self.prefix], args=args))

    def begin(self, us: int, *planes: str, grace: int = 0) -> None:
        self.us = us
        args = ["begin", pack(["g:run", "p", "", grace]), str(us)]
        self._run(keys=[self.prefix], args=args)
        for plane in planes:
            assert self("join", plane, plane, us, 10**6, [])[0] == counters.PASSED


def _budget(
    measure: str, most: int, window: Window, *, soft: bool = False, carries: bool = False
) -> BudgetMeter:
    meter = BudgetMeter(measure, most, Spending(window), soft=soft, carries=carries)
    meter.spending.known = True
    return meter


big = st.integers(0, 10**15)
amounts = st.builds(
    Amounts, input=st.integers(0, 60), output=st.integers(0, 60), tokens=st.integers(0, 500),
    picodollars=st.one_of(st.just(0), big, st.integers(2**53 - 9, 2**53 + 9)),
)  # fmt: skip
steps = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 10**5), st.integers(0, 3 * 10**7), st.integers(0, 4 * 10**9)),
        st.sampled_from(["a", "b"]),
        amounts,
        st.one_of(st.none(), amounts),
    ),
    min_size=1, max_size=40,
)  # fmt: skip


def level(meter: RateMeter, key: str, at: Moment) -> Fraction:
    """What has not flowed off yet, in units."""
    throttle = meter.throttle
    found = throttle._levels.get(key)
    filled = 0 if found is None else max(found.tat - at.ns * throttle._scale, 0)
    return Fraction(filled, throttle._cost)


def _limits(most: int, seconds: int, burst: int, dollars: int, rolling: bool) -> list[Limit]:
    window = Window("hour", "Asia/Kolkata", rolling=rolling)
    meters: list[Meter] = [
        RateMeter(REQUESTS, most, seconds, burst, "x"),
        RateMeter(TOKENS, most, seconds, burst * 3, "x"),
        ParallelMeter(3),
        _budget(USD, dollars, window),
    ]
    soft = _budget(TOKENS, 50, Window("day"), soft=True)
    carried = _budget(TOKENS, 900, Window("hour"), carries=True)
    two: list[Meter] = [RateMeter(INPUT, 7, 1, 99, "s"), soft, carried]
    return [Limit("one", meters, 402), Limit("two", two, 402)]


@settings(max_examples=120)
@given(
    most=st.one_of(st.integers(1, 10**7), st.integers(1, 10**15)),
    seconds=st.sampled_from(list(RATE_SECONDS.values())),
    burst=st.integers(1, 200), dollars=st.integers(0, 10**17), rolling=st.booleans(), steps=steps,
)  # fmt: skip
@example(
    most=999_983, seconds=86_400, burst=3, dollars=2**53 + 1, rolling=True,
    steps=[(86_399, "a", Amounts(1, 1, 1, 2**53), Amounts(0, 1, 0, 2**53 - 1))] * 30,
)  # fmt: skip
@example(  # a month has more parts than fit beside 15 bits more
    most=10**15 - 1, seconds=RATE_SECONDS["month"], burst=10**12, dollars=0, rolling=False,
    steps=[(2_591_999, "a", Amounts(0, 10**12, 1), Amounts(0, 10**12 - 7, 1))] * 30,
)  # fmt: skip
@example(  # sums that carry
    most=10**7, seconds=1, burst=200, dollars=10**17, rolling=True,
    steps=[(700_000, "a", Amounts(1, 1, 1, 1_999_999_999), Amounts(1, 0, 1, 2_999_999_998))] * 40,
)  # fmt: skip
@example(  # what has flowed off is not given back
    most=100, seconds=1, burst=60, dollars=10**17, rolling=False,
    steps=[(700_000, "a", Amounts(30, 30, 1, 1), Amounts(0, 0, 1, 1))] * 40,
)  # fmt: skip
def test_the_script_decides_and_counts_as_the_meters_do(
    server: Server, most: int, seconds: int, burst: int, dollars: int, rolling: bool,
    steps: list[tuple[int, str, Amounts, Amounts | None]],
) -> None:  # fmt: skip
    """Calls come, and end in another order than they came; all of it equal, to the last unit."""
    shared = Shared(server)
    us = 1_800_000_000_000_000
    shared.begin(us, "p", "q")
    ours, theirs = (_limits(most, seconds, burst, dollars, rolling) for _ in range(2))
    for limit in ours:
        for meter in limit.meters:
            if isinstance(meter, BudgetMeter):
                shared("learn", counters.budget(limit.name, meter), [], counters.remembered(meter))
    draw = random.Random(len(steps))
    under_way: list[tuple[str, str, Grant, Amounts]] = []
    for number, (later, key, asked, used) in enumerate(steps):
        us += later
        shared.us = us
        at = Moment(us * 1000, us // 10**6)
        oracle = [(limit, f"{limit.name}|{key}") for limit in theirs]
        mirror = [(limit, f"{limit.name}|{key}") for limit in ours]
        expected = admit(oracle, asked, at)
        plane, call = draw.choice("pq"), f"call-{number}"
        said = shared("admit", plane, call, counters.forms(mirror, asked, at))
        assert said[1] == us
        counters.adopt(mirror, said[2], at)
        if isinstance(expected, Refusal):
            assert said[0] == counters.REFUSED
            assert counters.refusal(mirror, asked, at) == expected
        else:
            assert said[0] == counters.PASSED
            under_way.append((plane, call, expected, used or asked))
        while under_way and draw.random() < 0.5:
            plane, call, grant, spent = under_way.pop(draw.randrange(len(under_way)))
            grant.settle(spent, at)
            for held in (1, 0):  # twice: only the first time counts
                assert shared("settle", plane, call, *counters.used_of(spent)) == [0, held]
    at = Moment(us * 1000, us // 10**6)
    for key in ("a", "b"):
        mirror = [(limit, f"{limit.name}|{key}") for limit in ours]
        said = shared("admit", "p", f"last-{key}", counters.forms(mirror, Amounts(), at))
        counters.adopt(mirror, said[2], at)
        for mine, their in zip(ours, theirs, strict=True):
            for meter, twin in zip(mine.meters, their.meters, strict=True):
                found, wanted = (m.state(f"{mine.name}|{key}", at) for m in (meter, twin))
                names = ("left", "seconds", "most")
                assert [getattr(found, n) for n in names] == [getattr(wanted, n) for n in names]
        twins = [(f"{limit.name}|{key}", meter) for limit in theirs for meter in limit.meters]
        for (name, twin), stood in zip(twins, said[2], strict=True):
            if isinstance(twin, RateMeter):
                parts = twin.throttle.seconds * counters.MICROS
                assert stood[0] + Fraction(int(stood[1]), parts) == level(twin, name, at)


@settings(max_examples=60)
@given(
    most=st.integers(1, 10**9), burst=st.integers(1, 50),
    seconds=st.sampled_from([86_400, RATE_SECONDS["month"]]),
    waits=st.lists(st.integers(0, 200_000), min_size=1, max_size=80),
)  # fmt: skip
def test_never_more_than_burst_and_rate_times_time(
    server: Server, most: int, burst: int, seconds: int, waits: list[int]
) -> None:
    shared = Shared(server)
    us = began = 1_700_000_000_000_001
    shared.begin(us, "p")
    limit = Limit("one", [RateMeter(REQUESTS, most, seconds, burst, "x")], 402)
    passed = 0
    for number, wait in enumerate(waits):
        us += wait
        shared.us = us
        form = counters.forms([(limit, "one")], Amounts(), Moment(us * 1000, us // 10**6))
        passed += shared("admit", "p", str(number), form)[0] == counters.PASSED
        assert passed <= burst + Fraction(most * (us - began), seconds * 10**6)


def test_what_a_dead_plane_holds_of_parallel_ends_with_its_lease(server: Server) -> None:
    shared = Shared(server)
    us = 1_700_000_000_000_000
    shared.begin(us)
    limit = Limit("two", [ParallelMeter(2)], 402)
    form = counters.forms([(limit, "two")], Amounts(), Moment(us * 1000, us // 10**6))
    for plane in ("dies", "lives"):
        assert shared("join", plane, plane, us, 10, [])[0] == counters.PASSED
    assert [shared("admit", "dies", str(n), form)[0] for n in range(3)] == [0, 0, 1]
    shared.us = us + 9 * 10**6
    assert shared("beat", "lives", 10) == [counters.PASSED, 1, []]
    assert shared("admit", "lives", "x", form)[0] == counters.REFUSED
    shared.us = us + 11 * 10**6
    assert shared("beat", "lives", 10)[2] == ["dies"]
    assert [shared("admit", "lives", str(n), form)[0] for n in range(3)] == [0, 0, 1]
    assert shared("admit", "dies", "late", form) == [counters.UNKNOWN_PLANE]


def test_a_new_generation_lets_others_join_before_it_says_how_many_are_at_work(
    server: Server,
) -> None:
    shared = Shared(server)
    us = 1_700_000_000_000_000
    shared.begin(us, "p", grace=1)
    limit = Limit("two", [ParallelMeter(2)], 402)
    form = counters.forms([(limit, "two")], Amounts(), Moment(us * 1000, us // 10**6))
    assert shared("admit", "p", "early", form) == [counters.UNKNOWN_BUDGET]
    shared("join", "late", "late", us, 10**6, [("under-way", form)])
    shared.us = us + 10**6
    assert [shared("admit", "p", str(n), form)[0] for n in range(2)] == [0, 1]


def test_attempts_give_back_what_they_did_not_use_and_are_kept_until_their_call_ends(
    server: Server,
) -> None:
    shared = Shared(server)
    us = 1_700_000_000_000_000
    shared.begin(us, "p", "dies")
    at = Moment(us * 1000, us // 10**6)
    meter = _budget(USD, 100, Window("day"))
    rates: list[Meter] = [RateMeter(REQUESTS, 2, 86_400, 2, "day"), ParallelMeter(1), meter]
    limit = Limit("lab", rates, 402)
    shared("learn", counters.budget("lab", meter), [], 0)
    form = counters.forms([(limit, "lab")], Amounts(picodollars=30), at)
    free = counters.forms([(limit, "lab")], Amounts(), at)

    def stood() -> tuple[int, int, int]:
        """Requests taken, calls at work, picodollars borne."""
        _, _, (rate, calls, buckets) = shared("admit", "p", "look/1", free)
        settle("p", "look/1", Amounts(calls=0))
        settle("p", "look", Amounts(), ["look/1"])
        return rate[0], calls, sum(int(bucket[2]) for bucket in buckets)

    def settle(plane: str, call: str, used: Amounts, *more: object) -> None:
        for _ in range(2):  # twice: only the first time counts
            shared("settle", plane, call, *counters.used_of(used), *more)

    assert shared("admit", "p", "c", [], True)[0] == counters.PASSED
    assert shared("admit", "p", "c/1", form)[0] == counters.PASSED
    assert shared("admit", "p", "c/2", form)[0] == counters.REFUSED, "one is at work"
    settle("p", "c/1", Amounts(calls=0, picodollars=0), True)
    assert shared("admit", "p", "c/3", form)[0] == counters.PASSED
    settle("p", "c/3", Amounts(picodollars=20), True)
    assert held(server, shared, "p") == {"c", "c/1", "c/3"}
    settle("p", "c", Amounts(), ["c/1", "c/3"])
    assert held(server, shared, "p") == set()
    assert stood() == (1, 0, 20)

    # One that died: the ledger says what its call's attempts have borne, whichever it was.
    shared("admit", "dies", "d", [], True)
    shared("admit", "dies", "d/1", form)
    start, end = meter.spending.window.bucket(at.unix)
    borne = [[counters.account(meter, key), start, end, "7", 0] for key in ("lab", "else")]
    nothing = {"usd": "0", "tokens": "0"}
    assert shared("settle", "dies", "d", {}, nothing, ["d/1"], borne) == [counters.PASSED, 0]
    assert held(server, shared, "dies") == {"d", "d/1"}, "it is alive"
    shared("join", "after", "dies", us, 10**6, [])
    for _ in range(2):
        shared("settle", "dies", "d", {}, nothing, ["d/1"], borne)
    assert held(server, shared, "dies") == set()
    assert stood()[1:] == (0, 27)
    [other] = server.client().hvals(f"{shared.prefix}g:b:{borne[1][0]}")
    assert other == b"7"


def test_a_plane_that_lives_after_all_is_not_buried(server: Server) -> None:
    shared = Shared(server)
    us = 1_700_000_000_000_000
    shared.begin(us, "buries")
    shared("join", "slow", "slow", us, 10, [])
    limit = Limit("two", [ParallelMeter(2)], 402)
    form = counters.forms([(limit, "two")], Amounts(), Moment(us * 1000, us // 10**6))
    shared.us = us + 11 * 10**6
    assert shared("beat", "buries", 10)[2] == ["slow"]
    assert shared("beat", "slow", 10)[:2] == [counters.PASSED, 1]
    assert shared("admit", "slow", "c", form)[0] == counters.PASSED
    shared("bury", "slow")
    assert held(server, shared, "slow") == {"c"}
    shared.us += 11 * 10**6
    server.client().set(f"{shared.prefix}generation", "another:run")
    assert shared("bury", "slow") == [counters.OTHER_GENERATION]
    server.client().set(f"{shared.prefix}generation", "g:run")
    assert shared("beat", "buries", 10)[2] == ["slow"], "it is not forgotten"
    shared("bury", "slow")
    assert held(server, shared, "slow") == set()
    assert shared("beat", "buries", 10)[2] == []


def held(server: Server, shared: Shared, plane: str) -> set[str]:
    """Calls and attempts that hold something."""
    return {name.decode() for name in server.client().hkeys(f"{shared.prefix}g:h:{plane}")}


def test_a_plane_of_the_same_name_ends_the_lease_of_the_one_before(server: Server) -> None:
    shared = Shared(server)
    us = 1_700_000_000_000_000
    shared.begin(us)
    shared("join", "first", "gateway", us, 10, [])
    shared("join", "second", "gateway", us, 10, [])
    assert shared("beat", "second", 10)[2] == ["first"]


def test_nothing_counts_before_it_is_known_what_was_spent(server: Server, tmp_path: Path) -> None:
    shared = Shared(server)
    us = 1_700_000_000_000_000
    shared.begin(us, "p")
    meter = _budget(USD, 100, Window("day"))
    limit = Limit("day", [meter], 402)
    at = Moment(us * 1000, us // 10**6)
    form = counters.forms([(limit, "day")], Amounts(picodollars=30), at)
    free = counters.forms([(limit, "day")], Amounts(), at)
    assert shared("admit", "p", "1", form) == [counters.UNKNOWN_BUDGET]
    assert shared("admit", "p", "free", free)[0] == counters.PASSED
    start, end = meter.spending.window.bucket(at.unix)
    rows = [[counters.account(meter, "day"), start, end, "60"]]
    for _ in range(2):  # by two planes: only the first counts
        shared("learn", counters.budget("day", meter), rows, 0)
    assert [shared("admit", "p", str(n), form)[0] for n in range(2)] == [0, 1]
    # Another generation knows nothing of that.
    args = ["admit", pack(["other", "p", "3", form]), str(us)]
    said = shared._run(keys=[shared.prefix], args=args)
    assert unpack(said) == [counters.OTHER_GENERATION]


def test_what_is_left_of_a_period_is_carried_into_the_next_one_and_no_further(
    server: Server,
) -> None:
    """The key itself lives until then, by the real clock."""
    client = server.client()
    run = client.register_script(counters.SCRIPT)
    prefix = f"test-{next(_fresh)}:"
    meter = _budget(USD, 100, Window("month"), carries=True)
    limit = Limit("month", [meter], 402)
    now = int(time.time())
    start, end = meter.spending.window.bucket(now)
    before = meter.spending.window.bucket(start - 1)

    def ask(operation: str, *arguments: object) -> Any:
        return unpack(run(keys=[prefix], args=[operation, pack(["g", *arguments])]))

    def spend(amount: int, at: int) -> bool:
        form = counters.forms(
            [(limit, "month")], Amounts(picodollars=amount), Moment(at * 10**9, at)
        )
        return bool(ask("admit", "p", f"{amount} {at}", form)[0] == counters.PASSED)

    run(keys=[prefix], args=["begin", pack(["g:run", "p", "", 0])])
    ask("join", "p", "p", 0, 10**6, [])
    rows = [[counters.account(meter, "month"), *before, "30"]]
    ask("learn", counters.budget("month", meter), rows, counters.remembered(meter))
    assert client.ttl(f"{prefix}g:b:{rows[0][0]}") > end - now
    assert [spend(150, now), spend(20, now), spend(1, now)] == [True, True, False]
    assert not spend(101, end), "what was carried over is not left again"
    assert spend(100, end)


def test_a_call_under_way_counts_once_in_a_budget_that_comes(server: Server) -> None:
    shared = Shared(server)
    us = 1_700_000_000_000_000
    shared.begin(us, "p")
    at = Moment(us * 1000, us // 10**6)
    old, new = _budget(USD, 100, Window("day")), _budget(USD, 100, Window("month"))
    held = Amounts(picodollars=30)
    others: list[Meter] = [RateMeter(TOKENS, 9, 60, 9, "minute"), ParallelMeter(3)]
    has = counters.forms([(Limit("l", [*others, old], 402), "l")], held, at)
    more = counters.forms([(Limit("l", [new], 402), "l")], held, at)
    client, names = server.client(), [counters.budget("l", each) for each in (old, new)]
    joined = f"{shared.prefix}g:j:{names[1]}"

    def counted() -> list[list[bytes]]:
        keys = [f"{shared.prefix}g:b:{counters.account(each, 'l')}" for each in (old, new)]
        return [client.hvals(key) for key in keys]

    shared("learn", names[0], [], 0)
    assert shared("admit", "p", "c", has)[0] == counters.PASSED
    for _ in range(2):
        assert shared("join", "p", "p", us, 10, [["c", has + more]])[0] == counters.PASSED
    assert counted() == [[b"30"], [b"30"]]
    assert client.smembers(joined) == {b"c"}, "the ledger is not to be asked for it"
    shared("learn", names[1], [], 0)
    assert not client.exists(joined)
    for was in (1, 0):
        assert shared("settle", "p", "c", *counters.used_of(Amounts(picodollars=7))) == [0, was]
    assert counted() == [[b"7"], [b"7"]]
    assert not client.exists(f"{shared.prefix}g:p:l")
