"""Who waits for a place at a provider that takes only so many calls at once, and for how long.

Pure: seconds come from outside, and whoever owns a ticket is told by its ``tell``.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

SMOOTHING: Final = 0.1
"""Weight of the newest call in the mean time for which a place is taken."""
KEPT: Final = 64
"""Keys whose share is remembered although none of their calls waits."""


class Ticket:
    """A call that waits."""

    __slots__ = ("cost", "key", "start", "tell")

    def __init__(self, key: str, cost: float, tell: Callable[[str], None]) -> None:
        self.key = key
        self.cost = cost
        """Tokens, as far as one can tell beforehand, divided by the weight of the key."""
        self.start = 0.0
        """The line's virtual time at which it is its turn; equal ones go by arrival."""
        self.tell = tell
        """Called once: with nothing when it has its place, or else with why it gets none."""


class Line:
    """The places at one provider, and the bounded queue for them.

    First come, first served; or, ``fair``, by start-time fair queueing (Goyal, Vin, Cheng 1996):
    each key gets tokens in proportion to its weight, however many calls it sends.
    """

    def __init__(self, most: int, length: int, wait: float, fair: bool) -> None:
        self.most = most
        """Calls at work at once."""
        self.length = length
        """Calls that may wait."""
        self.wait = wait
        """Seconds that one may wait."""
        self.fair = fair
        self.at_work = 0
        self.held = 0.0
        """Mean seconds for which a place was taken of late; 0 = not known yet."""
        self._heap: list[tuple[float, int, Ticket]] = []
        self._count = 0
        self._virtual = 0.0
        self._finish: dict[str, float] = {}
        """By key: the virtual time at which all that it has sent is served."""

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._heap)

    @property
    def full(self) -> bool:
        """Whether a call that came now would have to wait."""
        return self.at_work >= self.most or bool(self._heap)

    def take(self) -> bool:
        """Take a place, if there is one and nobody waits for it."""
        if self.full:
            return False
        self.at_work += 1
        return True

    def expects(self, key: str) -> float:
        """Seconds that a call of ``key`` would wait if it came now, by the pace of late."""
        ahead = len(self._heap)
        if self.fair:
            start = self._start(key)
            ahead = sum(tag <= start for tag, _, _ in self._heap)
        return (ahead + 1) * self.held / self.most

    def join(self, ticket: Ticket) -> Ticket | None:
        """Wait. Returns who has to give way where the queue is full: the last, maybe itself."""
        self._count += 1
        if self.fair:
            ticket.start = self._start(ticket.key)
            self._finish[ticket.key] = ticket.start + ticket.cost
        heappush(self._heap, (ticket.start, self._count, ticket))
        if len(self._heap) <= self.length:
            return None
        last = max(self._heap)[2]
        self.drop(last)
        return last

    def drop(self, ticket: Ticket) -> None:
        """The ticket waits no longer, and its key is charged nothing for it."""
        kept = [entry for entry in self._heap if entry[2] is not ticket]
        if len(kept) == len(self._heap):
            return
        heapify(kept)
        self._heap = kept
        if ticket.key in self._finish:
            self._finish[ticket.key] -= ticket.cost
        self._forget()

    def leave(self, seconds: float) -> None:
        """A place that was taken for ``seconds`` is free."""
        self.at_work -= 1
        weight = SMOOTHING if self.held else 1.0
        self.held += (seconds - self.held) * weight

    def next(self) -> Ticket | None:
        """Who gets a place now; None while nobody waits, or none is free."""
        if not self._heap or self.at_work >= self.most:
            return None
        self.at_work += 1
        self._virtual, _, ticket = heappop(self._heap)
        self._forget()
        return ticket

    def _start(self, key: str) -> float:
        return max(self._virtual, self._finish.get(key, 0.0))

    def _forget(self) -> None:
        """Nobody keeps a share over a time in which there was enough for all."""
        if not self._heap:
            self._virtual = 0.0
            self._finish.clear()
        elif len(self._finish) > 2 * len(self._heap) + KEPT:
            now = self._virtual
            self._finish = {key: tag for key, tag in self._finish.items() if tag > now}
