"""Whether an answer that came well is one: not empty, not a refusal, not stopped by a filter."""

from collections.abc import Sequence

from ferryman.flow.asking import Asking, Translation
from ferryman.flow.call import Call
from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import Finish, FinishReason
from ferryman.ir.request import Block, Refusal, Text, Thinking
from ferryman.upstream.fleet import Target
from ferryman.upstream.reply import Reply
from ferryman.wire.format import ReplyError
from ferryman.wire.formats import provider_of
from ferryman.wire.paths import CONVERSATIONS


def judged(call: Call, asking: Asking, reply: Reply, body: bytes) -> ErrorKind | None:
    """Why another target should be asked, as far as the call wants that; None = it is an answer.

    ``body`` is that of a whole reply, as the provider sent it. A stream that has said something is
    on its way to the caller already.
    """
    if reply.streaming:
        tap = reply.tap
        watch = tap.watch if tap is not None else None
        if tap is None or watch is None or tap.content or not tap.done:
            return None
        return _kind(call, [watch.finish], says_something=False)
    translation = asking.translation
    if isinstance(translation, Translation):
        side = translation.provider
    else:
        side = provider_of(CONVERSATIONS[call.endpoint])
    try:
        answer = side.decode_reply(body)
    except ReplyError:
        return None
    said = any(_says_something(choice.blocks) for choice in answer.choices)
    return _kind(call, [choice.finish for choice in answer.choices], says_something=said)


def _kind(
    call: Call, finishes: Sequence[Finish | None], *, says_something: bool
) -> ErrorKind | None:
    reasons = {finish.reason for finish in finishes if finish is not None}
    if call.on_content_filter and reasons == {FinishReason.CONTENT_FILTER}:
        return ErrorKind.CONTENT_FILTERED
    if call.retry_empty and (not says_something or reasons == {FinishReason.REFUSAL}):
        return ErrorKind.UPSTREAM_EMPTY
    return None


def _says_something(blocks: Sequence[Block]) -> bool:
    for block in blocks:
        if isinstance(block, Text):
            if block.text.strip():
                return True
        elif not isinstance(block, Refusal | Thinking):
            return True
    return False


class Spare:
    """An answer that is passed over for now, and still better than none."""

    __slots__ = ("attempt", "receipt", "reply", "slot", "target")

    def __init__(self, call: Call, reply: Reply, target: Target) -> None:
        self.reply = reply
        self.target = target
        self.receipt = call.receipt
        self.slot = call.slot
        self.attempt = call.attempts[-1]

    def bring_back(self, call: Call) -> Reply:
        """It is what the caller gets; its attempt counts as the last."""
        call.target, call.receipt, call.slot = self.target, self.receipt, self.slot
        call.attempts.remove(self.attempt)
        call.attempts.append(self.attempt)
        return self.reply
