"""Media of the Converse format: formats by name, and names of documents.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html, and
ImageBlock, VideoBlock, AudioBlock beside it.
"""

import base64
import re
from typing import Any

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Media, MediaKind
from ferryman.wire.bedrock_converse.types import ORIGIN
from ferryman.wire.carry import type_by_beginning, unsupported

_OFFICE = "application/vnd.openxmlformats-officedocument"
_FORMATS: dict[MediaKind, dict[str, str]] = {
    MediaKind.IMAGE: {
        "image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif",
        "image/webp": "webp",
    },
    MediaKind.DOCUMENT: {
        "application/pdf": "pdf", "text/csv": "csv", "application/msword": "doc",
        f"{_OFFICE}.wordprocessingml.document": "docx", "application/vnd.ms-excel": "xls",
        f"{_OFFICE}.spreadsheetml.sheet": "xlsx", "text/html": "html", "text/plain": "txt",
        "text/markdown": "md",
    },
    MediaKind.VIDEO: {
        "video/x-matroska": "mkv", "video/quicktime": "mov", "video/mov": "mov",
        "video/mp4": "mp4", "video/webm": "webm", "video/x-flv": "flv", "video/mpeg": "mpeg",
        "video/mpg": "mpg", "video/x-ms-wmv": "wmv", "video/wmv": "wmv",
        "video/3gpp": "three_gp",
    },
    MediaKind.AUDIO: {
        "audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/opus": "opus", "audio/wav": "wav",
        "audio/x-wav": "wav", "audio/wave": "wav", "audio/aac": "aac", "audio/flac": "flac",
        "audio/x-flac": "flac", "audio/mp4": "mp4", "audio/m4a": "m4a", "audio/x-m4a": "m4a",
        "audio/ogg": "ogg", "audio/webm": "webm", "audio/pcm": "pcm", "audio/l16": "pcm",
        "audio/x-matroska": "mka",
    },
}  # fmt: skip
_TYPES = {name: media for formats in _FORMATS.values() for media, name in reversed(formats.items())}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9\s\-()\[\]]+")
_BLANKS = re.compile(r"\s+")
_LONGEST_NAME = 180


def media_type(name: str, kind: MediaKind) -> str:
    """The media type of a format that an answer names."""
    return _TYPES.get(name, f"{kind}/{name}" if name else "")


class MediaWriter:
    """Writes the media of one request; documents get names that differ from each other."""

    __slots__ = ("_names", "_receipt")

    def __init__(self, receipt: Receipt) -> None:
        self._receipt = receipt
        self._names: set[str] = set()

    def block(self, media: Media, path: str) -> dict[str, Any]:
        """The content block. Raises :class:`~ferryman.ir.errors.GatewayError` (400)."""
        path = f"{path}.{media.kind}"
        body: dict[str, Any] = {"format": _format(media, path)}
        if media.kind is MediaKind.DOCUMENT:
            body["name"] = self._name(media.name, path)
            if media.context:
                body["context"] = media.context
            if media.cite:
                body["citations"] = {"enabled": True}
        elif media.context:
            self._receipt.drop(f"{path}.context")
        body["source"] = _source(media, path)
        if media.detail not in ("", "auto"):
            self._receipt.drop(f"{path}.detail")
        return {str(media.kind): body}

    def _name(self, given: str, path: str) -> str:
        plain = _NOT_IN_NAMES.sub("-", given)
        plain = _BLANKS.sub(" ", plain).strip(" -")[:_LONGEST_NAME].strip() or "document"
        name, number = plain, 1
        while name in self._names:
            number += 1
            name = f"{plain} ({number})"
        self._names.add(name)
        if given and name != given:
            self._receipt.alter(f"{path}.name", name)
        return name


def _format(media: Media, path: str) -> str:
    formats = _FORMATS[media.kind]
    said = media.source.media_type.partition(";")[0].strip().lower()
    if said in formats:
        return formats[said]
    if not said or said == "application/octet-stream":
        found = formats.get(type_by_beginning(media.source.data))
        if found is not None:
            return found
        if media.source.text:
            return "txt"
        where = media.name or media.source.url
        ending = where.rpartition(".")[2].lower()
        ending = {"jpg": "jpeg", "htm": "html", "3gp": "three_gp"}.get(ending, ending)
        if ending in formats.values():
            return ending
    elif said.startswith("text/") and media.kind is MediaKind.DOCUMENT:
        return "txt"
    offered = ", ".join(sorted(set(formats.values())))
    problem = f"is of type {said}" if said else "doesn't say its type"
    raise unsupported(f"'{path}' {problem}; the model takes {offered}.", path)


def _source(media: Media, path: str) -> dict[str, Any]:
    source = media.source
    if source.data:
        return {"bytes": source.data}
    if source.text:
        if media.cite:
            return {"text": source.text}
        return {"bytes": base64.b64encode(source.text.encode()).decode()}
    place = source.url or (source.file_id if source.origin == ORIGIN else "")
    if place.startswith("s3://"):
        return {"s3Location": {"uri": place}}
    if source.url:
        raise unsupported(
            f"'{path}' is given by its URL; this model's provider fetches only s3:// addresses, "
            "send the bytes instead.",
            path,
        )
    if source.file_id:
        raise unsupported(
            f"'{path}' is a file stored at another provider; send the bytes instead.", path
        )
    raise unsupported(f"'{path}' is empty.", path)
