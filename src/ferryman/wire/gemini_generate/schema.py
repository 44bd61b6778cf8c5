"""Schemas: the format's own subset of OpenAPI, and JSON Schema, one from the other.

https://ai.google.dev/api/caching#Schema: types are upper-case words, ``nullable`` stands for a type
``null``, numbers of items come as strings, enumerations hold strings only; ``$ref``, ``oneOf``,
``allOf``, ``const`` and ``additionalProperties`` are not in it.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.receipt import Receipt
from ferryman.wire.carry import unsupported

MAX_NODES = 10_000
"""A schema with more parts, once its references are written out, is refused."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
Schema = dict[str, Any]

_PROTO_NAMES = {
    "any_of": "anyOf",
    "max_items": "maxItems",
    "min_items": "minItems",
    "max_length": "maxLength",
    "min_length": "minLength",
    "max_properties": "maxProperties",
    "min_properties": "minProperties",
    "property_ordering": "propertyOrdering",
    "additional_properties": "additionalProperties",
    "defs": "$defs",
    "ref": "$ref",
}
_COUNTS = frozenset(
    ("maxItems", "minItems", "maxLength", "minLength", "maxProperties", "minProperties")
)
_KEPT = frozenset(
    (*_COUNTS, "title", "description", "default", "minimum", "maximum", "pattern", "required")
)
_FORMATS = frozenset(("enum", "date-time", "float", "double", "int32", "int64"))
_SILENT = frozenset(("$schema", "$id", "$comment", "$defs", "definitions", "$anchor"))
"""Members of a JSON Schema that say nothing of the values."""


def to_json_schema(raw: Raw | bytes) -> Raw:
    """JSON Schema for a schema of the format's. Raises :class:`msgspec.MsgspecError`.

    What is JSON Schema already comes out as it went in, but for its spacing.
    """
    return Raw(_encode(_from_openapi(_decode(raw))))


