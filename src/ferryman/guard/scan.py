"""Finds and replaces what detectors know in text; whether it comes whole or in pieces is the same.

A detector's candidates are found from left to right; each depends on no more than the two
characters before it (or its detector's ``before``), its own, and the one after it. So a piece of
text is settled once no candidate that begins in it can still grow, and only that much is let go.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

KEPT = 2048
"""Characters that were let go before they are forgotten, but for the last, which are neighbours."""
LONGEST = 16_384
"""Characters of a secret without a bound of its own; what is longer is cut into several."""


class Hit(NamedTuple):
    """A candidate: where it begins, where what is found in it does, and the end of both."""

    start: int
    found: int
    end: int


class Detector(NamedTuple):
    """What to look for."""

    kind: str
    find: Callable[[str, int], Hit | None]
    """(text, from) → the first candidate there. Whether one is there depends on its own characters
    two before them and one behind."""
    letters: re.Pattern[str] | None
    """Characters of candidates, as many as match: what a text ends in may be the beginning of one.
    None = any."""
    longest: int
    """Characters of a candidate, at most."""
    judge: Callable[[str], int] | None = None
    """How many characters of what is found are right; 0 = none."""
    word: re.Pattern[str] | None = None
    """More of what was found, as far as this matches behind it."""
    start: re.Pattern[str] | None = None
    """How a candidate begins, or the little that is there of one at the end of a text."""
    until: str = ""
    """Or all up to the end of this."""
    sure: Callable[[str], int] | None = None
    """Where the part of a text ends in which all candidates are complete, if ``letters`` and
    ``start`` can't say it."""
    before: int = 2
    """Characters before a candidate that it depends on."""


def finding(pattern: str) -> Callable[[str, int], Hit | None]:
    """Looks for ``pattern``, whose group 1, if it has one, is what is found."""
    search = re.compile(pattern).search

    def find(text: str, start: int) -> Hit | None:
        match = search(text, start)
        return (
            None
            if match is None
            else Hit(match.start(), match.start(match.lastindex or 0), match.end())
        )

    return find


class Region(NamedTuple):
    """Something found: where, and what."""

    start: int
    end: int
    kind: str


Replace = Callable[[str, str], str]
"""(kind, what was found) → what stands in its place. May raise, to stop it all."""


class Scanner:
    """Replaces what ``detectors`` find in one text."""

    def __init__(self, detectors: tuple[Detector, ...], replace: Replace) -> None:
        self._detectors = detectors
        self._replace = replace
        self._before = max((each.before for each in detectors), default=2)
        self._text = ""
        self._done = 0
        self._next = [0] * len(detectors)
        self._found: list[Region] = []

    def feed(self, text: str) -> str:
        """Take more of the text; what of it can be let go, replaced."""
        self._text += text
        return self._go(final=False)

    def close(self) -> str:
        """The text is complete: the rest of it."""
        return self._go(final=True)

    def _go(self, *, final: bool) -> str:
        settled = len(self._text)
        for i in range(len(self._detectors)):
            settled = min(settled, self._look(i, final))
        out = []
        for region in _joined(self._found):
            if region.start >= settled or region.end > settled:
                settled = min(settled, region.start)
                break
            out.append(self._text[self._done : region.start])
            out.append(self._replace(region.kind, self._text[region.start : region.end]))
            self._done = region.end
        self._found = [region for region in self._found if region.start >= self._done]
        if settled > self._done:
            out.append(self._text[self._done : settled])
            self._done = settled
        self._forget()
        return "".join(out)

    def _look(self, i: int, final: bool) -> int:
        """Note what one detector finds, as far as more text could not change that; how far."""
        detector, text = self._detectors[i], self._text
        size = len(text)
        settled = size if final else _settled(detector, text)
        at = self._next[i]
        while (hit := detector.find(text, at)) is not None and hit.start < settled:
            length = hit.end - hit.found
            if detector.judge is not None:
                length = detector.judge(text[hit.found : hit.end])
            if not length:
                at = hit.start + 1
                continue
            end = _grown(detector, text, hit.found + length, final)
            if end < 0:
                self._next[i] = hit.start
                return hit.start
            self._found.append(Region(hit.found, end, detector.kind))
            at = end
        self._next[i] = max(at, settled)
        return settled

    def _forget(self) -> None:
        if self._done > KEPT:
            cut = self._done - self._before
            self._text, self._done = self._text[cut:], self._before
            self._next = [max(at - cut, 0) for at in self._next]
            self._found = [Region(a - cut, b - cut, kind) for a, b, kind in self._found]


def scan(text: str, detectors: tuple[Detector, ...], replace: Replace) -> str:
    """A whole text, replaced."""
    scanner = Scanner(detectors, replace)
    return scanner.feed(text) + scanner.close()


def _settled(detector: Detector, text: str) -> int:
    """Where the part of ``text`` ends in which every candidate that begins is complete."""
    size = len(text)
    if detector.sure is not None:
        return detector.sure(text)
    if detector.letters is None:
        return max(size - detector.longest, 0)
    # Backwards, so that it takes no longer than there are letters.
    run = detector.letters.match(text[: -detector.longest - 1 : -1])
    settled = size - run.end() if run is not None else size
    if detector.start is None:
        return settled
    begins = detector.start.search(text, settled)
    return begins.start() if begins is not None else size


def _grown(detector: Detector, text: str, end: int, final: bool) -> int:
    """The end of what was found; -1 = more text has to come first."""
    size = len(text)
    if detector.until:
        close = text.find(detector.until, end, end + LONGEST)
        if close >= 0:
            return close + len(detector.until)
        return min(end + LONGEST, size) if final or size >= end + LONGEST else -1
    if detector.word is None:
        return end
    more = detector.word.match(text, end, end + LONGEST)
    grown = more.end() if more is not None else end
    return grown if final or grown < size or grown >= end + LONGEST else -1


def _joined(found: list[Region]) -> list[Region]:
    """Regions in order; those that overlap are one, of the first's kind."""
    out: list[Region] = []
    for region in sorted(found, key=lambda each: (each.start, -each.end)):
        if out and region.start < out[-1].end:
            last = out[-1]
            out[-1] = Region(last.start, max(last.end, region.end), last.kind)
        else:
            out.append(region)
    return out
