"""What a failed attempt means for what comes next, by its kind: one table."""

import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from msgspec import Struct

from ferryman.ir.errors import ErrorKind


class Reaction(Struct, frozen=True):
    """Who rests after a failure, and for how long if the provider gives no time of its own."""

    scope: str
    """``nothing``; ``target``: the model at this provider; ``limit``: the model, with this key;
    ``key``: the key, with all models."""
    first: float = 0.5
    """Seconds of the first rest; the next one is twice as long."""
    most: float = 4.0
    """Seconds of the longest one: a target that recovers is noticed so soon."""
    at_once: bool = False
    """False: only one failure among several in a row, or in a window, makes a target rest."""
    again: bool = False
    """True: one of these alone says little, and the same target may be asked once more."""

    @property
    def next_key(self) -> bool:
        """Whether the same target may do better with another key."""
        return self.scope in ("limit", "key")


_NOTHING = Reaction("nothing")
_FAILED = Reaction("target")
_REACTIONS: Final[Mapping[ErrorKind, Reaction]] = {
    ErrorKind.UPSTREAM_RATE_LIMIT: Reaction("limit", first=1.0, most=30.0, again=True),
    ErrorKind.UPSTREAM_NO_CREDIT: Reaction("key", first=30.0, most=30.0),
    ErrorKind.UPSTREAM_AUTH: Reaction("key", first=30.0, most=30.0),
    ErrorKind.UPSTREAM_OVERLOADED: Reaction("target", at_once=True, again=True),
    ErrorKind.UPSTREAM_ERROR: Reaction("target", again=True),
    # Whoever is asked for a trial waits in vain for long: that is worth fewer trials.
    ErrorKind.UPSTREAM_TIMEOUT: Reaction("target", first=2.0, most=30.0),
    ErrorKind.UPSTREAM_CONNECT: _FAILED,
    ErrorKind.UPSTREAM_PROTOCOL: _FAILED,
    ErrorKind.UPSTREAM_TRUNCATED: _FAILED,
    ErrorKind.MODEL_NOT_FOUND: Reaction("target", first=2.0, most=30.0),
}
UNREACHABLE: Final = Reaction("target", at_once=True)
"""No connection could be made: one failure says it all, and costs the next caller the same wait."""


def reaction(kind: ErrorKind) -> Reaction:
    """What ``kind`` asks for; nothing, where the request is to blame or the caller left."""
    return _REACTIONS.get(kind, _NOTHING)


_RESETS: Final = (
    (b"anthropic-ratelimit-", b"-reset"),
    (b"x-ratelimit-reset-", b""),
    (b"ratelimit-reset", b""),
)
"""Headers that say when a limit is renewed, by beginning and end; of one that is used up only."""


_DELAY: Final = re.compile(rb'"retryDelay"\s*:\s*"([0-9.]{1,12}s)"')
_DAILY: Final = re.compile(rb'"quotaId"\s*:\s*"[^"]{0,200}PerDay|\blimit: 0\b')
DAILY_SECONDS: Final = 3600.0
"""How long a model is left alone whose quota of the day is used up, or that has none at all: the
short waits that come with such an error are those of another limit."""


def hint(
    headers: Iterable[tuple[bytes, bytes]], clock: float | None = None, body: bytes = b""
) -> float:
    """Seconds that an error reply asks to wait; -1 if it doesn't say.

    ``retry-after-ms``, then ``retry-after`` (seconds or a date), then the reset of a limit of which
    nothing remains: https://platform.openai.com/docs/guides/rate-limits (``1m30s``),
    https://platform.claude.com/docs/en/api/rate-limits (RFC 3339); then what ``body`` says:
    https://ai.google.dev/gemini-api/docs/rate-limits (``RetryInfo``). ``clock`` is Unix time.
    """
    wait = _in_headers(headers, clock)
    if wait >= 0 or not body:
        return wait
    if _DAILY.search(body):
        return DAILY_SECONDS
    delay = _DELAY.search(body)
    return _spelled(delay[1].decode()) if delay is not None else -1.0


def _in_headers(headers: Iterable[tuple[bytes, bytes]], clock: float | None) -> float:
    now = time.time() if clock is None else clock
    found = {name: value.decode("latin-1").strip() for name, value in headers}
    millis = _number(found.get(b"retry-after-ms", ""))
    if millis >= 0:
        return millis / 1000
    after = found.get(b"retry-after", "")
    if after:
        return _moment(after, now)
    waits = [
        _moment(value, now)
        for name, value in found.items()
        for start, end in _RESETS
        if name.startswith(start) and name.endswith(end) and _used_up(name, found)
    ]
    return max(waits, default=-1.0)


def _used_up(reset: bytes, found: Mapping[bytes, str]) -> bool:
    remaining = found.get(reset.replace(b"reset", b"remaining"), "")
    return _number(remaining) == 0


def _moment(text: str, now: float) -> float:
    """Seconds until what ``text`` says: a number, ``1m30s``, or a date; -1 if it says nothing."""
    seconds = _number(text)
    if seconds >= 0:
        return seconds if seconds < 1e9 else max(seconds - now, 0.0)
    spelled = _spelled(text)
    if spelled >= 0:
        return spelled
    try:
        moment = (
            datetime.fromisoformat(text) if text[:1].isdecimal() else parsedate_to_datetime(text)
        )
        at = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return max(at.timestamp() - now, 0.0)
    except (ValueError, OverflowError, OSError):
        return -1.0


_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def _spelled(text: str) -> float:
    """``6m0s``, ``20ms``, ``1h2m`` in seconds; -1 if it is none of these."""
    total, number, unit = 0.0, "", ""
    for letter in text + "0":
        if letter in "0123456789.":
            if unit:
                amount = _number(number)
                if unit not in _UNITS or amount < 0:
                    return -1.0
                total, number, unit = total + amount * _UNITS[unit], "", ""
            number += letter
        else:
            unit += letter
    return total if number == "0" and text and not text[-1].isdecimal() else -1.0


def _number(text: str) -> float:
    """A number that isn't negative; -1 if it is none."""
    if not text.replace(".", "", 1).isdecimal() or not text.isascii() or len(text) > 20:
        return -1.0
    return float(text)
