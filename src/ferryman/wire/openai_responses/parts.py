"""Parts of messages: what a caller says in one, as blocks of the common language.

https://platform.openai.com/docs/api-reference/responses/create (``input``).
"""

import msgspec
from msgspec import Raw

from ferryman.ir.request import CacheMark, Citation, Media, MediaKind, Refusal, Source, Text
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.addresses import public
from ferryman.wire.carry import bad_request, checked_base64, from_data_url, is_data_url
from ferryman.wire.openai_chat.media import AUDIO_TYPES, media_type_of
from ferryman.wire.openai_responses.types import (
    Annotation,
    Breakpoint,
    InputAudio,
    InputFile,
    InputImage,
    InputText,
    OutputText,
    Part,
    RefusalPart,
)

NAME = "openai_responses"
TTLS = {"30m": 1800, "12h": 43200}
"""Lifetimes of a cached prompt → seconds."""

_annotation = msgspec.json.Decoder(Annotation).decode


def blocks_of(
    content: str | list[Part], item: int, member: str
) -> tuple[Text | Media | Refusal, ...]:
    """The blocks that ``member`` of an item says. Raises :class:`GatewayError`."""
    if isinstance(content, str):
        return (Text(text=content),)
    return tuple([_block(part, item, member, number) for number, part in enumerate(content)])


def _block(part: Part, item: int, member: str, number: int) -> Text | Media | Refusal:
    if isinstance(part, InputText):
        return Text(text=part.text, cache=_mark(part.prompt_cache_breakpoint))
    if isinstance(part, OutputText):
        return Text(
            text=part.text,
            citations=tuple([citation_of(raw) for raw in part.annotations or ()]),
            cache=_mark(part.prompt_cache_breakpoint),
        )
    path = f"input[{item}].{member}[{number}]"
    if isinstance(part, InputImage):
        return _image(part, path)
    if isinstance(part, InputFile):
        return _file(part, path)
    if isinstance(part, InputAudio):
        return _audio(part, path)
    if isinstance(part, RefusalPart):
        return Refusal(text=part.refusal)
    return Text(text=part.text)


def _mark(said: Breakpoint | None) -> CacheMark | None:
    if said is None:
        return None
    return CacheMark(TTLS[said.ttl]) if said.ttl else CacheMark()


def _one_of(path: str, **given: str | None) -> None:
    if sum(1 for value in given.values() if value) != 1:
        raise bad_request(f"'{path}' must have exactly one of {', '.join(given)}.", path)


def _remote(url: str, path: str) -> Source:
    if not url.lower().startswith(("https://", "http://")):
        raise bad_request(f"'{path}' must be a URL that begins with https:, http: or data:.", path)
    return Source(url=public(url, path))


def _inline(url: str, path: str) -> Source:
    media_type, data = from_data_url(url, path)
    return Source(media_type=media_type, data=data)


def _image(part: InputImage, path: str) -> Media:
    _one_of(path, image_url=part.image_url, file_id=part.file_id)
    url = part.image_url
    if not url:
        source = Source(file_id=part.file_id or "", origin=NAME)
    elif is_data_url(url):
        source = _inline(url, f"{path}.image_url")
    else:
        source = _remote(url, f"{path}.image_url")
    return Media(
        kind=MediaKind.IMAGE,
        source=source,
        detail=part.detail or "",
        cache=_mark(part.prompt_cache_breakpoint),
    )


def _file(part: InputFile, path: str) -> Media:
    _one_of(path, file_data=part.file_data, file_url=part.file_url, file_id=part.file_id)
    data = part.file_data
    if data and is_data_url(data):
        source = _inline(data, f"{path}.file_data")
    elif data:
        media_type = media_type_of(part.filename or "")
        source = Source(media_type=media_type, data=checked_base64(data, f"{path}.file_data"))
    elif part.file_url:
        source = _remote(part.file_url, f"{path}.file_url")
    else:
        source = Source(file_id=part.file_id or "", origin=NAME)
    return Media(
        kind=MediaKind.DOCUMENT,
        source=source,
        name=part.filename or "",
        detail=part.detail or "",
        cache=_mark(part.prompt_cache_breakpoint),
    )


def _audio(part: InputAudio, path: str) -> Media:
    sound = part.input_audio
    form = sound.format.lower()
    data = checked_base64(sound.data, f"{path}.input_audio.data")
    source = Source(media_type=AUDIO_TYPES.get(form, f"audio/{form}"), data=data)
    return Media(kind=MediaKind.AUDIO, source=source)


def citation_of(raw: Raw | bytes) -> Citation:
    """An annotation of the model's text; what others can't say of it stays in ``raw``."""
    try:
        said = _annotation(raw)
    except UNREADABLE:
        said = Annotation()
    return Citation(
        url=said.url or "",
        title=said.title or said.filename or "",
        start=-1 if said.start_index is None else said.start_index,
        end=-1 if said.end_index is None else said.end_index,
        origin=NAME,
        raw=bytes(raw),
    )
