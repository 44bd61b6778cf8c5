"""Records of calls that are written together, and the calls whose records can't be."""

from typing import Any

from ferryman.flow.call import Call, Plane
from ferryman.flow.deliver import refuse_instead
from ferryman.flow.owing import owe, put_off
from ferryman.ir.errors import GatewayError
from ferryman.store.journal import JournalError
from ferryman.upstream.reply import Reply


def recorded(plane: Plane) -> None:
    """Have in the journal what calls have written down; to be called before anything is sent.

    What can't be written is told those whose it is, in place of what they were to be sent.
    """
    while True:
        try:
            plane.journal.flush()
            return
        except JournalError as trouble:
            _tell(plane, trouble)  # of which they make records, too


def _tell(plane: Plane, trouble: JournalError) -> None:
    lost: list[Any] = plane.journal.lost
    plane.journal.lost = []
    calls: list[Call] = list(dict.fromkeys(lost))
    refusal = plane.unwritten(trouble)
    if plane.serves_on:
        for call in calls:
            if call.record is not None:
                put_off(plane, call.record)
        return
    stopped: list[Reply] = []
    for call in calls:
        try:
            if call.record is not None:
                _take_back(call, refusal)
            else:
                stopped += _stop(call, refusal)
        except Exception as fault:  # whatever it is: nothing may leave, of this one or others
            plane.log(f"{call.id}: internal error: {type(fault).__name__}: {fault}")
            call.exchange.instead(0, b"", b"")
    # Not before: whose reply is over goes on at once, and sends what waits.
    for reply in stopped:
        connection, reply.connection = reply.connection, None  # it was sent nothing
        if connection is not None:
            connection.cancel()
        reply.leave()


def _take_back(call: Call, refusal: GatewayError) -> None:
    """The end of a call is not recorded: nor is it to be sent."""
    assert call.record is not None
    owe(call, call.record, refusal)
    if not call.exchange.gone:
        refuse_instead(call, refusal)


def _stop(call: Call, refusal: GatewayError) -> list[Reply]:
    """A call must not be made. Returns the replies that it waits for."""
    call.unrecorded = refusal
    if not call.more and not call.plane.journal.eager:
        call.opened = False
    replies = call.racers or ((call.sent,) if call.sent is not None else ())
    waiting = [each for each in replies if not each.ended and not each.over.opened]
    for reply in waiting:
        if reply.connection is not None:
            reply.connection.unsend()
    return waiting
