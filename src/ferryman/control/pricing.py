"""The price book in the admin API: what models cost, what a call's cost is made of, and what calls
would cost by today's prices.

Prices in force are read from the snapshot that is published; those that calls were billed by are in
the ledger. Nothing here changes a record.
"""

import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import asdict

from ferryman.catalog.amendments import DAY_NAMES
from ferryman.client.documents import (
    Cost,
    CostLine,
    Items,
    ModelPrices,
    PriceChange,
    Recost,
    RecostRow,
    Unpriced,
)
from ferryman.config.secret import name_of
from ferryman.config.snapshot import ModelRow, Snapshot
from ferryman.control.admin import Admin
from ferryman.control.api.route import Route
from ferryman.control.problem import ProblemError
from ferryman.control.query import moment_at
from ferryman.control.reports import Since, Until, call_of
from ferryman.control.rows import dollars
from ferryman.control.when import rfc3339
from ferryman.ir.price import EVERY_DAY, PER_ONE, WIDER, Price, Rate, Special, Tiers, scaled
from ferryman.ir.usage import Usage
from ferryman.ir.usage import from_counts as usage_from
from ferryman.meter.cost import cost, price_at
from ferryman.meter.lines import lines
from ferryman.store import ledger
from ferryman.store.rollup import LOST

_rows: Final = msgspec.msgpack.Decoder(dict[str, ModelRow])
_BY_TOKEN: Final = tuple(name for name in Rate.__struct_fields__ if name not in PER_ONE)
MOST_CALLS: Final = 1_000_000
"""Calls that one question looks at."""
_PAGE: Final = 1000
Book = Mapping[tuple[str, str], tuple[Price, ...]]
"""(provider, model) → its price; empty = it has none."""
Shares = Mapping[tuple[str, str], tuple[int, int]]
"""(provider, name of its key) → the part of a price that is paid with that."""
ALL: Final = (1, 1)


class PricesQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Of which model."""

    model: Annotated[str, Meta(description="As callers write it.", examples=["lab/large"])]


class SinceQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """From when."""

    since: Since = "30d"


class RecostQuery(SinceQuery, kw_only=True, forbid_unknown_fields=True):
    """Which calls."""

    until: Until = ""
    model: str = ""


def prices(admin: Admin, query: PricesQuery) -> Items[ModelPrices]:
    """What a model costs, at each target that its name may lead to."""
    foreign = admin.foreign()
    named = _named(admin.snapshot(), query.model)
    found = {pair: listed for pair, listed in named.items() if pair[0] not in foreign}
    if not found:
        raise ProblemError(404, "model_not_found", f"No model is called {query.model!r}.")
    return Items(
        data=[
            ModelPrices(provider=pair[0], model=pair[1], prices=list(map(period, listed)))
            for pair, listed in found.items()
        ]
    )


def unpriced(admin: Admin, query: SinceQuery) -> Items[Unpriced]:
    """Models without a price that the configuration names, or that were called since then."""
    return Items(data=_unpriced(admin, moment_at("since", query.since)))


def price_changes(admin: Admin, query: SinceQuery) -> Items[PriceChange]:
    """What costs something else now than calls since then were billed at."""
    return Items(data=list(_changes(admin, moment_at("since", query.since))))


def recost(admin: Admin, query: RecostQuery) -> Recost:
    """What calls would cost by the prices of now. Records keep what they were billed."""
    end = moment_at("until", query.until) if query.until else None
    return _recost(admin, moment_at("since", query.since), end, query.model or None)


def explain_cost(admin: Admin, request_id: str) -> Cost:
    """A call's cost to the line."""
    return explained(admin, call_of(admin, request_id))


def explained(admin: Admin, call: ledger.CallRow) -> Cost:
    """The parts of a call's cost, by the price that it was billed by."""
    at = call.at_us // 1_000_000
    billed = [(call.price, call.usage)] if call.price else _attempts(call)
    parts = [
        part
        for price, usage in billed
        if usage is not None
        for part in lines(usage, ledger.price_of(admin.engine, price), at)
    ]
    return Cost(
        request_id=call.request_id,
        time=rfc3339(at),
        model=f"{call.provider}/{call.target}",
        price=", ".join(dict.fromkeys(price for price, _ in billed)) or None,
        cost_usd=None if call.cost is None else dollars(call.cost),
        lines=[
            CostLine(
                what=p.what, count=p.count, rate=_rate_text(p.what, p.rate), usd=dollars(p.pico)
            )
            for p in parts
        ],
        why="" if parts else _why(call),
    )


def _attempts(call: ledger.CallRow) -> list[tuple[str, Usage]]:
    """By which price each attempt of several was billed, and what it used."""
    return [
        (each["price"], usage_from(each["tokens"]))
        for each in call.attempts
        if each.get("price") and each.get("tokens")
    ]


