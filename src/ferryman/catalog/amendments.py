"""Prices that genai-prices lacks or has otherwise than the vendor: ``prices.toml``, row by row."""

import functools
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from fractions import Fraction
from importlib import resources
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ferryman.ir.price import FLAT, Price, Rate, Special, Tiers, pico, rate_of_amounts, shared

DAY_NAMES: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""From the bit 1 of ``Special.days`` on."""


class Amendment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of ``prices.toml``; its head explains the fields."""

    providers: tuple[str, ...]
    models: tuple[str, ...]
    source: str
    checked: str
    why: str
    since: str = ""
    until: str = ""
    usd: dict[str, Decimal] = {}
    whole: bool = False
    days: str = ""
    hours: tuple[str, ...] = ()
    audio_least_seconds: int = 0
    hosts: tuple[str, ...] = ()
    service: str = ""
    per_cent: int = 100
    keeps: tuple[str, ...] = ()


@functools.cache
def amendments() -> tuple[Amendment, ...]:
    """The rows, in order. Raises msgspec's error, or KeyError, where one is wrong."""
    text = resources.files("ferryman.catalog").joinpath("prices.toml").read_text("utf-8")
    rows = msgspec.convert(tomllib.loads(text, parse_float=Decimal)["price"], list[Amendment])
    for row in rows:
        for name in (*row.usd, *row.keeps):
            if name not in Rate.__struct_fields__:
                raise KeyError(f"prices.toml: {name} is no price")
    return tuple(rows)


def amended(
    provider: str,
    model: str,
    found: tuple[Price, ...],
    rows: tuple[Amendment, ...] | None = None,
) -> tuple[Price, ...]:
    """``found`` with what the rows say of a model (all of them, or those that are given), but for
    what depends on the host."""
    for row in _rows(provider, model, amendments() if rows is None else rows):
        if not row.hosts:
            found = tuple(sorted(_apply(row, found), key=lambda price: price.since))
    return found


def regional(provider: str, model: str, host: str) -> int:
    """Per cent that tokens of a model cost at a host of its provider: 100, if it is none of those
    that cost more."""
    for row in _rows(provider, model, amendments()):
        if any(fnmatchcase(host, pattern) for pattern in row.hosts):
            return row.per_cent
    return 100


def _rows(provider: str, model: str, rows: tuple[Amendment, ...]) -> Iterator[Amendment]:
    for row in rows:
        if provider in row.providers and any(fnmatchcase(model, each) for each in row.models):
            yield row


def _apply(row: Amendment, found: tuple[Price, ...]) -> Iterator[Price]:
    """The prices with the row's in its period: the others are cut where it begins and ends."""
    since, until = _moment(row.since), _moment(row.until)
    for price in found:
        begins = max(price.since, since)
        ends = min(price.until or until, until or price.until)
        if ends and begins >= ends:
            yield price
            continue
        if price.since < begins:
            yield replace(price, until=begins)
        if not row.whole:
            yield _with(row, replace(price, since=begins, until=ends))
        if ends and ends != price.until:
            yield replace(price, since=ends)
    if row.whole:
        yield Price(since=since, until=until, tiers=((-1, rate_of_amounts(row.usd)),))


def _with(row: Amendment, price: Price) -> Price:
    if row.service or row.days or row.hours:
        share = Fraction(row.per_cent) / 100
        tiers = _tiers(row, shared(price.tiers, share, (*FLAT, *row.keeps)))
        moments = [_hours(text) for text in row.hours] or [(0, 0)]
        specials = [
            Special(service=row.service, begins=b, ends=e, tiers=tiers, days=days(row.days))
            for b, e in moments
        ]
        return replace(price, specials=(*specials, *price.specials))
    return replace(
        price,
        tiers=_tiers(row, price.tiers),
        specials=tuple(replace(each, tiers=_tiers(row, each.tiers)) for each in price.specials),
        audio_least_ms=row.audio_least_seconds * 1000 or price.audio_least_ms,
    )


def _tiers(row: Amendment, tiers: Tiers) -> Tiers:
    if {"input", "output"} <= row.usd.keys():
        return tuple((size, rate_of_amounts(row.usd)) for size, _ in tiers)
    amounts = {name: pico(name, amount) for name, amount in row.usd.items()}
    if "request" in amounts:
        amounts = {
            "request_low": amounts["request"],
            "request_medium": amounts["request"],
        } | amounts
    return tuple((size, replace(rate, **amounts)) for size, rate in tiers)


def days(text: str) -> int:
    """``mon-fri`` → ``Special.days``; the empty text is every day."""
    if not text:
        return (1 << len(DAY_NAMES)) - 1
    first, _, last = text.partition("-")
    begin, end = DAY_NAMES.index(first), DAY_NAMES.index(last or first)
    return sum(1 << (day % 7) for day in range(begin, end + 1 if end >= begin else end + 8))


def _hours(text: str) -> tuple[int, int]:
    begins, ends = (int(each[:2]) * 3600 + int(each[3:]) * 60 for each in text.split("-"))
    return begins, ends


def _moment(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) if text else 0
