"""Callers of OpenAI's images, answered by providers of other dialects.

https://platform.openai.com/docs/api-reference/images/create
"""

import base64
import re
import time
from typing import Any, TypeGuard

import msgspec
from msgspec import Struct

from ferryman.ir.errors import ErrorKind
from ferryman.ir.media import Image, ImagesReply, ImagesRequest
from ferryman.ir.receipt import Receipt
from ferryman.ir.usage import Usage
from ferryman.wire.carry import Reader, bad_request
from ferryman.wire.format import ReplyError
from ferryman.wire.paths import EVENTS, JSON
from ferryman.wire.task import TaskClient

_encode = msgspec.json.Encoder().encode
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
_PNG = b"\x89PNG\r\n\x1a\n"
MOST = 10
"""Images of one request."""


class _Body(Struct, forbid_unknown_fields=True, kw_only=True):
    prompt: str
    model: str = ""
    n: int | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    output_compression: int | None = None
    response_format: str | None = None
    negative_prompt: str | None = None
    seed: int | None = None
    stream: bool | None = None
    partial_images: int | None = None


_body: Reader[_Body] = Reader(_Body)


def decode_request(body: bytes, model: str) -> ImagesRequest:
    """What is asked for. Raises :class:`GatewayError` (400)."""
    unknown: list[str] = []
    said = _body.read(body, "", unknown)
    n = said.n if said.n is not None else 1
    if not 1 <= n <= MOST:
        raise bad_request(f"'n' must be 1 to {MOST}.", "n")
    if said.response_format not in (None, "url", "b64_json"):
        raise bad_request("'response_format' must be one of url, b64_json.", "response_format")
    width, height = _size(said.size)
    return ImagesRequest(
        prompt=said.prompt,
        n=n,
        width=width,
        height=height,
        quality=_said(said.quality),
        background=_said(said.background),
        output_format=_said(said.output_format),
        output_compression=said.output_compression,
        response_format=_said(said.response_format),
        negative_prompt=_said(said.negative_prompt),
        seed=said.seed,
        stream=bool(said.stream),
        partial_images=said.partial_images or 0,
        unknown=tuple(unknown),
    )


def _said(value: str | None) -> str:
    return "" if value is None or value == "auto" else value


def _size(size: str | None) -> tuple[int, int]:
    if not _said(size):
        return 0, 0
    match = _SIZE.fullmatch(size or "")
    if match is None:
        raise bad_request("'size' must be auto, or like 1024x1024.", "size")
    return int(match[1]), int(match[2])


def encode_reply(reply: ImagesReply, asked: ImagesRequest, receipt: Receipt) -> tuple[bytes, bytes]:
    """Content-type and body: JSON, or the events that end a stream."""
    now = int(time.time())
    if asked.response_format == "url":
        receipt.alter("response_format", "b64_json")
    if asked.stream:
        return EVENTS, b"".join(_events(reply, asked, now))
    data = [{"b64_json": image.data} for image in reply.images]
    body: dict[str, Any] = {"created": now, "data": data, **_facts(reply.images[0])}
    if _counts(reply.usage):
        body["usage"] = _usage(reply.usage)
    return JSON, _encode(body)


def _events(reply: ImagesReply, asked: ImagesRequest, now: int) -> list[bytes]:
    """One event for each image; the last tells the usage of all."""
    name = "image_generation.completed"
    out = []
    for index, image in enumerate(reply.images, 1):
        body: dict[str, Any] = {"type": name, "created_at": now, "b64_json": image.data}
        body |= {"background": "auto", "quality": asked.quality or "auto", "size": "auto"}
        body |= _facts(image)
        if index == len(reply.images) and _counts(reply.usage):
            body["usage"] = _usage(reply.usage)
        out.append(b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(body)))
    return out


def _facts(image: Image) -> dict[str, str]:
    """What an image says of itself."""
    facts = {"output_format": image.media_type.rpartition("/")[2]}
    try:
        head = base64.b64decode(image.data[:32].ljust(32, "A"))
    except ValueError:
        raise ReplyError(ErrorKind.UPSTREAM_PROTOCOL, "an image is not base64") from None
    if head.startswith(_PNG):
        width, height = (int.from_bytes(head[at : at + 4]) for at in (16, 20))
        facts["size"] = f"{width}x{height}"
    return facts


def _counts(usage: Usage | None) -> TypeGuard[Usage]:
    """Whether it counts tokens, and not just the images."""
    return usage is not None and (usage.extras is None or not usage.extras.images)


def _usage(usage: Usage) -> dict[str, Any]:
    given, made = usage.total_input, usage.total_output
    return {
        "input_tokens": given,
        "input_tokens_details": {"text_tokens": given, "image_tokens": 0},
        "output_tokens": made,
        "total_tokens": given + made,
    }


CLIENT = TaskClient(decode_request=decode_request, encode_reply=encode_reply)
