"""Guards that judge a text as a whole, with a score and reasons; and that count it."""

import json
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Final, Protocol

from ferryman.config.guard_row import GUARDS, Guard
from ferryman.config.json_schema import fault
from ferryman.guard.injection import injection
from ferryman.guard.judgement import MOST_REASONS, NOTHING, REASON, Judge, Judgement
from ferryman.guard.language import language

MOST: Final = 1 << 20
"""Characters of a text that are looked at, at most."""


class Check(Protocol):
    """One check of one text, that comes in pieces."""

    def feed(self, text: str) -> str:
        """Take more; what of the text may go on."""

    def close(self) -> str:
        """The rest."""


def judge_of(guard: Guard) -> Judge | None:
    """What judges for guards of this kind; None = they judge no text as a whole."""
    if guard.kind == "injection":
        return injection
    if guard.kind == "language":
        return language(guard.allow, guard.deny, unknown=guard.unknown == "block")
    if guard.kind == "schema":
        schema = json.loads(guard.schema)

        def fits(text: str) -> Judgement:
            place = fault(schema, text) if text.strip() else ""
            return Judgement(1.0, (place,)) if place else NOTHING

        return fits
    if guard.kind == "plugin":
        return _plugin(guard)
    return None


def _plugin(guard: Guard) -> Judge:
    """The judge of an installed package. Where it can't be loaded, or fails, a text is taken for
    found if the guard fails closed, and for clean if not."""
    unanswered = Judgement(1.0 if guard.on_error == "block" else 0.0, ("unanswered",))
    found = list(entry_points(group=GUARDS, name=guard.plugin))
    try:
        judge = found[0].load()
    except Exception:  # it is somebody else's, or not there
        return lambda _text: unanswered

    def judged(text: str) -> Judgement:
        try:
            score, reasons = judge(text)
            plain = [str(each) for each in reasons if REASON.fullmatch(str(each))]
            return Judgement(min(max(float(score), 0.0), 1.0), tuple(plain[:MOST_REASONS]))
        except Exception:
            return unanswered

    return judged


class Whole:
    """Judges a text once it is complete. Where it might stop the text, it holds it back so long."""

    def __init__(self, judge: Judge, told: Callable[[Judgement], None], *, holds: bool) -> None:
        """``told`` hears the judgement, and may raise."""
        self._judge, self._told, self._holds = judge, told, holds
        self._text: list[str] = []
        self._size = 0

    def feed(self, text: str) -> str:
        """Take more."""
        room = MOST - self._size
        self._size += len(text)
        if room > 0:
            self._text.append(text[:room])
        if len(text) > room and self._holds:
            self._told(Judgement(1.0, ("too_long",)))
        return "" if self._holds else text

    def close(self) -> str:
        """All of it, if it was held."""
        whole = "".join(self._text)
        self._text.clear()
        judged = self._judge(whole)
        if self._size > MOST:  # what is only noted is let go, and the note says of how much it is
            judged = Judgement(judged.score, (*judged.reasons, "too_long"))
        self._told(judged)
        return whole if self._holds else ""


class Length:
    """Counts an answer, of which more texts may come."""

    def __init__(self, over: Callable[[int], None]) -> None:
        """``over`` hears of every piece, and may raise."""
        self._over = over

    def feed(self, text: str) -> str:
        """Take more."""
        self._over(len(text))
        return text

    def close(self) -> str:
        """Nothing is held."""
        return ""
