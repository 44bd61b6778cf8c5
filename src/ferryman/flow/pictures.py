"""What the bytes of a request don't tell of its tokens: images in base64 are many bytes and few
tokens, and what a body only points to has no bytes there."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from ferryman.catalog.media_bounds import image_bound
from ferryman.flow.asking import LARGE, conversation_of
from ferryman.flow.bounds import size_of
from ferryman.flow.call import Call
from ferryman.ir.errors import GatewayError
from ferryman.ir.request import Media, MediaKind, Opaque, ToolResult
from ferryman.upstream.fleet import Target
from ferryman.wire.envelope import Request
from ferryman.wire.framing import mentions
from ferryman.wire.openai_responses.request import needs_store

_FILE: Final = ('file_id"', "\\u00")  # JSON may spell each name in escapes, too
_MARKS: Final[dict[str, tuple[str, ...]]] = {
    "chat.completions": ('url"', *_FILE),  # of images in base64, too
    "messages": ('image"', 'url"', *_FILE),
    "responses": ('url"', 'item_reference"', *_FILE),
    "generate_content": ('ata"', *_FILE),  # fileData, inline_data…
}
"""One of them is in every body that has images, or points to more than it has. Each costs a look
through all of it."""
_POINTERS: Final[tuple[str, ...]] = ('url"', 'Uri"', '_uri"', *_FILE)
Found = tuple[Sequence[int], int, bool]
"""Characters of images as base64, how many are given by their URLs, whether there is more."""


async def note_images(call: Call, request: Request) -> None:
    """Note the images in a request, and what it points to, for :func:`most_input`."""
    if not pictured(call, request):
        return
    if len(request.body) < LARGE:
        found = _look(call, request)
    else:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, _look, call, request)
    call.images, call.linked, call.outside = found
    call.looked = True


def pictured(call: Call, request: Request) -> bool:
    """Whether there may be something that :func:`note_images` has not looked at yet."""
    marks = _MARKS.get(call.endpoint)
    if call.looked or marks is None:
        return False
    return request.stored or mentions(request.body, marks)


def most_input(call: Call, request: Request, target: Target) -> int:
    """The most tokens of input that the request can be there: one for each byte, but for images as
    many as the model makes of one, and a window full where it points to anything else."""
    size = size_of(call, request)
    outside = call.outside
    if call.images or call.linked:
        bound = image_bound(target.model)
        if bound:
            size += call.linked * bound - sum([max(each - bound, 0) for each in call.images])
        elif call.linked:
            outside = True
    return target.context if outside and target.context > size else size


def _look(call: Call, request: Request) -> Found:
    images: list[int] = []
    linked = 0
    try:
        conversation = conversation_of(call, request)
        outside = request.stored or bool(needs_store(conversation))
    except GatewayError:  # its provider will say what is wrong with it, or knows more than we do
        return (), 0, request.stored or mentions(request.body, _POINTERS)
    for block in _parts([part for message in conversation.messages for part in message.blocks]):
        if isinstance(block, Opaque):
            outside = outside or mentions(block.raw, _FILE)
        elif block.source.file_id or (block.source.url and block.kind is not MediaKind.IMAGE):
            outside = True
        elif block.source.url:
            linked += 1
        elif block.kind is MediaKind.IMAGE:
            images.append(len(block.source.data))
    return images, linked, outside


def _parts(blocks: Sequence[object]) -> Iterator[Media | Opaque]:
    for block in blocks:
        if isinstance(block, Media | Opaque):
            yield block
        elif isinstance(block, ToolResult):
            yield from _parts(block.blocks)
