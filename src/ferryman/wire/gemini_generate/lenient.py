"""Requests that the strict reader does not take as they are: other spellings, unknown members.

The service itself takes member names in the protocol's own spelling (``inline_data``) as well as in
JSON's (``inlineData``), and one object where a list is meant
(https://protobuf.dev/programming-guides/json/). Such a request is rewritten here, member by member,
into what the strict reader knows; what nobody knows is put aside by its path.
"""

from types import UnionType
from typing import Any, Generic, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Raw, Struct

from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.carry import shape_error

T = TypeVar("T", bound=Struct)
_members = msgspec.json.Decoder(dict[str, Raw])
_items = msgspec.json.Decoder(list[Raw])
_encode = msgspec.json.Encoder().encode


class Field(NamedTuple):
    """How one member is read."""

    key: bytes
    """Its name as JSON, with the colon."""
    name: str
    shape: "Shape | None"
    """None: its value stays as it is."""
    many: bool


Shape = dict[str, Field]
Strays = list[tuple[str, Raw]]
"""Paths and values of members that nobody knows."""


def shape_of(struct: type[Struct]) -> Shape:
    """The members of ``struct`` under both spellings, and theirs."""
    hints = get_type_hints(struct)
    shape: Shape = {}
    for field in msgspec.structs.fields(struct):
        inner, many = _inner(hints[field.name])
        name = field.encode_name
        found = Field(_encode(name) + b":", name, shape_of(inner) if inner else None, many)
        shape[name] = shape[field.name] = found
    return shape


def _inner(hint: Any) -> tuple[type[Struct] | None, bool]:
    """The struct within a type, and whether there may be many."""
    for option in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        if get_origin(option) is list:
            return _inner(get_args(option)[0])[0], True
        if isinstance(option, type) and issubclass(option, Struct):
            return option, False
    return None, False


def rewritten(raw: bytes, shape: Shape, path: str, strays: Strays, *, deep: bool = True) -> bytes:
    """The object ``raw`` under the names of ``shape``; its other members are added to ``strays``.

    What is no object is returned as it is, for the strict reader to refuse. ``path`` ends in a dot
    or is empty. Without ``deep``, values stay as they are. Raises :class:`msgspec.MsgspecError` for
    what is no JSON.
    """
    if bytes(memoryview(raw)[:64]).lstrip(b" \t\r\n")[:1] != b"{":
        return raw
    out = []
    for name, value in _members.decode(raw).items():
        field = shape.get(name)
        if field is None:
            strays.append((path + name, value))
        elif deep:
            out.append(field.key + _value(value, field, path, strays))
        else:
            out.append(field.key + bytes(value))
    return b"{" + b",".join(out) + b"}"


def _value(value: Raw, field: Field, path: str, strays: Strays) -> bytes:
    plain = bytes(value)
    if not field.many:
        if field.shape is None:
            return plain
        return rewritten(value, field.shape, f"{path}{field.name}.", strays)
    if plain[:1] != b"[":
        if plain[:1] != b"{":
            return plain
        if field.shape is None:
            return b"[" + plain + b"]"
        return b"[" + rewritten(value, field.shape, f"{path}{field.name}[0].", strays) + b"]"
    if field.shape is None:
        return plain
    shape = field.shape
    items = [
        rewritten(item, shape, f"{path}{field.name}[{place}].", strays)
        for place, item in enumerate(_items.decode(value))
    ]
    return b"[" + b",".join(items) + b"]"


class Reader(Generic[T]):
    """Reads a struct; what is spelled as usual costs no more than the decoder."""

    __slots__ = ("_decode", "_shape")

    def __init__(self, kind: type[T]) -> None:
        self._decode = msgspec.json.Decoder(kind).decode
        self._shape = shape_of(kind)

    def read(self, raw: bytes | Raw, at: str, strays: Strays) -> T:
        """The value at path ``at``; members nobody knows are added to ``strays``.

        Raises :class:`GatewayError` (400).
        """
        try:
            return self._any(raw, f"{at}." if at else "", strays)
        except UNREADABLE as error:
            raise shape_error(error, at) from None

    def _any(self, raw: bytes | Raw, path: str, strays: Strays) -> T:
        """As it is; else with the names of its own members set right; else with all of them."""
        try:
            return self._decode(raw)
        except msgspec.ValidationError:
            found: Strays = []
            body = rewritten(bytes(raw), self._shape, path, found, deep=False)
        try:
            said = self._decode(body)
        except msgspec.ValidationError:
            return self._decode(rewritten(bytes(raw), self._shape, path, strays))
        strays += found
        return said
