"""What was spent before a gateway began is told to each budget once, whatever happens meanwhile."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from ferryman.config.options import Options
from ferryman.config.snapshot import Budget, CallLimit, Snapshot
from ferryman.edge.restoring import COARSE, Restorer, Spent, counts_from
from ferryman.flow.bearing import bear_all
from ferryman.flow.call import Plane
from ferryman.flow.limiting import Limiter
from ferryman.meter.limits import Amounts, BudgetMeter, Moment, take
from ferryman.meter.window import Window


class Ledger:
    """A control plane that says what was spent when it is let, and knows what it was asked."""

    def __init__(self, *spent: Spent) -> None:
        self.body = msgspec.msgpack.encode(spent)
        self.asked: list[str] = []
        self.may = asyncio.Semaphore(0)
        self.came = asyncio.Semaphore(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            self.asked.append(f"{line.decode()}{body.decode()}")
            self.came.release()
            await self.may.acquire()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(self.body), self.body)
            )


class Holder:
    """The part of a plane that is asked for."""

    limits: Limiter | None = None
    counters = None

    def now(self) -> float:
        return time.monotonic()

    def adopt(self, *budgets: Budget) -> Limiter:
        """As a new snapshot with these budgets is."""
        snapshot = Snapshot(version="1", limits=(CallLimit(name="all", budgets=budgets),))
        self.limits = Limiter(snapshot, self.limits)
        return self.limits


def with_ledger(
    ledger: Callable[[], Ledger], test: Callable[[Ledger, Holder, Restorer], Awaitable[None]]
) -> None:
    async def run() -> None:
        ledge, holder = ledger(), Holder()
        server = await asyncio.start_server(ledge.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        options = Options(control_url=url)
        restorer = Restorer(options, "token", cast(Plane, holder), print)
        task = asyncio.ensure_future(restorer.run())
        try:
            await test(ledge, holder, restorer)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            server.close()

    asyncio.run(run())


def left(limiter: Limiter) -> list[int]:
    """What is left of each budget."""
    now = int(time.time())
    meters: list[Any] = list(limiter.every[0].limit.meters)
    assert all(isinstance(meter, BudgetMeter) for meter in meters)
    return [meter.left("all", now)[0] for meter in meters]


def test_a_snapshot_that_comes_while_the_ledger_is_asked_counts_nothing_twice() -> None:
    async def test(ledger: Ledger, plane: Holder, restorer: Restorer) -> None:
        budget = Budget(unit="usd", most=10, per="month")
        plane.adopt(budget)
        restorer.wanted.set()
        await ledger.came.acquire()
        second = plane.adopt(budget, Budget(unit="tokens", most=10, per="month"))
        restorer.wanted.set()
        for _ in range(5):
            ledger.may.release()
        await second.learned.wait()
        assert left(second) == [6, 3]
        assert not second.unknown()

    with_ledger(lambda: Ledger(Spent(("all",), int(time.time()), 4, 7)), test)


def test_two_budgets_of_the_same_kind_stay_two() -> None:
    async def test(ledger: Ledger, plane: Holder, restorer: Restorer) -> None:
        twice = [Budget(unit="usd", most=most, per="month") for most in (10, 20)]
        plane.adopt(*twice)
        second = plane.adopt(*twice)
        restorer.wanted.set()
        for _ in range(5):  # they began at different moments
            ledger.may.release()
        await second.learned.wait()
        assert left(second) == [6, 16]

    with_ledger(lambda: Ledger(Spent(("all",), int(time.time()), 4, 7)), test)


def test_a_call_under_way_counts_in_a_budget_that_comes_and_the_ledger_leaves_it_out() -> None:
    async def test(ledger: Ledger, plane: Holder, restorer: Restorer) -> None:
        ledger.may.release()
        first = plane.adopt(Budget(unit="usd", most=10, per="month"))
        restorer.wanted.set()
        await first.learned.wait()
        now = int(time.time())
        applying = [(first.every[0].limit, "all")]
        grant = take(applying, Amounts(tokens=5, picodollars=3), Moment(0, now))
        ended = take(applying, Amounts(tokens=2, picodollars=1), Moment(0, now))
        ended.settle(Amounts(tokens=1, picodollars=1), Moment(0, now))
        call = SimpleNamespace(
            id="r1", plane=plane, at_us=now * 10**6, grant=grant, more=(), rooms=(ended,)
        )
        first.bearing["r1"] = cast(Any, call)
        second = plane.adopt(
            Budget(unit="usd", most=20, per="month", zone="Asia/Tokyo"),
            Budget(unit="tokens", most=20, per="day"),
        )
        for _ in range(2):  # another snapshot changes nothing
            bear_all(cast(Plane, plane))
            second = plane.adopt(
                Budget(unit="usd", most=20, per="month", zone="Asia/Tokyo"),
                Budget(unit="tokens", most=20, per="day"),
            )
        ledger.may.release()
        ledger.may.release()
        restorer.wanted.set()
        await second.learned.wait()
        assert [line.partition(" HTTP")[0] for line in ledger.asked[1:]] == [
            "POST /internal/counted"
        ] * 2
        assert all('"without":["r1"]' in line for line in ledger.asked[1:])
        assert left(second) == [20 - 4 - 3 - 1, 20 - 7 - 5 - 1]
        grant.settle(Amounts(tokens=4, picodollars=2), Moment(0, now))
        assert left(second) == [20 - 4 - 2 - 1, 20 - 7 - 4 - 1]
        assert left(first) == [10 - 4 - 2 - 1]

    with_ledger(lambda: Ledger(Spent(("all",), int(time.time()), 4, 7)), test)


def test_what_was_spent_within_a_step_counts_no_shorter_than_any_of_it() -> None:
    """A rolling week has parts of 168 minutes, which don't begin with quarters of an hour."""
    window = Window("week", rolling=True)
    now = 10_080 * 170_000 + 500_000
    for start in range(now - 2 * 604_800, now - COARSE, COARSE):
        ends = window.bucket(counts_from(start, COARSE, now))[1]
        assert ends >= max(window.bucket(at)[1] for at in range(start, start + COARSE, 60))
    assert counts_from(now - 60, COARSE, now) == now, "not in the time to come"
    assert counts_from(now + 60, COARSE, now) == now + 60, "but where clocks went back"
