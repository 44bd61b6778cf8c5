"""A probe: a call of the gateway's own that asks a resting target for one token, to see how it is.

It takes the way of every call, so that it is journaled, accounted (to the key ``probe``) and
heeded by health like any other attempt.
"""

import contextlib
from typing import Final

import msgspec

from ferryman.flow.call import Call, Plane, in_vain, open_call, settle
from ferryman.flow.explain import Pretended
from ferryman.flow.spine import HeaderFacts, attempt, fitted
from ferryman.flow.turns import leave
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.meter.cost import hold
from ferryman.upstream.fleet import Target
from ferryman.upstream.reply import Reply
from ferryman.wire import envelope

KEY: Final = "probe"
"""Stands in records for a virtual key; there is none of that name."""
ENDPOINT: Final = "chat.completions"
MAX_OUTPUT: Final = 16
"""Tokens: the fewest that every provider accepts as a limit."""
SECONDS: Final = 30.0
"""Most that a probe takes."""
_json = msgspec.json.Encoder().encode


def body_of(target: Target) -> bytes:
    """What a probe of ``target`` asks."""
    messages = [{"role": "user", "content": "Reply with: ok"}]
    return _json({"model": target.name, "messages": messages, "max_tokens": MAX_OUTPUT})


def most(target: Target) -> int:
    """Picodollars that a probe of ``target`` may cost."""
    return hold(target.dearest, len(body_of(target)), MAX_OUTPUT)


async def probe(plane: Plane, target: Target) -> int:
    """Ask ``target``; picodollars that it cost, or may have where that is not known."""
    body = body_of(target)
    exchange = Pretended(b"/v1/chat/completions", [], body, plane.now())
    call = Call(plane, exchange, ENDPOINT)
    call.key, call.model, call.total = KEY, target.name, SECONDS
    call.order = call.equals = (target,)
    well = [slot for slot, key in enumerate(target.runtime.keys) if key not in plane.key_rests]
    if well:  # what is wrong with a key says nothing of the target
        call.slot = target.runtime.take_turn(well)
    request = envelope.decode(ENDPOINT, body)
    with contextlib.suppress(GatewayError):  # not written down, or not to be put to it: not asked
        asking = await fitted(call, request, target)
        open_call(call, target, len(body), MAX_OUTPUT)
        call.target = target
        try:
            facts = HeaderFacts(exchange.headers, exchange.target, plane.pepper)
            reply = Reply(plane.now, asking.tap)
            reply, kind = await attempt(call, target, asking, facts, reply)
            usage, whole = (reply.usage, True) if kind is None else in_vain(call)
            cost = settle(call, reply.status or 502, kind, usage, whole)
            return most(target) if cost is None or call.unknown_cost else cost
        finally:
            leave(call)
            if not call.settled:
                settle(call, 500, ErrorKind.INTERNAL, None)
    return 0