def _why(call: ledger.CallRow) -> str:
    """Why there are no parts."""
    if call.state == "lost":
        return "Its gateway died: it costs what was held for it."
    if call.usage is None:
        return "The provider did not say what it used."
    if call.cost is None:
        return "The model had no price."
    if call.price is None and call.cost:
        return "It is older than the price book."
    return "It cost nothing."


def _rate_text(what: str, rate: int) -> str:
    if what in _BY_TOKEN:
        return f"{dollars(rate * 10**6)} per million"
    each = {"audio_ms": "per hour"}.get(what, "of the tokens" if " " in what else "each")
    return f"{dollars(rate)} {each}"


def period(price: Price) -> dict[str, Any]:
    """A price as people read it: dates, and USD per million tokens."""
    out: dict[str, Any] = {
        "since": _day(price.since),
        "until": _day(price.until),
        "tiers": _tiers(price.tiers),
    }
    if price.specials:
        out["specials"] = [_special(each) for each in price.specials]
    if price.audio_least_ms:
        out["audio_least_seconds"] = f"{Decimal(price.audio_least_ms) / 1000:f}"
    if price.regions:
        out["regions"] = {name: f"{Decimal(share) / 10:f}%" for name, share in price.regions}
    return out


def _special(special: Special) -> dict[str, Any]:
    out: dict[str, Any] = {"service": special.service or "standard"}
    if special.begins != special.ends:
        out["hours_utc"] = f"{_hour(special.begins)}-{_hour(special.ends)}"
    if special.days != EVERY_DAY:
        out["days"] = [day for at, day in enumerate(DAY_NAMES) if special.days >> at & 1]
    return out | {"tiers": _tiers(special.tiers)}


def _hour(second: int) -> str:
    return f"{second // 3600:02d}:{second % 3600 // 60:02d}"


def _day(second: int) -> str | None:
    return rfc3339(second)[:10] if second else None


def _tiers(tiers: Tiers) -> list[dict[str, Any]]:
    return [{"above_tokens": max(above, 0)} | usd(rate) for above, rate in tiers]


def usd(rate: Rate) -> dict[str, str]:
    """USD per million tokens or characters (``ir.price.PER_ONE``: for one of them).

    What is not said costs what it costs without being told apart.
    """
    said = {}
    for name, value in asdict(rate).items():
        otherwise = getattr(rate, WIDER[name][0]) if name in WIDER else 0
        if value != otherwise or name in ("input", "output"):
            said[name] = dollars(value * 10**6 if name in _BY_TOKEN else value)
    return said


# -- the book that is in force ---------------------------------------------------------------------


def _book(snapshot: Snapshot) -> Book:
    return {
        (provider, model): row.prices
        for provider, raw in snapshot.models.items()
        for model, row in _rows.decode(raw).items()
    }


def _shares(snapshot: Snapshot) -> Shares:
    """Of all keys."""
    return {
        (provider.name, name_of(secret, place)): secret.pays
        for provider in snapshot.providers.values()
        for place, secret in enumerate(provider.keys, 1)
    }


def _paid(prices: tuple[Price, ...], share: tuple[int, int]) -> tuple[Price, ...]:
    """What a key pays (as ``upstream/fleet.py`` has it)."""
    return prices if share == ALL else tuple(scaled(price, *share) for price in prices)


def _named(snapshot: Snapshot, name: str) -> Book:
    """What a name may lead to, with its prices."""
    book = _book(snapshot)
    route = snapshot.routes.get(name)
    if route is not None:
        return {pair: book.get(pair, ()) for pair in (*route.targets, *route.fallbacks)}
    provider, _, model = name.partition("/")
    if (provider, model) in book:
        return {(provider, model): book[provider, model]}
    return {pair: book.get(pair, ()) for pair in snapshot.bare.get(name, ())}


def _unpriced(admin: Admin, since: int) -> list[Unpriced]:
    """Targets that the configuration names, and models that were called, without a price."""
    snapshot = admin.snapshot()
    book = _book(snapshot)
    named = {pair for r in snapshot.routes.values() for pair in (*r.targets, *r.fallbacks)}
    admin.catch_up()
    called = ledger.unknown_costs(admin.engine, since * 1_000_000)
    pairs = {pair for pair in named if not book.get(pair)} | {
        pair for pair in called if not book.get(pair)
    }
    return [
        Unpriced(provider=p, model=m, calls=called.get((p, m), 0), configured=(p, m) in named)
        for p, m in sorted(pairs)
    ]


