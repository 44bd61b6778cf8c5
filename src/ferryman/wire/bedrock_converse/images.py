"""Images by InvokeModel, whose bodies are the model makers' own.

https://docs.aws.amazon.com/nova/latest/userguide/image-gen-req-resp-structure.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-image.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-diffusion-3-5-large.html
"""

import re
from typing import Any

import msgspec
from msgspec import Struct

from ferryman.ir.errors import ErrorKind
from ferryman.ir.media import Image, ImagesReply, ImagesRequest
from ferryman.ir.receipt import Receipt
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import made
from ferryman.wire.carry import type_by_beginning
from ferryman.wire.format import Aim, ReplyError, unreadable
from ferryman.wire.images import aspect_ratio, drop_images
from ferryman.wire.task import TaskProvider

_encode = msgspec.json.Encoder().encode
_CANVAS = re.compile(r"amazon\.(titan-image|nova-canvas)")
_STABLE = re.compile(r"stability\.(stable-image-(core|ultra)|sd3)")
CANVAS_MOST = 5
"""Images of one request."""
RATIOS = ("1:1", "2:3", "3:2", "4:5", "5:4", "9:16", "16:9", "9:21", "21:9")
STABLE_FORMATS = ("png", "jpeg")
_BEST = ("high", "xhigh", "max", "hd", "premium")


class _Said(Struct):
    images: list[str] | None = None
    error: str | None = None
    finish_reasons: list[str | None] | None = None


_read = msgspec.json.Decoder(_Said).decode


def makes_images(model: str) -> bool:
    """Whether a model is one whose bodies are known here, to go by its name."""
    return (_CANVAS.search(model) or _STABLE.search(model)) is not None


def encode_request(asked: ImagesRequest, aim: Aim, receipt: Receipt) -> bytes:
    """The body."""
    return (_canvas if _CANVAS.search(aim.model) else _stable)(asked, receipt)


def _canvas(asked: ImagesRequest, receipt: Receipt) -> bytes:
    known = ("quality", "negative_prompt", "seed")
    drop_images(asked, receipt, carried=known, most=CANVAS_MOST)
    config: dict[str, Any] = {"numberOfImages": min(asked.n, CANVAS_MOST)}
    if asked.width:
        config |= {"width": asked.width, "height": asked.height}
    if asked.quality:
        config["quality"] = "premium" if asked.quality in _BEST else "standard"
        if asked.quality != config["quality"]:
            receipt.alter("quality", config["quality"])
    if asked.seed is not None:
        config["seed"] = asked.seed
    text = {"text": asked.prompt}
    if asked.negative_prompt:
        text["negativeText"] = asked.negative_prompt
    return _encode(
        {"taskType": "TEXT_IMAGE", "textToImageParams": text, "imageGenerationConfig": config}
    )


def _stable(asked: ImagesRequest, receipt: Receipt) -> bytes:
    known = ("negative_prompt", "seed")
    drop_images(asked, receipt, carried=known, formats=STABLE_FORMATS)
    body: dict[str, Any] = {"prompt": asked.prompt}
    ratio = aspect_ratio(asked, RATIOS, receipt)
    if ratio:
        body["aspect_ratio"] = ratio
    if asked.output_format in STABLE_FORMATS:
        body["output_format"] = asked.output_format
    if asked.negative_prompt:
        body["negative_prompt"] = asked.negative_prompt
    if asked.seed is not None:
        body["seed"] = asked.seed
    return _encode(body)


def decode_reply(body: bytes, asked: ImagesRequest) -> ImagesReply:
    """The images. Raises :class:`ReplyError`."""
    try:
        said = _read(body)
    except UNREADABLE as error:
        raise unreadable(error) from None
    images = [Image(data, type_by_beginning(data) or "image/png") for data in said.images or ()]
    images = [image for image in images if image.data]
    if images:
        return ImagesReply(tuple(images), made(len(images)))
    why = said.error or next(filter(None, said.finish_reasons or ()), "")
    lower = why.lower()
    if "filter" in lower or "polic" in lower or "responsible ai" in lower:
        raise ReplyError(ErrorKind.CONTENT_FILTERED, why)
    raise ReplyError(ErrorKind.UPSTREAM_PROTOCOL, why or "the reply has no images")


PROVIDER = TaskProvider(encode_request, decode_reply, serves=makes_images)
