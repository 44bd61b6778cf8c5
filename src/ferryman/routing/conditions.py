"""Conditions of policies as plain functions, made once for each snapshot.

A compiled condition is given ``ask``, which says what a fact is of the call at hand: a plain value,
a ``frozenset`` of texts for facts that are several, Unix seconds for ``time``, or None where the
call has no such thing. It asks for no more than it needs to know. Nothing here reads a clock.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from ferryman.config.linear import regex
from ferryman.config.snapshot import Condition, Plain

Ask = Callable[[str], object]
Meets = Callable[[Ask], bool]

_NUMERIC = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
LONGEST: Final = 4096
"""Characters of a text that a regular expression looks at; a longer one does not match."""


def compiled(condition: Condition) -> Meets:
    """The function that says whether a call meets ``condition``.

    Raises ``ValueError`` where this machine lacks what the condition needs.
    """
    op = condition.op
    if op == "all":
        return _all(tuple(map(compiled, condition.parts)))
    if op == "any":
        return _any(tuple(map(compiled, condition.parts)))
    if op == "not":
        inner = compiled(condition.parts[0])
        return lambda ask: not inner(ask)
    fact = condition.fact
    if op == "exists":
        wanted = bool(condition.value)
        return lambda ask: (ask(fact) not in (None, frozenset())) is wanted
    if op == "within":
        return _within(condition)
    if op in ("ne", "not_in"):
        equal = _each(_test("eq" if op == "ne" else "in", condition.value))
        return lambda ask: not equal(ask(fact))
    test = _each(_test(op, condition.value))
    return lambda ask: test(ask(fact))


def _all(parts: tuple[Meets, ...]) -> Meets:
    def meets(ask: Ask) -> bool:
        return all(part(ask) for part in parts)

    return meets


def _any(parts: tuple[Meets, ...]) -> Meets:
    def meets(ask: Ask) -> bool:
        return any(part(ask) for part in parts)

    return meets


def _each(test: Callable[[Any], bool]) -> Callable[[object], bool]:
    """``test`` of a value, or of any of several; what is missing passes none."""

    def met(found: object) -> bool:
        if isinstance(found, frozenset):
            return any(map(test, found))
        return found is not None and test(found)

    return met


def _test(op: str, value: Any) -> Callable[[Any], bool]:
    if op == "in":
        tests = tuple(_equal(each) for each in value)
        return lambda found: any(test(found) for test in tests)
    if op == "eq":
        return _equal(value)
    if op == "regex":
        search = regex(value).search
        return lambda found: (
            isinstance(found, str) and len(found) <= LONGEST and search(found) is not None
        )
    return _order(op, value)


def _order(op: str, value: float) -> Callable[[Any], bool]:
    def met(found: Any) -> bool:
        number = _number(found)
        if number is None:
            return False
        if op == "gt":
            return number > value
        if op == "gte":
            return number >= value
        return number < value if op == "lt" else number <= value

    return met


def _equal(value: Plain) -> Callable[[Any], bool]:
    """Whether a call's value is ``value``: headers have numbers as texts, and JSON may."""
    if isinstance(value, bool):
        text = "true" if value else "false"
        return lambda found: found is value or found == text
    if isinstance(value, str):
        return lambda found: (found if isinstance(found, str) else _text(found)) == value
    return lambda found: _number(found) == value


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: object) -> int | float | None:
    """A number, or a text that is one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and _NUMERIC.fullmatch(value):
        return int(value) if value.lstrip("-").isdigit() else float(value)
    return None


def _within(condition: Condition) -> Meets:
    """Hours of weekdays; hours past midnight belong to the day on which they began."""
    value: Any = condition.value
    name, start, end, *days = value
    zone = ZoneInfo(name)

    def meets(ask: Ask) -> bool:
        seconds: Any = ask(condition.fact)
        now = datetime.fromtimestamp(seconds, zone)
        minute, day = now.hour * 60 + now.minute, now.weekday()
        if start < end:
            return start <= minute < end and day in days
        return (minute >= start and day in days) or (minute < end and (day - 1) % 7 in days)

    return meets
