"""Blocks of the common language as parts, and what parts carry: signatures, media, arguments."""

import base64
import contextlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from ferryman.ir.request import Media, MediaKind, Opaque, Signature, Source, Thinking
from ferryman.ir.signature import unwrap, wrap
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.gemini_generate.types import (
    NAME,
    OPAQUE,
    WIRE_NAMES,
    Blob,
    FileData,
    Part,
    SaidPart,
)

_encode = msgspec.json.Encoder().encode
_WRAPPED = "Zm0xO"
"""How base64 of an envelope begins (``fm1:``)."""
_URL_SAFE = str.maketrans("-_", "+/")
_HIDDEN = "encrypted"
_ID = "id="
_UNSAFE = re.compile(r"[;:]")


def given(raw: Raw) -> bool:
    """Whether a member that stays JSON is there, and not null."""
    return bool(raw) and bytes(raw) != b"null"


def signature_of(said: str | None) -> Signature | None:
    """The signature in ``thoughtSignature``: the service's own, or another format's envelope."""
    return _opened(said)[0] if said else None


def thinking_of(text: str, said: str | None) -> Thinking:
    """The thought whose text and ``thoughtSignature`` these are."""
    signature, facts = _opened(said) if said else (None, [])
    named = [fact.removeprefix(_ID) for fact in facts if fact.startswith(_ID)]
    return Thinking(
        text=text,
        signature=signature,
        encrypted=_HIDDEN in facts,
        id=named[0] if named else "",
    )


def _opened(said: str) -> tuple[Signature | None, list[str]]:
    """The signature, and what an envelope says of its thought besides; None for an empty one."""
    if said.startswith(_WRAPPED):
        try:
            plain = base64.b64decode(said.translate(_URL_SAFE), validate=True).decode()
        except ValueError:
            return Signature(said, NAME), []
        found = unwrap(plain, NAME)
        if found is None:
            return None, []
        if found.origin != NAME:
            origin, *facts = found.origin.split(";")
            return Signature(found.value, origin), facts
    return Signature(said, NAME), []


def wire_signature(signature: Signature | None, thought: Thinking | None = None) -> str | None:
    """What stands in ``thoughtSignature``, which must be base64; None without a signature.

    An envelope also says of ``thought`` what the part has no member for.
    """
    if signature is None:
        return None
    if signature.origin == NAME:
        return signature.value or None
    origin = signature.origin
    if thought is not None and thought.encrypted:
        origin += f";{_HIDDEN}"
    if thought is not None and thought.id and not _UNSAFE.search(thought.id):
        origin += f";{_ID}{thought.id}"
    text = wrap(Signature(signature.value, origin), NAME)
    return base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")


# --- media --------------------------------------------------------------------------------------

_STORED = ("gs://", "https://generativelanguage.googleapis.com/")
"""How URIs of files begin that are stored with the service itself."""
_FILM_SITES = frozenset(("youtube.com", "www.youtube.com", "m.youtube.com", "youtu.be"))
_BY_ENDING: Mapping[str, str] = MappingProxyType(
    {
        "png": "image/png",
        "jpg": "image/jpeg",
        "jpeg": "image/jpeg",
        "webp": "image/webp",
        "gif": "image/gif",
        "heic": "image/heic",
        "heif": "image/heif",
        "bmp": "image/bmp",
        "mp3": "audio/mp3",
        "wav": "audio/wav",
        "flac": "audio/flac",
        "ogg": "audio/ogg",
        "mp4": "video/mp4",
        "mov": "video/mov",
        "webm": "video/webm",
        "pdf": "application/pdf",
        "txt": "text/plain",
        "html": "text/html",
        "csv": "text/csv",
        "md": "text/md",
    }
)
_BY_BEGINNING = (
    ("iVBOR", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lG", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBER", "application/pdf"),
)
"""How base64 of files begins. (``UklGR`` is RIFF: of what is said to be an image, WebP.)"""
_MEANS = {"image": MediaKind.IMAGE, "audio": MediaKind.AUDIO, "video": MediaKind.VIDEO}


def kind_of(media_type: str) -> MediaKind:
    """What a medium of that type is to the model."""
    return _MEANS.get(media_type.partition("/")[0].lower(), MediaKind.DOCUMENT)


def type_of_url(url: str) -> str:
    """The media type that a URL's ending tells; empty when it tells none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.hostname in _FILM_SITES:
        return "video/*"
    return _BY_ENDING.get(parts.path.rpartition(".")[2].lower(), "")


def file_source(uri: str, media_type: str) -> tuple[MediaKind, Source]:
    """Kind and source of what ``fileData`` names."""
    kind = kind_of(media_type or type_of_url(uri))
    if uri.startswith(_STORED):
        return kind, Source(media_type=media_type, file_id=uri, origin=NAME)
    return kind, Source(media_type=media_type, url=uri)


def wire_blob(media: Media) -> Blob | None:
    """``inlineData`` of a medium whose bytes are here; None when they, or their type, are not."""
    source = media.source
    if source.text:
        data = base64.b64encode(source.text.encode("utf-8", "replace")).decode("ascii")
        return Blob(source.media_type or "text/plain", data)
    if not source.data:
        return None
    media_type = source.media_type
    if not media_type:
        media_type = next((t for start, t in _BY_BEGINNING if source.data.startswith(start)), "")
    return Blob(media_type, source.data) if media_type else None


def wire_file(media: Media) -> FileData | None:
    """``fileData`` of a medium that is elsewhere."""
    source = media.source
    uri = source.url or source.file_id
    if not uri:
        return None
    media_type = source.media_type or type_of_url(uri)
    return FileData(uri, media_type if "*" not in media_type else None)


# --- parts that only this format has ------------------------------------------------------------


def opaque_of(part: SaidPart | Part) -> Opaque | None:
    """The block for a part that no other format can say."""
    for name in OPAQUE:
        raw: Raw = getattr(part, name)
        if given(raw):
            whole = b'{"%b":%b' % (WIRE_NAMES[name].encode(), bytes(raw))
            if part.thought_signature:
                whole += b',"thoughtSignature":' + _encode(part.thought_signature)
            return Opaque(origin=NAME, kind=WIRE_NAMES[name], raw=whole + b"}")
    return None


def compact(raw: Raw) -> str:
    """Arguments of a call as text: as they came, but for line breaks between their members."""
    data = bytes(raw)
    if not data or data == b"null":
        return "{}"
    if b"\n" in data:
        with contextlib.suppress(*UNREADABLE):  # it was read once already
            data = msgspec.json.format(data, indent=-1)
    return data.decode("utf-8", "replace")
