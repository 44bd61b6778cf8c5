"""Callers that were refused for want of a right, on their way to the audit log.

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
MOST: Final = 10
"""Records of one look; what is beyond is counted by reason alone."""
LONGEST: Final = 200
"""Characters of a model's name."""
STATUSES: Final = (401, 403)
"""Of refusals for want of a right."""
_pack: Final = msgspec.msgpack.Encoder().encode


class Refusals:
    """What was refused since the last look. Used on the event loop alone."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], Refused] = {}

    def note(self, error: GatewayError, address: str, key: str, client: str, model: str) -> None:
        """Count a refusal with one of :data:`STATUSES`."""
        who = (address, error.reason, key or error.key)
        if who not in self._found and len(self._found) >= MOST:
            who, client, model = ("", error.reason, ""), "", ""
        known = self._found.get(who)
        if known is None:
            known = Refused(time.time_ns() // 1000, 0, *who, client, model[:LONGEST])
        self._found[who] = replace(known, count=known.count + 1)

    def stopped(self, kind: ErrorKind, address: str, key: str, model: str) -> None:
        """Count a call that guards have stopped, or its answer."""
        self.note(GatewayError(400, kind, ""), address, key, "", model)

    def write(self, journal: JournalWriter) -> None:
        """Write down what there is. What the journal does not take is kept, and tried again."""
        with contextlib.suppress(JournalError):
            for who in list(self._found):
                journal.append(REFUSED, _pack(self._found[who]))
                del self._found[who]
