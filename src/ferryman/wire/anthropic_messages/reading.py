"""Reading strict structs out of a caller's JSON: what is wrong where, and what is not known.

A member that a struct doesn't list is no reason to refuse a request: it is cut out, and its path
noted, without touching a byte of the members beside it.
"""

import functools
import re
import typing
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from ferryman.ir.errors import ErrorKind, GatewayError

_members = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode
_AT = re.compile(r"(?s)(.*?)(?: - at `(?:key in )?\$(.*)`)?")
_LACKS = re.compile(r"Object missing required field `(.+)`")
_UNKNOWN = "unknown field"
_WORDS = {
    "str": "a string", "int": "an integer", "float": "a number", "bool": "true or false",
    "object": "an object", "array": "an array", "null": "null",
}  # fmt: skip
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding bytes from outside may raise."""


class Form(NamedTuple):
    """A struct with its decoder."""

    of: type[Struct]
    decoder: msgspec.json.Decoder[Any]


def form(of: type[Struct]) -> Form:
    """``of`` with a decoder for it."""
    return Form(of, msgspec.json.Decoder(of))


def bad(message: str, path: str) -> GatewayError:
    """The refusal of a request because of the member ``path``."""
    return GatewayError(400, ErrorKind.INVALID_REQUEST, message, param=path or None)


def wrong(error: Exception, path: str) -> GatewayError:
    """The refusal for what a decoder says of the member ``path``."""
    if isinstance(error, RecursionError):
        return bad("The body is nested too deeply.", path)
    if isinstance(error, UnicodeDecodeError):
        return bad("The body is not valid UTF-8.", path)
    match = _AT.fullmatch(str(error))
    said, inner = (match[1], match[2] or "") if match else (str(error), "")
    lacks = _LACKS.fullmatch(said)
    where = f"{path}{inner}" if path else inner.lstrip(".")
    if lacks:
        where = f"{where}.{lacks[1]}" if where else lacks[1]
        return bad(f"'{where}' is missing.", where)
    said = re.sub(r"`([^`]*)`", _plain, said)
    if not where:
        return bad(f"The body is not as it should be: {said}.", where)
    return bad(f"'{where}': {said[:1].lower()}{said[1:]}.", where)


def _plain(match: "re.Match[str]") -> str:
    """A type in the words of JSON."""
    return " or ".join(_WORDS.get(name, name) for name in match[1].split(" | "))


def read(form: Form, raw: Raw, path: str, unknown: list[str]) -> Any:
    """``raw`` as the form's struct; paths of members it doesn't list are added to ``unknown``.

    Raises :class:`GatewayError` (400) that names the member.
    """
    try:
        return form.decoder.decode(raw)
    except msgspec.ValidationError as error:
        if _UNKNOWN not in str(error):
            raise wrong(error, path) from None
    except UNREADABLE as error:
        raise wrong(error, path) from None
    try:
        return form.decoder.decode(_pruned(raw, form.of, path, unknown))
    except UNREADABLE as error:
        raise wrong(error, path) from None


@functools.cache
def _fields(of: type[Struct]) -> dict[str, type[Struct] | None]:
    """Members that a struct lists, and the structs that some of them are in turn."""
    hints = typing.get_type_hints(of)
    tag = of.__struct_config__.tag_field
    known: dict[str, type[Struct] | None] = {tag: None} if tag else {}
    for name in of.__struct_encode_fields__:
        kinds = (hints[name], *typing.get_args(hints[name]))
        inner = [k for k in kinds if isinstance(k, type) and issubclass(k, Struct)]
        known[name] = inner[0] if inner else None
    return known


def _pruned(raw: Raw, of: type[Struct], path: str, unknown: list[str]) -> bytes:
    known = _fields(of)
    kept: dict[str, Raw] = {}
    for name, value in _members.decode(raw).items():
        if name not in known:
            if bytes(value) != b"null":
                unknown.append(f"{path}.{name}" if path else name)
            continue
        inner = known[name]
        if inner is not None and bytes(value)[:1] == b"{":
            value = Raw(_pruned(value, inner, f"{path}.{name}", unknown))
        kept[name] = value
    return _encode(kept)
