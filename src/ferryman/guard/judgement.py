"""What judges of whole texts say."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple


class Judgement(NamedTuple):
    """What is thought of a text."""

    score: float
    """0 = nothing found, 1 = certain."""
    reasons: tuple[str, ...] = ()
    """Names of rules or places; never the text."""


REASON: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,40}")
"""Identifiers alone: what others say in words might be the caller's."""
MOST_REASONS: Final = 8
Judge = Callable[[str], Judgement]
NOTHING = Judgement(0.0)
