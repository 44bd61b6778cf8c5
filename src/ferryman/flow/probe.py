"""A probe: a call of the gateway's own that asks a resting target for one token: how is it?"""

import contextlib
from typing import Final

import msgspec

from ferryman.flow.call import Plane
from ferryman.flow.own import ask_target
from ferryman.ir.errors import GatewayError
from ferryman.meter.cost import hold
from ferryman.upstream.fleet import Target

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
    if plane.residency is not None and not plane.residency.admits(KEY, target.written):
        return 0
    with contextlib.suppress(GatewayError):  # not written down, or not to be put to it: not asked
        answer = await ask_target(
            plane, target, ENDPOINT, body_of(target), key=KEY, model=target.name, seconds=SECONDS,
            max_output=MAX_OUTPUT,
        )  # fmt: skip
        return most(target) if answer.cost is None else answer.cost
    return 0
