"""YAML text → a tree in which every key and value knows its line and column.

Built from the parser's events rather than with its composer: no recursion, so depth and aliases are
bounded here, duplicate keys are seen with both places, and numbers keep the text they were written
in (money is read from it exactly).
"""

import codecs
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from msgspec import Struct
from msgspec.structs import replace
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from ferryman.config.problem import Path

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 50_000
"""Values after every alias is followed: what an alias bomb runs into."""


class Mark(Struct, frozen=True, array_like=True):
    """A place in the file, from 1."""

    line: int
    column: int


class Scalar(Struct, frozen=True, kw_only=True):
    """One value, as written. ``plain`` = without quotes: it may be a number, true, or nothing."""

    text: str
    plain: bool
    mark: Mark
    size: int = 1
    depth: int = 1


class Seq(Struct, frozen=True, kw_only=True):
    """A list."""

    items: tuple["Node", ...]
    mark: Mark
    size: int
    depth: int


class Map(Struct, frozen=True, kw_only=True):
    """A mapping; ``pairs`` in the order of the file, without duplicates."""

    pairs: tuple[tuple[Scalar, "Node"], ...]
    mark: Mark
    size: int
    depth: int


Node = Scalar | Seq | Map

NULL, BOOL, NUMBER, TEXT = "null", "bool", "number", "text"
_NULL = ("", "~", "null", "Null", "NULL")
_BOOL = ("true", "True", "TRUE", "false", "False", "FALSE")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def scalar_type(node: Scalar) -> str:
    """What YAML 1.2 takes the value for: ``null``, ``bool``, ``number`` or ``text``."""
    if not node.plain:
        return TEXT
    if node.text in _NULL:
        return NULL
    if node.text in _BOOL:
        return BOOL
    return NUMBER if _NUMBER.fullmatch(node.text) else TEXT


class Fault(Struct, frozen=True, kw_only=True):
    """Something wrong with the YAML itself."""

    mark: Mark | None
    message: str
    fix: str
    path: Path = ()


class _Stop(Exception):  # noqa: N818 - carries the fault that ends the reading
    def __init__(self, mark: Mark | None, message: str, fix: str) -> None:
        super().__init__(message)
        self.fault = Fault(mark=mark, message=message, fix=fix)


def parse(data: bytes, limit: int = MAX_BYTES) -> tuple[Node | None, list[Fault]]:
    """Read one YAML document. Never raises; ``None`` when there is nothing (or nothing readable).

    Faults that leave the rest readable (a duplicate key, a tag) come with the tree.
    """
    text, fault = _decode(data, limit)
    if fault is not None:
        return None, [fault]
    builder = _Builder()
    try:
        for event in _events(text):
            builder.take(event)
    except _Stop as stop:
        return None, [*builder.faults, stop.fault]
    return builder.root, builder.faults


def _events(text: str) -> Iterator[Any]:
    mark = Mark(1, 1)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            if event.start_mark is not None:
                mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
            yield event
    except MarkedYAMLError as error:
        raise _explain(error) from None
    except Exception:
        # The parser's own slips on broken input: an escape beyond Unicode, a strange directive.
        # Nothing of ours runs inside this block: the consumer's errors do not enter a generator.
        fix = "Check brackets, quotes and escapes from here on."
        raise _Stop(mark, "this is not YAML", fix) from None


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")


