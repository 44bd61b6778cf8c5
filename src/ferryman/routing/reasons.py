"""Why a condition of a policy is not met, in words; see ``routing/conditions.py``."""

import json
from typing import Any, Final

from ferryman.config.snapshot import Condition
from ferryman.routing.conditions import Ask, compiled

_SAYS: Final = {
    "eq": "", "ne": "anything but ", "in": "one of ", "not_in": "none of ", "gt": "above ",
    "gte": "at least ", "lt": "below ", "lte": "at most ", "regex": "something that has ",
}  # fmt: skip
LONGEST: Final = 120
"""Characters shown of a value."""


def unmet(condition: Condition, ask: Ask) -> str:
    """The first thing that keeps a call from meeting ``condition``; empty when it meets it."""
    if compiled(condition)(ask):
        return ""
    if condition.op == "all":
        return next(why for part in condition.parts if (why := unmet(part, ask)))
    if condition.op == "any":
        return "none of: " + "; ".join(unmet(part, ask) for part in condition.parts)
    if condition.op == "not":
        return f"it must not be that {wanted(condition.parts[0])}"
    if condition.op == "within":
        return "it is outside of the hours"
    return f"{condition.fact} is {_found(ask(condition.fact))}; wanted: {_wanted(condition)}"


def wanted(condition: Condition) -> str:
    """What ``condition`` asks for."""
    if condition.op in ("all", "any"):
        word = " and " if condition.op == "all" else " or "
        return word.join(map(wanted, condition.parts)) or "it is any call"
    if condition.op == "not":
        return f"not ({wanted(condition.parts[0])})"
    if condition.op == "within":
        return "the hour is right"
    return f"{condition.fact} is {_wanted(condition)}"


def _wanted(condition: Condition) -> str:
    if condition.op == "exists":
        return "anything" if condition.value else "missing"
    return _SAYS[condition.op] + _shown(condition.value)


def _found(value: object) -> str:
    if value is None or value == frozenset():
        return "missing"
    if isinstance(value, frozenset):
        return ", ".join(_shown(each) for each in sorted(value))
    return _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    plain = isinstance(value, str | int | float | bool)
    text = json.dumps(value, ensure_ascii=False) if plain else "an object or a list"
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
