"""What a month will have cost: the run rate of each day of the week, with a range. Pure.

Each day that is left is expected to cost what that day of the week has cost on average in the weeks
before. How far days lay from that average says how far the month may be off: within the range with
80 %, if days are independent of each other and go on as they did.
"""

import math
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

from msgspec import Struct

DAYS: Final = 56
"""Days before today that are looked at: eight of each day of the week."""
FEW: Final = 14
"""With fewer days the day of the week does not matter; with less than two nothing is said."""
_RANGE: Final = 1.2816
"""Standard deviations that 80 % lie within."""


class Forecast(Struct, frozen=True, kw_only=True):
    """Picodollars of a whole month."""

    spent: int
    """So far."""
    expected: int
    low: int
    high: int
    days: int
    """Whole days that it goes by."""
    method: str
    """``weekday``: the average of each day of the week; ``average``: of all days."""


def forecast(daily: Mapping[date, int], today: date, past: float) -> Forecast | None:
    """What the month of ``today`` will cost. None = there are less than two whole days to go by.

    ``daily``: picodollars of each day that had calls; ``past``: how much of today is over, 0 to 1.
    """
    spent = sum(cost for day, cost in daily.items() if (day.year, day.month) == _month_of(today))
    begin = max(today - timedelta(days=DAYS), min(daily, default=today))
    whole = [begin + timedelta(days=n) for n in range((today - begin).days)]
    if len(whole) < 2:
        return None
    weekly = len(whole) >= FEW
    costs: dict[int, list[int]] = {}
    for day in whole:
        costs.setdefault(day.weekday() if weekly else 0, []).append(daily.get(day, 0))
    means = {name: sum(found) / len(found) for name, found in costs.items()}
    off = sum((cost - means[name]) ** 2 for name, found in costs.items() for cost in found)
    variance = off / max(len(whole) - len(means), 1)
    left = [(today, 1 - past)]
    day = today + timedelta(days=1)
    while (day.year, day.month) == _month_of(today):
        left.append((day, 1.0))
        day += timedelta(days=1)
    expected = spent + sum(means[each.weekday() if weekly else 0] * part for each, part in left)
    days = sum(part for _, part in left)
    # The days themselves vary, and the averages are known from a few of them only.
    spread = _RANGE * math.sqrt(variance * (days + days**2 / len(whole)))
    return Forecast(
        spent=spent,
        expected=round(expected),
        low=max(spent, round(expected - spread)),
        high=round(expected + spread),
        days=len(whole),
        method="weekday" if weekly else "average",
    )


def _month_of(day: date) -> tuple[int, int]:
    return day.year, day.month
