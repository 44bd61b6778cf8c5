"""Amounts of money in ``ferryman.yaml``, and the keys of a model's prices."""

from decimal import Decimal
from typing import Final

from ferryman.config.kinds import Number
from ferryman.config.shapes import Key, Table

USD: Final = Number(
    says="an amount in USD",
    example="0.5",
    least=Decimal(0),
    most=Decimal(1_000_000),
    step=Decimal("0.000001"),
)

PRICES: Final = Table(
    says="a mapping of prices",
    example="{ input: 0.5, output: 1.5 }",
    keys=(
        Key(name="input", kind=USD, doc="USD per million input tokens.", required=True),
        Key(name="output", kind=USD, doc="USD per million output tokens.", required=True),
        Key(
            name="cache_read",
            kind=USD,
            doc="USD per million input tokens read from the provider's cache.",
            default="input",
        ),
        Key(
            name="cache_write",
            kind=USD,
            doc="USD per million input tokens written to the provider's cache (5 minutes).",
            default="input",
        ),
        Key(
            name="cache_write_1h",
            kind=USD,
            doc="USD per million input tokens written to the provider's cache for an hour.",
            default="cache_write",
        ),
        Key(
            name="audio_input",
            kind=USD,
            doc="USD per million audio input tokens.",
            default="input",
        ),
        Key(
            name="reasoning",
            kind=USD,
            doc="USD per million reasoning tokens.",
            default="output",
        ),
        Key(
            name="audio_output",
            kind=USD,
            doc="USD per million audio output tokens.",
            default="output",
        ),
        Key(name="request", kind=USD, doc="USD per call, on top of its tokens.", default="0"),
    ),
)
