"""Whether a text tries to take a model over: rules of words, each with a weight, and a small model.

The rules are independent pieces of evidence, 1 - (1 - a)(1 - b)…, of each once, and what they come
to is one of the things that the model goes by. All patterns are RE2's, so that the time is linear
in the text. docs/guardrails.md has the figures that are measured on public sets.
"""

import base64
import binascii
import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from ferryman.catalog.injection_rules import RULES
from ferryman.config.linear import regex
from ferryman.guard.injection_model import likeness
from ferryman.guard.judgement import Judgement, pieces_of

_COMPILED: Final[tuple[tuple[str, float, Any], ...]] = tuple(
    (name, weight, regex(pattern)) for name, weight, pattern in RULES
)
_SPACED: Final = re.compile(r"(?<!\w)(?:\w[ .\-_*]){5,60}\w(?!\w)")
_LEET: Final = str.maketrans("013457@$", "oieastas")
_MIXED: Final = re.compile(r"\b(?=\w{0,20}[a-z])(?=\w{0,20}[013457@$])[\w@$]{4,24}\b")
_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/]{24,4000}={0,2}(?![A-Za-z0-9+/=])")
_REASONS: Final = 8
PIECE: Final = 16_384
"""Characters that are looked at in one go: no step of it holds the interpreter for long."""
OVERLAP: Final = 4_096
"""Longer than what any rule fits, Base64 included."""


def injection(text: str) -> Judgement:
    """The score of a text, and the rules that it comes of, or ``model`` where none has found it."""
    found: dict[str, float] = {}
    pieces = list(pieces_of(text, PIECE, OVERLAP))
    for piece in pieces:
        found |= rules_of(piece)
    rules = strength(found)
    score = round(max(likeness(folded(piece), rules) for piece in pieces), 3)
    strongest = sorted(found, key=lambda name: (-found[name], name))[:_REASONS]
    return Judgement(score, tuple(strongest) or (("model",) if score >= 0.5 else ()))


def rules_of(text: str) -> dict[str, float]:
    """The rules that fit, with their weights."""
    found: dict[str, float] = {}
    for hidden, said in _readings(text):
        for name, weight, pattern in _COMPILED:
            if name not in found and pattern.search(said):
                found[name] = weight
                if hidden:
                    found["disguised"] = 0.3
    return found


def strength(found: Mapping[str, float]) -> float:
    """What rules that fit come to, from 0 to 1."""
    return 1.0 - math.prod(1.0 - weight for weight in found.values())


def _readings(text: str) -> list[tuple[bool, str]]:
    """The text as it is read, and what is hidden in it: (whether it was hidden, text)."""
    plain = folded(text)
    out = [(False, plain)]
    if _SPACED.search(plain):
        out.append((True, _SPACED.sub(lambda m: re.sub(r"[ .\-_*]", "", m.group()), plain)))
    if _MIXED.search(plain):
        out.append((True, _MIXED.sub(lambda m: m.group().translate(_LEET), plain)))
    for match in _BASE64.finditer(text):
        try:
            said = base64.b64decode(match.group(), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            continue
        if said.isprintable():
            out.append((True, folded(said)))
    return out


def folded(text: str) -> str:
    """A text in the form that rules and model are made for."""
    flat = text if text.isascii() else unicodedata.normalize("NFKC", text)
    if not flat.isascii():
        flat = "".join(each for each in flat if unicodedata.category(each) != "Cf")
        flat = flat.replace("\u2019", "'")
    return " ".join(flat.casefold().split())
