"""Targets that are far slower than those beside them: they get few calls until they are quicker."""

from collections.abc import Sequence
from statistics import median
from typing import Final

OUTLIER_TIMES: Final = 5.0
OUTLIER_SECONDS: Final = 1.0
"""Slow is who takes so many times what the others take, and at least so much longer: answers of
different length must not look like that."""
OUTLIER_SHARE: Final = 0.05
"""The part of its calls that a slow one keeps: they show when it is quick again."""


def slow(seconds: Sequence[float]) -> list[int]:
    """Which of the targets are outliers, by the expected ``seconds`` of each (0 = not known).

    It takes two that are known to tell; the quickest never is one.
    """
    known = [each for each in seconds if each > 0]
    if len(known) < 2 or max(known) < OUTLIER_SECONDS:
        return []
    found = []
    for i, each in enumerate(seconds):
        if each > OUTLIER_SECONDS:
            others = median(s for j, s in enumerate(seconds) if j != i and s > 0)
            if each > max(others * OUTLIER_TIMES, others + OUTLIER_SECONDS):
                found.append(i)
    return found