def _from_openapi(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    out: Schema = {}
    nullable = False
    order: list[str] = []
    for said, value in node.items():
        name = str(_PROTO_NAMES.get(said, said))
        if name == "type":
            if isinstance(value, str):
                if value == "TYPE_UNSPECIFIED":
                    continue
                value = value.lower()
            out["type"] = value
        elif name == "nullable":
            nullable = value is True
        elif name == "propertyOrdering":
            order = value if isinstance(value, list) else []
        elif name == "example":
            out["examples"] = [value]
        elif name == "format" and value == "enum":
            continue
        elif name in _COUNTS and isinstance(value, str) and value.isdecimal():
            out[name] = int(value)
        elif name in ("properties", "$defs") and isinstance(value, dict):
            out[name] = {key: _from_openapi(inner) for key, inner in value.items()}
        elif name == "anyOf" and isinstance(value, list):
            out[name] = [_from_openapi(inner) for inner in value]
        elif name in ("items", "additionalProperties"):
            out[name] = _from_openapi(value)
        else:
            out[name] = value
    properties = out.get("properties")
    if order and isinstance(properties, dict):
        names = [name for name in order if isinstance(name, str) and name in properties]
        out["properties"] = {name: properties[name] for name in names} | properties
    return _nullable(out) if nullable else out


def _nullable(schema: Schema) -> Schema:
    """``schema``, or null."""
    kind = schema.get("type")
    if isinstance(kind, str):
        schema["type"] = [kind, "null"]
        if isinstance(schema.get("enum"), list):
            schema["enum"] = [*schema["enum"], None]
    elif isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    return schema


def without(raw: Raw, keyword: str, note: Callable[[], None]) -> Raw:
    """The JSON Schema without ``keyword`` anywhere; ``note`` is called when it was there."""
    if keyword.encode() not in bytes(raw):
        return raw
    return Raw(_encode(_cut(_decode(raw), keyword, note)))


def _cut(node: Any, keyword: str, note: Callable[[], None]) -> Any:
    if isinstance(node, list):
        return [_cut(item, keyword, note) for item in node]
    if not isinstance(node, dict):
        return node
    out: Schema = {}
    for name, value in node.items():
        if name == keyword:
            note()
        elif name in ("properties", "$defs", "definitions") and isinstance(value, dict):
            out[name] = {key: _cut(inner, keyword, note) for key, inner in value.items()}
        elif name in ("enum", "const", "default", "examples"):
            out[name] = value
        else:
            out[name] = _cut(value, keyword, note)
    return out


def to_openapi(raw: Raw, path: str, receipt: Receipt) -> Raw:
    """The format's subset for a JSON Schema; what is not in it goes into the receipt.

    Raises :class:`msgspec.MsgspecError`, :class:`RecursionError` for one that is nested too deeply,
    and :class:`GatewayError` (400) for one that is too large.
    """
    root = _decode(raw)
    return Raw(_encode(_ToOpenApi(root, path, receipt).node(root, ())))


class _ToOpenApi:
    """One schema on its way into the subset."""

    def __init__(self, root: Any, path: str, receipt: Receipt) -> None:
        self._root = root
        self._path = path
        self._receipt = receipt
        self._left = MAX_NODES

    def _drop(self, name: str) -> None:
        self._receipt.drop(f"{self._path}.{name}")

    def _alter(self, name: str, how: str) -> None:
        self._receipt.alter(f"{self._path}.{name}", how)

    def node(self, node: Any, refs: tuple[str, ...]) -> Schema:
        """``node`` in the subset; ``refs`` are the references that it lies within."""
        self._left -= 1
        if self._left < 0:
            raise unsupported(
                f"'{self._path}' has more than {MAX_NODES} parts once its references are followed;"
                " the target knows no references. Make the schema simpler.",
                self._path,
            )
        if not isinstance(node, dict):
            if node is False:
                self._drop("false")
            return {}
        node, refs = self._plain(node, refs)
        out: Schema = {}
        for name, value in node.items():
            if name in _KEPT:
                out[name] = value
            elif name == "properties" and isinstance(value, dict):
                out[name] = {key: self.node(inner, refs) for key, inner in value.items()}
            elif name == "items" and isinstance(value, dict):
                out[name] = self.node(value, refs)
            elif name in ("anyOf", "oneOf") and isinstance(value, list):
                self._any_of(out, name, value, refs)
            elif name == "enum":
                self._enum(out, value)
            elif name == "const":
                self._enum(out, [value])
            elif name == "examples" and isinstance(value, list) and value:
                out["example"] = value[0]
            elif name == "format" and isinstance(value, str) and value in _FORMATS:
                out[name] = value
            elif name not in _SILENT and name not in ("type", "allOf"):
                self._drop(name)
        self._type(out, node)
        return out

    def _type(self, out: Schema, node: Schema) -> None:
        kind = node.get("type")
        if isinstance(kind, list):
            names = [name for name in kind if isinstance(name, str) and name != "null"]
            if len(names) < len(kind):
                out["nullable"] = True
            if len(names) > 1 and "anyOf" not in out:
                out["anyOf"] = [{"type": name.upper()} for name in names]
                return
            kind = names[0] if names else "null"
        if isinstance(kind, str):
            out["type"] = kind.upper()
        elif "properties" in out:
            out["type"] = "OBJECT"
        elif "enum" in out:
            out["type"] = "STRING"

    def _enum(self, out: Schema, value: Any) -> None:
        values = value if isinstance(value, list) else []
        if None in values:
            out["nullable"] = True
            values = [item for item in values if item is not None]
        if values and all(isinstance(item, str) for item in values):
            out["enum"] = values
        elif values:
            self._drop("enum")

    def _any_of(self, out: Schema, name: str, value: list[Any], refs: tuple[str, ...]) -> None:
        if name == "oneOf":
            self._alter("oneOf", "anyOf")
        kinds = [item for item in value if item != {"type": "null"}]
        if len(kinds) < len(value):
            out["nullable"] = True
        options = [self.node(item, refs) for item in kinds]
        if len(options) == 1:
            out.update({key: value for key, value in options[0].items() if key not in out})
        elif options:
            out["anyOf"] = options

    def _plain(self, node: Schema, refs: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """``node`` with its reference followed and its ``allOf`` merged."""
        ref = node.get("$ref")
        if isinstance(ref, str):
            target = self._target(ref)
            if ref in refs or target is None:
                self._drop("$ref")
                return {"type": "object"}, refs
            beside = {name: value for name, value in node.items() if name != "$ref"}
            return self._plain(target | beside, (*refs, ref))
        parts = node.get("allOf")
        if not isinstance(parts, list):
            return node, refs
        self._alter("allOf", "merged")
        merged: Schema = {}
        beside = {name: value for name, value in node.items() if name != "allOf"}
        for part in [*parts, beside]:
            if not isinstance(part, dict):
                continue
            plain, refs = self._plain(part, refs)
            for name, value in plain.items():
                said = merged.get(name)
                if name == "properties" and isinstance(value, dict) and isinstance(said, dict):
                    merged[name] = said | value
                elif name == "required" and isinstance(value, list) and isinstance(said, list):
                    merged[name] = [*said, *value]
                else:
                    merged[name] = value
        return merged, refs

    def _target(self, ref: str) -> Schema | None:
        target: Any = self._root
        if not ref.startswith("#"):
            return None
        for step in ref[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            target = target.get(name) if isinstance(target, dict) else None
        return target if isinstance(target, dict) else None
