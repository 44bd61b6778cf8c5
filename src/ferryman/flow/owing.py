"""Records of calls into the journal, and those that can't be written now."""

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from ferryman.ir.errors import GatewayError
from ferryman.store.journal import JournalError
from ferryman.telemetry.record import CLOSED, Closed

if TYPE_CHECKING:
    from ferryman.flow.call import Call, Plane

MOST_OWED: Final = 100_000
"""Records that wait in memory for such a journal, where calls are served on."""
_pack: Final = msgspec.msgpack.Encoder().encode


def recorded(plane: "Plane") -> bool:
    """Whether what calls have written down is in the journal: nothing is sent before it is."""
    try:
        plane.journal.flush()
    except JournalError as trouble:
        plane.unwritten(trouble)
        return plane.serves_on
    return True


def write_down(call: "Call", closed: Closed) -> tuple[GatewayError | None, int]:
    """Write the record. Returns why the caller gets an error instead, and the status it gets."""
    plane = call.plane
    try:
        plane.journal.append(CLOSED, _pack(closed))
    except JournalError as trouble:
        refusal = plane.unwritten(trouble)
        if not plane.serves_on:
            return refusal, _owe(call, closed, refusal)
        _put_off(plane, closed)
    return None, closed.status


def _put_off(plane: "Plane", closed: Closed) -> None:
    """Keep a record in memory that can't be written now, whose call is served all the same."""
    if len(plane.owed) >= MOST_OWED:
        plane.owed.popleft()
        plane.dropped += 1
    plane.owed.append(_pack(closed))


def _owe(call: "Call", closed: Closed, refusal: GatewayError) -> int:
    """Keep a record that can't be written now, as it has to read then. Returns its status."""
    if not call.exchange.gone:
        status = closed.status if call.started else refusal.status
        closed = replace(closed, status=status, error=refusal.kind)
    if call.opened:
        call.plane.owed.append(_pack(closed))
    return closed.status
