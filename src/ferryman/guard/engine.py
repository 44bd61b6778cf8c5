"""Guards, ready to check texts; and what they have said of one call."""

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Final

from ferryman.config.guard_row import Guard
from ferryman.config.linear import regex
from ferryman.guard.judgement import NOTHING, Judgement
from ferryman.guard.names import load
from ferryman.guard.pii import ALWAYS, PII
from ferryman.guard.reading import checked
from ferryman.guard.scan import Detector, Hit, Scanner, finding, scan
from ferryman.guard.secrets import SECRETS, Known
from ferryman.guard.whole import Check, Length, Whole, judge_of
from ferryman.guard.words import CODE, words

REQUEST: Final = "request"
REPLY: Final = "reply"
TOOLS: Final = "tools"
"""Stations: what is asked, what is answered, and what goes to tools and comes from them."""
WINDOW: Final = 256
"""Characters that a pattern of the user's may match in a stream."""
PIECE: Final = 65_536
"""Characters of a whole text that are looked at in one go."""
_SAID: Final = {
    "allow": "allowed",
    "redact": "redacted",
    "block": "blocked",
    "annotate": "annotated",
    "log": "logged",
}


Asks = Callable[[Guard, str, str, str, str], Awaitable[Judgement]]
"""(guard, station, text, request id, virtual key's id) → what a classifier thinks of it. Raises
:class:`ClassifierError`."""
REMOTE: Final = ("judge", "moderation", "llama_guard", "webhook")
"""Kinds that ask elsewhere."""


class ClassifierError(Exception):
    """A classifier gave no judgement; the message says why, for the log of the gateway."""


class BlockedError(Exception):
    """A guard stops the call; the message is for the caller, and quotes nothing."""


class Engine:
    """All guards of a configuration."""

    def __init__(self, guards: Sequence[Guard], own: Iterable[str]) -> None:
        """``own``: secrets of the gateway's own, which guards of secrets find exactly."""
        self.guards = {guard.name: guard for guard in guards}
        self.always = tuple(guard.name for guard in guards if guard.always)
        self.key = secrets.token_bytes(32)
        known = Known(own) if any(guard.kind == "secrets" for guard in guards) else None
        self._detectors = {guard.name: _detectors(guard, known) for guard in guards}
        self.judges = {guard.name: judge for guard in guards if (judge := judge_of(guard))}
        """What judges whole texts, by the names of guards that do."""
        self.asks: Asks | None = None
        """What asks classifiers elsewhere."""

    def detectors(self, guard: Guard) -> tuple[Detector, ...]:
        """What a guard looks for in texts."""
        return self._detectors[guard.name]


def _detectors(guard: Guard, known: Known | None) -> tuple[Detector, ...]:
    if guard.kind == "pii":
        if "name" in guard.entities:
            load()  # the model, rather than in a call
        return tuple(each for name in guard.entities or ALWAYS for each in PII[name])
    if guard.kind == "secrets":
        assert known is not None
        found = [each for name in guard.entities or SECRETS for each in SECRETS[name]]
        return (known.detector(), *found) if known.longest else tuple(found)
    if guard.kind == "regex":
        return tuple(Detector(name, _linear(text), None, WINDOW) for name, text in guard.patterns)
    if guard.kind == "urls":
        return (_links(guard.allow),)
    if guard.kind == "words":
        return (words(guard.words),)
    if guard.kind == "code":
        return CODE
    return ()


def _linear(pattern: str) -> Callable[[str, int], Hit | None]:
    search = regex(pattern).search

    def find(text: str, start: int) -> Hit | None:
        match = search(text, start)
        if match is None or match.start() == match.end():
            return None
        return Hit(match.start(), match.start(), match.end())

    return find


def _links(allow: tuple[str, ...]) -> Detector:
    def judge(text: str) -> int:
        host = text.partition("//")[2].rpartition("@")[2].partition(":")[0].lower().rstrip(".")
        fits = any(host == each or host.endswith("." + each) for each in allow)
        return 0 if fits else len(text)

    return Detector(
        "url",
        finding(
            r"(?i)(?<![A-Za-z])(?:https?|ftp)://[^\s/?#\"'<>()\[\]\\]{1,253}(?![^\s/?#\"'<>()\[\]\\])"
        ),
        re.compile(r"[^\s\"'<>()\[\]\\]+"),
        270,
        judge,
        re.compile(r"[^\s\"'<>()\[\]\\]*"),
    )


