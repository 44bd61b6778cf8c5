"""Kinds of values that have a unit: durations, sizes, counts."""

from decimal import Decimal
from typing import Final

from ferryman.config.kinds import BYTES, SECONDS, Number

_DAY: Final = Decimal(86_400)


def duration(example: str, least: str, most: Decimal = _DAY) -> Number:
    """Seconds, from ``least`` up to ``most``."""
    return Number(
        says="a duration (seconds, or a text such as 500ms, 30s, 2m)",
        example=example,
        least=Decimal(least),
        most=most,
        units=SECONDS,
    )


def size(example: str, least: int, most: int) -> Number:
    """Bytes, from ``least`` up to ``most``."""
    return Number(
        says="a size (bytes, or a text such as 64KiB, 50MB)",
        example=example,
        least=Decimal(least),
        most=Decimal(most),
        step=Decimal(1),
        units=BYTES,
    )


def count(example: str, least: int, most: int) -> Number:
    """A whole number, from ``least`` up to ``most``."""
    step = Decimal(1)
    says = "a whole number"
    return Number(says=says, example=example, least=Decimal(least), most=Decimal(most), step=step)


def seconds(value: float) -> str:
    """A default as the pages show it."""
    return f"{value:g}s"


USD: Final = Number(
    says="an amount in USD",
    example="0.5",
    least=Decimal(0),
    most=Decimal(1_000_000),
    step=Decimal("0.000001"),
)
