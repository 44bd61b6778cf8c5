"""The filter language of RFC 7644, section 3.4.2.2, read by recursive descent and tried in memory.

``and`` binds closer than ``or``; what a filter says of an element of a list stands in brackets
behind its name. Texts are compared without case, but for ids.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from ferryman.control.scim.error import ScimError, wrong
from ferryman.control.scim.paths import Json, Path, holder, key_in, listed, path_of, values_of

LONGEST: Final = 2000
"""Characters of a filter."""
DEEPEST: Final = 20
"""Parentheses, brackets and nots in each other."""
EXACT: Final = frozenset(("id", "externalid"))
"""Attributes whose case counts (``caseExact``)."""
OPERATORS: Final = ("eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le")
_ORDERED: Final = ("gt", "ge", "lt", "le")
_WITHIN: Final = ("co", "sw", "ew")
_TOKEN: Final = re.compile(
    r'\s*(?:(?P<mark>[()\[\]])|(?P<text>"(?:[^"\\\x00-\x1f]|\\.)*")|(?P<word>[^\s()\[\]"]+))'
)
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d{0,30})(?:\.\d{1,30})?(?:[eE][+-]?\d{1,2})?")
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)", re.IGNORECASE)


class Compare(Struct, frozen=True):
    """``path operator value``."""

    path: Path
    operator: str
    value: Any


class Present(Struct, frozen=True):
    """``path pr``."""

    path: Path


class Each(Struct, frozen=True):
    """``path[of]``: one element of the list is like that."""

    path: Path
    of: "Filter"


class Not(Struct, frozen=True):
    """``not (of)``."""

    of: "Filter"


class Both(Struct, frozen=True):
    """``one and other``."""

    parts: tuple["Filter", ...]


class Any_(Struct, frozen=True):  # noqa: N801 - any is taken
    """``one or other``."""

    parts: tuple["Filter", ...]


_T = TypeVar("_T")
Filter = Compare | Present | Each | Not | Both | Any_


def parse(text: str) -> Filter:
    """The filter. Raises :class:`ScimError` (invalidFilter)."""
    return _whole(_Reader(text, "invalidFilter"), _either)


def parse_path(text: str) -> tuple[Path, Filter | None]:
    """The path of a PATCH operation: ``name.sub``, or ``name[filter].sub`` with its filter.

    Raises :class:`ScimError` (invalidPath).
    """

    def read(reader: "_Reader", depth: int) -> tuple[Path, Filter | None]:
        path = path_of(reader.word(), reader.kind)
        if not reader.take("["):
            return path, None
        if not path.name or path.sub:
            raise reader.wrong("a filter in brackets stands behind the name of an attribute")
        chosen = _either(reader, depth + 1)
        reader.need("]")
        if reader.done():
            return path, chosen
        sub = reader.word()
        below = path_of(sub[1:], reader.kind)
        if sub[0] != "." or below.sub or below.schema:
            raise reader.wrong(f"{sub[:40]!r} is no attribute of an element")
        return Path(path.name, below.name, path.schema), chosen

    return _whole(_Reader(text, "invalidPath"), read)


def _whole(reader: "_Reader", read: Callable[["_Reader", int], _T]) -> _T:
    found = read(reader, 0)
    if not reader.done():
        raise reader.wrong(f"nothing is expected behind it, and there is {reader.peek()[:40]!r}")
    return found


class _Reader:
    """The words of a filter, one after another."""

    def __init__(self, text: str, kind: str) -> None:
        self.kind = kind
        self._at = 0
        self._tokens: list[str] = []
        if len(text) > LONGEST:
            raise self.wrong(f"it has {len(text)} characters, and may have {LONGEST}")
        at, end = 0, len(text.rstrip())
        while at < end:
            found = _TOKEN.match(text, at)
            if found is None:
                raise self.wrong(f"{text[at : at + 40]!r} can't be read")
            self._tokens.append(found.group().lstrip())
            at = found.end()

    def wrong(self, why: str) -> ScimError:
        what = "filter" if self.kind == "invalidFilter" else "path"
        return wrong(self.kind, f"The {what} can't be used: {why}.")

    def done(self) -> bool:
        return self._at == len(self._tokens)

    def peek(self) -> str:
        return "" if self.done() else self._tokens[self._at]

    def word(self) -> str:
        """The next one, whatever it is, but for brackets."""
        found = self.peek()
        if not found or found in "()[]":
            raise self.wrong(f"a name is missing before {found or 'its end'!r}")
        self._at += 1
        return found

    def take(self, word: str) -> bool:
        """Whether the next one is this; then it is passed."""
        found = self.peek().lower() == word
        self._at += found
        return found

    def need(self, word: str) -> None:
        if not self.take(word):
            raise self.wrong(f"{word!r} is missing before {self.peek()[:40] or 'its end'!r}")


def _either(reader: _Reader, depth: int) -> Filter:
    parts = [_all(reader, depth)]
    while reader.take("or"):
        parts.append(_all(reader, depth))
    return parts[0] if len(parts) == 1 else Any_(tuple(parts))


def _all(reader: _Reader, depth: int) -> Filter:
    parts = [_one(reader, depth)]
    while reader.take("and"):
        parts.append(_one(reader, depth))
    return parts[0] if len(parts) == 1 else Both(tuple(parts))


def _one(reader: _Reader, depth: int) -> Filter:
    if depth > DEEPEST:
        raise reader.wrong(f"more than {DEEPEST} parentheses stand in each other")
    if reader.take("not"):
        if reader.peek() != "(":
            raise reader.wrong("'(' is missing behind not")
        return Not(_one(reader, depth + 1))
    if reader.take("("):
        found = _either(reader, depth + 1)
        reader.need(")")
        return found
    path = path_of(reader.word(), reader.kind)
    if reader.take("["):
        if path.sub:
            raise reader.wrong("a filter in brackets stands behind the name of an attribute")
        within = _either(reader, depth + 1)
        reader.need("]")
        return Each(path, within)
    operator = reader.word().lower()
    if operator == "pr":
        return Present(path)
    if operator not in OPERATORS:
        raise reader.wrong(f"{operator[:40]!r} is none of {', '.join(OPERATORS)}, pr")
    value = _value(reader)
    if operator in _WITHIN and not isinstance(value, str):
        raise reader.wrong(f"{operator} takes a text")
    if operator in _ORDERED and (value is None or isinstance(value, bool)):
        raise reader.wrong(f"{operator} takes a text or a number")
    return Compare(path, operator, value)


def _value(reader: _Reader) -> Any:
    word = reader.word()
    if word[0] == '"':
        try:
            return msgspec.json.decode(word, type=str)
        except (msgspec.DecodeError, UnicodeError):
            raise reader.wrong(f"{word[:40]} is no text") from None
    named = {"true": True, "false": False, "null": None}
    if word.lower() in named:
        return named[word.lower()]
    if not _NUMBER.fullmatch(word):
        raise reader.wrong(f"{word[:40]!r} is no value: texts stand in quotes")
    return msgspec.json.decode(word)


# -- trying it -------------------------------------------------------------------------------------


def matches(of: Filter, resource: Json) -> bool:
    """Whether a resource, or an element of a list in one, is like that."""
    match of:
        case Both(parts):
            return all(matches(part, resource) for part in parts)
        case Any_(parts):
            return any(matches(part, resource) for part in parts)
        case Not(inner):
            return not matches(inner, resource)
        case Each(path, inner):
            return any(matches(inner, each) for each in elements(resource, path))
        case Present(path):
            return any(each not in ("", [], {}) for each in values_of(resource, path))
        case Compare(path, "ne", value):
            return not _compared(resource, path, "eq", value)
        case Compare(path, operator, value):
            return _compared(resource, path, operator, value)


def elements(resource: Json, path: Path) -> list[Json]:
    """The elements of a list as objects; a plain one stands as its ``value``."""
    of = holder(resource, path)
    found = listed(of.get(key_in(of, path.name)))
    return [each if isinstance(each, dict) else {"value": each} for each in found]


def _compared(resource: Json, path: Path, operator: str, value: Any) -> bool:
    found = values_of(resource, path)
    if value is None:
        return not found
    exact = (path.sub or path.name).lower() in EXACT
    # An element without a word of which one is asked for: its value.
    plain = (each.get("value") if isinstance(each, dict) else each for each in found)
    return any(_holds(each, operator, value, exact) for each in plain)


def _holds(found: Any, operator: str, value: Any, exact: bool) -> bool:
    if isinstance(found, bool) and isinstance(value, str):  # some send "true"
        found = str(found)
    if isinstance(found, bool) or isinstance(value, bool):
        return operator == "eq" and found is value
    if isinstance(found, str) and isinstance(value, str):
        if _INSTANT.fullmatch(found) and _INSTANT.fullmatch(value):
            return _ordered(*_instants(found, value), operator)
        if not exact:
            found, value = found.casefold(), value.casefold()
        return _texts(found, value, operator)
    if isinstance(found, int | float) and isinstance(value, int | float):
        return _ordered(found, value, operator)
    return False


def _texts(found: str, value: str, operator: str) -> bool:
    if operator == "co":
        return value in found
    if operator == "sw":
        return found.startswith(value)
    if operator == "ew":
        return found.endswith(value)
    return _ordered(found, value, operator)


def _instants(found: str, value: str) -> tuple[Any, Any]:
    try:
        return datetime.fromisoformat(found.upper()), datetime.fromisoformat(value.upper())
    except ValueError:
        return found, value


def _ordered(found: Any, value: Any, operator: str) -> bool:
    if operator in ("eq", "ge", "le") and found == value:
        return True
    if operator in ("gt", "ge"):
        return bool(found > value)
    return operator in ("lt", "le") and bool(found < value)
