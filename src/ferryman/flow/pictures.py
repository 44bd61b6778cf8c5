"""Images within requests: their bytes in base64 are many, and their tokens are few."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from ferryman.catalog.media_bounds import image_bound
from ferryman.flow.asking import LARGE, conversation_of
from ferryman.flow.bounds import size_of
from ferryman.flow.call import Call
from ferryman.ir.errors import GatewayError
from ferryman.ir.request import Media, MediaKind, ToolResult
from ferryman.upstream.fleet import Target
from ferryman.wire.envelope import Request
from ferryman.wire.framing import mentions
from ferryman.wire.paths import CONVERSATIONS

_MARKS: Final[tuple[bytes, ...]] = (b"image", b"inlineData", b"inline_data")
LEAST: Final = 2048
"""Bytes of a body with an image that is worth a look."""


async def note_images(call: Call, request: Request) -> None:
    """Note the sizes of the images in a request, for :func:`most_input`."""
    if not pictured(call, request):
        return
    if len(request.body) < LARGE:
        call.images = _images(call, request)
    else:
        loop = asyncio.get_running_loop()
        call.images = await loop.run_in_executor(None, _images, call, request)


def pictured(call: Call, request: Request) -> bool:
    """Whether there may be images that :func:`note_images` has not looked at yet."""
    body = request.body
    if call.images or call.endpoint not in CONVERSATIONS or len(body) < LEAST:
        return False
    return mentions(body, _MARKS)


def most_input(call: Call, request: Request, target: Target) -> int:
    """The most tokens of input that the request can be there: one for each byte, but for images as
    many as the model makes of one."""
    size = size_of(call, request)
    bound = image_bound(target.model) if call.images else 0
    if not bound:
        return size
    return size - sum(max(each - bound, 0) for each in call.images)


def _images(call: Call, request: Request) -> Sequence[int]:
    try:
        conversation = conversation_of(call, request)
    except GatewayError:
        return ()  # its provider will say what is wrong with it
    return [size for message in conversation.messages for size in _sizes(message.blocks)]


def _sizes(blocks: Sequence[object]) -> Iterator[int]:
    """Characters of the base64 of each image."""
    for block in blocks:
        if isinstance(block, Media) and block.kind is MediaKind.IMAGE:
            yield len(block.source.data)
        elif isinstance(block, ToolResult):
            yield from _sizes(block.blocks)
