"""Usage of the Cohere format, turned into disjoint classes.

https://docs.cohere.com/reference/chat (``usage``). What is billed counts, since prices apply to it:
``billed_units``, which leaves out the tokens of the prompt's own frame; ``tokens`` stands in where
it is missing. Cached tokens ("that hit the inference cache") are part of the input, and
https://docs.cohere.com/docs/how-does-cohere-pricing-work knows no other price for them. Tokens of
thoughts are part of the output and not told apart.
"""

from ferryman.ir.usage import Usage
from ferryman.wire.cohere_chat.types import Units, WireUsage

MAX_TOKENS = 1 << 40
"""A count above this is a mistake of the provider's, not a number of tokens."""
_NONE = Units()


def usage_of(wire: WireUsage | None) -> Usage | None:
    """Disjoint classes, or None when the object is missing, empty, or says impossible things."""
    if wire is None:
        return None
    billed, used = wire.billed_units or _NONE, wire.tokens or _NONE
    given = billed.input_tokens if billed.input_tokens is not None else used.input_tokens
    made = billed.output_tokens if billed.output_tokens is not None else used.output_tokens
    if given is None and made is None:
        return None
    counts = (given or 0.0, made or 0.0, wire.cached_tokens or 0.0)
    if not all(0 <= count <= MAX_TOKENS for count in counts):
        return None
    taken, said, cached = (int(count) for count in counts)
    cached = min(cached, taken)  # counted in the frame's tokens too, which are not billed
    return Usage(taken - cached, cached, 0, 0, 0, said)
