"""Calls of the gateway's own: probes, and what classifiers are asked.

They take the way of every call, so that they are journaled, accounted and heeded by health like any
other attempt.
"""

from typing import NamedTuple

from ferryman.flow.call import Call, Plane, in_vain, settle, settle_anyhow
from ferryman.flow.explain import Pretended
from ferryman.flow.headers import HeaderFacts
from ferryman.flow.owing import open_call
from ferryman.flow.spine import attempt, fitted
from ferryman.flow.turns import leave
from ferryman.ir.errors import ErrorKind
from ferryman.meter.cost import hold
from ferryman.upstream.fleet import Target
from ferryman.upstream.reply import Reply
from ferryman.wire import envelope


class Answer(NamedTuple):
    """What came of one."""

    reply: Reply
    kind: ErrorKind | None
    """How it failed; None = it did not."""
    cost: int | None
    """Picodollars; None where that is not, or not wholly, known."""


async def ask_target(
    plane: Plane, target: Target, endpoint: str, body: bytes, *, key: str, model: str,
    seconds: float, max_output: int,
) -> Answer:  # fmt: skip
    """Ask ``target``, once. ``key`` stands in records for a virtual key, ``model`` for the name
    that it was asked by.

    Raises :class:`GatewayError`: it could not be written down, or not be put to the target.
    """
    exchange = Pretended(b"/v1", [], body, plane.now())
    call = Call(plane, exchange, endpoint)
    call.key, call.model, call.total = key, model, seconds
    call.order = call.equals = (target,)
    well = [slot for slot, name in enumerate(target.runtime.keys) if name not in plane.key_rests]
    if well:  # what is wrong with a key says nothing of the target
        call.slot = target.runtime.take_turn(well)
    asking = await fitted(call, envelope.decode(endpoint, body), target)
    open_call(call, target, hold(target.dearest, len(body), max_output or target.max_output))
    call.target = target
    try:
        facts = HeaderFacts(exchange.headers, exchange.target, plane.pepper)
        reply = Reply(plane.now, asking.tap)
        reply, kind = await attempt(call, target, asking, facts, reply)
        if call.unrecorded is not None:
            raise call.unrecorded
        usage, whole = (reply.usage, True) if kind is None else in_vain(call)
        cost = settle(call, reply.status or 502, kind, usage, whole)
        return Answer(reply, kind, None if call.unknown_cost else cost)
    finally:
        leave(call)
        if not call.settled:
            settle_anyhow(call)
