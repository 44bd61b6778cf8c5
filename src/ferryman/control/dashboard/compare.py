"""Models beside each other: what a task costs, what they can do, and how they did of late."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct

from ferryman.control.api.models import HOUR_US, MOST, Model, catalogue
from ferryman.control.dashboard.desk import Asked, Desk, Page
from ferryman.control.dashboard.shape import NONE, count, rate, share, span, usd
from ferryman.control.health import Health, health
from ferryman.control.problem import ProblemError
from ferryman.ir.usage import Usage
from ferryman.meter.cost import cost
from ferryman.store import glance, latency, ledger
from ferryman.store.latency import Latency
from ferryman.store.ledger import UsageRow
from ferryman.store.schema import DAY, DAY_US

SIDES: Final = 4
"""Models beside each other."""
DAYS: Final = 7
"""Days that calls are measured over, today included."""
LARGEST: Final = 100_000_000
"""Tokens of a task."""
TASK: Final = (1000, 300)
"""Tokens in and out of one, where calls don't tell."""
MILLION: Final = 1_000_000
_TOKENS: Final = ("total_input", "total_output")
Say = Callable[[Any], str]


class Side(Struct, frozen=True, kw_only=True):
    """A model, and what is known of its calls."""

    model: Model
    lately: Health | None
    """In the last hour."""
    times: Latency | None
    sums: UsageRow | None


class Row(Struct, frozen=True):
    """One thing that they are compared by; ``best``: the places of those that are ahead."""

    title: str
    cells: tuple[str, ...]
    best: frozenset[int] = frozenset()


def page(desk: Desk, asked: Asked) -> Page:
    """Up to four models of active providers."""
    known = {model.name: model for model in catalogue(desk.admin)}
    names = list(dict.fromkeys(name.strip() for name in asked.all("model") if name.strip()))
    if len(names) > SIDES:
        detail = f"{len(names)} models are more than fit beside each other: choose {SIDES}."
        raise ProblemError(400, "invalid_query", detail)
    unknown = [name for name in names if name not in known]
    if unknown:
        detail = f"No active provider is known to have {unknown[0]!r}."
        raise ProblemError(404, "model_not_found", detail, fix="The page Models lists all.")
    sides = _sides(desk, [known[name] for name in names], "usage.read" in asked.caller.permissions)
    task = _task(asked, sides)
    values = {
        "sides": sides, "rows": rows(sides, task, int(time.time())) if sides else [],
        "fields": [*names, "", "", ""][:SIDES], "known": sorted(known), "task": task, "days": DAYS,
    }  # fmt: skip
    return Page(template="compare.html", title="Compare models", values=values)


def _sides(desk: Desk, chosen: Sequence[Model], sums: bool) -> list[Side]:
    """``sums``: whether whoever asks may see what calls have cost."""
    if not chosen:
        return []
    now, engine = time.time(), desk.admin.engine
    desk.admin.catch_up()
    seen = glance.glances(engine, int(now * 1e6) - HOUR_US, MOST)
    lately = {each.name: each for each in health(seen, (), targets=True)}
    since = (int(now) // DAY - DAYS + 1) * DAY_US
    by, until = ("provider", "target"), int(now * 1e6) + 1
    times = {
        f"{row.group['provider']}/{row.group['target']}": row
        for row in latency.latencies(engine, by=by, since_us=since, until_us=until)
    }
    spent = ledger.usage(engine, by=by, since_us=since) if sums else []
    used = {"/".join(each or "" for each in row.groups): row for row in spent}
    return [
        Side(
            model=model, lately=lately.get(model.name), times=times.get(model.name),
            sums=used.get(model.name),
        )
        for model in chosen
    ]  # fmt: skip


def _task(asked: Asked, sides: Sequence[Side]) -> tuple[int, int]:
    """Tokens in and out: as given, else as many as a call of these models has on average."""
    found = [side.sums for side in sides if side.sums is not None]
    calls = sum(row.calls - row.unknown_usage for row in found)
    given, made = ([getattr(row.tokens, name) for row in found] for name in _TOKENS)
    sums = sum(given), sum(made)
    usual = [each // calls for each in sums] if calls > 0 and any(sums) else TASK
    said = [asked.query.get(name, "").strip() for name in ("in", "out")]
    if not all(each.isdecimal() and int(each[:12]) <= LARGEST for each in said if each):
        detail = f"Tokens of a task are a number up to {LARGEST}."
        raise ProblemError(400, "invalid_query", detail)
    return int(said[0] or usual[0]), int(said[1] or usual[1])


def rows(sides: Sequence[Side], task: tuple[int, int], at: int) -> list[Row]:
    """All that they are compared by, at the Unix second ``at``. Pure."""
    usage = Usage(input=task[0], output=task[1])
    costs = [cost(usage, side.model.row.prices, at) for side in sides]
    rates = [side.model.rate for side in sides]
    shown = [side.model.row for side in sides]
    lately, times = [side.lately for side in sides], [side.times for side in sides]
    found = [
        _row("This task", costs, usd, True),
        _row("Input, a million", [r and r.input for r in rates], _million, True),
        _row("Cached input, a million", [r and r.cache_read for r in rates], _million, True),
        _row("Output, a million", [r and r.output for r in rates], _million, True),
        _row("Window, tokens", [row.context or None for row in shown], count, False),
        _row("Most output, tokens", [row.max_output or None for row in shown], count, False),
        Row("In the last hour", tuple("not asked" if h is None else h.state for h in lately)),
        _row("Tries that failed", [h and _part(h.failed, h.tries) for h in lately], _share, True),
        _row("Tokens a second", [h and h.pace for h in lately], rate, False),
    ]  # fmt: skip
    for title, name in (("First token", "first_token"), ("Whole answer", "duration")):
        for place, quantile in enumerate(("p50", "p95")):
            measured = [t and (getattr(t, name) or (None,) * 3)[place] for t in times]
            found.append(_row(f"{title}, {quantile}", measured, span, True))
    if any(side.sums for side in sides):
        sums = [side.sums for side in sides]
        scores = [s and (s.score / s.scored / 1000 if s.scored else None) for s in sums]
        found += [
            _row("Calls", [s and s.calls for s in sums], count),
            _row("Calls that failed", [s and _part(s.errors, s.calls) for s in sums], _share, True),
            _row("A call, on average", [s and _mean(s) for s in sums], usd, True),
            _row("Feedback, on average", scores, "{:+.2f}".format, False),
        ]  # fmt: skip
    return found


def _row(title: str, values: Sequence[Any], say: Say, least: bool | None = None) -> Row:
    """``least``: whether the least or the most is best; None = neither."""
    known = [value for value in values if value is not None]
    best: frozenset[int] = frozenset()
    if least is not None and len(set(known)) > 1:
        ahead = min(known) if least else max(known)
        best = frozenset(place for place, value in enumerate(values) if value == ahead)
    return Row(title, tuple(NONE if value is None else say(value) for value in values), best)


def _million(pico: int) -> str:
    return usd(pico * MILLION)


def _part(some: int, every: int) -> float | None:
    return some / every if every else None


def _mean(sums: UsageRow) -> int | None:
    """Picodollars of a call that did not fail."""
    well = sums.calls - sums.errors
    return sums.cost // well if well else None


def _share(part: float) -> str:
    return share(part, 1)
