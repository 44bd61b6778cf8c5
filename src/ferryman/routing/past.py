"""How a target fared in the last half hour, minute by minute."""

from collections import deque
from typing import Final, NamedTuple

MINUTES: Final = 30


class Sums(NamedTuple):
    """Of attempts that came to an end."""

    asked: int
    failed: int
    seconds: float
    """To the first byte, of those that did not fail, added up."""


class Past:
    """Sums by minute; older ones are forgotten when new ones come, or when somebody asks."""

    __slots__ = ("_minutes",)

    def __init__(self) -> None:
        self._minutes: deque[tuple[int, Sums]] = deque()

    def add(self, now: float, asked: int, failed: int, seconds: float) -> None:
        """Take in what came about by loop time ``now``, which never goes back."""
        minute = int(now // 60)
        before = Sums(0, 0, 0.0)
        if self._minutes and self._minutes[-1][0] == minute:
            before = self._minutes.pop()[1]
        asked, failed = before.asked + asked, before.failed + failed
        self._minutes.append((minute, Sums(asked, failed, before.seconds + seconds)))
        self._forget(minute)

    def sums(self, now: float) -> Sums:
        """Of the last half hour."""
        self._forget(int(now // 60))
        found = [each for _, each in self._minutes]
        return Sums(
            sum(each.asked for each in found),
            sum(each.failed for each in found),
            sum(each.seconds for each in found),
        )

    def _forget(self, minute: int) -> None:
        while self._minutes and self._minutes[0][0] <= minute - MINUTES:
            self._minutes.popleft()
