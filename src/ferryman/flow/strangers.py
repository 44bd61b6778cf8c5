"""Callers without a valid key: one after the other is told so, a flood of them to slow down."""

from ferryman.flow.call import NOTHING, Call, Plane
from ferryman.flow.deliver import NO_RETRY
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.tally import Tally


def struck(plane: Plane, peer: str, error: GatewayError) -> GatewayError:
    """What to tell a stranger from ``peer`` in place of ``error``, if it is one that came with no
    valid key. Who has one, also from there, is served as ever."""
    if error.kind is not ErrorKind.INVALID_KEY:
        return error
    now = plane.now()
    if not plane.strikes.out(peer, now):
        plane.strikes.note(peer, now)
        return error
    return GatewayError(
        429,
        ErrorKind.RATE_LIMITED,
        "Too many calls without a valid key came from this address; the key of this one is not "
        "valid either.",
        headers=((b"retry-after", b"%d" % plane.strikes.rest(now)), NO_RETRY),
    )


def count_stranger(call: Call, status: int) -> None:
    """Count a call without a valid key: strangers get into the metrics, never into the journal."""
    seconds = call.plane.now() - call.began
    labels = (call.endpoint, "", "", status)
    call.plane.metrics.closed(labels, seconds, seconds, Tally(NOTHING), 0, False, 0)
