"""Native histograms: times in narrow buckets whose bounds follow from a number.

Bucket ``n`` holds what is over ``2 ** ((n - 1) / 8)`` seconds and up to ``2 ** (n / 8)``: schema 3
of https://prometheus.io/docs/specs/native_histograms/. Values past the ends are counted in the
outermost buckets, so a histogram has 241 at most, of which only those with values take room.
"""

import re
from bisect import bisect_left
from math import frexp
from typing import Final

SCHEMA: Final = 3
_WITHIN: Final = (
    0.5, 0.5452538663326287, 0.5946035575013605, 0.6484197773255048,
    0.7071067811865475, 0.7711054127039704, 0.8408964152537145, 0.9170040432046712,
)  # fmt: skip
"""Bounds within a power of two: the greatest floats that are not over ``2 ** (n / 8 - 1)``."""
ZERO: Final = -17 * 8
"""The lowest bucket, the zero bucket: from 0 on,"""
ZERO_THRESHOLD: Final = 2.0**-17
"""up to 8 microseconds."""
HIGHEST: Final = 13 * 8
"""The bucket of all that takes more than two hours."""
_LONGEST: Final = 2.0**13
FAMILIES: Final = frozenset((
    "ferryman_call_seconds", "ferryman_first_token_seconds", "ferryman_overhead_seconds",
    "ferryman_queue_seconds",
))  # fmt: skip
"""The histograms that have them."""

Buckets = dict[int, int]
"""How many values are in which bucket."""


def number_of(seconds: float) -> int:
    """The bucket of a value."""
    if seconds <= ZERO_THRESHOLD:
        return ZERO
    if seconds > _LONGEST:
        return HIGHEST
    part, power = frexp(seconds)
    return bisect_left(_WITHIN, part) + 8 * (power - 1)


def count(buckets: Buckets, seconds: float) -> None:
    """Count a value."""
    number = number_of(seconds)
    buckets[number] = buckets.get(number, 0) + 1


# -- between workers ------------------------------------------------------------------------------
#
# The text format knows no native histograms. They travel in it as lines of our own, which only
# other workers get to see.


def write(lines: list[str], name: str, labels: str, buckets: Buckets, total: float = -1.0) -> None:
    """Add the buckets of one histogram to a page; ``total``: the sum of the values, where the page
    has none beside."""
    if buckets:
        lines.append(f"{name}_native{{{labels}}} {written(buckets)}")
        if total >= 0:
            lines.append(f"{name}_native_sum{{{labels}}} {total:.6f}")


def written(buckets: Buckets) -> str:
    """Buckets as a sample's value."""
    return ",".join(f"{number}:{values}" for number, values in sorted(buckets.items()))


def add(buckets: Buckets, value: str) -> None:
    """Add what was written to ``buckets``."""
    for pair in value.split(","):
        number, _, values = pair.partition(":")
        buckets[int(number)] = buckets.get(int(number), 0) + int(values)


def without(page: bytes) -> bytes:
    """A page without these lines."""
    return _OURS.sub(b"", page) if b"_native" in page else page


_OURS: Final = re.compile(rb"^ferryman_\w+_native(?:_sum)?\{.*\n", re.MULTILINE)
