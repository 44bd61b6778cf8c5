"""Kinds that hold other kinds: lists, mappings, and tables of known keys."""

from typing import Any

from msgspec import Struct

from ferryman.config import nodes
from ferryman.config.kinds import WRONG, Kind, Reader, Schema, Word, describe, example
from ferryman.config.nodes import Map, Node, Scalar, Seq
from ferryman.config.problem import Path, dotted, either, near, shown


class ListOf(Kind, frozen=True, kw_only=True):
    """A list; ``least`` = how many items it needs."""

    item: Kind
    least: int = 0

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        if _is_null(node):
            node = Seq(items=(), mark=node.mark, size=1, depth=1)
        if not isinstance(node, Seq):
            return reader.wrong(self, node, path)
        if len(node.items) < self.least:
            return reader.wrong(self, node, path, "an empty list")
        out = []
        for i, item in enumerate(node.items):
            reader.values[(*path, i)] = item.mark
            value = self.item.read(item, (*path, i), reader)
            if value is not WRONG:
                out.append((i, value))
        return out

    def schema(self) -> Schema:
        kind: Schema = {"type": "array", "items": self.item.schema()}
        if self.least:
            return {**kind, "minItems": self.least}
        return {**kind, "type": ["array", "null"]}


class OneOrList(Kind, frozen=True, kw_only=True):
    """A single value, or a list of such."""

    one: Kind
    several: ListOf

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        kind = self.several if isinstance(node, Seq) else self.one
        return kind.read(node, path, reader)

    def schema(self) -> Schema:
        return {"anyOf": [self.one.schema(), self.several.schema()]}


class MapOf(Kind, frozen=True, kw_only=True):
    """A mapping with names of the user's choice."""

    key: Word
    item: Kind
    least: int = 0

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        if _is_null(node):
            node = Map(pairs=(), mark=node.mark, size=1, depth=1)
        if not isinstance(node, Map):
            return reader.wrong(self, node, path)
        if len(node.pairs) < self.least:
            return reader.wrong(self, node, path, "an empty mapping")
        out = {}
        for key, value in node.pairs:
            here = (*path, key.text)
            reader.keys[here] = key.mark
            reader.values[here] = value.mark
            found = self.item.read(value, here, reader)
            if not self.key.accepts(key.text):
                told = describe(key, quiet=path[:1] == ("providers",))
                message = f"expected {self.key.says}, found {told}"
                reader.add(path, key.mark, message, example(self, path))
            elif found is not WRONG:
                out[key.text] = found
        return out

    def schema(self) -> Schema:
        kind: Schema = {
            "type": "object",
            "propertyNames": self.key.schema(),
            "additionalProperties": self.item.schema(),
        }
        if self.least:
            return {**kind, "minProperties": self.least}
        return {**kind, "type": ["object", "null"]}


class Key(Struct, frozen=True, kw_only=True):
    """One known key of a table."""

    name: str
    kind: Kind
    doc: str
    """What it does: a sentence or two."""
    default: str = ""
    """What holds when the key is left out, as text."""
    required: bool = False


class Table(Kind, frozen=True, kw_only=True):
    """A mapping with known keys."""

    keys: tuple[Key, ...]
    hints: tuple[tuple[str, str], ...] = ()
    """Keys that people write by mistake, and what to do instead."""

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """``dict`` of the keys that were read without a problem."""
        if _is_null(node):
            node = Map(pairs=(), mark=node.mark, size=1, depth=1)
        if not isinstance(node, Map):
            return reader.wrong(self, node, path)
        known = {key.name: key for key in self.keys}
        out: dict[str, Any] = {}
        for name, value in node.pairs:
            key = known.get(name.text)
            if key is None:
                self._unknown(name, value, path, reader)
                continue
            here = (*path, key.name)
            reader.keys[here] = name.mark
            reader.values[here] = value.mark
            found = key.kind.read(value, here, reader)
            if found is not WRONG:
                out[key.name] = found
        for key in self.keys:
            if key.required and (*path, key.name) not in reader.keys:
                fix = example(key.kind, (*path, key.name))
                reader.add(path, node.mark, f"the key `{key.name}` is missing", fix)
        return out

    def _unknown(self, name: Scalar, value: Node, path: Path, reader: Reader) -> None:
        hint = dict(self.hints).get(name.text)
        words = near(name.text, [key.name for key in self.keys])
        # A key without a value, where secrets live, may be a secret that lost its key.
        hidden = path[:1] == ("providers",) and _is_null(value) and not words and not hint
        here = path if hidden or "…" in dotted((name.text,)) else (*path, name.text)
        told = "this key is not known" if hidden else f"{shown(name.text)} is not a known key"
        if hint:
            fix = hint
        elif words:
            fix = f"Did you mean {either(words)}?"
        else:
            fix = f"Known keys here: {', '.join(key.name for key in self.keys)}."
        reader.add(here, name.mark, told, fix)

    def schema(self) -> Schema:
        properties = {}
        for key in self.keys:
            doc = f"{key.doc} Default: {key.default}." if key.default else key.doc
            properties[key.name] = {"description": doc, **key.kind.schema()}
        kind: Schema = {"properties": properties, "additionalProperties": False}
        required = [key.name for key in self.keys if key.required]
        if required:
            return {"type": "object", **kind, "required": required}
        return {"type": ["object", "null"], **kind}


class Either(Kind, frozen=True, kw_only=True):
    """A single value in short form, or a table."""

    short: Kind
    table: Table

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        if isinstance(node, Map):
            return self.table.read(node, path, reader)
        if isinstance(node, Scalar) and not _is_null(node):
            return self.short.read(node, path, reader)
        return reader.wrong(self, node, path)

    def schema(self) -> Schema:
        return {"anyOf": [self.short.schema(), {**self.table.schema(), "type": "object"}]}


class FlagOr(Kind, frozen=True, kw_only=True):
    """True or false, or another single value."""

    other: Kind

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        if isinstance(node, Scalar) and nodes.scalar_type(node) == nodes.BOOL:
            return node.text.lower() == "true"
        if isinstance(node, Scalar) and not _is_null(node):
            return self.other.read(node, path, reader)
        return reader.wrong(self, node, path)

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "boolean"}, self.other.schema()]}


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and nodes.scalar_type(node) == nodes.NULL