def _changes(admin: Admin, since: int) -> Iterator[PriceChange]:
    """Rates of models that were called since then, where they are not what calls were billed at.

    All of them: of longer calls, other service tiers, parts of the day and regions too. Where keys
    pay differently, calls were billed by the key whose price they are nearest to.
    """
    snapshot = admin.snapshot()
    book, shares = _book(snapshot), _shares(snapshot)
    now = int(time.time())
    admin.catch_up()
    for used in ledger.prices_used(admin.engine, since * 1_000_000):
        was = in_force(used.prices, used.last_at_us // 1_000_000)
        prices = book.get((used.provider, used.model), ())
        pays = {share for (name, _), share in shares.items() if name == used.provider} or {ALL}
        differ = [_differing(was, in_force(_paid(prices, share), now)) for share in pays]
        changes = min(differ, key=len)
        if changes:
            yield PriceChange(
                provider=used.provider, model=used.model, price=used.id, calls=used.calls,
                changes=changes,
            )  # fmt: skip


def _differing(was: dict[str, str], now: dict[str, str]) -> dict[str, Any]:
    return {
        name: (was.get(name), now.get(name))
        for name in dict.fromkeys((*was, *now))
        if was.get(name) != now.get(name)
    }


def in_force(prices: tuple[Price, ...], at_s: int) -> dict[str, str]:
    """Every rate of the price in force then, under a name that says which one it is."""
    price = price_at(prices, at_s)
    if price is None:
        return {}
    said = _named_rates("", price.tiers)
    for special in price.specials:
        words = _special(special)
        when = " ".join((*words.get("days", ()), words.get("hours_utc", "")))
        name = " ".join(part for part in (words["service"], when.strip()) if part)
        said |= _named_rates(f"{name}: ", special.tiers)
    said |= {f"region {name}": f"{Decimal(share) / 10:f}%" for name, share in price.regions}
    if price.audio_least_ms:
        said["audio_least_seconds"] = f"{Decimal(price.audio_least_ms) / 1000:f}"
    return said


def _named_rates(when: str, tiers: Tiers) -> dict[str, str]:
    return {
        f"{when}{name}{f' above {above}' if above > 0 else ''}": amount
        for above, rate in tiers
        for name, amount in usd(rate).items()
    }


def _recost(admin: Admin, since: int, until: int | None, model: str | None) -> Recost:
    """What calls cost, and what they would cost by the book in force, at the time they began."""
    snapshot = admin.snapshot()
    book, shares = _book(snapshot), _shares(snapshot)
    admin.catch_up()
    sums: dict[tuple[str, str], list[int]] = {}
    before: tuple[int, str] | None = None
    seen = 0
    where = {"model": model} if model else {}
    while seen < MOST_CALLS:
        page = ledger.calls(
            admin.engine, limit=_PAGE, before=before, since_us=since * 1_000_000,
            until_us=None if until is None else until * 1_000_000, where=where,
        )  # fmt: skip
        for call in page:
            if call.state == LOST:
                continue
            pair = (call.provider, call.target)
            again = recosted(call, book, shares)
            if again is None:
                continue
            row = sums.setdefault(pair, [0, 0, 0, 0])
            row[0] += 1
            row[1] += call.cost is None
            row[2] += call.cost or 0
            row[3] += again
        seen += len(page)
        if len(page) < _PAGE:
            break
        before = (page[-1].at_us, page[-1].request_id)
    return Recost(
        since=rfc3339(since),
        until=rfc3339(time.time() if until is None else until),
        complete=seen < MOST_CALLS,
        data=[
            RecostRow(
                provider=p, model=m, calls=n, unpriced=free, billed_usd=dollars(was),
                recost_usd=dollars(now), difference_usd=signed(now - was),
            )
            for (p, m), (n, free, was, now) in sorted(sums.items())
        ],
    )  # fmt: skip


def recosted(call: ledger.CallRow, book: Book, shares: Shares) -> int | None:
    """What a call would cost by ``book``, whoever was paid for it, with the keys that were used;
    None where that isn't known.

    Nor is it of calls that are older than the price book.
    """
    at = call.at_us // 1_000_000
    paid = [each for each in call.attempts if each.get("tokens")]
    if len(call.attempts) < 2 or not paid:
        if not call.usage or (call.price is None and call.cost is not None):
            return None
        key = call.attempts[-1].get("key", "") if call.attempts else ""
        prices = _paid(
            book.get((call.provider, call.target), ()), shares.get((call.provider, key), ALL)
        )
        return cost(call.usage, prices, at)
    if any(each.get("cost_pico") and not each.get("price") for each in paid):
        return None
    costs = []
    for each in paid:
        share = shares.get((each["provider"], each.get("key", "")), ALL)
        prices = _paid(book.get((each["provider"], each["model"]), ()), share)
        costs.append(cost(usage_from(each["tokens"]), prices, at))
    known = [each for each in costs if each is not None]
    return sum(known) if len(known) == len(costs) else None


def signed(pico: int) -> str:
    """Dollars, with a minus where it is less."""
    return f"-{dollars(-pico)}" if pico < 0 else dollars(pico)


ROUTES: Final = (
    Route("GET", "/prices", "prices.read", prices, errors=(404, 409), tenants=True),
    Route("GET", "/prices/unpriced", "prices.read", unpriced, errors=(409,)),
    Route("GET", "/prices/changes", "prices.read", price_changes, errors=(409,)),
    Route("GET", "/prices/recost", "prices.read", recost, errors=(409,)),
    Route(
        "GET", "/calls/{request_id}/cost", "calls.read", explain_cost, errors=(404,), tenants=True
    ),
)