class Session:
    """The guards of one call, what stands for what in it, and what they have found."""

    def __init__(self, engine: Engine, names: Iterable[str]) -> None:
        self._engine = engine
        self.guards = [engine.guards[name] for name in dict.fromkeys(names)]
        self._marks: dict[tuple[str, str], str] = {}
        """(kind, value) → what stands for it;"""
        self._values: dict[str, str] = {}
        """and back."""
        self.avoid = ""
        """Text of the request: what stands in it stands for nothing."""
        self._allows = [guard for guard in self.guards if guard.action == "allow"]
        self._found: dict[tuple[str, str, str], int] = {}
        self._judged: dict[tuple[str, str], Judgement] = {}
        self._length = 0
        remote = [guard for guard in self.guards if guard.kind in REMOTE]
        self.remote = [guard for guard in remote if REQUEST in guard.at]
        """Classifiers that are asked about the request,"""
        self.listeners = [guard for guard in remote if REPLY in guard.at]
        """and those that are about the answer."""
        self._heard: list[str] = []
        self.pending: asyncio.Future[list[None]] | None = None
        """Guards that are asked while the call goes on."""
        self._took: dict[tuple[str, str], int] = {}

    def at(self, station: str, *, main: bool = False, defines: bool = False) -> list[Guard]:
        """Those that check texts there; ``main``: those that judge what is said there, too, of
        what ``defines`` a tool without those that judge how people talk."""
        engine = self._engine
        return [
            guard
            for guard in self.guards
            if station in guard.at
            and guard.action != "allow"
            and (
                engine.detectors(guard)
                or (main and guard.name in engine.judges and not (defines and _of_talk(guard)))
                or (main and guard.kind == "length" and station == REPLY)
            )
        ]

    def check(self, guard: Guard, station: str, *, answer: bool) -> Check:
        """One guard's check of one text; ``answer``: it is of a model's answer."""
        judge = self._engine.judges.get(guard.name)
        if judge is not None:
            told = partial(self._told, guard, station)
            return Whole(judge, told, holds=guard.action == "block")
        if guard.kind == "length":
            return Length(partial(self._longer, guard))
        return self.scanner(guard, station, answer=answer)

    def _told(self, guard: Guard, station: str, judged: Judgement) -> None:
        """A guard has judged a text. Raises :class:`BlockedError`."""
        key = (guard.name, station)
        self._found.setdefault((*key, "allowed"), 0)
        if judged.score >= self._judged.get(key, NOTHING).score:
            self._judged[key] = judged
        if judged.score >= guard.threshold:
            why = f"{_JUDGED.get(guard.kind, 'is not allowed')} ({', '.join(judged.reasons)})"
            self._found_it(guard, station, why)

    def hear(self, text: str, *, anew: bool = False) -> None:
        """More of what is answered, for classifiers; ``anew``: by another target."""
        if anew:
            self._heard.clear()
        if self.listeners:
            self._heard.append(text)

    def heard(self) -> str:
        """What was answered since the last look, as the model has said it: what stands for
        something is put in its place again."""
        text = "".join(self._heard)
        self._heard.clear()
        for mark, value in self._values.items():
            text = text.replace(value, mark)
        return text

    async def ask(
        self, guard: Guard, text: str, request_id: str, key: str, station: str = REQUEST
    ) -> None:
        """Have a classifier elsewhere judge what is asked, or answered.

        Raises :class:`BlockedError`."""
        assert self._engine.asks is not None
        began = time.perf_counter()
        try:
            judged = await self._engine.asks(guard, station, text, request_id, key)
        except ClassifierError:
            place = (guard.name, station)
            self._judged[place] = Judgement(0.0, ("unanswered",))
            self._found.setdefault((*place, "allowed"), 0)
            if guard.on_error == "block":
                self._found[*place, "blocked"] = 1
                why = "can't be checked now. Retry later"
                raise BlockedError(blocked(guard, station, why)) from None
        else:
            self._told(guard, station, judged)
        finally:
            self._took[guard.name, station] = int((time.perf_counter() - began) * 1e6)

    def _longer(self, guard: Guard, size: int) -> None:
        self._found.setdefault((guard.name, REPLY, "allowed"), 0)
        self._length += size
        if self._length > guard.most >= self._length - size:
            self._found_it(guard, REPLY, f"has more than the {guard.most} characters that may be")

    def _found_it(self, guard: Guard, station: str, why: str) -> None:
        self.note(guard, station)
        if guard.action == "block":
            raise BlockedError(blocked(guard, station, why))

    def scanner(self, guard: Guard, station: str, *, answer: bool) -> Scanner:
        """Looks through one text for one guard; ``answer``: it is of a model's answer."""
        self._found.setdefault((guard.name, station, "allowed"), 0)

        def replace(kind: str, value: str) -> str:
            allows = self._allowed(value, station)
            if allows is not None:
                self.note(allows, station)
                return value
            self.note(guard, station)
            if guard.action == "block":
                raise BlockedError(blocked(guard, station, f"holds {_KINDS.get(kind, kind)}"))
            if guard.action != "redact":
                return value
            return self._stands_for(guard, kind, value, answer=answer)

        return Scanner(self._engine.detectors(guard), replace)

    def _allowed(self, value: str, station: str) -> Guard | None:
        """The guard that says that ``value``, all of it, may stand there."""
        for guard in self._allows:
            if station in guard.at:
                left = scan(value, self._engine.detectors(guard), _nothing)
                if not left:
                    return guard
        return None

    def _stands_for(self, guard: Guard, kind: str, value: str, *, answer: bool) -> str:
        name = kind.upper().replace("-", "_")
        if guard.how == "hash":
            digest = hmac.new(self._engine.key, value.encode("utf-8", "replace"), hashlib.sha256)
            return f"[{name}:{digest.hexdigest()[:12]}]"
        if guard.how != "tokenise" or answer:
            return f"[{name}]"
        mark = self._marks.get((kind, value))
        number = 1 + sum(each == kind for each, _ in self._marks)
        while mark is None:
            text = f"[{name}_{number}]"
            if text not in self.avoid and text not in self._values:
                mark = self._marks[kind, value] = text
                self._values[mark] = value
            number += 1
        return mark

    @property
    def restores(self) -> bool:
        """Whether anything stands for something else, in what the model was sent."""
        return bool(self._values)

    def restorer(self) -> Scanner:
        """Puts back, in one text, what something stands for."""

        def judge(text: str) -> int:
            return len(text) if text in self._values else 0

        def replace(_kind: str, mark: str) -> str:
            return self._values[mark]

        return Scanner((_MARK._replace(judge=judge),), replace)

    def label(self, text: str) -> str:
        """A label of the call as its record may have it: what is found is replaced, not counted."""
        for guard in self.at(REQUEST):
            if guard.action in ("redact", "block"):
                scanned = partial(self._labelled, guard)
                text = scan(text, self._engine.detectors(guard), scanned)
        return text

    def _labelled(self, guard: Guard, kind: str, value: str) -> str:
        if self._allowed(value, REQUEST) is not None:
            return value
        return self._stands_for(guard, kind, value, answer=False)

    def note(self, guard: Guard, station: str) -> None:
        """A guard has found something."""
        key = (guard.name, station, _SAID[guard.action])
        self._found[key] = self._found.get(key, 0) + 1

    def took(self, station: str, began: float) -> None:
        """Checks there went on since ``began`` (``perf_counter``)."""
        us = int((time.perf_counter() - began) * 1e6)
        for guard in self.guards:
            key = guard.name, station
            self._took[key] = self._took.get(key, 0) + us // len(self.guards)

    def verdicts(self) -> list[tuple[str, str, str, int, int, float, tuple[str, ...]]]:
        """(guard, station, action, microseconds, how often, score, reasons), of every guard that
        has looked."""
        spoke = {key[:2] for key, count in self._found.items() if count}
        return [
            (
                name,
                station,
                action,
                self._took.get((name, station), 0),
                count,
                *self._judged.get((name, station), NOTHING),
            )
            for (name, station, action), count in self._found.items()
            if count or (name, station) not in spoke
        ]

    def header(self) -> str:
        """What the caller is told: ``name=redacted(2)``, without what is only logged."""
        return ", ".join(
            f"{name}={action}({count})"
            for (name, _, action), count in self._found.items()
            if count and action not in ("logged", "allowed")
        )

    def check_call(
        self, models: Collection[str], metadata: Callable[[str], object], size: int
    ) -> None:
        """Check what is no text; ``models``: names of what is asked for, ``size``: characters of
        the request.

        Raises :class:`BlockedError`.
        """
        for guard in self.guards:
            why = _wrong(guard, models, metadata, size)
            if guard.kind in ("length", "metadata", "models") and REQUEST in guard.at:
                self._found.setdefault((guard.name, REQUEST, "allowed"), 0)
            if why:
                self._found_it(guard, REQUEST, why)


