"""What a call has used that no provider told of: estimated, and kept apart from what is known.

Input is estimated from the caller's body by the ratio that the model's calls have shown
(``catalog/tokens.py``); output from what was streamed before the stream broke off.
"""

import asyncio
import re
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from ferryman.catalog.tokens import estimate
from ferryman.flow.window import text_size
from ferryman.http1.client import FaultKind
from ferryman.ir.usage import Usage, added
from ferryman.meter.cost import cost
from ferryman.telemetry.record import Estimate
from ferryman.upstream.fleet import Target, book_of
from ferryman.upstream.reply import EVENT_END, Reply
from ferryman.wire.paths import CONVERSATIONS

if TYPE_CHECKING:
    from ferryman.flow.call import Call

SPEAKING: Final = frozenset((*CONVERSATIONS, "completions"))
READING: Final = frozenset(("embeddings", "embed", "embed_content", "batch_embed_contents",
                            "rerank"))  # fmt: skip
"""Endpoints whose calls are priced by tokens: pictures and sound can't be told from here."""
SPEED: Final = 50
"""Tokens a second that a model says while it is waited for,"""
USUAL_OUTPUT: Final = 500
"""and how many an answer has: of one that was to come whole and never came."""
LOOKED_AT: Final = 4 << 20
"""Bytes of a body, or of an answer."""
PER_BLOB: Final = 1_100
"""Tokens of a picture; the base64 text of any medium is taken for one."""
_BLOB: Final = re.compile(rb"[A-Za-z0-9+/_-]{512,}")
_WORDS: Final = re.compile(
    rb'"(?:content|text|delta|thinking|reasoning|reasoning_content|refusal|partial_json|'
    rb'arguments)"\s*:\s*"((?:[^"\\]|\\.)*)'
)
"""What a model says, in the events of every format."""


def suppose(call: "Call", reply: Reply) -> None:
    """Estimate what the attempt whose answer is delivered has used beside what it told."""
    if call.target is not None:
        call.guess = guess(call, call.target, call.slot, reply, reply.used)


def guessed(call: "Call") -> Estimate | None:
    """What all attempts together have probably used beside what is known."""
    if call.guess is not None and call.attempts:
        call.attempts[call.answer] = replace(call.attempts[call.answer], estimate=call.guess)
    found = [each.estimate for each in call.attempts if each.estimate is not None]
    if not found:
        return None
    costs = [each.cost for each in found if each.cost is not None]
    return Estimate(
        sum([each.input for each in found]),
        sum([each.output for each in found]),
        sum(costs) if costs else None,
    )


def let_end(reply: Reply, seconds: float) -> None:
    """Give a reply that nobody waits for some time to end by itself, and so to tell its usage."""
    asyncio.get_running_loop().call_later(seconds, reply.leave)
    if reply.connection is not None:  # the caller may have been too slow for it
        reply.connection.resume()


def guess(
    call: "Call", target: Target, slot: int, reply: Reply, known: Usage | None
) -> Estimate | None:
    """What an attempt has probably used beside what is ``known`` of it; None = can't be told."""
    if call.endpoint in SPEAKING:
        said = spoken(call, target, reply)
    elif call.endpoint in READING:
        said = 0
    else:
        return None
    heard = heard_by(call, target)
    if known is not None:  # a stream tells of its input first
        heard = 0 if known.total_input else heard
        said = max(said - known.total_output, 0)
    missing = Usage(input=heard, output=said)
    if missing == Usage():
        return None
    prices, at = book_of(target, slot).prices, call.at_us // 1_000_000
    before = 0 if known is None else cost(known, prices, at)
    after = cost(missing if known is None else added(known, missing), prices, at)
    return Estimate(heard, said, None if before is None or after is None else after - before)


def heard_by(call: "Call", target: Target) -> int:
    """Tokens of the request, about."""
    body = call.exchange.body
    if not text_size(body):
        if call.conversation is not None:
            return estimate(call.conversation, target.gauge)
        rest, blobs = _BLOB.subn(b"", body[:LOOKED_AT])
        return target.gauge.tokens(len(rest)) + PER_BLOB * blobs
    return target.gauge.tokens(len(body))


def spoken(call: "Call", target: Target, reply: Reply) -> int:
    """Tokens of the answer as far as it came, about."""
    if not reply.streaming:
        words = sum(map(len, _WORDS.findall(reply.body[:LOOKED_AT])))
        if words or call.stream or not _waited_for(reply):
            return target.gauge.tokens(words)
        return min(int((call.plane.now() - call.began) * SPEED), USUAL_OUTPUT)
    last = reply.last
    words = sum(map(len, _WORDS.findall(last)))
    if not words or not reply.events:  # about a token an event, of some 200 bytes
        return max(reply.events - 2, 0) or reply.came // 200
    around = (len(last) - words) / max(last.count(EVENT_END), 1)
    said = max(reply.came - int(reply.events * around), words)
    return max(target.gauge.tokens(said), 1)


def _waited_for(reply: Reply) -> bool:
    """Whether the provider was at work when it was given up."""
    fault = reply.fault
    return fault is not None and fault.kind in (FaultKind.TIMEOUT, FaultKind.CANCELLED)
