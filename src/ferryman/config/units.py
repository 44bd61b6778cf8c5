"""A configuration in *units* that change one by one: a provider, a model, any other section.

Trees in, trees and YAML out. Literal keys are sealed on the way out and opened on the way in.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ferryman.config import nodes
from ferryman.config.build import SECRET_HEADER
from ferryman.config.nodes import Map, Mark, Node, Scalar, Seq
from ferryman.config.seal import SealError, seal, unseal
from ferryman.config.secret import REFERENCES, SEALED, header_seal_name
from ferryman.config.version import Change, Overlay

Unit = tuple[str, ...]
"""``("models", "fast")``, ``("timeouts",)``."""
Pair = tuple[Scalar, Node]
"""A key and its value."""
Units = dict[Unit, Pair]
"""In the order of the text."""

BY_NAME = ("providers", "models")
"""Sections of which every entry is a unit."""
PLAN = ("models", "policies", "limits")
"""Sections that say where calls go and what they may take; there are no secrets in them."""
MAX_TEXT = 4_000_000
"""Characters of a configuration written out, aliases followed."""
_WIDTH = 100
_START = Mark(1, 1)
NOTHING = Scalar(text="", plain=True, mark=_START)


def name_of(unit: Unit) -> str:
    """``("models", "gpt/4")`` → ``models/gpt/4``."""
    return "/".join(unit)


def unit_of(name: str) -> Unit:
    """The other way."""
    section, slash, entry = name.partition("/")
    return (section, entry) if slash else (section,)


def split(root: Node | None) -> Units:
    """The units of a whole configuration; none of what is no mapping."""
    found: Units = {}
    for key, node in root.pairs if isinstance(root, Map) else ():
        if key.text in BY_NAME and isinstance(node, Map):
            for pair in node.pairs:
                found[key.text, pair[0].text] = pair
        elif key.text not in BY_NAME or not isinstance(node, Scalar) or node.text:
            found[(key.text,)] = (key, node)
    return found


def joined(units: Units) -> Map:
    """The tree of ``units``: sections of entries first."""
    pairs: list[Pair] = []
    for section in BY_NAME:
        inner = tuple(pair for unit, pair in units.items() if unit[0] == section and len(unit) > 1)
        if inner:
            mark = inner[0][0].mark
            pairs.append((Scalar(text=section, plain=True, mark=mark), mapping(inner, mark)))
    pairs += [pair for unit, pair in units.items() if len(unit) == 1]
    return mapping(tuple(pairs), _START)


def mapping(pairs: tuple[Pair, ...], mark: Mark) -> Map:
    """A mapping of ``pairs``."""
    return Map(
        pairs=pairs,
        mark=mark,
        size=1 + sum(node.size for _, node in pairs),
        depth=1 + max((node.depth for _, node in pairs), default=0),
    )


def pair(name: str, node: Node) -> Pair:
    """A unit's pair, the key where the value begins."""
    return Scalar(text=name, plain=True, mark=node.mark), node


# -- one over the other ----------------------------------------------------------------------------


def merge(file: Units, overlay: Overlay, key: bytes) -> tuple[Units, Overlay, tuple[str, ...]]:
    """``file`` with ``overlay`` over it; what of it still holds; and what the file has overruled.

    An entry that is no longer what it was when it was changed elsewhere is the later word. Entries
    come in the order of the file. ``key`` opens sealed texts.
    """
    units = dict(file)
    kept: Overlay = {}
    lost = []
    for name, change in overlay.items():
        unit = unit_of(name)
        there = written(unit, file, key)
        if digest(there) != change.base:
            if there != change.text:
                lost.append(name)
            continue
        kept[name] = change
        if change.text is None:
            units.pop(unit, None)
        else:
            node = nodes.parse(change.text.encode(), MAX_TEXT)[0] or NOTHING
            units[unit] = pair(unit[-1], opened(unit, node, key))
    return units, kept, tuple(lost)


