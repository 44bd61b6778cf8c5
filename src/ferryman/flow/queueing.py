"""Places at providers that take only so many calls at once: waiting for one, giving it back."""

import asyncio
import math
from collections import Counter
from typing import Final, NamedTuple

from ferryman.config.snapshot import Limit, Snapshot
from ferryman.flow.accounts import (
    ANYTHING,
    Accounts,
    accounts_of,
    enter,
    in_turn,
    leave_room,
    moment_of,
    places_of,
    take_room,
)
from ferryman.flow.call import Call, Plane
from ferryman.flow.choice import USUAL_OUTPUT
from ferryman.flow.turns import usable_keys
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.meter.limits import Amounts, Grant, Refusal
from ferryman.routing.queue import Line, Ticket
from ferryman.telemetry.queues import QueueCounts, render
from ferryman.upstream.fleet import Runtime, Target
from ferryman.wire.envelope import Request

LONGEST_RETRY = 60
"""Most seconds after which a caller is told to come back; the official SDKs heed no more."""
FULL, LATE, WAITED, SHARE, LEFT, KEYS = "full", "late", "waited", "share", "left", "keys"
ELSEWHERE: Final = "elsewhere"
"""Why a call gets no place, as metrics call it."""
ANY: Final = 1 << 30
"""Calls at work: so many as to be no limit."""


class Queue:
    """A provider's line, what is counted of it, and calls at work with each of its keys."""

    __slots__ = ("account", "at_work", "counts", "line", "name", "places")

    def __init__(self, name: str) -> None:
        self.name = name
        self.line = Line(0, 0, 0.0, False)
        self.counts = QueueCounts()
        self.account: Accounts | None = None
        """The rates that the provider holds us to, if we know them."""
        self.places: Accounts | None = None
        """Its places and those of its keys, where several data planes count them together."""
        self.at_work: Counter[str] = Counter()
        """By key, as ``Runtime.keys`` has it, where one of them is limited."""

    def room(self, runtime: Runtime, slot: int) -> bool:
        """Whether another call may be at work with this key."""
        most = runtime.most[slot]
        return not most or self.at_work[runtime.keys[slot]] < most


class Place(NamedTuple):
    """One of the places at a provider, and at one of its keys."""

    queue: Queue
    since: float
    key: str = ""
    """Empty where keys are not limited."""
    shared: Grant | None = None
    """The same place among those of all data planes."""


def adopt_limits(plane: Plane, snapshot: Snapshot) -> None:
    """Take over a snapshot's limits. Calls at work and calls that wait stay counted."""
    plane.max_calls = snapshot.server.max_calls
    before = plane.queues
    queues = {}
    for name, provider in snapshot.providers.items():
        runtime = plane.fleet.runtimes.get(name)
        pool = runtime.most if runtime is not None and runtime.limited else []
        limit = provider.limit or (Limit() if pool else None)
        earlier = before.get(name)
        account = accounts_of(runtime, earlier.account if earlier is not None else None)
        if limit is not None or account is not None:
            limit = limit or Limit(wait=0.0)
            queue = queues[name] = earlier or Queue(name)
            queue.account = account
            together = runtime if snapshot.server.state else None
            queue.places = places_of(together, earlier.places if earlier is not None else None)
            line, most = queue.line, limit.calls or ANY
            # Where each key is limited, who finds no place at any of them waits.
            line.most = min(most, sum(pool)) if pool and all(pool) else most
            line.length, line.wait = limit.length, limit.wait
            line.fair = limit.fair
    plane.queues = queues
    for name, queue in before.items():
        if name not in queues:
            queue.line.most = ANY  # nobody waits any longer
        _hand_on(queue)


async def line_up(call: Call, target: Target, request: Request) -> GatewayError | None:
    """Take a place at ``target``, waiting for one if need be, in exchange for the one it has.

    Returns why the call gets none; None once it has it, needs none, or its caller has left.
    """
    give_back(call)
    queue = call.plane.queues.get(target.provider)
    account = queue.account if queue is not None else None
    if account is not None or call.narrow:
        length, wait = (queue.line.length, queue.line.wait) if queue is not None else (0, 0.0)
        wait = min(wait, call.deadline() - call.plane.now())
        busy = await enter(call, target, request, account, length, wait)
        if busy is not None or call.exchange.gone:
            return busy
    if queue is None:
        return None
    line, now = queue.line, call.plane.now()
    patience = min(line.wait, call.deadline() - now)
    if line.take():
        call.place = Place(queue, now)
        return await _share(call, queue, target, patience) or _at_key(call, queue, target)
    expected = line.expects(call.key)
    why = (
        LATE if expected > patience else await _wait(call, queue, _size(request, target), patience)
    )
    seconds = call.plane.now() - now
    call.waited += seconds
    call.queued += seconds
    if not why:
        queue.counts.waited(seconds, call.plane.metrics.native)
        patience -= seconds
        return await _share(call, queue, target, patience) or _at_key(call, queue, target)
    queue.counts.shed[why] += 1
    return None if why == LEFT else _refusal(queue, why, seconds, expected)


