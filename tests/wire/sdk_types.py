"""The parameter types of official SDKs as strict judges of what goes out.

Their typed dictionaries say ``Iterable`` where they mean an array, which pydantic reads lazily and
in unions not at all, and unknown keys are let through: here both are set right.
"""

import types
from collections.abc import Iterable
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict, get_type_hints, is_typeddict


def judge(kind: Any) -> TypeAdapter[Any]:
    """Validates what the typed dictionary ``kind`` describes, and nothing besides."""
    return TypeAdapter(_closed(kind, {}))


def _closed(kind: Any, known: dict[Any, Any]) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if is_typeddict(kind):
        if kind not in known:
            known[kind] = kind.__name__  # for those that hold themselves
            known[kind] = _dictionary(kind, known)
        return known[kind]
    if origin in (Required, NotRequired):
        return _closed(arguments[0], known)
    if origin in (Union, types.UnionType):
        return Union[tuple(_closed(argument, known) for argument in arguments)]  # noqa: UP007
    if origin is Literal or not arguments:
        return kind
    if origin is dict:
        return dict[arguments[0], _closed(arguments[1], known)]  # type: ignore[valid-type]
    if origin is list or origin is Iterable or getattr(origin, "_is_protocol", False):
        return list[_closed(arguments[0], known)]  # type: ignore[misc]
    return kind


def _dictionary(kind: Any, known: dict[Any, Any]) -> Any:
    fields = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        closed = _closed(hint, known)
        # The SDKs' classes are all total=False, and say themselves what is required.
        needed = get_origin(hint) is Required
        fields[name] = Required[closed] if needed else NotRequired[closed]
    made = TypedDict(kind.__name__, fields)  # type: ignore[operator]
    made.__pydantic_config__ = ConfigDict(extra="forbid")
    return made
