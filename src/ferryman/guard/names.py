"""Names of persons: a linear model over the form of a word and what stands around it.

Logistic regression on hashed features, as in ``injection_model.py``. Words that begin with a
capital are judged one by one, by ``BEFORE`` characters before them and ``AFTER`` behind them, and
no more; those that are names and follow each other are one name. So the same is found in a stream
as in the whole. ``scripts/train_names.py`` has made the weights; docs/guardrails.md says of what,
and how well it does.
"""

import base64
import re
import zlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Final
from zlib import crc32

import msgspec
from msgspec import Struct

from ferryman.guard.scan import Detector, Hit

FEATURES: Final = 1 << 18
BEFORE: Final = 40
AFTER: Final = 32
"""Characters around a word that it is judged by: more than the longest ``_GAP``, and than what may
still become part of a word behind a hyphen."""
LONGEST: Final = 80
"""Characters of a name; what follows them is another one."""
LEAST: Final = -0.5
BESIDE: Final = 2.0
"""Log-odds that a word comes above to be a name, and how much less will do beside one."""
_LETTER: Final = r"[^\W\d_]"
_CAPITAL: Final = f"[{''.join(each for each in map(chr, range(0x2000)) if each.isupper())}]"
WORD: Final = re.compile(
    rf"(?<!\w)(?={_CAPITAL})(?:{_LETTER}['\u2019]{_LETTER}{{2,24}}|{_LETTER}{{1,24}})"
    rf"(?:-{_LETTER}{{1,24}})?(?!\w)"
)
"""A word that may be a name."""
_GAP: Final = re.compile(
    r"(?<=\b\w)\.[ -]?|[ ](?:(?:de(?: la| los| las)?|del|della|di|da|do|dos|das|du|van(?: de[rn]?)?"
    r"|von(?: de[rm])?|zu|zur|ter|ten|bin|bint|ibn)[ ]|(?:al|el)-)?|-"
)
"""What may stand between two words of one name."""
_AROUND: Final = re.compile(
    rf"\b(?:M|Mr|Mrs|Ms|Dr|Prof|St|Hr|Fr|Sr|Sra|Mme|Mlle)\.|{_LETTER}+|\d+|[^\w\s]|\n"
)


class Weights(Struct, frozen=True):
    """The file of a model."""

    scale: float
    """Of the weights, which are whole numbers."""
    bias: float
    """What a word has to come above, with the sign turned."""
    weights: str
    """``FEATURES`` signed bytes, deflated, in base 85."""
    lists: str
    """As many bytes alike: which lists (first names, surnames, other words, places) have a word, a
    bit for each."""


def place(text: str) -> int:
    """Where something stands in the tables."""
    return crc32(text.encode("utf-8", "replace")) % FEATURES


