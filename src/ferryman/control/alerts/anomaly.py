"""Whether today's spending is out of the ordinary, and why that is said. Pure.

The usual is the median of earlier days of the same weekday, up to the same hour: one odd day among
them moves it little, where an average would follow. How far days lie from it is the median absolute
deviation (MAD), times 1.4826, which makes it the standard deviation of a normal distribution
(https://www.itl.nist.gov/div898/handbook/eda/section3/eda356.htm).
"""

from collections.abc import Sequence
from statistics import median
from typing import Final

from msgspec import Struct

WEEKS: Final = 8
"""Days of the same weekday that are looked at."""
FEWEST: Final = 4
"""With fewer of them that had any spending, nothing is usual yet."""
_NORMAL: Final = 1.4826
_LEAST: Final = 0.1
"""Share of the usual that counts as a deviation at least: days that are all alike have none."""


class Unusual(Struct, frozen=True, kw_only=True):
    """Picodollars."""

    today: int
    usual: int
    deviation: int
    bound: int
    """Above which it is out of the ordinary."""
    days: int
    """That it was compared with."""


def unusual(today: int, before: Sequence[int], deviations: float, least: int) -> Unusual | None:
    """What is odd of ``today``'s spending beside that of the same weekdays ``before``, all up to
    the same hour; None = nothing, or there is too little to say. ``least``: picodollars that it
    has to be above the usual in any case."""
    if sum(1 for spent in before if spent) < FEWEST:
        return None
    usual = median(before)
    off = _NORMAL * median(abs(spent - usual) for spent in before)
    deviation = max(off, _LEAST * usual)
    bound = usual + max(deviations * deviation, least)
    if today <= bound:
        return None
    return Unusual(
        today=today, usual=round(usual), deviation=round(deviation), bound=round(bound),
        days=len(before),
    )  # fmt: skip
