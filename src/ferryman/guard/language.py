"""In which language a text is: by its script, and where several share one, by its letters.

Naive Bayes over runs of two and three letters of a word (Cavnar and Trenkle, "N-Gram-Based Text
Categorization", 1994), in windows, so that a passage in another language is found in a long text.
``scripts/train_language.py`` has made the weights; docs/guardrails.md says of what, and how well
it does.
"""

import base64
import math
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from itertools import repeat
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from ferryman.guard.judgement import NOTHING, Judge, Judgement, pieces_of

LEAST: Final = 16
"""Letters of a text in a script of several languages, below which it is not told which it is in;"""
PASSAGE: Final = 16
"""and of what is in another script than most of the text, below which it is passed over;"""
NAMES: Final = 200
"""in Latin letters more, since names and terms are written in them everywhere."""
WINDOW: Final = 400
"""Letters that are looked at together."""
LONGEST: Final = 40
"""Letters of a word; what is longer is none."""
PIECE: Final = 16_384
"""Characters of a text that are looked at in one go."""
EVIDENCE: Final = 20.0
"""By what the logarithms of likelihoods are divided, since letters depend on their neighbours."""
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "latin": (
        "af", "ca", "cs", "cy", "da", "de", "en", "es", "et", "fi", "fr", "hr", "hu", "id", "it",
        "lt", "lv", "nl", "no", "pl", "pt", "ro", "sk", "sl", "so", "sq", "sv", "sw", "tl", "tr",
        "vi",
    ),
    "cyrillic": ("bg", "mk", "ru", "uk"),
    "arabic": ("ar", "fa", "ur"),
    "devanagari": ("hi", "mr", "ne"),
}  # fmt: skip
"""Scripts of several languages that are told apart, in the order of the model's weights."""
_SCRIPTS: Final = {
    "latin": "A-Za-zªºÀ-ÖØ-öø-ɏ\u0300-\u036f\u1e00-\u1eff",
    "cyrillic": "\u0400-\u052f",
    "arabic": "\u0620-\u0669\u066e-\u06d3\u06d5-\u06ff\u0750-\u077f",
    "devanagari": "\u0900-\u0963\u0966-\u097f",
    "el": "\u0370-\u037d\u037f-\u03ff\u1f00-\u1fff",
    "hy": "\u0531-\u0587",
    "he": "\u0590-\u05ff",
    "bn": "\u0980-\u09ff",
    "pa": "\u0a00-\u0a7f",
    "gu": "\u0a80-\u0aff",
    "or": "\u0b00-\u0b7f",
    "ta": "\u0b80-\u0bff",
    "te": "\u0c00-\u0c7f",
    "kn": "\u0c80-\u0cff",
    "ml": "\u0d00-\u0d7f",
    "si": "\u0d80-\u0dff",
    "th": "\u0e00-\u0e7f",
    "lo": "\u0e80-\u0eff",
    "bo": "\u0f00-\u0fff",
    "my": "\u1000-\u109f",
    "ka": "\u10a0-\u10ff",
    "am": "\u1200-\u139f",
    "km": "\u1780-\u17ff",
    "ko": "\u1100-\u11ff\uac00-\ud7af",
    "ja": "\u3041-\u30ff",
    "zh": "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff",
}
_SYLLABLES: Final = ("ko", "ja", "zh", "am")
"""Scripts that say a word in two or three signs."""
OTHER: Final = "other"
"""A script that no language here has."""
_WORD: Final = re.compile(
    "|".join(f"(?P<{name}>[{letters}]+)" for name, letters in _SCRIPTS.items())
    + rf"|(?P<{OTHER}>[^\W\d_])"
)
_SKIPPED: Final = re.compile(
    r"(?i)\b(?:https?|ftp)://\S+|(?<![\w.+-])[\w.+-]{1,64}@[\w.-]+|\[[A-Z][A-Z0-9_:]*\]"
    r"|<[^<>\n]{1,200}>|\b[^\W\d_]{0,40}[0-9_]\w*"
)
"""What is in no language: links, addresses, what stands for something, tags, and names of code."""


class Table(Struct, frozen=True):
    """What is known of the languages of a script."""

    grams: str
    """Runs of letters (a blank where a word begins or ends), a line each, deflated, in base 85."""
    weights: str
    """Of each language a byte for every run, alike: how much likelier it is there than where it
    hardly occurs, in steps of the logarithm."""


class Model(Struct, frozen=True):
    """The file of a model."""

    scale: float
    """A step of the logarithm."""
    tables: dict[str, Table]


class Part(NamedTuple):
    """A part of a text in one script."""

    script: str
    languages: Mapping[str, float]
    """Those that it may be in, and how likely each is; together 1."""
    sure: bool
    """Whether it is long enough to tell."""


