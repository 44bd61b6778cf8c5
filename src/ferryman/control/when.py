"""Times and durations as people write them, for the admin API and the commands over it."""

import re
from datetime import UTC, datetime
from typing import Final

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
"""Seconds in each unit of a duration."""
LATEST: Final = 2**32 - 1
"""The last Unix second that a key record can hold (the year 2106)."""
_DURATION: Final = re.compile(r"([0-9]{1,9})\s*([smhdwy])")
FORMS: Final = "a duration (30d, 12h, 90m), a date (2026-12-31) or a time (2026-12-31T18:00Z)"


class WhenError(ValueError):
    """A text is no time; the message says what would be."""


def duration(text: str) -> int:
    """``30d`` → 2592000 seconds. Raises :class:`WhenError`."""
    match = _DURATION.fullmatch(text.strip().lower())
    if not match:
        raise WhenError(f"{text!r} is not a duration. Write it as 30d, 12h, 90m or 45s.")
    return int(match[1]) * UNITS[match[2]]


def moment(text: str, now: float, *, ahead: bool = False) -> int:
    """A time as Unix seconds: RFC 3339, a date (midnight UTC), Unix seconds, or a duration.

    A duration counts back from ``now``, or forward when ``ahead``. Raises :class:`WhenError`.
    """
    text = text.strip()
    if _DURATION.fullmatch(text.lower()):
        seconds = duration(text)
        found = int(now) + (seconds if ahead else -seconds)
    elif text.isascii() and text.isdigit() and len(text) != 8:  # 8 digits may be a date: 20261231
        found = int(text)
    else:
        # A "+" in a query string arrives as a space when the sender didn't escape it.
        cleaned = re.sub(r" (\d\d:\d\d)$", r"+\1", text)
        try:
            parsed = datetime.fromisoformat(cleaned)
        except ValueError:
            raise WhenError(f"{text!r} is no time. Write {FORMS}.") from None
        found = int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())
    if not 0 <= found <= LATEST:
        raise WhenError(f"{text!r} lies outside the years 1970 to 2106.")
    return found


def rfc3339(seconds: float) -> str:
    """Unix seconds → ``2026-11-22T19:45:31Z``, with milliseconds when there are any."""
    stamp = datetime.fromtimestamp(round(seconds * 1000) / 1000, UTC)
    form = "milliseconds" if stamp.microsecond else "seconds"
    return stamp.isoformat(timespec=form).replace("+00:00", "Z")
