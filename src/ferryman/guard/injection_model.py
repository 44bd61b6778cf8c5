"""How much a text is like attempts to take a model over: a linear model over words and their pairs.

Logistic regression on hashed features (Weinberger et al., "Feature Hashing for Large Scale
Multitask Learning", 2009), of 8,192 weights of a byte each. A text is looked at in windows, so that
an attempt is found in a long one. ``scripts/train_injection.py`` has made the weights;
docs/guardrails.md says of what, and how well it does.
"""

import base64
import math
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Final
from zlib import crc32

import msgspec
from msgspec import Struct

FEATURES: Final = 8_192
WINDOW: Final = 256
"""Words that are looked at together; the next ones begin in their middle."""
_WORD: Final = re.compile(r"\w+|[^\w\s]")


class Weights(Struct, frozen=True):
    """The file of a model."""

    scale: float
    """Of the weights, which are whole numbers."""
    bias: float
    rules: float
    """What a score of 1 by the rules adds."""
    weights: str
    """``FEATURES`` signed bytes in base 85."""


def likeness(text: str, rules: float) -> float:
    """How likely ``text`` (folded, blanks single) is an attempt: from 0 to 1, of which 0.6 is the
    point that one in some hundred harmless texts reaches. ``rules``: its score by the rules."""
    weights, model = _model()
    most = max(
        sum(weights[each] for each in found) / math.sqrt(max(len(found), 1))
        for found in windows(text)
    )
    logit = model.scale * most + model.bias + model.rules * rules
    return 1 / (1 + math.exp(-max(min(logit, 30.0), -30.0)) / 1.5)


def windows(text: str) -> Iterator[set[int]]:
    """The features of each window of a text; at least one."""
    words = _WORD.findall(text)
    singles = [_feature(word) for word in words]
    pairs = [_feature(f"{one} {two}") for one, two in pairwise(words)]
    for start in range(0, max(len(words) - WINDOW // 2, 1), WINDOW // 2):
        yield _window(singles, pairs, start)


def _window(singles: Sequence[int], pairs: Sequence[int], start: int) -> set[int]:
    found = set(singles[start : start + WINDOW])
    found.update(pairs[start : start + WINDOW - 1])
    return found


def _feature(words: str) -> int:
    return crc32(words.encode("utf-8", "replace")) % FEATURES


@cache
def _model() -> tuple[Sequence[int], Weights]:
    file = resources.files("ferryman.catalog") / "data" / "injection_model.json"
    model = msgspec.json.decode(file.read_bytes(), type=Weights)
    return memoryview(base64.b85decode(model.weights)).cast("b"), model
