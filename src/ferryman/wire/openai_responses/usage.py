"""Usage of the Responses API, to and from disjoint classes.

https://platform.openai.com/docs/api-reference/responses/object (``usage``): input includes what was
read from and written to the prompt cache, output includes reasoning.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Extras, Usage, served
from ferryman.wire.openai_chat.usage import read_usage
from ferryman.wire.openai_responses.types import Container, Items, ItemsEvent, WireResponse

_items = msgspec.json.Decoder(Items)
_event = msgspec.json.Decoder(ItemsEvent)
_SEARCH = b'_search_call"'
_CODE = b'"code_interpreter_call"'
_COUNTED = b'"server_side_tool_usage_details"'
"""Usage counts what is billed by itself: not each item is."""
_MEMORY: Final = {"1g": 1, "4g": 4, "16g": 16, "64g": 64}


def may_have_pieces(body: bytes) -> bool:
    """Whether a response has items with a price of their own (quoted so only where it has)."""
    return (_SEARCH in body or _CODE in body) and _COUNTED not in body


def usage_in(response: WireResponse) -> Usage | None:
    """The usage that a response tells of, with its service tier and what its tools did."""
    usage = served(read_usage(response.usage), response.service_tier)
    if usage is None or _COUNTED in bytes(response.usage):
        return usage
    raws = [raw for raw in map(bytes, response.output or ()) if _SEARCH in raw or _CODE in raw]
    if not raws:
        return usage
    body = b'{"output":[%b],"tools":%b}' % (b",".join(raws), bytes(response.tools) or b"null")
    return with_pieces(usage, body)


def with_pieces(usage: Usage | None, body: bytes | Raw) -> Usage | None:
    """``usage`` with what tools did in a whole response, or in the event that brings it.

    https://developers.openai.com/api/docs/pricing: web searches
    (https://platform.openai.com/docs/guides/tools-web-search: opening a page and searching in it
    are none, an item that does not say is one), searches in files, and containers by their memory
    ($0.03 a gigabyte for 20 minutes: a container that several calls use counts in each).
    """
    if usage is None:
        return None
    try:
        found = _items.decode(body)
        if found.output is None:
            found = _event.decode(body).response or found
    except UNREADABLE:
        return usage
    searches = files = 0
    containers: set[str] = set()
    for item in found.output or ():
        if item.type == "web_search_call":
            searches += item.action is None or item.action.type == "search"
        elif item.type == "file_search_call":
            files += 1
        elif item.type == "code_interpreter_call":
            containers.add(item.container_id or "")
    if not (searches or files or containers):
        return usage
    extras = replace(
        usage.extras or Extras(),
        searches=searches,
        file_searches=files,
        code_units=len(containers) * _gigabytes(found),
    )
    return replace(usage, extras=extras)


def _gigabytes(found: Items) -> int:
    """The memory of a container."""
    for tool in found.tools or ():
        if tool.type == "code_interpreter" and isinstance(tool.container, Container):
            return _MEMORY.get(tool.container.memory_limit or "", 1)
    return 1


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
