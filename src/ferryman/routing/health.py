"""Live latency of targets: a peak-sensitive moving average that forgets."""

import math
from typing import Final

DECAY_SECONDS: Final = 10.0
PENALTY_SECONDS: Final = 30.0
"""What a failed attempt counts as: it sends a target to the back until the memory fades."""


class PeakEwma:
    """Expected seconds to a target's first byte: jumps to a peak at once, decays to the mean.

    After Finagle's peak EWMA: an observation above the average replaces it, one below is blended in
    with weight ``1 - exp(-elapsed / DECAY_SECONDS)``.
    """

    __slots__ = ("_at", "_cost")

    def __init__(self) -> None:
        self._cost = 0.0
        self._at = 0.0

    def observe(self, seconds: float, now: float) -> None:
        """Take in one answer (seconds to its first byte) at loop time ``now``."""
        if seconds > self._cost:
            self._cost = seconds
        else:
            keep = math.exp((self._at - now) / DECAY_SECONDS)
            self._cost = self._cost * keep + seconds * (1 - keep)
        self._at = now

    def fail(self, now: float) -> None:
        """Take in one failure."""
        self.observe(PENALTY_SECONDS, now)

    def expected(self, now: float) -> float:
        """Seconds; 0 when nothing was ever measured, and fading towards 0 while nothing is."""
        return self._cost * math.exp((self._at - now) / (DECAY_SECONDS * 6))
