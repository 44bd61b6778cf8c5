"""The page Models: which names work, who answers to them, what they can do and cost."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from msgspec import Struct

from ferryman.config.snapshot import Snapshot
from ferryman.control.api.models import HOUR_US, MOST, Model, ModelsQuery, catalogue, fits
from ferryman.control.dashboard import now
from ferryman.control.dashboard.desk import Asked, Desk, Page
from ferryman.control.health import Health, health
from ferryman.control.problem import ProblemError
from ferryman.store import glance

PAGE: Final = 100


class Line(Struct, frozen=True):
    """A model, and how it did in the last hour; None = nobody asked it."""

    model: Model
    lately: Health | None


Order = Callable[[Line], Any]
"""What a column is sorted by; None = not known, and comes last."""
COLUMNS: Final[dict[str, tuple[str, bool, Order]]] = {
    "name": ("Model", False, lambda line: line.model.name),
    "abilities": ("Abilities", True, lambda line: len(line.model.row.abilities)),
    "window": ("Window", True, lambda line: line.model.row.context or None),
    "most": ("Most output", True, lambda line: line.model.row.max_output or None),
    "input": ("Input /M", False, lambda line: line.model.rate and line.model.rate.input),
    "output": ("Output /M", False, lambda line: line.model.rate and line.model.rate.output),
    "cached": ("Cached /M", False, lambda line: line.model.rate and line.model.rate.cache_read),
    "first": ("First token", False, lambda line: _middle(line, "first_token")),
    "whole": ("Whole answer", False, lambda line: _middle(line, "duration")),
    "pace": ("Tokens/s", True, lambda line: line.lately and line.lately.pace),
    "failed": ("Failed", True, lambda line: _failed(line)),
}
"""Column → its title, whether the most comes first when it is chosen, and its order."""


def page(desk: Desk, asked: Asked) -> Page:
    """The models of active providers that fit the filters, and the names of the user's own."""
    found = snapshot(desk)
    wanted = asked.query.get("q", "").strip()
    provider, ability = asked.query.get("provider", ""), asked.query.get("ability", "")
    begin = int(asked.query.get("from", "0")) if asked.query.get("from", "0").isdecimal() else 0
    every = catalogue(desk.admin)
    query = ModelsQuery(text=wanted, provider=provider, ability=ability)
    fit = [model for model in every if fits(model, query)]
    now_us = time.time_ns() // 1000
    seen = glance.glances(desk.admin.engine, now_us - HOUR_US, MOST)
    states = {each.name: each for each in health(seen, desk.providers)}
    targets = {each.name: each for each in health(seen, (), targets=True)}
    sort = asked.query.get("sort", "")
    lines = ordered([Line(model, targets.get(model.name)) for model in fit], sort)
    said = {"q": wanted, "provider": provider, "ability": ability, "sort": sort}
    values: dict[str, Any] = {
        "lines": lines[begin : begin + PAGE], "number": len(fit), "begin": begin, "said": said,
        "columns": [_column(name, said) for name in COLUMNS],
        "providers": [_provider(name, states, every, found) for name in desk.providers],
        "abilities": sorted({each for model in every for each in model.row.abilities}),
        "routes": [] if found is None else sorted(found.routes.items()), "states": states,
        "cut": now.cut(seen, MOST, now_us),
        "before": _link(said, max(begin - PAGE, 0)) if begin else "",
        "more": _link(said, begin + PAGE) if begin + PAGE < len(fit) else "",
    }  # fmt: skip
    return Page(template="models.html", title="Models", values=values)


def ordered(lines: Sequence[Line], sort: str) -> list[Line]:
    """By a column of ``COLUMNS``, with ``-`` from the most to the least; as they are without.

    Raises :class:`ProblemError`. Pure.
    """
    if not sort:
        return list(lines)
    name = sort.removeprefix("-")
    if name not in COLUMNS:
        detail = f"Models can't be sorted by {name!r}: choose from {', '.join(COLUMNS)}."
        raise ProblemError(400, "invalid_query", detail)
    key = COLUMNS[name][2]
    known = [line for line in lines if key(line) is not None]
    known.sort(key=key, reverse=sort.startswith("-"))
    return known + [line for line in lines if key(line) is None]


def _column(name: str, said: dict[str, str]) -> dict[str, str]:
    """A column's head: its title, how it is sorted now, and where it leads."""
    title, most_first, _ = COLUMNS[name]
    now = said["sort"] or "name"
    first, second = (f"-{name}", name) if most_first else (name, f"-{name}")
    order = {name: "ascending", f"-{name}": "descending"}.get(now, "")
    to = _link(said | {"sort": second if now == first else first}, 0)
    return {"name": name, "title": title, "order": order, "to": to}


def _middle(line: Line, times: str) -> float | None:
    found = getattr(line.lately, times) if line.lately is not None else ()
    return found[0] if found else None


def _failed(line: Line) -> float | None:
    found = line.lately
    return found.failed / found.tries if found is not None and found.tries else None


def snapshot(desk: Desk) -> Snapshot | None:
    """What the data planes go by; None = there is no good configuration yet."""
    return None if desk.configuration.compiled is None else desk.admin.snapshot()


def names(desk: Desk) -> list[str]:
    """Every name that a caller may write, the user's own first."""
    found = snapshot(desk)
    own = [] if found is None else sorted(found.routes)
    return own + [model.name for model in catalogue(desk.admin)]


def _provider(
    name: str, states: dict[str, Health], every: tuple[Model, ...], found: Snapshot | None
) -> dict[str, Any]:
    config = found.providers.get(name) if found is not None else None
    number = sum(model.provider == name for model in every)
    return {
        "name": name, "health": states[name], "models": number,
        "address": config.base_url if config is not None else "",
    }  # fmt: skip


def _link(said: dict[str, str], begin: int) -> str:
    given = {name: value for name, value in said.items() if value}
    return "/models?" + urlencode(given | ({"from": str(begin)} if begin else {}))
