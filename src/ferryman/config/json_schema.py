"""JSON Schema, as much of it as answers are described with: an answer fits, or where it does not.

https://json-schema.org/draft/2020-12/json-schema-validation. Patterns are RE2's; references lead
within the schema. What is no part of it is named by :func:`unknown`, so that nothing is skipped in
silence.
"""

from collections.abc import Callable, Iterator, Sized
from typing import Any, Final

import msgspec

from ferryman.config.linear import PatternError, regex

DEPTH: Final = 64
_SILENT: Final = frozenset((
    "$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default",
    "examples", "format", "deprecated", "readOnly", "writeOnly",
))  # fmt: skip
"""Keywords that forbid nothing."""
_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: _number(value),
    "integer": lambda value: _number(value) and value == int(value),
}
_MANY: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONE: Final = ("items", "additionalProperties", "not")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(a: Any, b: Any) -> bool:
    """JSON's equality: true is not 1."""
    return bool(
        msgspec.json.encode(a, order="sorted") == msgspec.json.encode(b, order="sorted")
    ) or (_number(a) and _number(b) and a == b)


def fault(schema: Any, text: str) -> str:
    """Where ``text`` is not JSON as ``schema`` wants it: a place in the schema; empty = it fits."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return "json"
    return _fault(schema, value, schema, "", 0)


def _fault(schema: Any, value: Any, root: Any, at: str, depth: int) -> str:
    if isinstance(schema, bool):
        return "" if schema else at or "false"
    if depth > DEPTH:
        return f"{at}/depth"
    for name, want in schema.items():
        check = _KEYWORDS.get(name)
        here = f"{at}/{name}"
        if check is not None:
            if not check(want, value):
                return here
            continue
        if found := _deep(name, want, schema, value, root, here, depth + 1):
            return found
    return ""


def _deep(name: str, want: Any, schema: Any, value: Any, root: Any, at: str, depth: int) -> str:
    """Keywords that hold schemas."""

    def inner(one: Any, part: Any, place: str = at) -> str:
        return _fault(one, part, root, place, depth)

    if name == "$ref":
        return inner(resolved(want, root), value)
    if name == "allOf":
        return next(
            filter(None, (inner(one, value, f"{at}/{i}") for i, one in enumerate(want))), ""
        )
    if name in ("anyOf", "oneOf"):
        fits = sum(not inner(one, value) for one in want)
        return "" if fits == 1 or (fits and name == "anyOf") else at
    if name == "not":
        return "" if inner(want, value) else at
    if isinstance(value, dict) and name == "properties":
        parts = ((want[key], value[key], f"{at}/{key}") for key in want if key in value)
        return next(filter(None, (inner(*part) for part in parts)), "")
    if isinstance(value, dict) and name == "additionalProperties":
        rest = [value[key] for key in value if key not in schema.get("properties", {})]
        return at if any(inner(want, part) for part in rest) else ""
    if isinstance(value, list) and name in ("items", "prefixItems"):
        first = schema.get("prefixItems", [])
        pairs = zip(first, value, strict=False)
        if name == "items":
            pairs = ((want, part) for part in value[len(first) :])  # type: ignore[assignment]
        return next(filter(None, (inner(*pair) for pair in pairs)), "")
    return ""


def _distinct(value: list[Any]) -> bool:
    return len({msgspec.json.encode(each, order="sorted") for each in value}) == len(value)


def _sized(kind: type[Sized], compare: Callable[[int, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda want, value: not isinstance(value, kind) or compare(len(value), want)


def _measured(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda want, value: not _number(value) or compare(value, want)


_KEYWORDS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "type": lambda want, value: any(
        _TYPES[each](value) for each in (want if isinstance(want, list) else [want])
    ),
    "enum": lambda want, value: any(_same(each, value) for each in want),
    "const": _same,
    "required": lambda want, value: not isinstance(value, dict) or all(k in value for k in want),
    "minProperties": _sized(dict, lambda size, want: size >= want),
    "maxProperties": _sized(dict, lambda size, want: size <= want),
    "minItems": _sized(list, lambda size, want: size >= want),
    "maxItems": _sized(list, lambda size, want: size <= want),
    "uniqueItems": lambda want, value: not (want and isinstance(value, list)) or _distinct(value),
    "minLength": _sized(str, lambda size, want: size >= want),
    "maxLength": _sized(str, lambda size, want: size <= want),
    "pattern": lambda want, value: not isinstance(value, str) or bool(regex(want).search(value)),
    "minimum": _measured(lambda value, want: value >= want),
    "maximum": _measured(lambda value, want: value <= want),
    "exclusiveMinimum": _measured(lambda value, want: value > want),
    "exclusiveMaximum": _measured(lambda value, want: value < want),
}


def resolved(ref: str, root: Any) -> Any:
    """The schema that a reference leads to. Raises KeyError."""
    found = root
    if ref != "#" and not ref.startswith("#/"):
        raise KeyError(ref)
    for step in ref.split("/")[1:]:
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found


def unknown(schema: Any) -> str:
    """What of a schema can't be checked, in a few words; empty = all of it can."""
    return next(_unknown(schema, schema), "")


def _unknown(schema: Any, root: Any) -> Iterator[str]:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield "a schema is a mapping, true or false"
        return
    for name, want in schema.items():
        if name in ("properties", "$defs", "definitions"):
            for each in want.values() if isinstance(want, dict) else [None]:
                yield from _unknown(each, root)
        elif name in _MANY:
            for each in want if isinstance(want, list) and want else [None]:
                yield from _unknown(each, root)
        elif name in _ONE:
            yield from _unknown(want, root)
        elif name not in _SILENT and (why := _misused(name, want, root)):
            yield why


def _circles(ref: str, root: Any, trail: tuple[str, ...]) -> bool:
    """Whether a reference comes back to itself without going into the value."""
    if ref in trail:
        return True
    todo = [resolved(ref, root)]
    while todo:
        schema = todo.pop()
        if not isinstance(schema, dict):
            continue
        if isinstance(further := schema.get("$ref"), str) and _circles(
            further, root, (*trail, ref)
        ):
            return True
        for name in ("anyOf", "oneOf", "allOf", "not"):
            inner = schema.get(name, [])
            todo += inner if isinstance(inner, list) else [inner]
    return False


def _misused(name: str, want: Any, root: Any) -> str:
    if name == "$ref":
        try:
            circles = _circles(want, root, ())
        except (KeyError, TypeError, AttributeError):
            return f"$ref leads nowhere within the schema: {str(want)[:60]}"
        return f"$ref leads back to itself: {want[:60]}" if circles else ""
    if name not in _KEYWORDS:
        return f"the keyword {name[:40]} is not known"
    if name == "type":
        named = want if isinstance(want, list) else [want]
        wrong = [each for each in named if not (isinstance(each, str) and each in _TYPES)]
        return f"no type is called {str(wrong[0])[:40]}" if wrong or not named else ""
    if name in ("enum", "required") and not isinstance(want, list):
        return f"{name} is a list"
    if name.startswith(("min", "max", "exclusive")) and not _number(want):
        return f"{name} is a number"
    if name == "pattern":
        try:
            regex(want)
        except (PatternError, TypeError) as error:
            return f"pattern is no RE2 expression: {error}"
    return ""
