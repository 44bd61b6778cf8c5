"""Writes of one turn of the event loop, sent together at its end.

To wake a process that sleeps on another core costs more than all else that a send does. Sends in
one go wake it once; between two that stand apart it falls asleep again.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

MOST: Final = 65_536
"""Bytes that wait at most. So a turn of a thousand events is no long wait, and whoever writes much
in one turn hears when its peer can't keep up."""


class Outbox:
    """What is to be written to the transports of a server or of a client."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, before: Callable[[], None] | None = None
    ) -> None:
        """``before`` is called each time before data is sent, and may :meth:`replace` it."""
        self._soon = loop.call_soon
        self._ends = self._end_turn
        self.before = before
        self._waiting: list[Any] = []
        """By threes: transport, data, and whose."""
        self._size = 0
        self._writes = 0
        """Writes of this turn."""
        self._lonely = True
        """True when the turn before had one write: then the first is not made to wait."""

    def write(self, transport: Any, data: bytes, owner: object = None, more: bytes = b"") -> None:
        """Write ``data``, and ``more`` after it, before the loop waits again, in order with all
        that is written here. It can be replaced until then where it has an ``owner``."""
        self._writes += 1
        first = self._writes == 1
        if first:
            self._soon(self._ends)
        self._waiting.append(transport)
        self._waiting.append(data)
        self._waiting.append(owner)
        self._size += len(data)
        if more:
            self._waiting += (transport, more, owner)
            self._size += len(more)
        if self._size > MOST or (first and self._lonely):
            self.flush()

    def flush(self) -> None:
        """Write all now; to be called before a transport is closed in whatever way."""
        if self._waiting and self.before is not None:
            self.before()
        waiting = self._waiting
        self._waiting = []
        self._size = 0
        for at in range(0, len(waiting), 3):
            try:  # noqa: SIM105 - this is the cheaper form
                waiting[at].write(waiting[at + 1])
            except RuntimeError:
                pass  # closed meanwhile

    def replace(self, owner: object, data: bytes, everything: bool = True) -> bool:
        """Send ``data`` in place of what waits of ``owner``, or else of the last piece of it.

        False: nothing waits. No ``data``: it is sent nothing.
        """
        waiting = self._waiting
        places = [at for at in range(0, len(waiting), 3) if waiting[at + 2] is owner]
        if not everything:
            places = places[-1:]
        for at in places:
            waiting[at + 1] = data
            data = b""
        return bool(places)

    def _end_turn(self) -> None:
        self._lonely = self._writes == 1
        self._writes = 0
        self.flush()
