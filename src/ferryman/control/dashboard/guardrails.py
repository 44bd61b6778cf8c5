"""The page Guardrails: which guards there are, where they hold, and what they have said of late."""

import time
from typing import Any

from ferryman.config.guard_row import Guard
from ferryman.config.snapshot import Snapshot
from ferryman.control.api.status import HEARD
from ferryman.control.dashboard import models
from ferryman.control.dashboard.desk import Asked, Desk, Page
from ferryman.store import glance
from ferryman.store.glance import Verdicts
from ferryman.store.schema import DAY_US


def page(desk: Desk, asked: Asked) -> Page:
    """Guards of the configuration in force, and those that have said something since yesterday."""
    desk.admin.catch_up()
    found, since = models.snapshot(desk), time.time_ns() // 1000 - DAY_US
    said, reached = glance.verdicts(desk.admin.engine, since, HEARD)
    guards = [] if found is None else list(found.guards)
    known = {guard.name for guard in guards}
    values: dict[str, Any] = {
        "guards": [
            {"guard": guard, "where": [] if found is None else where(found, guard),
             "said": [each for each in said if each.guard == guard.name]}
            for guard in guards
        ],
        "gone": [each for each in said if each.guard not in known],
        "total": total(said), "cut": reached > since, "reached": reached, "most": HEARD,
    }  # fmt: skip
    return Page(template="guardrails.html", title="Guardrails", values=values)


def where(found: Snapshot, guard: Guard) -> list[str]:
    """Which calls a guard holds for; nothing = none. Pure."""
    if guard.always:
        return ["all calls"]
    policies = [f"policy {each.name}" for each in found.rules if guard.name in each.guard]
    routes = [f"model {n}" for n, route in found.routes.items() if guard.name in route.guard]
    return policies + sorted(routes)


def total(said: list[Verdicts]) -> dict[str, int]:
    """Calls by what came of them."""
    sums: dict[str, int] = dict.fromkeys(("blocked", "redacted", "annotated", "logged"), 0)
    for each in said:
        sums[each.action] = sums.get(each.action, 0) + each.calls
    return sums
