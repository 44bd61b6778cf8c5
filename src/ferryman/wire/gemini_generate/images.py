"""Images of models that converse (``generateContent``), and of Imagen (``predict``).

https://ai.google.dev/gemini-api/docs/image-generation, https://ai.google.dev/gemini-api/docs/imagen,
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/imagen-api
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
from ferryman.wire.format import Aim, ReplyError, unreadable
from ferryman.wire.gemini_generate.made import read_made
from ferryman.wire.images import aspect_ratio, drop_images
from ferryman.wire.task import TaskProvider

_encode = msgspec.json.Encoder().encode
RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
PREDICT_RATIOS = ("1:1", "3:4", "4:3", "9:16", "16:9")
PREDICT_MOST = 4
"""Images of one request."""
PREDICT_FORMATS = ("png", "jpeg")
_IMAGEN = re.compile(r"(^|/)image(n|generation)\b")


def by_predict(model: str) -> bool:
    """Whether a model makes images by ``predict``, to go by its name."""
    return _IMAGEN.search(model) is not None


def by_content(model: str) -> bool:
    """Whether by ``generateContent``."""
    return not by_predict(model)


# --- generateContent ------------------------------------------------------------------------------


def encode_request(asked: ImagesRequest, aim: Aim, receipt: Receipt) -> bytes:
    """The body. Heeds the quirk ``image_sizes``: the model makes more than one size."""
    drop_images(asked, receipt, carried=("seed",))
    config: dict[str, Any] = {"responseModalities": ["IMAGE"]}
    ratio = aspect_ratio(asked, RATIOS, receipt)
    if ratio:
        config["imageConfig"] = {"aspectRatio": ratio}
        if "image_sizes" in aim.quirks:
            config["imageConfig"]["imageSize"] = _step(asked)
    if asked.seed is not None:
        config["seed"] = asked.seed
    turn = {"role": "user", "parts": [{"text": asked.prompt}]}
    return _encode({"contents": [turn], "generationConfig": config})


def _step(asked: ImagesRequest) -> str:
    """The step of sizes that comes nearest to the pixels asked for."""
    side = (asked.width * asked.height) ** 0.5
    return "1K" if side < 1536 else "2K" if side < 3072 else "4K"


def decode_reply(body: bytes, asked: ImagesRequest) -> ImagesReply:
    """The images. Raises :class:`ReplyError`."""
    made, usage = read_made(body, "image/")
    images = tuple([Image(blob.data or "", blob.mime_type or "image/png") for blob in made])
    return ImagesReply(images, usage)


# --- predict --------------------------------------------------------------------------------------


class _Prediction(Struct, rename="camel"):
    bytes_base64_encoded: str = ""
    mime_type: str = "image/png"
    rai_filtered_reason: str = ""


class _Predictions(Struct):
    predictions: list[_Prediction] = []


_predictions = msgspec.json.Decoder(_Predictions).decode


def encode_predict(asked: ImagesRequest, aim: Aim, receipt: Receipt) -> bytes:
    """The body."""
    known = ("output_compression",) if asked.output_format == "jpeg" else ()
    drop_images(asked, receipt, carried=known, most=PREDICT_MOST, formats=PREDICT_FORMATS)
    parameters: dict[str, Any] = {
        "sampleCount": min(asked.n, PREDICT_MOST),
        "includeRaiReason": True,
    }
    ratio = aspect_ratio(asked, PREDICT_RATIOS, receipt)
    if ratio:
        parameters["aspectRatio"] = ratio
        if _step(asked) != "1K":
            parameters["sampleImageSize"] = "2K"
    if asked.output_format in PREDICT_FORMATS:
        options: dict[str, Any] = {"mimeType": f"image/{asked.output_format}"}
        if known and asked.output_compression is not None:
            options["compressionQuality"] = asked.output_compression
        parameters["outputOptions"] = options
    return _encode({"instances": [{"prompt": asked.prompt}], "parameters": parameters})


def decode_predict(body: bytes, asked: ImagesRequest) -> ImagesReply:
    """The images. Raises :class:`ReplyError`."""
    try:
        found = _predictions(body).predictions
    except UNREADABLE as error:
        raise unreadable(error) from None
    images = [Image(one.bytes_base64_encoded, one.mime_type) for one in found]
    images = [image for image in images if image.data]
    if not images:  # what was filtered is left out, with or without a reason
        reason = next((p.rai_filtered_reason for p in found if p.rai_filtered_reason), "")
        raise ReplyError(ErrorKind.CONTENT_FILTERED, reason or "all images were filtered")
    return ImagesReply(tuple(images), made(len(images)))


CONTENT = TaskProvider(encode_request, decode_reply, serves=by_content)
PREDICT = TaskProvider(encode_predict, decode_predict, serves=by_predict)
