"""Streams that may go on only as long as a budget lasts: what they have used, and their end."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from ferryman.flow.call import Call
from ferryman.flow.turns import Turns
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.usage import Usage
from ferryman.meter.cost import hold
from ferryman.meter.limits import USD, Amounts, BudgetMeter, Grant, Limit, Moment, Refusal, admit
from ferryman.upstream.reply import Reply
from ferryman.wire.envelope import Request
from ferryman.wire.paths import CONVERSATIONS


class Allowance(NamedTuple):
    """What a stream may use: all that is left of its budgets."""

    limit: str
    """Name of the limit that ends it."""
    picodollars: int
    tokens: int
    size: int
    """Bytes of the request."""
    status: int


async def partly(
    call: Call, request: Request, turns: Turns, applying: Sequence[tuple[Limit, str]],
    asked: Amounts, at: Moment,
) -> Grant | None:  # fmt: skip
    """Take what is left of budgets that cut streams, for a call that may need more."""
    if call.endpoint not in CONVERSATIONS or call.hedge or call.rescue or call.retry_empty:
        return None
    picodollars, tokens, name, status = asked.picodollars, asked.tokens, "", 402
    for limit, key in applying:
        for meter in limit.meters:
            if meter.refusal(key, asked, at) is None:
                continue
            if not isinstance(meter, BudgetMeter) or not meter.cuts or not meter.known():
                return None
            left = meter.state(key, at).left
            name, status = limit.name, limit.status
            if meter.measure == USD:
                picodollars = min(picodollars, left)
            else:
                tokens = min(tokens, left)
    first, size = turns.order[0], len(request.body)
    given = math.ceil(size / first.gauge.bytes_per_token)
    if tokens <= given or (call.priced and picodollars <= hold(first.dearest, given, 1)):
        return None  # not even its input could be paid
    less = Amounts(asked.input, asked.output, tokens, picodollars)
    counters = call.plane.counters
    if counters is not None and counters.wanted:
        found = await counters.admit(call.id, applying, less, at, noted=bool(call.expected))
    else:
        found = admit(applying, less, at)
    if isinstance(found, Refusal):
        return None
    call.allowance = Allowance(name, picodollars, tokens, size, status)
    call.watched = True
    return found


def used_up(call: Call, reply: Reply) -> Callable[[], bool]:
    """Says whether the stream has used all that it may; to be asked after each part of it."""
    allowance, target = call.allowance, call.target
    assert allowance is not None
    assert target is not None

    def over() -> bool:
        used = so_far(call, reply)
        given, made = used.total_input, used.total_output
        if given + made > allowance.tokens:
            return True
        return call.priced and hold(target.dearest, given, made) > allowance.picodollars

    return over


def so_far(call: Call, reply: Reply) -> Usage:
    """What the stream has used up to now: as its provider says, else by the bytes that came."""
    allowance, target, tap = call.allowance, call.target, reply.tap
    assert allowance is not None
    assert target is not None
    watch = tap.watch if tap is not None else None
    per_token = target.gauge.bytes_per_token
    made = math.ceil(watch.size / per_token) if watch is not None else 0
    said = tap.usage if tap is not None else None
    if said is None:
        return Usage(math.ceil(allowance.size / per_token), output=made)
    return replace(said, output=said.output + max(made - said.total_output, 0))


def ended(call: Call) -> GatewayError:
    """What the caller is told at the end of such a stream."""
    allowance = call.allowance
    assert allowance is not None
    return GatewayError(
        allowance.status,
        ErrorKind.BUDGET,
        f"The budget {allowance.limit!r} is used up: the answer is cut here, as it is to be "
        "(on_exceeded: cut). What came before this is incomplete.",
    )
