"""Records of calls into the journal, and those that can't be written now."""

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from ferryman.flow.charges import charge_of
from ferryman.ir.errors import GatewayError
from ferryman.meter.cost import capped
from ferryman.store.journal import JournalError
from ferryman.telemetry.record import CLOSED, OPENED, RAISED, Closed, Opened
from ferryman.upstream.fleet import Target

if TYPE_CHECKING:
    from ferryman.flow.call import Call, Plane

MOST_OWED: Final = 100_000
"""Records that wait in memory for such a journal, where calls are served on."""
_pack: Final = msgspec.msgpack.Encoder().encode


def open_call(call: "Call", target: Target, most: int) -> None:
    """Write the call's ``opened`` record, with the most it could cost; again if it holds more now.

    ``most``: picodollars (``bounds.most_cost``). Raises :class:`GatewayError` (503) when that can't
    be done.
    """
    opened = Opened(
        call.id, call.at_us, call.key, call.endpoint, call.model, target.provider, target.model,
        capped(most), charge_of(call), call.labels,
    )  # fmt: skip
    plane = call.plane
    try:
        if plane.owed:
            plane.pay()
        # What can't be synced is taken off again; somebody may have read it all the same.
        call.opened = call.opened or plane.journal.eager
        plane.journal.append(RAISED if call.more else OPENED, _pack(opened), call)
    except JournalError as trouble:
        refusal = plane.unwritten(trouble)
        if not plane.serves_on:
            raise refusal from trouble
    else:
        if plane.refusing:
            plane.written()
    call.opened = True


def write_down(call: "Call", closed: Closed) -> tuple[GatewayError | None, int]:
    """Write the record. Returns why the caller gets an error instead, and the status it gets."""
    plane = call.plane
    call.record = closed
    try:
        plane.journal.append(CLOSED, _pack(closed), call)
    except JournalError as trouble:
        refusal = plane.unwritten(trouble)
        if not plane.serves_on:
            return refusal, owe(call, closed, refusal)
        put_off(plane, closed)
    return None, closed.status


def put_off(plane: "Plane", closed: Closed) -> None:
    """Keep a record in memory that can't be written now, whose call is served all the same."""
    if len(plane.owed) >= MOST_OWED:
        plane.owed.popleft()
        plane.dropped += 1
    plane.owed.append(_pack(closed))


def owe(call: "Call", closed: Closed, refusal: GatewayError) -> int:
    """Keep a record that can't be written now, as it has to read then. Returns its status."""
    if not call.exchange.gone:
        status = closed.status if call.started else refusal.status
        closed = replace(closed, status=status, error=refusal.kind)
    if call.opened:
        call.plane.owed.append(_pack(closed))
    return closed.status
