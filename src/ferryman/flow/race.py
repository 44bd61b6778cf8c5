"""Hedging: a second target is asked beside a slow first one, and the first to answer wins."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from msgspec.structs import replace

from ferryman.config.snapshot import HEDGE_BY_PACE
from ferryman.flow.asking import Asking
from ferryman.flow.call import Call, told
from ferryman.flow.charges import end_room
from ferryman.flow.choice import health_of
from ferryman.flow.queueing import give_back, place_at
from ferryman.flow.turns import Turns
from ferryman.http1.drive import Drive
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.upstream.fleet import Target
from ferryman.upstream.reply import Reply
from ferryman.wire.envelope import Request
from ferryman.wire.openai_chat.errors import SURFACED

Outcome = tuple[Reply, ErrorKind | None]
Attempting = Callable[[Target, Asking, Reply], Coroutine[Any, Any, Outcome]]
Preparing = Callable[[Target], Awaitable[Asking]]


class Leg:
    """One of the attempts in a race."""

    def __init__(self, call: Call, target: Target, asking: Asking, attempt: Attempting) -> None:
        self.target = target
        self.asking = asking
        self.reply = Reply(call.plane.now, asking.tap)
        self.place, self.room = call.place, call.room
        call.racers = (*call.racers, self.reply)
        self.result: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        Drive(self._run(attempt), self.result.set_exception)

    async def _run(self, attempt: Attempting) -> None:
        self.result.set_result(await attempt(self.target, self.asking, self.reply))

    def good(self) -> bool:
        """Whether its outcome settles the race: an answer, or what every target would say."""
        if not self.result.done():
            return False
        kind = self.result.result()[1]
        return kind is None or kind in SURFACED


def patience(call: Call, target: Target) -> float:
    """Seconds that ``target`` has before a second one is asked; 0 = as many as it likes."""
    if call.hedge != HEDGE_BY_PACE:
        return call.hedge
    health = health_of(target)
    return (health.slow_stream if call.stream else health.slow_whole).seconds()


async def race(
    call: Call,
    turns: Turns,
    target: Target,
    asking: Asking,
    attempt: Attempting,
    prepare: Preparing,
    request: Request,
) -> Outcome:
    """Ask ``target`` and, if it is slow, the next one as well. The outcome is that of the attempt
    that counts, whose target, key and receipt are the call's then."""
    seconds = patience(call, target)
    if seconds <= 0 or call.upload is not None:
        return await attempt(target, asking, Reply(call.plane.now, asking.tap))
    began, waited = call.plane.now(), call.waited
    first = Leg(call, target, asking, attempt)
    legs = [first]
    await asyncio.wait([first.result], timeout=seconds)
    if not first.result.done() and not call.exchange.gone:
        second = await _second(call, turns, first, attempt, prepare, request)
        if second is not None:
            legs.append(second)
    waiting = {leg.result for leg in legs if not leg.result.done()}
    while waiting and not any(leg.good() for leg in legs):
        waiting = (await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED))[1]
    counts = next((leg for leg in legs if leg.good()), legs[-1])
    seconds = call.plane.now() - began
    outcome = _settled(call, legs, counts)
    call.waited = waited + seconds  # whatever each of them has counted for itself
    return outcome


async def _second(
    call: Call, turns: Turns, first: Leg, attempt: Attempting, prepare: Preparing, request: Request
) -> Leg | None:
    target = turns.rival()
    if target is None:
        return None
    slot, place, room = call.slot, call.place, call.room
    try:
        asking = await prepare(target)
    except GatewayError:
        turns.put_back(first.target, first.asking.slot)
        return None
    call.slot, call.place, call.room = slot, None, None
    late = first.result.done() or call.exchange.gone
    # Where there is no place free, who waits for one needs it more.
    if not late and (call.plane.queues or call.narrow):
        late = not await place_at(call, target, request) or first.result.done()
    if late:
        give_back(call)
        call.place, call.room = place, room
        turns.put_back(first.target, first.asking.slot)
        return None
    call.asked = None  # the first one is still at work
    return Leg(call, target, asking, attempt)


def _settled(call: Call, legs: list[Leg], counts: Leg) -> Outcome:
    """End the attempts that don't count, and leave the call as if the other had come last."""
    for leg in legs:
        if leg is counts:
            continue
        leg.reply.leave()
        place = leg.reply.place
        call.place, call.room = leg.place, leg.room
        if call.room is not None:
            end_room(call, leg.reply.used, None, False, sent=place >= 0)
        give_back(call)
        health_of(leg.target).in_flight -= 1
        if place < 0:
            continue  # it was never sent anything
        if not call.attempts[place].error:  # a good answer, a moment too late
            superseded = replace(call.attempts[place], error=ErrorKind.SUPERSEDED)
            whole = not leg.reply.streaming
            call.attempts[place] = told(
                call, superseded, leg.target, leg.asking.slot, leg.reply, whole
            )
    call.racers = ()
    call.place, call.room = counts.place, counts.room
    call.asked = health_of(counts.target)
    call.target, call.slot, call.receipt = counts.target, counts.asking.slot, counts.asking.receipt
    call.exchange.on_gone = call.parting(counts.reply)
    if counts.reply.place >= 0:
        call.attempts.append(call.attempts.pop(counts.reply.place))
    return counts.result.result()