async def _share(
    call: Call, queue: Queue, target: Target, patience: float, *, one_key: bool = False
) -> GatewayError | None:
    """Take the call's place among those of all data planes, too, where they count together.

    Returns why there is none; its place here is free again then.
    """
    counters, places = call.plane.counters, queue.places
    if places is None or counters is None or not counters.wanted:
        return None
    began = call.plane.now()

    async def look() -> Grant | Refusal:
        found = await take_room(call, target, places, [], ANYTHING, one_key=one_key)
        if isinstance(found, Grant):
            assert call.place is not None
            call.place = call.place._replace(shared=found)
        return found

    busy: GatewayError | None = None
    try:
        found = await in_turn(call, places, "", ANY, patience, look)
    except GatewayError as error:
        found, busy = None, error
    if isinstance(found, Refusal):
        queue.counts.shed[ELSEWHERE] += 1
        busy = _refusal(queue, ELSEWHERE, call.plane.now() - began, 0.0)
    if busy is not None:
        give_back(call)
    return busy


def _at_key(call: Call, queue: Queue, target: Target) -> GatewayError | None:
    """Count the call, which has a place, as one of its key's; if that is full, of another key's.

    Returns why it may use none; its place is free again then.
    """
    runtime, slot = target.runtime, call.slot
    if not runtime.limited or call.exchange.gone:
        return None
    slots = usable_keys(call.plane, target, call.plane.now(), call.tried & ~(1 << slot))
    if slots and slot not in slots:
        call.slot = slot = runtime.take_turn(slots)
        call.tried |= 1 << slot
    elif not queue.room(runtime, slot):
        give_back(call)
        queue.counts.shed[KEYS] += 1
        return _refusal(queue, KEYS, 0.0, 0.0)
    _take_key(call, runtime.keys[slot])
    return None


def _take_key(call: Call, key: str) -> None:
    place = call.place
    assert place is not None
    place.queue.at_work[key] += 1
    call.place = place._replace(key=key)


async def place_at(call: Call, target: Target, request: Request) -> bool:
    """Take a place at ``target``, and at the key that is chosen, beside the one that the call has.

    False where there is none free.
    """
    queue, runtime = call.plane.queues.get(target.provider), target.runtime
    account = queue.account if queue is not None else None
    if (account is not None or call.narrow) and await enter(
        call, target, request, account, 0, 0.0, one_key=True
    ) is not None:
        return False
    if queue is None:
        return True
    if not queue.room(runtime, call.slot) or not queue.line.take():
        return False
    call.place = Place(queue, call.plane.now())
    if await _share(call, queue, target, 0.0, one_key=True) is not None:
        return False
    if runtime.limited:
        _take_key(call, runtime.keys[call.slot])
    return True


def give_back(call: Call) -> None:
    """Give back the place that the call has, if any, and what it has not used of the room."""
    if call.room is not None:
        leave_room(call)
    place = call.place
    if place is None:
        return
    call.place = None
    queue = place.queue
    if place.shared is not None:
        place.shared.settle(Amounts(), moment_of(call))
    if place.key:
        queue.at_work[place.key] -= 1
        if not queue.at_work[place.key]:
            del queue.at_work[place.key]
    queue.line.leave(call.plane.now() - place.since)
    _hand_on(queue)


def queue_page(plane: Plane) -> bytes:
    """The part of the metrics that is about queues."""
    found = {n: (q.line.at_work, q.line.waiting, q.counts) for n, q in plane.queues.items()}
    return render(found, plane.refused)


async def _wait(call: Call, queue: Queue, cost: float, patience: float) -> str:
    """Wait in the queue; "" once the call has a place, or why it gets none."""
    line, exchange = queue.line, call.exchange
    loop = asyncio.get_running_loop()
    over: asyncio.Future[str] = loop.create_future()

    def tell(why: str) -> None:
        if not why:
            call.place = Place(queue, call.plane.now())
        over.set_result(why)

    def give_up(why: str) -> None:
        if not over.done():
            line.drop(ticket)
            tell(why)

    ticket = Ticket(call.key, cost, tell)
    last = line.join(ticket)
    if last is not None:
        last.tell(FULL if last is ticket else SHARE)
    timer = loop.call_later(patience, give_up, WAITED)
    exchange.on_gone = lambda: give_up(LEFT)
    why = await over
    timer.cancel()
    exchange.on_gone = None
    return why


def _hand_on(queue: Queue) -> None:
    """Give the places that are free to those who wait."""
    while (ticket := queue.line.next()) is not None:
        ticket.tell("")


def _size(request: Request, target: Target) -> float:
    """Tokens that the call may take, in and out."""
    return len(request.body) / target.gauge.bytes_per_token + (request.max_output or USUAL_OUTPUT)


def _refusal(queue: Queue, why: str, seconds: float, expected: float) -> GatewayError:
    line = queue.line
    busy = f"{queue.name} has {line.at_work} calls at work, as many as it may"
    retry = b"%d" % min(max(math.ceil(expected), 1), LONGEST_RETRY)
    if why == SHARE:
        text = f"{busy}, and this key has more waiting than its share. Send less at once."
    elif why == FULL:
        text = f"{busy}, and {line.waiting} waiting, which is all there is room for."
    elif why == KEYS:
        text = f"Every key of {queue.name} that may be used has as many calls at work as it may."
    elif why == ELSEWHERE:
        text = f"As many calls as {queue.name} may have, or those of its keys, are at work at all "
        text += f"gateways together, and none came to an end within {seconds:.1f} seconds."
    elif why == LATE:
        text = f"{busy}, and {line.waiting} waiting: the call would not get its turn in time."
    else:
        text = f"{busy}, and none came to an end within {seconds:.1f} seconds."
    return GatewayError(
        429 if why == SHARE else 503,
        ErrorKind.OVERLOADED,
        f"{text} Retry after {retry.decode()} s.",
        headers=((b"retry-after", retry),),
    )
