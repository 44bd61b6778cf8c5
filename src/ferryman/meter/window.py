"""Periods in which budgets are counted: of the calendar, or rolling. Pure; Unix seconds."""

from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from ferryman.config.snapshot import LENGTHS

NONE: Final = timedelta()
PARTS: Final = 60
"""A rolling period is counted in so many parts: what was spent counts up to one part longer."""


class Window:
    """Says to which bucket of spending a moment belongs, and how long that bucket counts."""

    def __init__(self, per: str, zone: str = "UTC", *, rolling: bool = False) -> None:
        """``per`` is one of ``LENGTHS``. Raises ``ZoneInfoNotFoundError``."""
        self.per = per
        self.rolling = rolling
        self.zone = zone
        self._zone = ZoneInfo(zone)
        self._step = LENGTHS[per] // PARTS
        self._start = self._end = 0

    def bucket(self, at: int) -> tuple[int, int]:
        """Where the bucket of ``at`` begins, and when it counts no more.

        Of the calendar: the period itself; Mondays begin a week, days are as long as there.
        """
        if self.rolling:
            start = at - at % self._step
            return start, start + self._step + LENGTHS[self.per]
        if not self._start <= at < self._end:
            self._start, self._end = self._period(at)
        return self._start, self._end

    def since(self, at: int) -> int:
        """The earliest moment whose spending still counts at ``at``."""
        if self.rolling:
            return (at - at % self._step) - LENGTHS[self.per]
        return self.bucket(at)[0]

    def _period(self, at: int) -> tuple[int, int]:
        if self.per == "minute":
            return at - at % 60, at - at % 60 + 60
        here = datetime.fromtimestamp(at, self._zone)
        if self.per == "hour":
            # By standard time: where summer shifts clocks by half an hour, hours stay whole.
            offset = (here.utcoffset() or NONE) - (here.dst() or NONE)
            start = at - int(at + offset.total_seconds()) % 3600
            return start, start + 3600
        first = here.date()
        if self.per == "week":
            first -= timedelta(days=first.weekday())
            after = first + timedelta(days=7)
        elif self.per == "month":
            first = first.replace(day=1)
            after = (first + timedelta(days=31)).replace(day=1)
        else:
            after = first + timedelta(days=1)
        return self._midnight(first), self._midnight(after)

    def _midnight(self, day: date) -> int:
        """When ``day`` begins there; at the change itself, where clocks skip midnight."""
        return int(datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp())