def features(
    text: str, start: int, end: int, lists: Sequence[int], *, known: bool = True
) -> list[int]:
    """What the word from ``start`` to ``end`` is judged by, as places in the table; not ``known``:
    as if it had never been seen."""
    left: list[str] = _AROUND.findall(text[max(start - BEFORE, 0) : start])[-3:]
    right: list[str] = _AROUND.findall(text[end : end + AFTER])[:3]
    if len(left) < 3:
        left = ["^" if start < BEFORE else "…"] * (3 - len(left)) + left
    right += ["$"] * (3 - len(right))
    word = text[start:end]
    low, form = word.lower(), _form(word)
    l3, l2, l1 = map(str.lower, left)
    r1, r2, r3 = map(str.lower, right)
    before, behind = _form(left[2]), _form(right[0])
    own = lists[place(low)]
    last = lists[place(l1)] if before[0] == "X" else before
    next_ = lists[place(r1)] if behind[0] == "X" else behind
    found = [
        f"A{own}|{form}|{before}", f"B{last}|{own}|{next_}", f"C{l1}|{own}", f"D{own}|{r1}",
        f"E{last}|{form}|{next_}", f"F{_form(left[1])}|{last}|{own}",
        f"G{own}|{next_}|{_form(right[1])}", f"H{l2} {l1}|{own}", f"I{own}|{r1} {r2}",
        f"b{low[:2]}", f"c{low[:3]}", f"d{low[-2:]}", f"g{form}{min(len(low), 12)}",
        f"h{before}|{form}|{behind}",
        f"i{_form(left[1])}|{before}|{form}", f"j{form}|{behind}|{_form(right[1])}",
        f"k{l1}|{form}", f"l{l2} {l1}|{form}", f"m{l3} {l2} {l1}", f"n{l2}|{before}",
        f"o{r1}|{form}", f"p{r1} {r2}|{form}", f"q{r2}|{behind}", f"r{l1} {r1}", f"s{l1} {low}",
        f"t{low} {r1}", f"u{l1[-3:]}|{before}|{form}", f"v{r1[-3:]}|{behind}|{form}",
        f"w{l3}", f"x{r3}|{_form(right[1])}",
    ]  # fmt: skip
    if known:
        found += [
            f"a{low}", f"e{low[-3:]}", f"f{low[-4:]}", f"s{l1} {low}", f"t{low} {r1}",
            f"y{low[-2:]}|{before}|{behind}", f"z{low[-3:]}|{r1[-2:]}|{behind}",
        ]  # fmt: skip
    return [place(each) for each in found]


def _form(word: str) -> str:
    if not word[0].isalpha():
        return "0" if word[0].isdecimal() else word
    if word.islower():
        return "x"
    if len(word) == 1:
        return "X"
    if word.isupper():
        return "XX"
    return "Xx" if word[1:].islower() else "X-X" if "-" in word else "XxX"


@cache
def load() -> tuple[Sequence[int], Sequence[int], float, float]:
    """The tables, and the sums of weights that a word has to come above, alone and beside a name.

    It takes some ten milliseconds, once."""
    file = resources.files("ferryman.catalog") / "data" / "name_model.json"
    model = msgspec.json.decode(file.read_bytes(), type=Weights)
    weights, lists = (
        zlib.decompress(base64.b85decode(each)) for each in (model.weights, model.lists)
    )
    least = (LEAST - model.bias) / model.scale
    return memoryview(weights).cast("b"), lists, least, least - BESIDE / model.scale


def _score(text: str, word: re.Match[str]) -> int:
    weights, lists, _, _ = load()
    return sum(weights[each] for each in features(text, *word.span(), lists))


def _find(text: str, start: int) -> Hit | None:
    _, _, alone, beside = load()
    for word in WORD.finditer(text, start):
        score, more = _score(text, word), _next(text, word.end())
        if score <= beside:
            continue
        if score <= alone and (more is None or _score(text, more) <= alone):
            continue
        begin, end = word.span()
        while more is not None and more.end() - begin <= LONGEST:
            if _score(text, more) <= beside:
                break
            end = more.end()
            more = _next(text, end)
        return Hit(begin, begin, end)
    return None


def _next(text: str, end: int) -> re.Match[str] | None:
    """The word behind ``end`` that may be part of the same name."""
    gap = _GAP.match(text, end)
    return WORD.match(text, gap.end()) if gap is not None else None


def _sure(text: str) -> int:
    """Up to where more text changes nothing: to the first word that has too little behind it, or
    to the name that it may be part of."""
    size = len(text)
    words = list(WORD.finditer(text, max(size - 2 * LONGEST - AFTER, 0)))
    first = next((i for i, each in enumerate(words) if each.end() + AFTER > size), None)
    if first is None:
        return size
    while first:
        last = words[first - 1]
        more = _next(text, last.end())
        if more is None or more.start() != words[first].start() or _score(text, last) <= load()[3]:
            break
        first -= 1
    return words[first].start()


NAME: Final = Detector("name", _find, None, LONGEST + AFTER, sure=_sure, before=BEFORE)
