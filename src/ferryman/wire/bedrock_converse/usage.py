"""Usage of the Converse format, turned into disjoint classes.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html. ``inputTokens``
counts neither what was read from the cache nor what was written to it, as
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html says; tokens of thoughts
are within ``outputTokens`` and not told apart.
"""

from ferryman.ir.usage import Usage
from ferryman.wire.bedrock_converse.types import WireUsage

MAX_TOKENS = 1 << 40
"""A count above this is a mistake of the provider's, not a number of tokens."""


def usage_of(wire: WireUsage | None) -> Usage | None:
    """Disjoint classes, or None when the object is missing, empty, or says impossible things."""
    if wire is None or (wire.inputTokens is None and wire.outputTokens is None):
        return None
    given, made = wire.inputTokens or 0, wire.outputTokens or 0
    read, written = wire.cacheReadInputTokens or 0, wire.cacheWriteInputTokens or 0
    hour = 0
    if wire.cacheDetails:
        hour = sum(d.inputTokens or 0 for d in wire.cacheDetails if d.ttl == "1h")
        if wire.cacheWriteInputTokens is None:
            written = sum(d.inputTokens or 0 for d in wire.cacheDetails)
    classes = (given, read, written - hour, hour, made)
    if min(classes) < 0 or max(classes) > MAX_TOKENS:
        return None
    return Usage(given, read, written - hour, hour, 0, made)
