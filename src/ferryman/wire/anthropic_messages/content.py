"""Content of a caller's messages, block by block, into the common language.

https://platform.claude.com/docs/en/api/messages: what the common language has no word for (the
provider's own tools and their results) stays :class:`~ferryman.ir.request.Opaque`.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.request import (
    Block,
    CacheMark,
    Media,
    MediaKind,
    Opaque,
    Signature,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ferryman.ir.signature import unwrap
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.addresses import public
from ferryman.wire.anthropic_messages.citations import citation_of
from ferryman.wire.anthropic_messages.types import (
    NAME,
    AnyBlock,
    Cache,
    DocumentBlock,
    ImageBlock,
    Kind,
    MediaSource,
    RedactedBlock,
    SearchBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from ferryman.wire.carry import Reader, bad_request, checked_base64, shape_error

ATTACHED = "fm-of:"
"""Begins the data of a ``redacted_thinking`` block that holds no thought, but the signature of the
block before it: the format has no place for one on text or on a tool's call."""

_block = msgspec.json.Decoder(AnyBlock)
_kind = msgspec.json.Decoder(Kind)
_READERS: dict[str, Reader[Any]] = {
    of.__struct_config__.tag: Reader(of)  # type: ignore[misc]
    for of in (TextBlock, ImageBlock, DocumentBlock, SearchBlock, ThinkingBlock, RedactedBlock,
               ToolUseBlock, ToolResultBlock)
}  # fmt: skip
_MARKS = {None: CacheMark(), "5m": CacheMark(300), "1h": CacheMark(3600)}
_JOINT = "\n\n"
"""Between the paragraphs of a document that other formats get as one text."""


def blocks_of(raws: list[Raw], path: str, unknown: list[str]) -> tuple[Block, ...]:
    """The blocks of one message's content, which stands at ``path``."""
    out: list[Block] = []
    for place, raw in enumerate(raws):
        try:
            block = _block.decode(raw)
        except UNREADABLE as error:
            kind = _kind_of(raw, f"{path}[{place}]")
            if kind not in _READERS:
                out.append(Opaque(origin=NAME, kind=kind, raw=bytes(raw)))
                continue
            if not isinstance(error, msgspec.ValidationError):
                raise shape_error(error, f"{path}[{place}]") from None
            block = _READERS[kind].read(raw, f"{path}[{place}]", unknown)
        if isinstance(block, TextBlock) and not block.citations:
            mark = block.cache_control
            out.append(Text(text=block.text, cache=_MARKS[mark.ttl] if mark else None))
            continue
        if isinstance(block, RedactedBlock) and block.data.startswith(ATTACHED):
            _attach(block.data, out, f"{path}[{place}]", unknown)
            continue
        out.append(_TURN[type(block)](block, raw, f"{path}[{place}]", unknown))
    return tuple(out)


def _kind_of(raw: Raw, path: str) -> str:
    try:
        kind = _kind.decode(raw).type
    except UNREADABLE as error:
        raise shape_error(error, path) from None
    if not kind:
        raise bad_request(f"'{path}.type' is missing.", f"{path}.type")
    return kind


def _attach(data: str, out: list[Block], path: str, unknown: list[str]) -> None:
    """Give a signature back to the block before it."""
    signature = unwrap(data[len(ATTACHED) :], NAME)
    last = out[-1] if out else None
    if not isinstance(last, Text | ToolCall):
        unknown.append(path)
    elif signature is not None:  # else it says only that another format's provider made the block
        out[-1] = msgspec.structs.replace(last, signature=signature)


def mark_of(cache: Cache | None) -> CacheMark | None:
    """A cache mark in the common language."""
    return _MARKS[cache.ttl] if cache is not None else None


def _text(block: TextBlock, raw: Raw, path: str, unknown: list[str]) -> Block:
    citations = []
    for place, said in enumerate(block.citations or ()):
        try:
            citations.append(citation_of(said))
        except UNREADABLE as error:
            raise shape_error(error, f"{path}.citations[{place}]") from None
    return Text(text=block.text, citations=tuple(citations), cache=mark_of(block.cache_control))


def _image(block: ImageBlock, raw: Raw, path: str, unknown: list[str]) -> Block:
    source = _source(block.source, f"{path}.source", ("base64", "url", "file"))
    return Media(kind=MediaKind.IMAGE, source=source, cache=mark_of(block.cache_control))


def _document(block: DocumentBlock, raw: Raw, path: str, unknown: list[str]) -> Block:
    media: dict[str, Any] = {}
    source = block.source
    if source.type == "content":
        words = source.content
        if isinstance(words, list):
            words = _paragraphs(words, f"{path}.source.content")
            if words is None:  # with images within
                return Opaque(origin=NAME, kind="document", raw=bytes(raw))
        if words is None:
            raise bad_request(f"'{path}.source.content' is missing.", f"{path}.source.content")
        media = {"source": _plain(words), "origin": NAME, "raw": bytes(raw)}
    else:
        kinds = ("base64", "text", "url", "file", "content")
        media = {"source": _source(source, f"{path}.source", kinds)}
    return Media(
        kind=MediaKind.DOCUMENT,
        name=block.title or "",
        context=block.context or "",
        cite=bool(block.citations and block.citations.enabled),
        cache=mark_of(block.cache_control),
        **media,
    )


