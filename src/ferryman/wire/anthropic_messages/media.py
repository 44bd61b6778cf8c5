"""Images and documents for a provider: https://platform.claude.com/docs/en/build-with-claude/vision
and https://platform.claude.com/docs/en/build-with-claude/pdf-support.
"""

import base64
import binascii
from typing import Any

from msgspec import Raw

from ferryman.ir.request import Media, MediaKind
from ferryman.wire.anthropic_messages.scope import Scope
from ferryman.wire.anthropic_messages.types import NAME
from ferryman.wire.carry import unsupported

IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
"""Media types of images that the API takes."""
PDF = "application/pdf"
PLAIN = "text/plain"


def media_out(scope: Scope, media: Media, path: str) -> Any:
    """A medium as the format has it. Raises :class:`GatewayError` (400) for one it can't have."""
    if media.origin == NAME and media.raw:
        return Raw(media.raw)
    if media.kind not in (MediaKind.IMAGE, MediaKind.DOCUMENT):
        raise unsupported(
            f"'{path}': this model takes images and documents, but no {media.kind}.", path
        )
    if media.source.file_id and media.source.origin != NAME:
        raise unsupported(
            f"'{path}': the file {media.source.file_id} is stored at a provider of another kind; "
            "send its content instead.",
            path,
        )
    if media.detail in ("low", "high"):
        scope.receipt.drop(f"{path}.detail")
    if media.signature is not None:
        scope.receipt.drop(f"{path}.signature")
    out: dict[str, Any]
    if media.kind is MediaKind.IMAGE:
        out = {"type": "image", "source": _image(media, path)}
        if media.context or media.cite:
            scope.receipt.drop(f"{path}.context")
        return scope.mark(out, media.cache, path)
    out = {"type": "document", "source": _document(scope, media, path)}
    if media.name:
        out["title"] = media.name
    if media.context:
        out["context"] = media.context
    if media.cite:
        out["citations"] = {"enabled": True}
    return scope.mark(out, media.cache, path)


def _image(media: Media, path: str) -> dict[str, str]:
    source = media.source
    if source.file_id:
        return {"type": "file", "file_id": source.file_id}
    if source.url:
        return {"type": "url", "url": source.url}
    kind = _bare(source.media_type)
    kind = "image/jpeg" if kind == "image/jpg" else kind
    if kind not in IMAGES:
        raise unsupported(
            f"'{path}': this model takes images of the types {', '.join(IMAGES)}, not "
            f"{kind or 'of an unknown one'}.",
            path,
        )
    return {"type": "base64", "media_type": kind, "data": source.data}


def _bare(media_type: str) -> str:
    """A media type without its parameters."""
    return media_type.partition(";")[0].strip().lower()


def _document(scope: Scope, media: Media, path: str) -> dict[str, str]:
    source = media.source
    kind = _bare(source.media_type)
    if source.file_id:
        return {"type": "file", "file_id": source.file_id}
    if source.text:
        if kind not in ("", PLAIN):
            scope.receipt.alter(f"{path}.media_type", PLAIN)
        return {"type": "text", "media_type": PLAIN, "data": source.text}
    if source.url and kind in ("", PDF):
        return {"type": "url", "url": source.url}
    if source.data and kind == PDF:
        return {"type": "base64", "media_type": PDF, "data": source.data}
    if source.data and kind.startswith("text/"):
        try:
            text = base64.b64decode(source.data, validate=True).decode()
        except (binascii.Error, ValueError):
            raise unsupported(f"'{path}': the document is no UTF-8 text in base64.", path) from None
        if kind != PLAIN:
            scope.receipt.alter(f"{path}.media_type", PLAIN)
        return {"type": "text", "media_type": PLAIN, "data": text}
    how = " from a URL" if source.url else ""
    raise unsupported(
        f"'{path}': this model takes documents of the types {PDF} and {PLAIN}, not "
        f"{kind or 'of an unknown one'}{how}.",
        path,
    )
