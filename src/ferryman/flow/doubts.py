"""Attempts that were sent, and of which nobody knows what they cost: budgets bear them, too.

One that timed out or broke off may have worked, and be charged for. So a call may ask another
target only while its budgets have room for both.
"""

from ferryman.flow.bearing import bear
from ferryman.flow.bounds import most_cost
from ferryman.flow.call import Call
from ferryman.flow.charges import NOT_MADE
from ferryman.flow.limit_words import refused
from ferryman.flow.limiting import upper
from ferryman.flow.owing import open_call
from ferryman.ir.tally import tally
from ferryman.ir.usage import Usage
from ferryman.meter.limits import Amounts, Moment, Refusal, admit
from ferryman.upstream.fleet import Target
from ferryman.wire.envelope import Request


def doubt(call: Call, request: Request) -> None:
    """Note what the last attempt, which failed, may have cost beside what is known of it."""
    target = call.target
    if not call.attempts or call.attempts[-1].whole or target is None:
        return
    last, before = call.attempts[-1], call.doubt or NOT_MADE
    tokens, picodollars = upper(call, request, target)
    if call.allowance is not None:
        tokens = min(tokens, call.allowance.tokens)
        picodollars = min(picodollars, call.allowance.picodollars)
    call.doubt = Amounts(
        tokens=before.tokens + max(tokens - _tokens(last.usage), 0),
        picodollars=before.picodollars + max(picodollars - (last.cost or 0), 0),
        calls=before.calls + 1,
    )


async def hold_for(call: Call, request: Request, target: Target) -> None:
    """Hold, beside what earlier attempts may cost, what one at ``target`` can cost at most.

    Raises :class:`GatewayError`: a budget has no room for that, or it can't be recorded.
    """
    grant, doubted = call.grant, call.doubt
    if grant is None or doubted is None or not grant.budgets:
        return
    tokens, picodollars = upper(call, request, target)
    tokens += doubted.tokens + sum([_tokens(each.usage) for each in call.attempts])
    picodollars += doubted.picodollars + sum([each.cost or 0 for each in call.attempts])
    more = Amounts(
        tokens=max(tokens - grant.tokens, 0),
        picodollars=max(picodollars - grant.picodollars, 0),
        calls=0,
    )
    if not more.tokens and not more.picodollars:
        return
    applying = grant.purses()
    at = Moment(int(call.plane.now() * 1e9), call.at_us // 1_000_000)
    counters = call.plane.counters
    if counters is not None and counters.wanted:
        # By itself, and given back after its call has been settled: that bears all of it.
        found = await counters.admit(f"{call.id}/more{len(call.more)}", applying, more, at)
    else:
        found = admit(applying, more, at)
    if isinstance(found, Refusal):
        raise refused(found, applying, at)
    call.more = [*call.more, found]
    bear(call)  # budgets may have changed since it began
    grant.tokens += more.tokens
    grant.picodollars += more.picodollars
    # Should this gateway die now, the ledger has to know of it.
    open_call(call, target, most_cost(call, request, (target,)))


def _tokens(usage: Usage | None) -> int:
    counts = tally(usage)
    return 0 if counts is None else max(counts.total_input, 0) + max(counts.total_output, 0)