def overlay_of(
    file: Units, wanted: Units, before: Overlay, key: bytes, *, version: int, by: str
) -> Overlay:
    """What makes ``wanted`` of ``file``. What ``before`` says already keeps its version."""
    found: Overlay = {}
    for unit in {**file, **wanted}:
        text, there = written(unit, wanted, key), written(unit, file, key)
        if text == there:
            continue
        name = name_of(unit)
        made = Change(text=text, base=digest(there), version=version, by=by)
        old = before.get(name)
        found[name] = old if old and (old.text, old.base) == (made.text, made.base) else made
    return found


def changes(before: Units, after: Units, key: bytes) -> tuple[str, ...]:
    """What is different, as ``models/fast: changed`` (or ``added``, ``removed``)."""
    found = []
    for unit in {**before, **after}:
        old, new = written(unit, before, key), written(unit, after, key)
        if old != new:
            what = "added" if old is None else "removed" if new is None else "changed"
            found.append(f"{name_of(unit)}: {what}")
    return tuple(found)


def patched(node: Node, change: Node) -> Node:
    """``node`` after a JSON merge patch (RFC 7396): nothing removes, mappings go into mappings."""
    if not isinstance(change, Map):
        return change
    found = {key.text: (key, value) for key, value in node.pairs} if isinstance(node, Map) else {}
    for key, value in change.pairs:
        if isinstance(value, Scalar) and nodes.scalar_type(value) == nodes.NULL:
            found.pop(key.text, None)
        else:
            old = found[key.text][1] if key.text in found else NOTHING
            found[key.text] = (key, patched(old, value))
    return mapping(tuple(found.values()), change.mark)


def long_form(unit: Unit, node: Node) -> Node:
    """A model that is written as its one target, as the mapping that means the same."""
    if unit[0] != "models" or not isinstance(node, Scalar):
        return node
    key = Scalar(text="targets", plain=True, mark=node.mark)
    return mapping(((key, Seq(items=(node,), mark=node.mark, size=2, depth=2)),), node.mark)


# -- secrets ---------------------------------------------------------------------------------------


def sealed(unit: Unit, node: Node, key: bytes) -> Node:
    """``node`` with its literal keys sealed under ``key``, each for its provider."""

    def close(text: str, name: str) -> str:
        kind, colon, _ = text.partition(":")
        if colon and kind in (*REFERENCES, SEALED):
            return text
        return f"{SEALED}:{seal(text, key=key, name=name)}"

    return _secrets(unit, node, close)


def opened(unit: Unit, node: Node, key: bytes) -> Node:
    """The other way. What does not open stays sealed: no key can look like that."""

    def unclose(text: str, name: str) -> str:
        kind, colon, rest = text.partition(":")
        try:
            return unseal(rest, key=key, name=name) if colon and kind == SEALED else text
        except SealError:
            return text

    return _secrets(unit, node, unclose)


def opened_all(units: Units, key: bytes) -> Units:
    """The same for many."""
    return {unit: (name, opened(unit, node, key)) for unit, (name, node) in units.items()}


def _secrets(unit: Unit, node: Node, turn: Callable[[str, str], str]) -> Node:
    if unit[0] != "providers" or len(unit) == 1 or not isinstance(node, Map):
        return node
    pairs: list[Pair] = []
    for key, value in node.pairs:
        if key.text in ("key", "keys"):
            value = _turned(value, lambda text: turn(text, unit[1]))
        elif key.text == "headers" and isinstance(value, Map):
            value = mapping(tuple(_header(pair, unit[1], turn) for pair in value.pairs), value.mark)
        pairs.append((key, value))
    return mapping(tuple(pairs), node.mark)


def _header(pair: Pair, provider: str, turn: Callable[[str, str], str]) -> Pair:
    key, value = pair
    if not SECRET_HEADER.search(key.text):
        return pair
    name = header_seal_name(provider, key.text)
    return key, _turned(value, lambda text: turn(text, name))


def _turned(node: Node, turn: Callable[[str], str]) -> Node:
    if isinstance(node, Seq):
        items = tuple(_turned(item, turn) for item in node.items)
        return Seq(items=items, mark=node.mark, size=node.size, depth=node.depth)
    if isinstance(node, Map):  # a key with its weight
        pairs = [(key, _turned(value, turn) if key.text == "key" else value)
                 for key, value in node.pairs]  # fmt: skip
        return mapping(tuple(pairs), node.mark)
    if (text := turn(node.text)) == node.text:
        return node
    return Scalar(text=text, plain=False, mark=node.mark)


