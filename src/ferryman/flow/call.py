"""What the request path carries along: the plane's state, and one call's."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from ferryman.http1.exchange import Exchange
from ferryman.ir.errors import ErrorKind
from ferryman.ir.usage import Usage
from ferryman.meter.cost import cost as cost_of
from ferryman.meter.cost import hold as hold_of
from ferryman.meter.keytable import KeyTable
from ferryman.routing.health import PeakEwma
from ferryman.telemetry.metrics import Metrics
from ferryman.telemetry.record import CLOSED, OPENED, Attempt, Closed, Opened
from ferryman.upstream.fleet import Fleet, Target

_pack = msgspec.msgpack.Encoder().encode


class Journal(Protocol):
    """Where records go; see ``store/journal.py``."""

    def append(self, kind: int, payload: bytes) -> None:
        """Write one record. Raises when it could not be written."""


class Plane:
    """What a data plane has at hand for every call. Replaced piece by piece on a new snapshot."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        keys: KeyTable | None,
        pepper: bytes,
        journal: Journal,
        now: Callable[[], float],
        log: Callable[[str], None],
    ) -> None:
        self.fleet = fleet
        self.keys = keys
        self.pepper = pepper
        self.journal = journal
        self.now = now
        self.log = log
        self.metrics = Metrics()
        self.health: dict[str, PeakEwma] = {}
        self.idle = asyncio.Event()
        """Set whenever no call is being served."""
        self.rng = random.Random()  # noqa: S311 - spreads load, protects nothing
        self._boot = f"req_{time.time_ns() // 1_000_000:011x}{self.rng.getrandbits(40):010x}"
        self._count = 0

    def next_id(self) -> str:
        """A request id: unique, ordered by boot and then by count."""
        self._count += 1
        return f"{self._boot}{self._count:08x}"

    def expected_seconds(self, target: Target) -> float:
        """Expected time to a target's first byte, for the latency strategy."""
        health = self.health.get(f"{target.provider}/{target.model}")
        return health.expected(self.now()) if health is not None else 0.0

    def observe(self, target: Target, seconds: float, ok: bool) -> None:
        """Note how one attempt went."""
        name = f"{target.provider}/{target.model}"
        health = self.health.get(name)
        if health is None:
            if len(self.health) > 10_000:
                self.health.clear()
            health = self.health[name] = PeakEwma()
        now = self.now()
        if ok:
            health.observe(seconds, now)
        else:
            health.fail(now)


class Call:
    """One call while it runs."""

    __slots__ = (
        "at_us", "attempts", "began", "endpoint", "exchange", "first_token", "id", "key", "model",
        "opened", "plane", "settled", "stream", "summary", "target", "waited",
    )  # fmt: skip

    def __init__(self, plane: Plane, exchange: Exchange, endpoint: str) -> None:
        self.plane = plane
        self.exchange = exchange
        self.endpoint = endpoint
        self.id = plane.next_id()
        self.began = exchange.began
        self.at_us = time.time_ns() // 1000
        self.key = ""
        self.model = ""
        self.stream = False
        self.summary = False
        """True: the caller wants cost and attempts as a comment at the end of its stream."""
        self.target: Target | None = None
        self.attempts: list[Attempt] = []
        self.opened = False
        self.settled = False
        self.waited = 0.0
        """Seconds spent waiting for upstreams; the rest is overhead."""
        self.first_token = -1.0

    def us(self, moment: float) -> int:
        """Microseconds from the call's beginning to ``moment``; -1 for "never"."""
        return int((moment - self.began) * 1e6) if moment >= 0 else -1


def open_call(call: Call, target: Target, body_bytes: int, max_output: int) -> None:
    """Write the call's ``opened`` record, with the most it could cost as its hold."""
    hold = 0
    if target.prices:
        limit = max_output or target.max_output
        hold = hold_of(target.prices, call.at_us // 1_000_000, body_bytes, limit)
    opened = Opened(
        id=call.id,
        at_us=call.at_us,
        key=call.key,
        endpoint=call.endpoint,
        model=call.model,
        provider=target.provider,
        target=target.model,
        hold=hold,
    )
    call.plane.journal.append(OPENED, _pack(opened))
    call.opened = True


def settle(call: Call, status: int, error: ErrorKind | None, usage: Usage | None) -> int | None:
    """Write the call's ``closed`` record, once. Returns its cost in picodollars, None = unknown."""
    call.settled = True
    plane, target = call.plane, call.target
    now = plane.now()
    cost = None
    if usage is not None and target is not None and target.prices:
        cost = cost_of(usage, target.prices, call.at_us // 1_000_000)
    seconds = now - call.began
    overhead = max(seconds - call.waited, 0.0)
    provider, model = (target.provider, target.model) if target is not None else ("", "")
    closed = Closed(
        id=call.id,
        at_us=call.at_us,
        duration_us=int(seconds * 1e6),
        key=call.key,
        endpoint=call.endpoint,
        model=call.model,
        provider=provider,
        target=model,
        stream=call.stream,
        status=status,
        error=error or "",
        usage=usage,
        cost=cost,
        attempts=tuple(call.attempts),
        first_token_us=call.us(call.first_token),
        overhead_us=int(overhead * 1e6),
    )
    plane.journal.append(CLOSED, _pack(closed))
    failed = len(call.attempts) - (1 if error is None else 0)
    labels = (call.endpoint, provider, model, status)
    plane.metrics.closed(labels, seconds, overhead, usage, cost, failed)
    return cost
