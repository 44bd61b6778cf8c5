"""Limits and budgets as read → what the snapshot has of them, with what one key can't tell."""

from collections.abc import Callable, Container, Iterable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from ferryman.config.problem import ERROR, WARNING, Path, shown
from ferryman.config.snapshot import (
    RATES,
    Budget,
    CallLimit,
    Limit,
    RateLimit,
)
from ferryman.ir.price import PICO

Found = dict[str, Any]
Add = Callable[[Path, str, str], None]
AddSeverely = Callable[[Path, str, str, str], None]
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
            rates=rates_of(entry),
            parallel=entry.get("parallel", 0),
            budgets=budgets_of(entry.get("budget"), (*path, "budget"), given, add),
            status=entry.get("status", 402),
        )
    return tuple(out.values())


def limit_of(found: Found, calls: list[int], path: Path, given: Given, at: Add) -> Limit | None:
    """How many calls a provider takes at once, by itself or by ``calls`` of each of its keys, and
    who waits; None = any number, and nobody."""
    queue = found.get("queue", {})
    keys = [(*path, "keys", i) for i, _ in found.get("keys", [])]
    places = [path, (*path, "key"), *keys, *((*path, "models", m) for m in found.get("models", {}))]
    paced = any((*place, name) in given for place in places for name in RATES)
    waits = (*path, "queue") in given
    most = sum(calls) if all(calls) else 0
    if waits and not paced and not most and (*path, "max_in_flight") not in given:
        message = "nobody ever waits without max_in_flight or a rate"
        fix = "Add max_in_flight: 32, here or to every key, or leave this out."
        at((*path, "queue"), message, fix)
    most = found.get("max_in_flight", most)
    if not most and not (paced and waits):
        return None
    bounds = {"length": queue["length"]} if "length" in queue else {}
    if "wait" in queue:
        bounds["wait"] = float(queue["wait"])
    return Limit(calls=most, fair=queue.get("order") == "fair", **bounds)


def rates_of(found: Found) -> tuple[RateLimit, ...]:
    """The rates among the keys of a table."""
    return tuple(_rate(key, found[key]) for key in RATES if _whole(found.get(key)))


def shareable(
    found: Found, env: Mapping[str, str], given: Iterable[Path], add: AddSeverely
) -> None:
    """Workers have to count limits together, and had better share the rest."""
    server = found.get("server", {})
    wanted = env.get("FERRYMAN_WORKERS", "")
    workers = int(wanted) if wanted.isdigit() else server.get("workers", 1)
    if workers < 2:
        return
    once = found.get("idempotency", {})
    if "workers" in server and once.get("store", "memory") == "memory" and once.get("keep") != 0:
        message = f"{workers} workers each know only the Idempotency-Keys that came to them"
        fix = "Write idempotency: { store: valkey }, with server.state, or { keep: 0 }."
        add(("server", "workers"), message, fix, WARNING)
    if "state" in server:
        return
    places: list[Path] = [("limits", i) for i, _ in found.get("limits", [])]
    policies = found.get("policies", [])
    places += [("policies", i, "budget") for i, policy in policies if "budget" in policy]
    if places:
        message = f"{workers} workers would each hold this for themselves"
        add(places[0], message, "Set server.state, or workers: 1. See docs/scaling.md.", ERROR)
    held = sorted(
        [
            path
            for path in given
            if path[0] == "providers" and path[-1] in (*RATES, "max_in_flight")
        ],
        key=str,
    )
    if held:
        message = f"each of {workers} workers lets so much through"
        add(held[0], message, "Set server.state, and they count together, or divide it.", WARNING)


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
    budgets: dict[tuple[object, ...], Budget] = {}
    for where, entry in entries:
        budget = _budget(where, entry, given, add)
        if budget is None:
            continue
        kind = (budget.unit, budget.per, budget.rolling, budget.zone, budget.soft,
                budget.carry_over)  # fmt: skip
        if kind in budgets:
            fix = "Keep the smaller one."
            add(where, "another budget here counts the same, in the same periods", fix)
        budgets[kind] = budget
    return tuple(budgets.values())


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
        cut=found.get("on_exceeded") == "cut",
        carry_over=found.get("carry_over", False),
        notify=_thresholds(found.get("notify", [])),
    )
    if budget.carry_over and budget.rolling:
        message = "a budget that rolls has no period to carry anything over from"
        add((*path, "carry_over"), message, "Leave out rolling, or this.")
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
    return replace(budget, extra=amount, extra_until=int(until.timestamp()))


def _thresholds(found: int | list[tuple[int, int]]) -> tuple[int, ...]:
    values = [found] if not isinstance(found, list) else [each for _, each in found]
    return tuple(sorted({int(value) for value in values}))


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
