"""The keys of a provider that say how many calls it takes at once."""

from typing import Final

from ferryman.config.kinds import Word
from ferryman.config.limit_grammar import ACCOUNT
from ferryman.config.measures import count, duration, seconds
from ferryman.config.shapes import Key, Table
from ferryman.config.snapshot import Limit

_LIMIT = Limit()

QUEUE: Final = Table(
    says="a mapping",
    example="{ wait: 10s, order: fair }",
    keys=(
        Key(
            name="length",
            kind=count("100", 0, 10_000),
            doc="Most calls that wait; any more are refused.",
            default=str(_LIMIT.length),
        ),
        Key(
            name="wait",
            kind=duration("10s", "0"),
            doc="Longest wait. A call that would not get its turn within it, or within its own "
            "timeout, is refused at once.",
            default=seconds(_LIMIT.wait),
        ),
        Key(
            name="order",
            kind=Word(says="fifo or fair", example="fair", choices=("fifo", "fair")),
            doc="Whose turn it is: fifo (first come, first served) or fair (each virtual key gets "
            "as many tokens as any other).",
            default="fifo",
        ),
    ),
)

LIMIT: Final = (
    Key(
        name="max_in_flight",
        kind=count("32", 1, 100_000),
        doc="Most calls at work there at once, over all its models, streams until their end. "
        "Another target with room is asked instead, or the call waits. See docs/overload.md.",
        default="no limit",
    ),
    Key(
        name="queue",
        kind=QUEUE,
        doc="How calls wait for one of the places of max_in_flight, or for room in a rate. Without "
        "it, calls wait for places only.",
    ),
    *ACCOUNT,
)
