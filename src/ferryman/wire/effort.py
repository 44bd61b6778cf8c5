"""How much a model shall think: names of efforts and budgets in tokens, one for the other.

Vendors offer either. Where one has to become the other:

- low, medium and high are 1,024, 8,192 and 24,576 tokens, as Google maps them itself
  (https://ai.google.dev/gemini-api/docs/openai#thinking);
- minimal is 512, the least that a Gemini 2.5 model takes throughout
  (https://ai.google.dev/gemini-api/docs/thinking), xhigh 32,768, the most that one takes;
  max is twice that: as much as today's models write at all;
- within a limit of the output, thoughts take at most the shares that OpenRouter documents
  (https://openrouter.ai/docs/guides/best-practices/reasoning-tokens): so something remains to say.
"""

from collections.abc import Collection
from itertools import pairwise

from ferryman.ir.request import Reasoning

NONE = "none"
"""The effort of not thinking at all."""

_TOKENS = {
    "minimal": 512,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 32768,
    "max": 65536,
}
_PERCENT = {"minimal": 10, "low": 20, "medium": 50, "high": 80, "xhigh": 95, "max": 95}

EFFORTS = (NONE, *_TOKENS)
"""All names, from least to most."""


def budget_of(effort: str, max_output: int = 0) -> int:
    """Tokens for thinking that stand for ``effort``: 0 for ``none``, -1 for a name not known.

    ``max_output`` is the limit of the output that thoughts count into; 0 = none known. Vendors'
    own least budgets (such as 1,024) are not heeded here.
    """
    if effort == NONE:
        return 0
    tokens = _TOKENS.get(effort, -1)
    if tokens > 0 and max_output > 0:
        return min(tokens, max_output * _PERCENT[effort] // 100)
    return tokens


def effort_of(budget: int) -> str:
    """The name nearest to ``budget`` tokens by ratio; ``none`` for 0, empty for less (not said)."""
    if budget <= 0:
        return NONE if budget == 0 else ""
    # Nearest by ratio: as far below the one as above the other is where the squares meet.
    names = list(_TOKENS.items())
    for (name, tokens), (_, more) in pairwise(names):
        if budget * budget < tokens * more:
            return name
    return names[-1][0]


def nearest(effort: str, offered: tuple[str, ...]) -> str:
    """``effort`` if it is among ``offered``, else the next one below, else the least above.

    Both are names of :data:`EFFORTS`; an unknown ``effort`` is returned as it is.
    """
    if effort in offered or effort not in EFFORTS:
        return effort
    place = EFFORTS.index(effort)
    below = [name for name in EFFORTS[:place] if name in offered and name != NONE]
    above = [name for name in EFFORTS[place:] if name in offered]
    return below[-1] if below else above[0] if above else effort


_MAY_LACK = tuple(name for name in EFFORTS if name not in ("low", "medium", "high"))


def offered_by(quirks: Collection[str]) -> tuple[str, ...]:
    """The names that a model takes, for :func:`nearest`; empty = all, as far as is known.

    With the quirk ``efforts_low_to_high`` it takes low, medium and high, and each further one that
    a quirk ``effort_X`` names.
    """
    if "efforts_low_to_high" not in quirks:
        return ()
    return tuple(name for name in EFFORTS if name not in _MAY_LACK or f"effort_{name}" in quirks)


def thinks(said: Reasoning | None, quirks: Collection[str]) -> bool:
    """Whether a model that can think will: as is said, or by itself (``thinks_unasked``)."""
    if said is not None and (said.effort or said.budget >= 0):
        return said.effort != NONE if said.effort else said.budget != 0
    return "thinks_unasked" in quirks or (said is not None and said.adaptive)
