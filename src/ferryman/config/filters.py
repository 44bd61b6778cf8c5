"""What is written down of targets, and which of a filter's keys leaves one out for it. Pure."""

from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import Final, NamedTuple

from ferryman.config.snapshot import Filter
from ferryman.ir.price import PICO

PRICES: Final = ("input", "output", "request")


def picodollars(usd: Decimal, price: str) -> int:
    """USD per million tokens, or for ``request`` per call, as filters count them."""
    return round(usd * (PICO if price == "request" else PICO // 10**6))


DATA_POLICIES: Final = ("no_training", "zero_retention", "hipaa")
"""What may be promised of data: who keeps none (the second) trains on none, either."""
UNKNOWN: Final = "unknown"
"""In a list of quantizations: also targets of which nothing is known."""
QUANTIZATIONS: Final = (
    "int4", "int8", "fp4", "fp6", "fp8", "fp16", "bf16", "fp32", UNKNOWN,
)  # fmt: skip


CATALOGUED: Final = {"document": "pdf"}
"""Ability as conditions and requests call it → its name in the catalogue, if that is another."""
ASKED: Final = ("tools", "vision", "audio", "pdf", "json_schema", "reasoning")
"""The catalogue's names of the abilities that a request may need."""


class Written(NamedTuple):
    """What is written down of a target; empty = unknown."""

    provider: str
    model: str = ""
    region: str = ""
    data_policy: str = ""
    """Words with spaces between."""
    quantization: str = ""


def barred(target: Written, wanted: Filter) -> str:
    """The first key of ``wanted`` that the target does not pass; empty = it passes them all.

    What is unknown passes no key that asks for it. Prices, abilities and parameters, which depend
    on the request, are not looked at.
    """
    if wanted.only and not _named(target, wanted.only):
        return "only"
    if wanted.ignore and _named(target, wanted.ignore):
        return "ignore"
    if wanted.regions and not any(within(target.region, region) for region in wanted.regions):
        return "regions"
    if wanted.data_policy and unpromised(target.data_policy, wanted.data_policy):
        return "data_policy"
    if wanted.quantizations and (target.quantization or UNKNOWN) not in wanted.quantizations:
        return "quantizations"
    return ""


def unpromised(promised: str, wanted: str) -> tuple[str, ...]:
    """Those of the wanted data policies (words with spaces between) that are not promised."""
    kept = set(promised.split())
    if "zero_retention" in kept:
        kept.add("no_training")
    return tuple(word for word in wanted.split() if word not in kept)


def policies(words: Iterable[str]) -> str:
    """Data policies as a text, in their order."""
    return " ".join(word for word in DATA_POLICIES if word in set(words))


def _named(target: Written, names: Collection[str]) -> bool:
    return target.provider in names or f"{target.provider}/{target.model}" in names


def within(region: str, wanted: str) -> bool:
    """Whether ``region`` is ``wanted`` or a part of it, as ``eu-west-3`` is of ``eu``."""
    region, wanted = region.lower(), wanted.lower()
    return region == wanted or region.startswith((f"{wanted}-", f"{wanted}."))