def language(allow: Sequence[str], deny: Sequence[str], *, unknown: bool) -> Judge:
    """What judges whether a text, or a passage of it, is in a language that may not be: one that
    is not in ``allow``, or where that is empty, one in ``deny``. ``unknown``: a text of which that
    can't be told may not be, either. The reasons are languages."""
    _tables()

    def may(code: str) -> bool:
        return code in allow if allow else code not in deny

    def judge(text: str) -> Judgement:
        found = list(parts(text))
        if not found:
            return NOTHING
        return worst(found, may) or Judgement(1.0 if unknown else 0.0, ("unknown",))

    return judge


def worst(found: Iterable[Part], may: Callable[[str], bool]) -> Judgement | None:
    """The part of a text that is the least likely to be in a language that may be; None = that
    can't be told of any."""
    judged = [each for part in found if (each := _judged(part, may)) is not None]
    return max(judged, key=lambda each: each.score, default=None)


def _judged(part: Part, may: Callable[[str], bool]) -> Judgement | None:
    """None = that can't be told."""
    best: dict[bool, float] = {}
    for code, share in part.languages.items():
        fits = may(code)
        best[fits] = max(share, best.get(fits, 0.0))
    if len(best) == 2 and not part.sure:
        return None
    # One against one: what is not known counts neither for nor against.
    wrong = best.get(False, 0.0)
    score = round(wrong / (wrong + best.get(True, 0.0)), 3)
    likeliest = max(part.languages, key=part.languages.__getitem__)
    return Judgement(score, (likeliest if part.sure else part.script,))


def parts(text: str) -> Iterator[Part]:
    """The parts of a text, by script and window."""
    for piece in pieces_of(text, PIECE, 0):
        plain = unicodedata.normalize("NFKC", _SKIPPED.sub(" ", piece)).lower()
        words: dict[str, list[str]] = {}
        for match in _WORD.finditer(plain):
            words.setdefault(match.lastgroup or OTHER, []).append(match.group())
        sizes = {script: _size(script, found) for script, found in words.items()}
        if "ja" in sizes and "zh" in sizes:  # what has kana is Japanese, signs and all
            sizes["ja"] += sizes.pop("zh")
        whole = sum(sizes.values())
        for script, size in sizes.items():
            if size < (NAMES if script == "latin" else PASSAGE) and size * 2 < whole:
                continue
            if script in GROUPS:
                yield from _parts(script, words[script])
            else:
                yield Part(script, {script: 1.0}, sure=True)


def _size(script: str, words: Iterable[str]) -> int:
    return sum(map(len, words)) * (3 if script in _SYLLABLES else 1)


def _parts(script: str, words: Sequence[str]) -> Iterator[Part]:
    table, scale = _tables()[script]
    sums = {word: _sum(table, word) for word in set(words)}
    for held in _windows(words):
        likely = _likely(script, sum(map(sums.__getitem__, held)), scale)
        yield Part(script, likely, sure=sum(map(len, held)) >= LEAST)


def _windows(words: Iterable[str]) -> list[list[str]]:
    """Words by the window; the last one may be short."""
    found: list[list[str]] = [[]]
    size = 0
    for word in words:
        if size >= WINDOW:
            found.append([])
            size = 0
        if len(word) <= LONGEST:
            found[-1].append(word)
            size += len(word)
    return found


def _sum(table: Mapping[str, int], word: str) -> int:
    text = f" {word[:LONGEST]} "
    found = (text[at : at + size] for size in (2, 3) for at in range(len(text) - size + 1))
    return sum(map(table.get, found, repeat(0)))


def _likely(script: str, total: int, scale: float) -> dict[str, float]:
    """How likely each language of a script is, which none is beforehand."""
    codes = GROUPS[script]
    sums = [(total >> (_BITS * place)) & ((1 << _BITS) - 1) for place in range(len(codes))]
    most = max(sums)
    odds = [math.exp((each - most) * scale / EVIDENCE) for each in sums]
    whole = sum(odds)
    return {code: each / whole for code, each in zip(codes, odds, strict=True)}


_BITS: Final = 24
"""Of one language's sum: those of all languages are one number, so that one addition adds to all.
A window has less than 2 ** 24 / 255 runs of letters."""


@cache
def _tables() -> dict[str, tuple[dict[str, int], float]]:
    file = resources.files("ferryman.catalog") / "data" / "language_model.json"
    model = msgspec.json.decode(file.read_bytes(), type=Model)
    return {name: (_table(name, table), model.scale) for name, table in model.tables.items()}


def _table(script: str, table: Table) -> dict[str, int]:
    grams = zlib.decompress(base64.b85decode(table.grams)).decode().split("\n")
    weights = zlib.decompress(base64.b85decode(table.weights))
    wide = bytearray(len(GROUPS[script]) * _BITS // 8)
    packed: dict[str, int] = {}
    for at, gram in enumerate(grams):
        wide[:: _BITS // 8] = weights[at :: len(grams)]
        packed[gram] = int.from_bytes(wide, "little")
    return packed
