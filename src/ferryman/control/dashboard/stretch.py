"""Which days a page of costs is about, and which it compares them with. Pure."""

import datetime
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from ferryman.control.problem import ProblemError
from ferryman.control.when import rfc3339
from ferryman.store.dimensions import today
from ferryman.store.zoned import began_at

SPANS: Final = (
    ("1d", "Today"), ("7d", "7 days"), ("30d", "30 days"), ("90d", "90 days"), ("365d", "1 year"),
    ("month", "This month"), ("last", "Last month"),
)  # fmt: skip
UTC: Final = "UTC"
LONGEST: Final = 3660
"""Days."""
_EPOCH: Final = datetime.date(1970, 1, 1)


class Stretch(Struct, frozen=True, kw_only=True):
    """Whole days of a time zone, counted since 1970: from ``first`` to before ``last``."""

    said: dict[str, str]
    """How the page's address says it."""
    first: int
    last: int
    before: tuple[int, int]
    """Those that they are compared with."""
    zone: str
    now: int
    """Today."""

    @property
    def days(self) -> int:
        """How many."""
        return self.last - self.first

    def at(self, day: int) -> str:
        """The beginning of a day, as the page Calls takes it."""
        if self.zone == UTC:
            return iso(day)
        return rfc3339(began_at(day, self.zone) / 1e6)

    @property
    def earlier(self) -> str:
        """What it is compared with, in words."""
        begin, end = self.before
        if end == self.first and end - begin == self.days:
            return "the day before" if self.days == 1 else f"the {self.days} days before"
        return f"{iso(begin)} to {iso(end - 1)}"


def asked(query: Mapping[str, str], now: float) -> Stretch:
    """What the page was asked for at the Unix second ``now``. Raises :class:`ProblemError`."""
    zone = query.get("zone", "").strip() or UTC
    try:
        day = (today(now, zone) - _EPOCH).days
    except ValueError as error:
        raise ProblemError(400, "invalid_query", str(error)) from None
    since = query.get("since", "")
    own = {name: query[name] for name in ("from", "to") if query.get(name)} if not since else {}
    since = since or ("" if own else "30d")
    said = {"since": since} if since else own
    said |= {"zone": zone} if zone != UTC else {}
    if own:
        last = _day("to", own["to"]) + 1 if "to" in own else day + 1
        first = _day("from", own["from"]) if "from" in own else last - 30
        if not 0 < last - first <= LONGEST:
            detail = f"From {iso(first)} to {iso(last - 1)}: give 1 to {LONGEST} days, in order."
            raise ProblemError(400, "invalid_query", detail)
        before = (2 * first - last, first)
    elif since in ("month", "last"):
        first, last, before = _month(day, since == "last")
    elif since in dict(SPANS):
        first, last = day - int(since[:-1]) + 1, day + 1
        before = (2 * first - last, first)
    else:
        raise ProblemError(400, "invalid_query", "Choose from the lists of this page.")
    return Stretch(said=said, first=first, last=last, before=before, zone=zone, now=day)


def _month(day: int, whole: bool) -> tuple[int, int, tuple[int, int]]:
    """This month so far and as many days of the one before, or the last two as a ``whole``."""
    first, last = _first_of(day), day + 1
    if whole:
        first, last = _first_of(first - 1), first
        return first, last, (_first_of(first - 1), first)
    begin = _first_of(first - 1)
    return first, last, (begin, min(begin + last - first, first))


def _first_of(day: int) -> int:
    """The first day of its month."""
    return day - (_EPOCH + datetime.timedelta(day)).day + 1


def _day(name: str, text: str) -> int:
    try:
        found = (datetime.date.fromisoformat(text) - _EPOCH).days
    except ValueError:
        found = -1
    if not 0 <= found <= 49_710:  # the year 2106
        detail = f"{name}: {text!r} is no day such as 2026-11-30."
        raise ProblemError(400, "invalid_query", detail)
    return found


def iso(day: int) -> str:
    """A day as a date."""
    return (_EPOCH + datetime.timedelta(day)).isoformat()
