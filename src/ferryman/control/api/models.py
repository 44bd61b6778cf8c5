"""Models that can be called, and providers with their health, in the admin API."""

import time
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from ferryman.client.documents import Items, Page, Provider
from ferryman.client.documents import Model as Shown
from ferryman.config.snapshot import ModelRow, Snapshot
from ferryman.control.admin import Admin, decoded
from ferryman.control.api.cursor import Pages
from ferryman.control.api.route import Route
from ferryman.control.health import health
from ferryman.control.pricing import usd
from ferryman.control.when import rfc3339
from ferryman.ir.price import Rate
from ferryman.meter.cost import rate_at
from ferryman.store import glance

HOUR_US: Final = 3_600_000_000
MOST: Final = 5000
"""Calls that health is made of."""
_rows: Final = msgspec.msgpack.Decoder(dict[str, ModelRow])


class Model(Struct, frozen=True, kw_only=True):
    """A model at a provider that is active."""

    name: str
    """``provider/model``."""
    provider: str
    row: ModelRow
    rate: Rate | None
    """Its price today, for short inputs; None = it has none."""


class ModelsQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which models."""

    text: Annotated[str, Meta(description="Words that are all in the name.")] = ""
    provider: str = ""
    ability: Annotated[str, Meta(examples=["tools"])] = ""


def models(admin: Admin, query: ModelsQuery, pages: Pages) -> Page[Shown]:
    """The names that can be called: one's own, and the models of active providers.

    Own names have `targets`; only `text` chooses among them.
    """
    after = pages.after(str) or ""
    own = {} if query.provider or query.ability else admin.snapshot().routes
    words, foreign = query.text.lower().split(), admin.foreign()
    found = [
        Shown(
            name=name, provider=None, context=None, max_output=None, abilities=(), price=None,
            targets=targets,
        )
        for name, route in own.items()
        if name > after and all(word in name.lower() for word in words)
        if (targets := ["/".join(pair) for pair in (*route.targets, *route.fallbacks)
                        if pair[0] not in foreign])
    ]  # fmt: skip
    more = (
        each for each in catalogue(admin)
        if each.name > after and each.provider not in foreign and fits(each, query)
    )  # fmt: skip
    found += map(_shown, islice(more, pages.more))
    shown, following = pages.cut(sorted(found, key=lambda each: each.name), lambda each: each.name)
    return Page(data=shown, next=following)


def providers(admin: Admin) -> Items[Provider]:
    """The active providers, and how they did in the last hour."""
    snapshot, compiled = admin.snapshot(), admin.configuration.compiled
    active = compiled.providers if compiled is not None else ()
    admin.catch_up()
    seen = glance.glances(admin.engine, time.time_ns() // 1000 - HOUR_US, MOST)
    number: dict[str, int] = {}
    for model in catalogue(admin):
        number[model.provider] = number.get(model.provider, 0) + 1
    return Items(
        data=[
            Provider(
                name=each.name, base_url=snapshot.providers[each.name].base_url,
                models=number.get(each.name, 0), state=each.state, tries=each.tries,
                failed=each.failed, last_error=each.error or None,
                last_error_at=rfc3339(each.error_us / 1e6) if each.error_us else None,
            )
            for each in health(seen, active)
            if each.name in snapshot.providers
        ]
    )  # fmt: skip


def catalogue(admin: Admin) -> tuple[Model, ...]:
    """All models of active providers that are known by name, sorted."""
    compiled = admin.configuration.compiled
    if compiled is None:
        return ()
    hour = int(time.time()) // 3600
    return _catalogue(compiled.snapshot, compiled.providers, hour)


def fits(model: Model, query: ModelsQuery) -> bool:
    """Whether a model fits the filters."""
    return (
        all(word in model.name.lower() for word in query.text.lower().split())
        and query.provider in ("", model.provider)
        and (not query.ability or query.ability in model.row.abilities)
    )


def _shown(model: Model) -> Shown:
    row = model.row
    return Shown(
        name=model.name, provider=model.provider, context=row.context or None,
        max_output=row.max_output or None, abilities=row.abilities,
        price=None if model.rate is None else dict(usd(model.rate)),
    )  # fmt: skip


@lru_cache(1)
def _catalogue(raw: bytes, active: tuple[str, ...], hour: int) -> tuple[Model, ...]:
    return tuple(sorted(_models(decoded(raw), active, hour * 3600), key=lambda each: each.name))


def _models(found: Snapshot, active: tuple[str, ...], at: int) -> Iterator[Model]:
    for provider in active:
        raw = found.models.get(provider)
        for name, row in _rows.decode(raw).items() if raw else ():
            rate = rate_at(row.prices, at, 0)
            yield Model(name=f"{provider}/{name}", provider=provider, row=row, rate=rate)


ROUTES: Final = (
    Route("GET", "/models", "models.read", models, errors=(409,), tenants=True),
    Route("GET", "/providers", "models.read", providers, errors=(409,)),
)
