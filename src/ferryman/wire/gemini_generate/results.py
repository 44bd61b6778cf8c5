"""Results of tools: ``functionResponse`` and blocks, one from the other.

https://ai.google.dev/api/caching#FunctionResponse: ``response`` is an object, in which ``output``
stands for what the function gave and ``error`` for how it failed; an object without these two is
the output itself. Both ways lead back to where they came from:

- ``{"output": "text"}`` is a text, ``{"output": ["a", "b"]}`` are two; ``{}`` is nothing;
- ``{"error": "text"}`` is the text of a failure, ``{"error": {…}}`` that object's JSON;
- any other object is its own JSON; so is one whose text would be taken for such JSON.
"""

import msgspec
from msgspec import Raw

from ferryman.ir.request import Media, Opaque, Source, Text, ToolResult
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.addresses import public
from ferryman.wire.carry import bad_request, checked_base64, is_object
from ferryman.wire.gemini_generate.blocks import compact, file_source, given, kind_of
from ferryman.wire.gemini_generate.types import FunctionResponse

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_value = msgspec.json.Decoder(str | list[str]).decode
_encode = msgspec.json.Encoder().encode
Blocks = tuple[Text | Media | Opaque, ...]


def read_result(said: FunctionResponse, call_id: str, at: str) -> ToolResult:
    """The block for a ``functionResponse``. Raises :class:`GatewayError` (400)."""
    if not said.name:
        raise bad_request(
            f"'{at}.functionResponse.name' is missing: the function that was called.",
            f"{at}.functionResponse.name",
        )
    error, blocks = _read_response(said.response, f"{at}.functionResponse.response")
    media = tuple(_read_media(said, f"{at}.functionResponse"))
    return ToolResult(call_id=call_id, name=said.name, blocks=blocks + media, error=error)


def _read_response(raw: Raw, at: str) -> tuple[bool, Blocks]:
    if not given(raw):
        return False, ()
    try:
        members = _members(raw)
    except UNREADABLE:
        raise bad_request(
            f"""'{at}' must be an object, such as {{"output": "…"}} or {{"error": "…"}}.""", at
        ) from None
    if not members:
        return False, ()
    error = "error" in members and "output" not in members and bytes(members["error"]) != b"null"
    key = "error" if error else "output"
    if len(members) == 1 and key in members:
        value = members[key]
        if error and bytes(value)[:1] == b"{" and "error" not in _members(value):
            return True, (Text(text=compact(value)),)
        texts = _texts(value)
        if texts is not None and (not error or len(texts) == 1):
            return error, tuple(Text(text=text) for text in texts)
    return error, (Text(text=compact(raw)),)


def _texts(raw: Raw) -> list[str] | None:
    """Texts that stand for themselves; None for others, and for what would be read as JSON."""
    try:
        value = _value(raw)
    except UNREADABLE:
        return None
    if isinstance(value, str):
        return None if is_object(value) else [value]
    return value if len(value) > 1 else None


def _read_media(said: FunctionResponse, at: str) -> list[Media]:
    found = []
    for place, part in enumerate(said.parts or ()):
        blob, file = part.inline_data, part.file_data
        if blob is not None:
            data = checked_base64(
                blob.data or "", f"{at}.parts[{place}].inlineData.data", url_safe=True
            )
            media_type = blob.mime_type or ""
            source = Source(media_type=media_type, data=data)
            found.append(
                Media(kind=kind_of(media_type), source=source, name=blob.display_name or "")
            )
        elif file is not None and file.file_uri:
            uri = public(file.file_uri, f"{at}.parts[{place}].fileData.fileUri")
            kind, source = file_source(uri, file.mime_type or "")
            found.append(Media(kind=kind, source=source, name=file.display_name or ""))
    return found


def wire_response(result: ToolResult) -> Raw:
    """``response`` for the texts of a result."""
    texts = [block.text for block in result.blocks if isinstance(block, Text)]
    if not texts and not result.error:
        return Raw(b"{}")
    if result.error:
        text = "\n".join(texts)
        if not is_object(text):
            return Raw(_encode({"error": text}))
        if "error" in _members(text):
            return Raw(text)
        return Raw(b'{"error":%b}' % text.encode())
    if len(texts) > 1:
        return Raw(_encode({"output": texts}))
    return Raw(texts[0]) if is_object(texts[0]) else Raw(_encode({"output": texts[0]}))
