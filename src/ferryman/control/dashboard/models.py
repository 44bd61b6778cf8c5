"""The page Models: which names work, who answers to them, what they can do and cost."""

import time
from typing import Any, Final
from urllib.parse import urlencode

from ferryman.config.snapshot import Snapshot
from ferryman.control.api.models import HOUR_US, MOST, Model, ModelsQuery, catalogue, fits
from ferryman.control.dashboard import now
from ferryman.control.dashboard.desk import Asked, Desk, Page
from ferryman.control.health import Health, health
from ferryman.store import glance

PAGE: Final = 100


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
    said = {"q": wanted, "provider": provider, "ability": ability}
    values: dict[str, Any] = {
        "models": fit[begin : begin + PAGE], "number": len(fit), "begin": begin, "said": said,
        "providers": [_provider(name, states, every, found) for name in desk.providers],
        "abilities": sorted({each for model in every for each in model.row.abilities}),
        "routes": [] if found is None else sorted(found.routes.items()), "states": states,
        "cut": now.cut(seen, MOST, now_us),
        "before": _link(said, max(begin - PAGE, 0)) if begin else "",
        "more": _link(said, begin + PAGE) if begin + PAGE < len(fit) else "",
    }  # fmt: skip
    return Page(template="models.html", title="Models", values=values)


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
