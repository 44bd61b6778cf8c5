"""Limits and budgets as read → what the snapshot has of them, with what one key can't tell."""

from collections.abc import Callable, Container
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ferryman.config.problem import Path, shown
from ferryman.config.snapshot import RATES, Budget, CallLimit, RateLimit
from ferryman.ir.price import PICO

Found = dict[str, Any]
Add = Callable[[Path, str, str], None]
Given = Container[Path]
"""Paths of all keys in the file, right or wrong."""
_DOES = (*RATES, "parallel", "budget")


def limits_of(found: list[tuple[int, Found]], given: Given, add: Add) -> tuple[CallLimit, ...]:
    """The section ``limits``."""
    out: dict[str, CallLimit] = {}
    for i, entry in found:
        path: Path = ("limits", i)
        name = entry.get("name", f"limit-{i + 1}")
        if name in out:
            message = f"another limit is called {shown(name)} already"
            add((*path, "name"), message, "Give each a name of its own.")
        if not any((*path, key) in given for key in _DOES):
            fix = "Say how much: requests: 600/minute"
            add(path, "this limits nothing", fix)
        by = entry.get("by", [])
        values = [by] if isinstance(by, str) else [text for _, text in by]
        if len(set(values)) < len(values):
            add((*path, "by"), "the same stands here twice", "Keep one of them.")
        out[name] = CallLimit(
            name=name,
            when=entry.get("when"),
            by=tuple(values),
            rates=tuple(_rate(key, entry[key]) for key in RATES if _whole(entry.get(key))),
            parallel=entry.get("parallel", 0),
            budgets=budgets_of(entry.get("budget"), (*path, "budget"), given, add),
            status=entry.get("status", 402),
        )
    return tuple(out.values())


def _whole(entry: str | Found | None) -> bool:
    return isinstance(entry, str) or (entry is not None and {"most", "per"} <= entry.keys())


def _rate(measure: str, entry: str | Found) -> RateLimit:
    if isinstance(entry, str):
        number, _, per = entry.partition("/")
        return RateLimit(measure=measure, most=int(number), per=per, burst=int(number))
    most: int = entry["most"]
    burst: int = entry.get("burst", most)
    return RateLimit(measure=measure, most=most, per=entry["per"], burst=burst)


def budgets_of(
    found: Found | list[tuple[int, Found]] | None, path: Path, given: Given, add: Add
) -> tuple[Budget, ...]:
    """One budget, or several; what is wrong is reported and left out."""
    if found is None:
        return ()
    entries = [(path, found)] if isinstance(found, dict) else [((*path, i), e) for i, e in found]
    budgets = [_budget(where, entry, given, add) for where, entry in entries]
    return tuple(budget for budget in budgets if budget is not None)


def _budget(path: Path, found: Found, given: Given, add: Add) -> Budget | None:
    unit = _unit(path, found, "{ usd: 20, per: day }", given, add)
    if not unit or "per" not in found:
        return None
    zone = found.get("zone", "UTC")
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        add((*path, "zone"), f"there is no time zone {shown(zone)}", "Example: zone: Europe/Berlin")
        return None
    budget = Budget(
        unit=unit,
        most=_amount(unit, found[unit]),
        per=found["per"],
        rolling=found.get("rolling", False),
        zone=zone,
        soft=found.get("soft", False),
    )
    more = found.get("increase")
    if not more or "until" not in more:
        return budget
    where = (*path, "increase")
    if _unit(where, more, "{ usd: 10, until: 2026-12-24 }", given, add) != unit:
        if unit not in more:
            add(where, f"the budget is in {unit}", f"Write {unit}: here, too.")
        return budget
    try:
        until = datetime.fromisoformat(more["until"])
    except ValueError:
        add((*where, "until"), "there is no such day or time", "Example: until: 2026-12-24")
        return budget
    if until.tzinfo is None:
        until = until.replace(tzinfo=ZoneInfo(zone))
    amount = _amount(unit, more[unit])
    return Budget(
        unit=unit, most=budget.most, per=budget.per, rolling=budget.rolling, zone=zone,
        soft=budget.soft, extra=amount, extra_until=int(until.timestamp()),
    )  # fmt: skip


def _unit(path: Path, found: Found, example: str, given: Given, add: Add) -> str:
    """``usd`` or ``tokens``, whichever there is; empty if it is wrong."""
    units = [unit for unit in ("usd", "tokens") if (*path, unit) in given]
    if len(units) != 1:
        message = "both usd and tokens are given" if units else "neither usd nor tokens is given"
        add(path, message, f"Give one of them: {example}")
    return units[0] if units and units[0] in found else ""


def _amount(unit: str, value: Any) -> int:
    """Picodollars, or tokens."""
    return int(value * PICO) if unit == "usd" else int(value)