def _decode(data: bytes, limit: int) -> tuple[str, Fault | None]:
    if len(data) > limit:
        message = f"the file is longer than {limit:,} bytes"
        return "", Fault(mark=None, message=message, fix="Is this the right file?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        mark = _mark_at(data[: error.start].decode("utf-8", "replace"))
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            message = "the file is in UTF-16"
        else:
            message = f"byte 0x{data[error.start]:02x} is not UTF-8 text"
        return "", Fault(mark=mark, message=message, fix="Save the file in the UTF-8 encoding.")
    if bad := _CONTROL.search(text):
        message = f"the control character U+{ord(bad.group()):04X} is not allowed in YAML"
        mark = _mark_at(text[: bad.start()])
        return "", Fault(mark=mark, message=message, fix="Remove it.")
    return text, None


def _mark_at(before: str) -> Mark:
    lines = re.split(r"\r\n|\r|\n", before)
    return Mark(len(lines), len(lines[-1].removeprefix("\ufeff")) + 1)


class _Open:
    """A list or mapping whose end has not come yet."""

    def __init__(self, mark: Mark, anchor: str | None, is_map: bool) -> None:
        self.mark = mark
        self.anchor = anchor
        self.is_map = is_map
        self.items: list[Node] = []


class _Builder:
    """Turns parser events into nodes, one by one."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.faults: list[Fault] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}
        self._documents = 0
        self._count = 0

    def take(self, event: Any) -> None:
        """Add one event. Raises ``_Stop`` when the rest of the file makes no sense any more."""
        kind = type(event).__name__
        mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
        if kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                fix = "Keep one document: remove the `---` between them."
                raise _Stop(mark, "a second YAML document begins here", fix)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            if len(self._stack) >= MAX_DEPTH:
                raise _Stop(mark, f"nested more than {MAX_DEPTH} levels deep", "Flatten it.")
            self._tag(event, mark)
            if event.anchor:
                self._anchors[event.anchor] = None  # known, but not whole yet
            self._stack.append(_Open(mark, event.anchor, kind == "MappingStartEvent"))
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self._close()
        elif kind == "ScalarEvent":
            self._tag(event, mark)
            if any("\ud800" <= char <= "\udfff" for char in event.value):
                raise _Stop(mark, "half a surrogate pair is not a character", "Write it whole.")
            plain = event.style is None or event.style == ""
            node = Scalar(text=event.value, plain=plain, mark=mark)
            self._add(node, event.anchor)
        elif kind == "AliasEvent":
            self._add(self._alias(event.anchor, mark), None)

    def _tag(self, event: Any, mark: Mark) -> None:
        if event.tag:
            fix = "Write plain values; a text that begins with `!` needs quotes."
            self._fault(mark, "YAML tags (`!…`) have no use here", fix, self._path())

    def _alias(self, name: str, mark: Mark) -> Node:
        fix = "Define it before its use, as in `&name value`; a text with a `*` first needs quotes."
        if name not in self._anchors:
            raise _Stop(mark, "this alias (`*…`) is not defined above", fix)
        node = self._anchors[name]
        if node is None:
            raise _Stop(mark, "this alias (`*…`) contains itself", "Remove it.")
        return node

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        if not self._stack:
            self.root = node
            return
        self._stack[-1].items.append(node)
        self._count += 1
        if self._count > MAX_NODES:
            self._too_many(node.mark)

    def _close(self) -> None:
        done = self._stack.pop()
        size = 1 + sum(item.size for item in done.items)
        depth = 1 + max((item.depth for item in done.items), default=0)
        if size > MAX_NODES:
            self._too_many(done.mark)
        if depth + len(self._stack) > MAX_DEPTH:
            raise _Stop(done.mark, f"nested more than {MAX_DEPTH} levels deep", "Flatten it.")
        node: Node
        if done.is_map:
            pairs = self._pairs(done.items)
            node = Map(pairs=pairs, mark=done.mark, size=size, depth=depth)
        else:
            node = Seq(items=tuple(done.items), mark=done.mark, size=size, depth=depth)
        self._add(node, done.anchor)

    def _too_many(self, mark: Mark) -> NoReturn:
        fix = "Shorten it. Aliases inside aliases multiply."
        raise _Stop(mark, f"more than {MAX_NODES:,} values, aliases followed", fix)

    def _pairs(self, items: list[Node]) -> tuple[tuple[Scalar, Node], ...]:
        own: dict[str, tuple[Scalar, Node]] = {}
        merged: dict[str, tuple[Scalar, Node]] = {}
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, Scalar):
                fix = "Write one word before the colon."
                self._fault(key.mark, "a key cannot be a list or a mapping", fix, self._path())
            elif key.plain and key.text == "<<":
                for name, pair in self._merge(value):
                    merged.setdefault(name, pair)
            elif key.text in own:
                first = own[key.text][0].mark
                message = f"this key stands here a second time (first on line {first.line})"
                self._fault(key.mark, message, "Keep one of them.", (*self._path(), key.text))
            else:
                if isinstance(value, Scalar) and value.plain and not value.text:
                    # Nothing after the colon: the parser puts it where the next thing begins.
                    value = replace(value, mark=key.mark)
                own[key.text] = (key, value)
        return tuple({**merged, **own}.values())

    def _merge(self, value: Node) -> Iterator[tuple[str, tuple[Scalar, Node]]]:
        for source in value.items if isinstance(value, Seq) else (value,):
            if isinstance(source, Map):
                for pair in source.pairs:
                    yield pair[0].text, pair
            else:
                fix = "Merge an aliased mapping: `<<: *name`."
                self._fault(source.mark, "`<<` takes mappings only", fix, self._path())

    def _fault(self, mark: Mark, message: str, fix: str, path: Path) -> None:
        self.faults.append(Fault(mark=mark, message=message, fix=fix, path=path))

    def _path(self) -> Path:
        path: list[str | int] = []
        for level in self._stack:
            if not level.is_map:
                path.append(len(level.items))
            elif len(level.items) % 2 and isinstance(key := level.items[-1], Scalar):
                path.append(key.text)
        return tuple(path)


# What the parser says; whether to show where the thing began (an unclosed quote is only
# noticed at the end of the file); what it means to the person who typed it. First match wins.
# The parser's own words are never passed on: they can quote the line, and the line can hold a key.
_EXPLAINED = (
    ("mapping values are not allowed", False, "a second `: ` where only one fits",
     "Give each key a line and one `: `, and keys of one mapping the same indentation; put a value "
     "that holds `: ` in quotes; write env:NAME without a space."),
    ("'\\t' that cannot start", False, "a tab where YAML wants spaces", "Indent with spaces only."),
    ("cannot start any token", False, "a value cannot begin with this character",
     "Put it in quotes."),
    ("end of stream", True, "the file ends inside a quoted text", "Close the quote."),
    ("document separator", True, "`---` inside a quoted text", "Close the quote."),
    ("stream end", True, "the file ends before this bracket is closed", "Close the `[` or `{`."),
    ("expected ',' or", False, "a comma or the closing bracket is missing",
     "Write [a, b] or { a: 1, b: 2 }, and env:NAME without a space; a value that holds one of "
     ", [ ] { } needs quotes."),
    ("unknown escape", False, "an unknown `\\` escape in a double-quoted text",
     "Use single quotes, or write the backslash twice."),
    ("could not find expected ':'", False, "a `:` is missing after the key", "Write key: value."),
    ("expected <block end>", False, "this line does not fit the lines above it",
     "Give keys of one mapping the same indentation, and items of one list a `- ` each."),
    ("anchor", False, "two anchors or aliases in one place",
     "Keep one; a text that begins with `&` or `*` needs quotes."),
    ("directive", False, "a `%` directive that YAML does not know", "Remove the line."),
    ("document start", False, "a value stands where the document should begin",
     "Remove what is above it."),
)  # fmt: skip

_UNEXPLAINED = (
    False,
    "this is not YAML",
    "Check brackets, quotes and indentation near this place.",
)


def _explain(error: MarkedYAMLError) -> _Stop:
    problem = str(error.problem or "")
    known = (row[1:] for row in _EXPLAINED if row[0] in problem)
    at_start, message, fix = next(known, _UNEXPLAINED)
    marks = (error.problem_mark, error.context_mark)
    at = next((mark for mark in (reversed(marks) if at_start else marks) if mark), None)
    return _Stop(Mark(at.line + 1, at.column + 1) if at is not None else None, message, fix)
