"""Usage of the Responses API, to and from disjoint classes.

https://platform.openai.com/docs/api-reference/responses/object (``usage``): input includes what was
read from and written to the prompt cache, output includes reasoning.
"""

from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from ferryman.ir.usage import Extras, Usage, served
from ferryman.wire.carry import UNREADABLE
from ferryman.wire.openai_chat.usage import read_usage
from ferryman.wire.openai_responses.types import Items, ItemsEvent, WireResponse

_items = msgspec.json.Decoder(Items)
_event = msgspec.json.Decoder(ItemsEvent)
SEARCH = b'"web_search_call"'
"""Type of an item that may have a price of its own; quoted so only where it is one."""


def usage_in(response: WireResponse) -> Usage | None:
    """The usage that a response tells of, with its service tier and web searches."""
    usage = served(read_usage(response.usage), response.service_tier)
    raws = [raw for raw in response.output or () if SEARCH in bytes(raw)]
    return with_searches(usage, b'{"output":[%b]}' % b",".join(map(bytes, raws))) if raws else usage


def with_searches(usage: Usage | None, body: bytes | Raw) -> Usage | None:
    """``usage`` with the searches in a whole response, or in the event that brings it.

    https://platform.openai.com/docs/guides/tools-web-search: opening a page and searching in it
    are no searches. An item that does not say is one.
    """
    if usage is None:
        return None
    try:
        found = _items.decode(body)
        if found.output is None:
            found = _event.decode(body).response or found
    except UNREADABLE:
        return usage
    searches = sum(
        item.type == "web_search_call" and (item.action is None or item.action.type == "search")
        for item in found.output or ()
    )
    if not searches:
        return usage
    return replace(usage, extras=replace(usage.extras or Extras(), searches=searches))


def write_usage(usage: Usage | None) -> dict[str, Any] | None:
    """The ``usage`` object; None where nothing is known."""
    if usage is None:
        return None
    given, made = usage.total_input, usage.total_output
    read = {
        "cached_tokens": usage.total_cache_read,
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
