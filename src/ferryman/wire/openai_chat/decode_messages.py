"""The messages of a caller's chat request, read into the common language."""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from ferryman.ir.errors import GatewayError
from ferryman.ir.request import (
    Block,
    CacheMark,
    Citation,
    Media,
    MediaKind,
    Message,
    Opaque,
    Refusal,
    Role,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ferryman.ir.signature import unwrap
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.addresses import public
from ferryman.wire.carry import Reader, bad_request, checked_base64, from_data_url, is_data_url
from ferryman.wire.openai_chat.media import AUDIO_TYPES, media_type_of
from ferryman.wire.openai_chat.thoughts import NAME, in_place, signature_in, thoughts
from ferryman.wire.openai_chat.types import (
    Annotation,
    AnyMessageIn,
    AnyPart,
    AssistantIn,
    AudioLinkPart,
    AudioPart,
    CallIn,
    Content,
    DeveloperIn,
    FilePart,
    FunctionResultIn,
    ImagePart,
    Link,
    MessageIn,
    Part,
    PartType,
    RefusalPart,
    SystemIn,
    TextPart,
    ThinkingPart,
    ToolIn,
    UserIn,
    VideoPart,
)

_messages: Reader[list[AnyMessageIn]] = Reader(list[AnyMessageIn])
_part: Reader[AnyPart] = Reader(AnyPart)
_type = msgspec.json.Decoder(PartType)
_annotation = msgspec.json.Decoder(Annotation)
_PART_TYPES = frozenset(
    ["text", "image_url", "input_audio", "file", "refusal", "thinking", "video_url", "audio_url"]
)
_TTL = re.compile(r"(\d{1,4})([smh])")
_UNITS = {"s": 1, "m": 60, "h": 3600}
_ROLES = {SystemIn: Role.SYSTEM, DeveloperIn: Role.DEVELOPER}


def type_of(raw: Raw) -> str:
    """The type that a part or tool says it has; empty when it says none."""
    try:
        return _type.decode(raw).type
    except UNREADABLE:
        return ""


def cache_mark(part: Part | MessageIn | CallIn, at: str) -> CacheMark | None:
    """The mark of a part, tool, call or message."""
    mark = part.cache_control or getattr(part, "prompt_cache_breakpoint", None)
    if mark is None:
        return None
    if not mark.ttl:
        return CacheMark()
    said = _TTL.fullmatch(mark.ttl)
    if not said:
        raise bad_request(f"'{at}.ttl' must be a time such as 5m or 1h.", f"{at}.ttl")
    return CacheMark(ttl=int(said[1]) * _UNITS[said[2]])


def _plain(said: AnyMessageIn) -> Message | None:
    """A message that says nothing but a text, as most do; None for others."""
    content = said.content
    if isinstance(content, list) and len(content) == 1:
        try:
            part = _only.decode(content[0])
        except UNREADABLE:
            return None  # it is another one, or none: to be told with its place
        text = part.text
    elif isinstance(content, str):
        text = content
    else:
        return None
    if type(said) is UserIn:
        if said.name is None and said.cache_control is None:
            return Message(role=Role.USER, blocks=(Text(text=text),))
    elif text and said == AssistantIn(content=content):
        return Message(role=Role.ASSISTANT, blocks=(Text(text=text),))
    return None


class _Words(Struct, forbid_unknown_fields=True):
    type: Literal["text"]
    text: str


_only = msgspec.json.Decoder(_Words)
"""Reads a text part without anything to it."""


class Messages:
    """Reads messages in order; paths that nobody reads are added to ``unknown``."""

    __slots__ = ("_calls", "_unknown")

    def __init__(self, unknown: list[str]) -> None:
        self._unknown = unknown
        self._calls: list[tuple[str, str]] = []
        """(name, id) of calls of the older kind, without ids, that have no result yet."""

    def read(self, raw: Raw) -> tuple[Message, ...]:
        """All messages. Raises :class:`GatewayError` (400)."""
        said = _messages.read(raw, "messages", self._unknown)
        return tuple([_plain(m) or self._message(m, f"messages[{i}]") for i, m in enumerate(said)])

    def _message(self, said: AnyMessageIn, at: str) -> Message:
        blocks: Sequence[Block]
        role = Role.USER
        if isinstance(said, AssistantIn):
            role, blocks = Role.ASSISTANT, self._assistant(said, at)
        elif isinstance(said, ToolIn):
            if not said.tool_call_id:
                path = f"{at}.tool_call_id"
                raise bad_request(f"'{path}' is missing; it must be the id of the call.", path)
            return Message(role=role, blocks=(self._result(said, said.tool_call_id, at),))
        elif isinstance(said, FunctionResultIn):
            return Message(role=role, blocks=(self._result(said, self._answered(said, at), at),))
        else:
            if said.content is None:
                path = f"{at}.content"
                raise bad_request(f"'{path}' must be a string or an array of parts.", path)
            role = _ROLES.get(type(said), Role.USER)
            blocks = list(self._content(said.content, at))
        if said.cache_control is not None:
            blocks = self._marked(blocks, said, at)
        return Message(role=role, blocks=tuple(blocks), name=said.name or "")

    def _marked(self, blocks: Sequence[Block], said: MessageIn, at: str) -> Sequence[Block]:
        """A message's own mark stands for one at its last part."""
        mark = cache_mark(said, f"{at}.cache_control")
        if not blocks or isinstance(blocks[-1], Thinking | Refusal | Opaque):
            self._unknown.append(f"{at}.cache_control")
            return blocks
        return [*blocks[:-1], msgspec.structs.replace(blocks[-1], cache=mark)]

    # --- content --------------------------------------------------------------------------------

    def _content(self, content: Content, at: str) -> Iterator[Block]:
        if isinstance(content, str):
            yield Text(text=content)
            return
        for place, raw in enumerate(content or ()):
            yield self._one(raw, f"{at}.content[{place}]")

    def _one(self, raw: Raw, at: str) -> Block:
        try:
            part = _part.read(raw, at, self._unknown)
        except GatewayError:
            kind = type_of(raw)
            if not kind or kind in _PART_TYPES:
                raise
            return Opaque(origin=NAME, kind=kind, raw=bytes(raw))
        cache = cache_mark(part, f"{at}.cache_control")
        if isinstance(part, TextPart):
            return Text(text=part.text, cache=cache)
        if isinstance(part, RefusalPart):
            return Refusal(text=part.refusal)
        if isinstance(part, ThinkingPart):
            text = part.thinking
            words = text if isinstance(text, str) else "".join(piece.text for piece in text)
            return Thinking(text=words, signature=unwrap(part.signature or "", NAME))
        return self._media(part, at, cache)

    def _media(
        self,
        part: ImagePart | AudioPart | FilePart | VideoPart | AudioLinkPart,
        at: str,
        cache: CacheMark | None,
    ) -> Media:
        if isinstance(part, ImagePart):
            source, detail = _linked(part.image_url, f"{at}.image_url")
            return Media(kind=MediaKind.IMAGE, source=source, detail=detail, cache=cache)
        if isinstance(part, VideoPart):
            source, _ = _linked(part.video_url, f"{at}.video_url")
            return Media(kind=MediaKind.VIDEO, source=source, cache=cache)
        if isinstance(part, AudioLinkPart):
            source, _ = _linked(part.audio_url, f"{at}.audio_url")
            return Media(kind=MediaKind.AUDIO, source=source, cache=cache)
        if isinstance(part, AudioPart):
            form = part.input_audio.format
            data = part.input_audio.data
            if is_data_url(data):
                data = from_data_url(data, f"{at}.input_audio.data")[1]
            source = Source(
                media_type=AUDIO_TYPES.get(form, f"audio/{form}"),
                data=checked_base64(data, f"{at}.input_audio.data"),
            )
            return Media(kind=MediaKind.AUDIO, source=source, cache=cache)
        return _document(part, f"{at}.file", cache)

    # --- assistants -----------------------------------------------------------------------------

    def _assistant(self, said: AssistantIn, at: str) -> Sequence[Block]:
        blocks: list[Block] = []
        if said.content:
            blocks.extend(self._content(said.content, at))
        self._cite(said, blocks, at)
        signature = signature_in(said.extra_content, wrapped=True)
        if signature is not None:
            places = [i for i, block in enumerate(blocks) if isinstance(block, Text)]
            if places:
                text = blocks[places[-1]]
                blocks[places[-1]] = msgspec.structs.replace(text, signature=signature)
            else:
                self._unknown.append(f"{at}.extra_content")
        if said.refusal:
            blocks.append(Refusal(text=said.refusal))
        if said.audio is not None and (said.audio.id or said.audio.transcript):
            blocks.append(
                Media(
                    kind=MediaKind.AUDIO,
                    source=Source(file_id=said.audio.id or "", origin=NAME),
                    transcript=said.audio.transcript or "",
                )
            )
        for place, image in enumerate(said.images or ()):
            blocks.append(self._media(image, f"{at}.images[{place}]", None))
        for place, call in enumerate(said.tool_calls or ()):
            blocks.append(_call(call, f"{at}.tool_calls[{place}]"))
        if said.function_call is not None:
            call_id = f"call_{len(self._calls)}_{at[9:-1]}"
            self._calls.append((said.function_call.name, call_id))
            name, arguments = said.function_call.name, said.function_call.arguments or ""
            blocks.append(ToolCall(id=call_id, name=name, arguments=arguments))
        if said.reasoning_details:
            return in_place(thoughts(said.reasoning_details, wrapped=True), blocks)
        thought = said.reasoning_content or said.reasoning
        return [Thinking(text=thought), *blocks] if thought else blocks

    def _cite(self, said: AssistantIn, blocks: list[Block], at: str) -> None:
        """Put ``annotations`` to the text that they are about: there must be just one."""
        if not said.annotations:
            return
        citations = []
        for place, raw in enumerate(said.annotations):
            citation = citation_of(raw)
            if citation is None:
                self._unknown.append(f"{at}.annotations[{place}]")
            else:
                citations.append(citation)
        if len(blocks) == 1 and isinstance(blocks[0], Text):
            blocks[0] = msgspec.structs.replace(blocks[0], citations=tuple(citations))
        elif citations:
            self._unknown.append(f"{at}.annotations")

    # --- results of tools -----------------------------------------------------------------------

    def _result(self, said: ToolIn | FunctionResultIn, call_id: str, at: str) -> ToolResult:
        blocks: list[Text | Media | Opaque] = []
        for place, block in enumerate(self._content(said.content, at)):
            if not isinstance(block, Text | Media | Opaque):
                path = f"{at}.content[{place}]"
                raise bad_request(f"'{path}' must be a part of type text.", path)
            blocks.append(block)
        cache = cache_mark(said, f"{at}.cache_control")
        return ToolResult(call_id=call_id, name=said.name or "", blocks=tuple(blocks), cache=cache)

    def _answered(self, said: FunctionResultIn, at: str) -> str:
        """The id that was given to the call that a result of the older kind belongs to."""
        for place, (name, call_id) in enumerate(self._calls):
            if not said.name or name == said.name:
                del self._calls[place]
                return call_id
        path = f"{at}.name"
        raise bad_request(f"'{path}' names no earlier function_call without a result.", path)


def _call(said: CallIn, at: str) -> ToolCall:
    cache = cache_mark(said, f"{at}.cache_control")
    signature = signature_in(said.extra_content, wrapped=True)
    if said.custom is not None:
        name, arguments = said.custom.name, said.custom.input or ""
    elif said.function is not None:
        name, arguments = said.function.name, said.function.arguments or ""
    else:
        raise bad_request(
            f"'{at}.function' is missing; it must hold name and arguments.", f"{at}.function"
        )
    return ToolCall(
        id=said.id,
        name=name,
        arguments=arguments,
        free=said.custom is not None,
        signature=signature,
        cache=cache,
    )


def citation_of(raw: Raw) -> Citation | None:
    """An annotation; None for one of a kind that is not known."""
    try:
        said = _annotation.decode(raw)
    except UNREADABLE:
        return None
    cited = said.url_citation
    if said.type != "url_citation" or cited is None:
        return None
    start, end = cited.start_index, cited.end_index
    return Citation(
        url=cited.url,
        title=cited.title or "",
        quote=cited.content or "",
        start=-1 if start is None else start,
        end=-1 if end is None else end,
        origin=NAME,
        raw=bytes(raw),
    )


def _linked(link: Link | str, at: str) -> tuple[Source, str]:
    """Where an image or film is, and its ``detail``."""
    url, detail = (link, "") if isinstance(link, str) else (link.url, link.detail or "")
    path = at if isinstance(link, str) else f"{at}.url"
    if is_data_url(url):
        media_type, data = from_data_url(url, path)
        return Source(media_type=media_type, data=data), detail
    if "://" not in url[:40]:
        raise bad_request(f"'{path}' must be a URL (https://… or data:…;base64,…).", path)
    return Source(url=public(url, path)), detail


def _document(part: FilePart, at: str, cache: CacheMark | None) -> Media:
    file = part.file
    name = file.filename or ""
    if file.file_data:
        path = f"{at}.file_data"
        if is_data_url(file.file_data):
            media_type, data = from_data_url(file.file_data, path)
            source = Source(media_type=media_type, data=data)
        elif "://" in file.file_data[:40]:
            source = Source(url=file.file_data)
        else:
            data = checked_base64(file.file_data, path)
            source = Source(media_type=media_type_of(name), data=data)
    elif file.file_id:
        source = Source(file_id=file.file_id, origin=NAME)
    else:
        raise bad_request(f"'{at}' must have file_data or file_id.", at)
    return Media(kind=MediaKind.DOCUMENT, source=source, name=name, cache=cache)
