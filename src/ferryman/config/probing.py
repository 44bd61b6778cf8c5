"""The key of a provider that says how its resting models are probed."""

from typing import Final

from ferryman.config.measures import USD, duration, seconds
from ferryman.config.shapes import Key, Table
from ferryman.config.snapshot import Probe

_PROBE = Probe()
_HOUR: Final = 3600

PROBE: Final = Table(
    says="a mapping",
    example="{ every: 10s, usd_per_day: 0.1 }",
    keys=(
        Key(
            name="every",
            kind=duration("10s", "1", most=type(USD.most)(_HOUR)),
            doc="How often a target that rests is asked for one token.",
            default=seconds(_PROBE.every),
        ),
        Key(
            name="usd_per_day",
            kind=USD,
            doc="Most that probes of this provider may cost in a day (UTC); what has no price is "
            "not probed.",
            default="0.1",
        ),
    ),
)
