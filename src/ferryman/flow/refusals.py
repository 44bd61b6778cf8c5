"""Callers that were refused for want of a right, or by a limit, on their way to the audit log.

Counted by address, reason and key in memory, and written into the journal now and then: whoever
knocks ten thousand times costs one record.
"""

import contextlib
import time
from typing import Final

import msgspec
from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.store.journal import JournalError, JournalWriter
from ferryman.telemetry.record import REFUSED, Refused

EVERY: Final = 5.0
"""Seconds between two looks at what is to be written."""
LIMITS_EVERY: Final = 60.0
"""Seconds between two times that refusals by limits are written, which may be many by day."""
MOST: Final = 10
"""Records of one time; what is beyond is counted by reason alone."""
LONGEST: Final = 200
"""Characters of a model's name."""
STATUSES: Final = (401, 403)
"""Of refusals for want of a right."""
LIMITED: Final = (ErrorKind.RATE_LIMITED, ErrorKind.BUDGET)
"""Of refusals by limits and budgets."""
_pack: Final = msgspec.msgpack.Encoder().encode
_Found = dict[tuple[str, str, str], Refused]
"""By address, reason and key."""


class Refusals:
    """What was refused since the last look. Used on the event loop alone."""

    def __init__(self) -> None:
        self._found: _Found = {}
        self._limited: _Found = {}
        """By limits: apart, so that they take no other's room."""
        self._limits_due = 0.0

    def note(self, error: GatewayError, address: str, key: str, client: str, model: str) -> None:
        """Count a refusal with one of :data:`STATUSES`, or of the kinds :data:`LIMITED`."""
        found = self._limited if error.kind in LIMITED else self._found
        who = (address, error.reason, key or error.key)
        if who not in found and len(found) >= MOST:
            who, client, model = ("", error.reason, ""), "", ""
        known = found.get(who)
        if known is None:
            known = Refused(time.time_ns() // 1000, 0, *who, client, model[:LONGEST])
        found[who] = replace(known, count=known.count + 1)

    def stopped(self, kind: ErrorKind, address: str, key: str, client: str, model: str) -> None:
        """Count a call that guards have stopped, or its answer."""
        self.note(GatewayError(400, kind, ""), address, key, client, model)

    def write(self, journal: JournalWriter, *, last: bool = False) -> None:
        """Write down what there is, of limits only now and then, unless it is for the ``last``
        time. What the journal does not take is kept, and tried again."""
        with contextlib.suppress(JournalError):
            _written(self._found, journal)
            now = time.monotonic()
            if self._limited and (last or now >= self._limits_due):
                self._limits_due = now + LIMITS_EVERY
                _written(self._limited, journal)


def _written(found: _Found, journal: JournalWriter) -> None:
    for who in list(found):
        journal.append(REFUSED, _pack(found[who]))
        del found[who]