def _of_talk(guard: Guard) -> bool:
    return guard.kind == "language"


def _wrong(
    guard: Guard, models: Collection[str], metadata: Callable[[str], object], size: int
) -> str:
    if guard.kind == "length" and REQUEST in guard.at and size > guard.most:
        return f"has {size} characters, more than the {guard.most} that may be"
    if guard.kind == "metadata":
        lacks = [name for name in guard.need if metadata(name) in (None, "")]
        return f"lacks the metadata {', '.join(lacks)}" if lacks else ""
    if guard.kind == "models" and any(
        fnmatchcase(model, each) for model in models for each in guard.deny
    ):
        return "asks for a model that may not be used"
    return ""


def blocked(guard: Guard, station: str, why: str) -> str:
    """The sentence for the caller."""
    what = {REQUEST: "request", REPLY: "answer", TOOLS: "content of a tool"}[station]
    return f"The guard '{guard.name}' stops this call: its {what} {why}."


_KINDS: Final = {
    "email": "an e-mail address", "card": "a card number", "iban": "an IBAN",
    "national_id": "a national identity number", "phone": "a telephone number",
    "ip": "an IP address", "address": "a postal address", "name": "a person's name",
    "url": "a link that is not allowed",
    "gateway_secret": "a secret of the gateway", "word": "a word that may not be", "code": "code",
}  # fmt: skip
_JUDGED: Final = {
    "injection": "tries to take the model over", "schema": "is not JSON of the schema",
    "moderation": "is flagged", "llama_guard": "is not safe",
    "language": "is in a language that may not be",
}  # fmt: skip


