"""PATCH (RFC 7644, section 3.5.2) on plain JSON: all of its operations or none.

Beyond the RFC it takes what Okta and Entra ID are known to send: names of operations in any case,
``replace`` without a path and with paths as names of the value, truth values as texts (which
``schemas.tidied`` reads), ``remove`` of members that stand in its value, a single value as a list
of one, and elements chosen by a filter that are not there yet.
"""

import copy
from typing import Any, Final

from ferryman.control.scim import schemas
from ferryman.control.scim.error import wrong
from ferryman.control.scim.filters import Both, Compare, Filter, matches, parse_path
from ferryman.control.scim.paths import ENTERPRISE, Json, Path, key_in, listed

OPERATIONS: Final = ("add", "remove", "replace")
MOST: Final = 1000
"""Operations of one request."""
MESSAGE: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


def patched(schema: str, resource: Json, said: Any) -> Json:
    """``resource`` of that core schema after what is ``said``, not yet tidied.

    Raises :class:`ScimError`: invalidSyntax, invalidPath, noTarget, invalidValue, mutability.
    """
    operations = said.get(key_in(said, "Operations")) if isinstance(said, dict) else None
    if not isinstance(operations, list) or not operations:
        raise wrong("invalidSyntax", "Operations: give a list of at least one operation.")
    if len(operations) > MOST:
        raise wrong("invalidValue", f"Operations: give at most {MOST}.")
    found = copy.deepcopy(resource)
    for each in operations:
        _operate(schema, found, each)
    return found


def _operate(schema: str, resource: Json, operation: Any) -> None:
    if not isinstance(operation, dict):
        raise wrong("invalidSyntax", "Operations: give objects.")
    given = {name.lower(): value for name, value in operation.items()}
    op, path, value = str(given.get("op", "")).lower(), given.get("path"), given.get("value")
    if op not in OPERATIONS:
        raise wrong("invalidSyntax", f"op: give one of {', '.join(OPERATIONS)}.")
    if path is not None and not isinstance(path, str):
        raise wrong("invalidPath", "path: give a text.")
    if path:
        _at(schema, resource, op, path, value)
    elif op == "remove":
        raise wrong("noTarget", "remove takes a path.")
    elif not isinstance(value, dict):
        raise wrong("invalidValue", f"{op} without a path takes an object.")
    else:
        for name, one in value.items():
            if name.lower() not in schemas.READ_ONLY:  # some send the id along
                _at(schema, resource, op, name, one)


def _at(schema: str, resource: Json, op: str, text: str, value: Any) -> None:
    """One operation at one path."""
    path, chosen = parse_path(text)
    if not path.schema and path.name.lower() in schemas.READ_ONLY - {"schemas"}:
        raise wrong("mutability", f"{path}: it is read-only.")
    if not path.schema and path.name.lower() == "schemas":
        return
    of = resource
    if path.schema:
        key = key_in(resource, path.schema)
        if not path.name:
            _extension(resource, op, key, value)
            return
        if not isinstance(of := resource.setdefault(key, {}), dict):
            raise wrong("invalidPath", f"{path.schema}: it is no object.")
    about = schemas.known(path.schema or schema, path.name)
    key = about["name"] if about else path.name
    key = key_in(of, key)
    if chosen is not None:
        _among(of, op, key, path, chosen, value)
    elif path.sub:
        _below(of, op, key, path.sub, value, about)
    elif op == "remove":
        _removed(of, key, value)
    else:
        _put(of, op, key, value, about)
    if path.schema and not of:
        del resource[key_in(resource, path.schema)]


def _extension(resource: Json, op: str, key: str, value: Any) -> None:
    """All of an extension."""
    if op == "remove":
        resource.pop(key, None)
        return
    if not isinstance(value, dict):
        raise wrong("invalidValue", f"{key}: give an object.")
    for name, one in value.items():
        below = resource.setdefault(key, {})
        _put(below, op, key_in(below, name), one, schemas.known(ENTERPRISE, name))


