"""How much of a provider's rate limits is left, as its replies say."""

from collections.abc import Iterable
from typing import Final

REFILL_SECONDS: Final = 20.0
"""Limits are mostly per minute: what is used up of one fades to a twentieth within that."""


def remaining(headers: Iterable[tuple[bytes, bytes]]) -> float:
    """The share (0 to 1) that is left of the limit that is nearest to its end; -1 = not said.

    Any ``…ratelimit…remaining…`` with its ``…ratelimit…limit…``, in requests or in tokens:
    https://platform.openai.com/docs/guides/rate-limits (``x-ratelimit-remaining-tokens``),
    https://platform.claude.com/docs/en/api/rate-limits (``anthropic-ratelimit-tokens-remaining``).
    """
    left: dict[bytes, float] = {}
    most: dict[bytes, float] = {}
    for name, value in headers:
        if b"ratelimit" not in name:
            continue
        what = name.rpartition(b"ratelimit")[2]
        if b"remaining" in what:
            left[what.replace(b"remaining", b"")] = _number(value)
        elif b"limit" in what:
            most[what.replace(b"limit", b"")] = _number(value)
    shares = [
        min(count / most[what], 1.0)
        for what, count in left.items()
        if count >= 0 and most.get(what, 0) > 0
    ]
    return min(shares, default=-1.0)


def _number(value: bytes) -> float:
    return float(value) if value.isdigit() and len(value) <= 18 else -1.0
