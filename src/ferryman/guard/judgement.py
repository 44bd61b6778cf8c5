"""What judges of whole texts say."""

import re
from collections.abc import Callable, Iterator
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


def pieces_of(text: str, size: int, overlap: int) -> Iterator[str]:
    """A text in pieces of ``size`` characters, each beginning ``overlap`` before the last one's
    end; at least one."""
    for start in range(0, max(len(text) - overlap, 1), size - overlap):
        yield text[start : start + size]
