"""The keys of ``ledger``: how long single calls and their sums are kept."""

from decimal import Decimal
from typing import Final

from ferryman.config.kinds import SECONDS, Number
from ferryman.config.model import Retention
from ferryman.config.shapes import Key, Table

_DAY: Final = 86_400
_RETENTION: Final = Retention()


def days(example: str, least: int) -> Number:
    """Seconds, in whole or broken days, from ``least`` days up."""
    return Number(
        says="a duration in days (a text such as 90d)",
        example=example,
        least=Decimal(least * _DAY),
        most=Decimal(36_500 * _DAY),
        units={**SECONDS, "d": Decimal(_DAY)},
    )


LEDGER: Final = Table(
    says="a mapping",
    example="{ keep: 90d }",
    keys=(
        Key(
            name="keep",
            kind=days("90d", 3),
            doc="How long single calls are kept; what they add up to stays. On PostgreSQL until "
            "the whole month is that old.",
            default="for ever",
        ),
        Key(
            name="minutes",
            kind=days("7d", 3),
            doc="How long sums over minutes are kept.",
            default=f"{_RETENTION.minutes // _DAY}d",
        ),
        Key(
            name="hours",
            kind=days("400d", 40),
            doc="How long sums over hours are kept, and what budgets bear of each quarter of an "
            "hour. Sums over days stay for ever.",
            default=f"{_RETENTION.hours // _DAY}d",
        ),
        Key(
            name="audit",
            kind=days("400d", 1),
            doc="How long entries of the audit log are kept. See docs/audit.md.",
            default="for ever",
        ),
    ),
    hints=(
        ("days", "Sums over days are kept for ever. Write keep: 90d for single calls."),
        ("retention", "Write keep: 90d."),
    ),
)
