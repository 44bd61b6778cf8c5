"""A rate to calculate with: each of its fields is read once, which for compiled code is dear."""

from ferryman.ir.price import Price, Rate


class Fixed:
    """What of a :class:`~ferryman.ir.price.Rate` matters to most calls, under the same names."""

    __slots__ = (
        "audio_input", "audio_output", "cache_read", "cache_write", "cache_write_1h", "input",
        "output", "reasoning", "request",
    )  # fmt: skip

    def __init__(self, rate: Rate) -> None:
        self.input: int = rate.input
        self.cache_read: int = rate.cache_read
        self.cache_write: int = rate.cache_write
        self.cache_write_1h: int = rate.cache_write_1h
        self.audio_input: int = rate.audio_input
        self.output: int = rate.output
        self.reasoning: int = rate.reasoning
        self.audio_output: int = rate.audio_output
        self.request: int = rate.request


def fixed(prices: tuple[Price, ...]) -> Fixed | None:
    """The rate of a model with one price that has no end, no tiers, and no exceptions."""
    if len(prices) != 1:
        return None
    price = prices[0]
    if price.since or price.until or price.specials or len(price.tiers) != 1:
        return None
    return Fixed(price.tiers[0][1])
