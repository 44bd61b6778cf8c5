"""Usage of the Responses API, to and from disjoint classes.

https://platform.openai.com/docs/api-reference/responses/object (``usage``): input includes what was
read from and written to the prompt cache, output includes reasoning.
"""

from typing import Any

from ferryman.ir.usage import Usage
from ferryman.wire.openai_chat.usage import read_usage

__all__ = ["read_usage", "write_usage"]


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
