"""Rates that calls are held to, by the generic cell rate algorithm (GCRA) in exact integers. Pure.

Of each key it keeps one time: when all that was taken would have flowed off. What a call takes is
an estimate where it is tokens; :meth:`Throttle.settle` puts that right, and gives back no more than
has not flowed off in the meantime, so that what was really used never exceeds burst + rate × time.
"""

from math import gcd
from typing import Final

SECOND: Final = 10**9
"""Nanoseconds, in which times are given here."""
NEVER: Final = -1
"""More than the burst: no time to wait is long enough."""
LOWS_KEPT: Final = 64
SWEPT_AT: Final = 1024
"""Keys kept before those that have nothing to remember are looked for."""


class Level:
    """What was taken with one key and has not flowed off yet.

    ``tat`` is when it will have, in nanoseconds × ``Throttle._scale``. ``lows`` are (number of a
    taking, level before it), both rising: the lowest level since any taking is the first one after.
    """

    __slots__ = ("lows", "tat")

    def __init__(self) -> None:
        self.tat = 0
        self.lows: list[tuple[int, int]] = []


class Throttle:
    """``most`` units in ``seconds``, of which ``burst`` may come at once; a level for each key."""

    def __init__(self, most: int, seconds: int, burst: int) -> None:
        self.most = most
        self.seconds = seconds
        self.burst = burst
        # A unit flows off in so many nanoseconds, as a fraction in its lowest terms: times in its
        # parts are exact, and mostly small enough for a register.
        self._common = gcd(most, seconds * SECOND)
        self._scale = most // self._common
        self._cost = seconds * SECOND // self._common
        self._depth = burst * self._cost
        self._now = self._parts = 0
        self._levels: dict[str, Level] = {}
        self._count = 0
        self._sweep_at = SWEPT_AT

    def _scaled(self, now: int) -> int:
        """``now`` in the parts in which levels are kept. A call asks for the same moment several
        times, and compiled, to multiply numbers of this size is dear."""
        if self._scale == 1:
            return now
        if now != self._now:
            self._now, self._parts = now, now * self._scale
        return self._parts

    def wait(self, key: str, units: int, now: int) -> int:
        """Nanoseconds until ``units`` may be taken: 0 = they may be, or :data:`NEVER`."""
        level = self._levels.get(key)
        scaled = self._scaled(now)
        filled = level.tat - scaled if level is not None and level.tat > scaled else 0
        over = filled + units * self._cost - self._depth
        if over <= 0:
            return 0
        return -(-over // self._scale) if units <= self.burst else NEVER

    def take(self, key: str, units: int, now: int) -> int:
        """Take ``units``, whether they may be or not; returns the number of this taking."""
        level = self._levels.get(key)
        if level is None:
            if len(self._levels) >= self._sweep_at:
                self._sweep(now)
            level = self._levels[key] = Level()
        scaled = self._scaled(now)
        start = level.tat if level.tat > scaled else scaled
        self._count += 1
        _note_low(level.lows, self._count, start - scaled)
        level.tat = start + units * self._cost
        return self._count

    def settle(self, key: str, number: int, taken: int, used: int, now: int) -> None:
        """``used`` is what taking ``number`` should have taken in place of ``taken``."""
        if used == taken:
            return
        if used > taken:
            self.take(key, used - taken, now)
            return
        level = self._levels.get(key)
        scaled = self._scaled(now)
        if level is None or level.tat <= scaled:
            return
        surplus = (taken - used) * self._cost
        lows = level.lows
        later = len(lows)
        while later and lows[later - 1][0] > number:
            later -= 1
        still = level.tat - scaled
        if later < len(lows):
            still = min(still, lows[later][1])
        level.tat -= min(surplus, still)
        if later == len(lows):
            return
        # As if it had never been taken: every level since then was lower by up to as much.
        lowered = [(at, max(low - surplus, 0)) for at, low in lows[later:]]
        del lows[later:]
        for at, low in lowered:
            _note_low(lows, at, low)

    def left(self, key: str, now: int) -> tuple[int, int]:
        """Units that may be taken now, and nanoseconds until all of the burst may be."""
        level = self._levels.get(key)
        scaled = self._scaled(now)
        if level is None or level.tat <= scaled:
            return self.burst, 0
        filled = level.tat - scaled
        return max((self._depth - filled) // self._cost, 0), -(-filled // self._scale)

    def adopt(self, key: str, units: int, parts: int, now: int) -> None:
        """Go by a level that is kept elsewhere: of a unit, ``seconds`` × 10^6 parts."""
        level = self._levels.get(key)
        if level is None:
            level = self._levels[key] = Level()
        # Rounded up to whole parts, which changes no answer: all else is whole.
        level.tat = self._scaled(now) + units * self._cost - (-parts * 1000 // self._common)

    def keys(self) -> list[str]:
        """Those of which something is remembered."""
        return list(self._levels)

    def _sweep(self, now: int) -> None:
        scaled = self._scaled(now)
        self._levels = {key: level for key, level in self._levels.items() if level.tat > scaled}
        self._sweep_at = max(2 * len(self._levels), SWEPT_AT)


def _note_low(lows: list[tuple[int, int]], number: int, low: int) -> None:
    if len(lows) == 1 and lows[0][1] >= low:  # as mostly
        lows[0] = (number, low)
        return
    while lows and lows[-1][1] >= low:
        lows.pop()
    lows.append((number, low))
    if len(lows) > LOWS_KEPT:  # two become one as low as either: nothing is given back twice
        lows[1] = (lows[1][0], lows[0][1])
        del lows[0]