def _search(block: SearchBlock, raw: Raw, path: str, unknown: list[str]) -> Block:
    words = _paragraphs(block.content, f"{path}.content")
    if words is None:
        raise bad_request(f"'{path}.content' may hold text blocks only.", f"{path}.content")
    return Media(
        kind=MediaKind.DOCUMENT,
        source=_plain(words),
        name=block.title,
        context=block.source,
        cite=bool(block.citations and block.citations.enabled),
        cache=mark_of(block.cache_control),
        origin=NAME,
        raw=bytes(raw),
    )


def _plain(words: str) -> Source:
    return Source(media_type="text/plain", text=words)


def _paragraphs(raws: list[Raw], path: str) -> str | None:
    """The words of text blocks in one; None where there are others among them."""
    words = []
    for place, raw in enumerate(raws):
        if _kind_of(raw, f"{path}[{place}]") != "text":
            return None
        words.append(_READERS["text"].read(raw, f"{path}[{place}]", []).text)
    return _JOINT.join(words)


def _source(source: MediaSource, path: str, kinds: tuple[str, ...]) -> Source:
    kind = source.type
    if kind not in kinds:
        raise bad_request(f"'{path}.type' must be one of {', '.join(kinds)}.", f"{path}.type")
    name = {"base64": "data", "text": "data", "url": "url", "file": "file_id"}[kind]
    value = getattr(source, name)
    if not value:
        raise bad_request(f"'{path}.{name}' is missing.", f"{path}.{name}")
    media_type = source.media_type or ""
    if kind == "text":
        return Source(media_type=media_type or "text/plain", text=value)
    if kind == "url":
        return Source(media_type=media_type, url=public(value, f"{path}.url"))
    if kind == "file":
        return Source(media_type=media_type, file_id=value, origin=NAME)
    if not media_type:
        raise bad_request(f"'{path}.media_type' is missing.", f"{path}.media_type")
    return Source(media_type=media_type, data=checked_base64(value, f"{path}.data"))


def _thinking(block: ThinkingBlock, raw: Raw, path: str, unknown: list[str]) -> Block:
    return Thinking(text=block.thinking, signature=unwrap(block.signature or "", NAME))


def _redacted(block: RedactedBlock, raw: Raw, path: str, unknown: list[str]) -> Block:
    signature: Signature | None = unwrap(block.data, NAME)
    return Thinking(signature=signature, encrypted=True)


def is_direct(caller: Kind | None, toolset: str | None) -> bool:
    """Whether a call is the model's own, of a tool of the application's, as others have it, too."""
    return (caller is None or caller.type in ("", "direct")) and not toolset


def _tool_use(block: ToolUseBlock, raw: Raw, path: str, unknown: list[str]) -> Block:
    if not is_direct(block.caller, block.toolset_name):
        return Opaque(origin=NAME, kind="tool_use", raw=bytes(raw))
    given = bytes(block.input)
    if given[:1] != b"{":
        raise bad_request(f"'{path}.input' must be an object.", f"{path}.input")
    try:
        arguments = given.decode()
    except UnicodeDecodeError as error:
        raise shape_error(error, f"{path}.input") from None
    return ToolCall(
        id=block.id, name=block.name, arguments=arguments, cache=mark_of(block.cache_control)
    )


def _tool_result(block: ToolResultBlock, raw: Raw, path: str, unknown: list[str]) -> Block:
    if block.toolset_name:
        return Opaque(origin=NAME, kind="tool_result", raw=bytes(raw))
    content = block.content
    blocks: tuple[Text | Media | Opaque, ...] = ()
    if isinstance(content, str):
        blocks = (Text(text=content),)
    elif content:
        found = blocks_of(content, f"{path}.content", unknown)
        blocks = tuple(part for part in found if isinstance(part, Text | Media | Opaque))
        if len(blocks) != len(found):
            raise bad_request(
                f"'{path}.content' may hold text, images, documents and search results only.",
                f"{path}.content",
            )
    return ToolResult(
        call_id=block.tool_use_id,
        blocks=blocks,
        error=bool(block.is_error),
        cache=mark_of(block.cache_control),
    )


_TURN: dict[type[Any], Callable[[Any, Raw, str, list[str]], Block]] = {
    TextBlock: _text,
    ImageBlock: _image,
    DocumentBlock: _document,
    SearchBlock: _search,
    ThinkingBlock: _thinking,
    RedactedBlock: _redacted,
    ToolUseBlock: _tool_use,
    ToolResultBlock: _tool_result,
}
