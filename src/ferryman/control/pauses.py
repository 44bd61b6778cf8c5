"""Growing pauses for whoever is wrong again and again. Pure."""

import math
from typing import Final

MOST_NAMES: Final = 10_000
"""Names that are remembered; the one that was wrong longest ago gives way."""
FORGET: Final = 3600.0
"""Seconds after the last mistake when all are forgotten."""


class Pauses:
    """Counts mistakes by name: ``free`` of them cost nothing, each further one doubles the pause
    that begins with it, from one second up to ``most``."""

    def __init__(self, free: int, most: int) -> None:
        self._free, self._most = free, most
        self._wrong: dict[str, tuple[int, float]] = {}

    def rest(self, name: str, now: float) -> int:
        """Whole seconds that this one has to wait; 0 = none. ``now`` in seconds, of any clock."""
        count, at = self._known(name, now)
        if count <= self._free:
            return 0
        pause = min(1 << min(count - self._free - 1, 30), self._most)
        return max(math.ceil(at + pause - now), 0)

    def note(self, name: str, now: float) -> None:
        """A mistake, or an attempt that may turn out as one."""
        count, _ = self._known(name, now)
        self._wrong.pop(name, None)
        while len(self._wrong) >= MOST_NAMES:
            del self._wrong[next(iter(self._wrong))]
        self._wrong[name] = (count + 1, now)

    def take_back(self, name: str) -> None:
        """The last one noted was none."""
        count, at = self._wrong.get(name, (0, 0.0))
        if count > 1:
            self._wrong[name] = (count - 1, at)
        else:
            self._wrong.pop(name, None)

    def forget(self, name: str) -> None:
        """All of them."""
        self._wrong.pop(name, None)

    def _known(self, name: str, now: float) -> tuple[int, float]:
        count, at = self._wrong.get(name, (0, now))
        return (count, at) if now - at < FORGET else (0, now)
