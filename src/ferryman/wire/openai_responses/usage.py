"""Usage of the Responses API, to and from disjoint classes.

https://platform.openai.com/docs/api-reference/responses/object (``usage``): input includes what was
read from and written to the prompt cache, output includes reasoning.
"""

from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.usage import Usage
from ferryman.wire.carry import UNREADABLE
from ferryman.wire.openai_chat.types import WireUsage
from ferryman.wire.openai_chat.usage import usage_of

_usage = msgspec.json.Decoder(WireUsage | None).decode


def read_usage(raw: Raw) -> Usage | None:
    """What a reply says of its tokens; None when it says nothing usable."""
    if not bytes(raw):
        return None
    try:
        return usage_of(_usage(raw))
    except UNREADABLE:
        return None


def write_usage(usage: Usage | None) -> dict[str, Any] | None:
    """The ``usage`` object; None where nothing is known."""
    if usage is None:
        return None
    given, made = usage.total_input, usage.total_output
    read = {
        "cached_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_write + usage.cache_write_1h,
    }
    said = {"reasoning_tokens": usage.reasoning}
    if usage.audio_input:
        read["audio_tokens"] = usage.audio_input
    if usage.audio_output:
        said["audio_tokens"] = usage.audio_output
    return {
        "input_tokens": given,
        "input_tokens_details": read,
        "output_tokens": made,
        "output_tokens_details": said,
        "total_tokens": given + made,
    }
