"""Targets that are far slower than those beside them: they get few calls until they are quicker."""

from collections.abc import Sequence
from typing import Final

OUTLIER_TIMES: Final = 5.0
OUTLIER_SECONDS: Final = 1.0
"""Slow is who takes so many times what most take, and at least so much longer: answers of
different length must not look like that."""
OUTLIER_SHARE: Final = 0.05
"""The part of its calls that a slow one keeps: they show when it is quick again."""


def slow(seconds: Sequence[float]) -> list[int]:
    """Which of the targets are outliers, by the expected ``seconds`` of each (0 = not known).

    It takes two that are known to tell; the quickest never is one.
    """
    known = sorted([each for each in seconds if each > 0])
    if len(known) < 2 or known[-1] < OUTLIER_SECONDS:
        return []
    usual = known[(len(known) - 1) // 2]
    most = max(usual * OUTLIER_TIMES, usual + OUTLIER_SECONDS)
    return [i for i, each in enumerate(seconds) if each > most]
