"""Places at providers that take only so many calls at once: waiting for one, giving it back."""

import asyncio
import math

from ferryman.config.snapshot import Snapshot
from ferryman.flow.call import Call, Plane
from ferryman.flow.choice import USUAL_OUTPUT
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.routing.queue import Line, Ticket
from ferryman.telemetry.queues import QueueCounts, render
from ferryman.upstream.fleet import Target
from ferryman.wire.envelope import Request

LONGEST_RETRY = 60
"""Most seconds after which a caller is told to come back; the official SDKs heed no more."""
FULL, LATE, WAITED, SHARE, LEFT = "full", "late", "waited", "share", "left"
"""Why a call gets no place, as metrics call it."""


class Queue:
    """A provider's line, and what is counted of it."""

    __slots__ = ("counts", "line", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.line = Line(0, 0, 0.0, False)
        self.counts = QueueCounts()


def adopt_limits(plane: Plane, snapshot: Snapshot) -> None:
    """Take over a snapshot's limits. Calls at work and calls that wait stay counted."""
    plane.max_calls = snapshot.server.max_calls
    before = plane.queues
    queues = {}
    for name, provider in snapshot.providers.items():
        if (limit := provider.limit) is not None:
            queue = queues[name] = before.get(name) or Queue(name)
            line = queue.line
            line.most, line.length, line.wait = limit.calls, limit.length, limit.wait
            line.fair = limit.fair
    plane.queues = queues
    for name, queue in before.items():
        if name not in queues:
            queue.line.most = 1 << 30  # nobody waits any longer
        _hand_on(queue)


async def line_up(call: Call, target: Target, request: Request) -> GatewayError | None:
    """Take a place at ``target``, waiting for one if need be, in exchange for the one it has.

    Returns why the call gets none; None once it has it, needs none, or its caller has left.
    """
    give_back(call)
    queue = call.plane.queues.get(target.provider)
    if queue is None:
        return None
    line, now = queue.line, call.plane.now()
    if line.take():
        call.place, call.placed = queue, now
        return None
    patience = min(line.wait, call.deadline() - now)
    expected = line.expects(call.key)
    why = (
        LATE if expected > patience else await _wait(call, queue, _size(request, target), patience)
    )
    seconds = call.plane.now() - now
    call.waited += seconds
    call.queued += seconds
    if not why:
        queue.counts.waited(seconds)
        return None
    queue.counts.shed[why] += 1
    return None if why == LEFT else _refusal(queue, why, seconds, expected)


def give_back(call: Call) -> None:
    """Give back the place that the call has, if any."""
    queue = call.place
    if queue is not None:
        call.place = None
        queue.line.leave(call.plane.now() - call.placed)
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
            call.place, call.placed = queue, call.plane.now()
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
