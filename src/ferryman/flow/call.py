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
from ferryman.meter.keytable import KeyTable
from ferryman.telemetry.metrics import Metrics
from ferryman.telemetry.record import CLOSED, OPENED, Attempt, Closed, Opened
from ferryman.upstream.fleet import Fleet, Target

_pack = msgspec.msgpack.Encoder().encode
NOTHING = Usage()
"""Usage of a call that no upstream worked on: not unknown, but none, and it cost nothing."""
MAX_PICO = 2**63 - 1
"""Records hold amounts in 64 bits: over nine million dollars a call."""


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
        self.idle = asyncio.Event()
        """Set whenever no call is being served."""
        self.rng = random.Random()  # noqa: S311 - spreads load, protects nothing
        self._boot = f"req_{time.time_ns() // 1_000_000:011x}{self.rng.getrandbits(40):010x}"
        self._count = 0

    def next_id(self) -> str:
        """A request id: unique, ordered by boot and then by count."""
        self._count += 1
        return f"{self._boot}{self._count:08x}"


class Call:
    """One call while it runs."""

    key = ""
    model = ""
    stream = False
    summary = False
    """True: the caller wants cost and attempts as a comment at the end of its stream."""
    target: Target | None = None
    opened = False
    settled = False
    started = False
    """True once the caller has the head of a streamed reply."""
    uncertain = False
    """True once an attempt failed in a way that leaves open whether the provider charges for it."""
    waited = 0.0
    """Seconds spent waiting for upstreams; the rest is overhead."""
    first_token = -1.0

    def __init__(self, plane: Plane, exchange: Exchange, endpoint: str) -> None:
        self.plane = plane
        self.exchange = exchange
        self.endpoint = endpoint
        self.id = plane.next_id()
        self.began = exchange.began
        self.at_us = time.time_ns() // 1000
        self.attempts: list[Attempt] = []

    def us(self, moment: float) -> int:
        """Microseconds from the call's beginning to ``moment``; -1 for "never"."""
        return int((moment - self.began) * 1e6) if moment >= 0 else -1

    def overdue(self) -> bool:
        """True when the call's total time is used up: no further target is worth asking."""
        plane = self.plane
        return plane.now() - self.began >= plane.fleet.snapshot.timeouts.total


def open_call(call: Call, target: Target, body_bytes: int, max_output: int) -> None:
    """Write the call's ``opened`` record, with the most it could cost as its hold."""
    # A token is at least one byte, so the body's bytes bound the tokens in.
    hold = (
        target.dear_fee
        + body_bytes * target.dear_input
        + (max_output or target.max_output) * target.dear_output
    )
    opened = Opened(
        call.id, call.at_us, call.key, call.endpoint, call.model,
        target.provider, target.model, min(hold, MAX_PICO),
    )  # fmt: skip
    call.plane.journal.append(OPENED, _pack(opened))
    call.opened = True


def settle(call: Call, status: int, error: ErrorKind | None, usage: Usage | None) -> int | None:
    """Write the call's ``closed`` record, once. Returns its cost in picodollars, None = unknown.

    Give :data:`NOTHING` for a call that no upstream worked on.
    """
    call.settled = True
    plane, target = call.plane, call.target
    now = plane.now()
    cost = 0 if usage is NOTHING else None
    if cost is None and usage is not None and target is not None and target.prices:
        cost = cost_of(usage, target.prices, call.at_us // 1_000_000)
    seconds = now - call.began
    overhead = max(seconds - call.waited, 0.0)
    provider, model = (target.provider, target.model) if target is not None else ("", "")
    closed = Closed(
        call.id, call.at_us, int(seconds * 1e6), call.key, call.endpoint, call.model,
        provider, model, call.stream, status, error or "", usage, cost, tuple(call.attempts),
        call.us(call.first_token) if call.stream else -1, int(overhead * 1e6),
    )  # fmt: skip
    plane.journal.append(CLOSED, _pack(closed))
    plane.metrics.closed(
        (call.endpoint, provider, model, status), seconds, overhead, usage, cost,
        len(call.attempts) - (error is None),
    )  # fmt: skip
    return cost
