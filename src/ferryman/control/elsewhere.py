"""What a call would have cost elsewhere: with the same tokens, by the prices known today. Pure."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from ferryman.config.snapshot import Snapshot
from ferryman.control.api.models import Model
from ferryman.meter.cost import cost
from ferryman.store.ledger import CallRow

MOST: Final = 8
"""Rows."""


class Offer(Struct, frozen=True, kw_only=True):
    """A target that might have served the call."""

    name: str
    """``provider/model``."""
    cost: int
    """Picodollars."""
    here: bool
    """Whether it is the one that answered."""


def offers(call: CallRow, found: Snapshot | None, known: Iterable[Model]) -> list[Offer]:
    """The other targets of the name that was asked for, the same model at other providers, and the
    one that answered; cheapest first. Empty if nothing is to be compared."""
    if call.usage is None or found is None:
        return []
    prices = {model.name: model.row.prices for model in known}
    own = f"{call.provider}/{call.target}"
    route = found.routes.get(call.model)
    pairs = [] if route is None else [*route.targets, *route.fallbacks]
    names = {own, *(f"{provider}/{model}" for provider, model in pairs)}
    names |= {each["target"] for each in call.plan}
    names |= {name for name in prices if name.partition("/")[2] == call.target}
    at = call.at_us // 1_000_000
    costs = ((name, cost(call.usage, prices.get(name, ()), at)) for name in names)
    rows = [
        Offer(name=name, cost=pico, here=name == own) for name, pico in costs if pico is not None
    ]
    rows.sort(key=lambda row: (row.cost, row.name))
    return rows[:MOST] if any(not row.here for row in rows) else []