# -- YAML ------------------------------------------------------------------------------------------


def written(unit: Unit, units: Mapping[Unit, Pair], key: bytes) -> str | None:
    """The unit as YAML on one line, its literal keys sealed; ``None`` when it isn't there."""
    return flow(sealed(unit, units[unit][1], key)) if unit in units else None


def digest(text: str | None) -> str:
    """Equal for equal texts; empty for ``None``."""
    return "" if text is None else hashlib.sha256(text.encode()).hexdigest()[:32]


def too_large(root: Node) -> bool:
    """Whether ``root`` is more than can be kept."""
    return root.size > nodes.MAX_NODES or sum(map(len, _texts(root))) > MAX_TEXT // 2


def _texts(root: Node) -> Iterator[str]:
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, Scalar):
            yield node.text
        elif isinstance(node, Seq):
            stack += node.items
        else:
            for key, value in node.pairs:
                yield key.text
                stack.append(value)


def text_of(units: Units, key: bytes) -> str:
    """All of it as YAML, literal keys sealed."""
    safe = {unit: (pair[0], sealed(unit, pair[1], key)) for unit, pair in units.items()}
    return "".join(f"{line}\n" for line in _lines(joined(safe).pairs, ""))


def _lines(pairs: tuple[Pair, ...], indent: str) -> Iterator[str]:
    for key, node in pairs:
        head = f"{indent}{scalar(key)}:"
        open_up = not indent and key.text in BY_NAME
        if not isinstance(node, Scalar) and not open_up:
            line = f"{head} {flow(node)}"
            open_up = len(line) > _WIDTH
        if isinstance(node, Map) and node.pairs and open_up:
            yield head
            yield from _lines(node.pairs, indent + "  ")
        elif isinstance(node, Seq) and node.items and open_up:
            yield head
            yield from (f"{indent}  - {flow(item)}" for item in node.items)
        else:
            yield f"{head} {flow(node)}"


def flow(node: Node) -> str:
    """YAML on one line."""
    if isinstance(node, Scalar):
        return scalar(node)
    if isinstance(node, Seq):
        return f"[{', '.join(map(flow, node.items))}]"
    inner = ", ".join(f"{scalar(key)}: {flow(value)}" for key, value in node.pairs)
    return f"{{ {inner} }}" if inner else "{}"


def plan_of(units: Units) -> dict[str, Any]:
    """Section → its value as it is written, of ``PLAN``."""
    root = joined(units)
    return {key.text: plain(node) for key, node in root.pairs if key.text in PLAN}


def plain(node: Node) -> Any:
    """A tree as dicts, lists and plain values."""
    if isinstance(node, Map):
        return {key.text: plain(value) for key, value in node.pairs}
    if isinstance(node, Seq):
        return [plain(item) for item in node.items]
    kind = nodes.scalar_type(node)
    if kind == nodes.NULL:
        return None
    if kind == nodes.BOOL:
        return node.text.lower() == "true"
    if kind == nodes.NUMBER:
        return int(node.text) if node.text.isdigit() else float(node.text)
    return node.text


_BARE = re.compile(r"[A-Za-z0-9_./][\w./@+=&%?-]*(:[\w./@+=&%?-]+)*", re.ASCII)


def scalar(node: Scalar) -> str:
    """One value, in quotes if it must be: what is no text keeps the form it was written in."""
    kind = nodes.scalar_type(node)
    if kind != nodes.TEXT:
        return node.text or "null"
    plain = Scalar(text=node.text, plain=True, mark=node.mark)
    if _BARE.fullmatch(node.text) and nodes.scalar_type(plain) == nodes.TEXT:
        return node.text
    return '"' + "".join(map(_escaped, node.text)) + '"'


def _escaped(char: str) -> str:
    if char == "\n":
        return "\\n"
    return char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08x}"