def _put(of: Json, op: str, key: str, value: Any, about: Json | None) -> None:
    """Add to an attribute, or replace it."""
    old = of.get(key)
    many = about["multiValued"] if about else isinstance(old, list)
    if many:
        new = listed(value)
        kept = listed(old) if op == "add" else []
        if any(isinstance(each, dict) and _true(each.get("primary")) for each in new):
            kept = [_second(each) for each in kept]  # there is one at most (RFC 7643, 2.4)
        of[key] = kept + [each for each in new if not _has(kept, each)]
        return
    if about is not None and isinstance(value, list) and len(value) == 1:
        [value] = value
        if about["type"] != "complex" and isinstance(value, dict):
            value = value.get("value")
    if isinstance(old, dict) and isinstance(value, dict):
        value = old | {key_in(old, name): one for name, one in value.items()}
    of[key] = value


def _below(of: Json, op: str, key: str, sub: str, value: Any, about: Json | None) -> None:
    """A part of an attribute: of each element, where it is a list."""
    if op != "remove" and not of.get(key):
        if about is not None and about["multiValued"]:
            of[key] = [{}]
        else:
            of[key] = {}
    found = of.get(key)
    for each in listed(found):
        if not isinstance(each, dict):
            raise wrong("invalidPath", f"{key}.{sub}: {key} has no parts.")
        if op == "remove":
            each.pop(key_in(each, sub), None)
        else:
            _put(each, op, key_in(each, sub), value, schemas.part(about, sub))
    if op == "remove" and not found:
        of.pop(key, None)


def _among(of: Json, op: str, key: str, path: Path, chosen: Filter, value: Any) -> None:
    """The elements of a list that a filter chooses."""
    rows = listed(of.get(key))
    found = [each for each in rows if matches(chosen, _row(each))]
    if op == "remove":
        if path.sub:
            for each in found:
                each.pop(key_in(each, path.sub), None)
        else:
            of[key] = [each for each in rows if not any(each is one for one in found)]
        return
    if not found:
        made = _made(chosen)
        if made is None:
            raise wrong("noTarget", f"{path}: no element is like that.")
        found = [made]
        rows = of[key] = [*rows, made]
    for each in found:
        if not isinstance(each, dict):
            raise wrong("invalidPath", f"{path}: {key} has no parts.")
        if path.sub:
            each[key_in(each, path.sub)] = value
        elif isinstance(value, dict):
            each.update(value)
        else:
            raise wrong("invalidValue", f"{path}: give an object.")
    if any(_true(each.get("primary")) for each in found):
        last = next(each for each in reversed(found) if _true(each.get("primary")))
        of[key] = [each if each is last else _second(each) for each in rows]


def _row(each: Any) -> Json:
    return each if isinstance(each, dict) else {"value": each}


def _made(chosen: Filter) -> Json | None:
    """The element that a filter describes; None = it says more than what is equal."""
    parts = chosen.parts if isinstance(chosen, Both) else (chosen,)
    found = {}
    for each in parts:
        if not isinstance(each, Compare) or each.operator != "eq" or each.path.sub:
            return None
        found[each.path.name] = each.value
    return found


def _removed(of: Json, key: str, value: Any) -> None:
    """An attribute; or of a list, those that stand in ``value``."""
    old = of.get(key)
    if not isinstance(old, list) or value in (None, []):
        of.pop(key, None)
        return
    gone = {_mark(each) for each in listed(value)}
    of[key] = [each for each in old if _mark(each) not in gone]


def _has(rows: list[Any], new: Any) -> bool:
    if isinstance(new, dict) and "value" in new and set(new) <= {"value", "display", "$ref"}:
        return any(_mark(each) == _mark(new) for each in rows)
    return new in rows


def _mark(each: Any) -> str:
    """What an element is known by."""
    return str(each.get("value") if isinstance(each, dict) else each)


def _true(value: Any) -> bool:
    return str(value).lower() == "true"


def _second(each: Any) -> Any:
    return each | {"primary": False} if isinstance(each, dict) and "primary" in each else each