def _nothing(_kind: str, _value: str) -> str:
    return ""


def _mark() -> Detector:

    return Detector(
        "mark", finding(r"\[[A-Z][A-Z0-9_]{1,40}_\d{1,6}\]"), re.compile(r"[A-Z0-9_\[]+"), 60
    )


_MARK: Final = _mark()


class TextCheck:
    """All checks of one text, one after the other; of an ``answer``, then what stands for something
    is put back, unless it is not to be (``restore``). ``main``: it is what a turn says, or, as it
    ``defines`` one, a tool."""

    def __init__(
        self,
        session: Session,
        station: str,
        *,
        answer: bool,
        restore: bool = False,
        main: bool = False,
        defines: bool = False,
    ) -> None:
        guards = session.at(station, main=main, defines=defines)
        self._chain: list[Check] = [
            session.check(guard, station, answer=answer) for guard in guards
        ]
        if restore and session.restores:
            self._chain.append(session.restorer())

    def feed(self, text: str) -> str:
        """Take more; what of it may go on. Raises :class:`BlockedError`."""
        for scanner in self._chain:
            text = scanner.feed(text)
        return text

    def close(self) -> str:
        """The rest. Raises :class:`BlockedError`."""
        text = ""
        for scanner in self._chain:
            text = scanner.feed(text) + scanner.close()
        return text

    def whole(self, text: str) -> str:
        """A whole text, checked: in pieces, since a search holds the interpreter to its end."""
        pieces = [self.feed(text[at : at + PIECE]) for at in range(0, len(text), PIECE)]
        return "".join(pieces) + self.close()


class JsonCheck:
    """Checks the texts within JSON: once it is complete, since an escape may stand anywhere."""

    def __init__(self, check: Callable[[], TextCheck]) -> None:
        self._check = check
        self._text: list[str] = []

    def feed(self, text: str) -> str:
        """Take more; nothing of it may go on yet."""
        self._text.append(text)
        return ""

    def close(self) -> str:
        """All of it. Raises :class:`BlockedError`."""
        whole = "".join(self._text)
        self._text.clear()
        data = whole.encode("utf-8", "replace")
        try:
            got = checked(data, lambda text: self._check().whole(text))
        except (ValueError, RecursionError):
            return self._check().whole(whole)
        return whole if got is data else got.decode()

    def whole(self, text: str) -> str:
        """A whole text, checked."""
        return self.feed(text) + self.close()
