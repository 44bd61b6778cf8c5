"""What the handlers of SCIM work with, and what all resources have in common."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from ferryman.control.admin import Admin
from ferryman.control.granting import grants_of
from ferryman.control.query import listed
from ferryman.control.scim.error import ScimError, wrong
from ferryman.control.scim.filters import Both, Compare, Filter, matches, parse
from ferryman.control.scim.paths import Json, holder, key_in, path_of
from ferryman.control.scim.schemas import MOST
from ferryman.control.when import rfc3339
from ferryman.store.names import folded
from ferryman.store.scim import Grants

LIST: Final = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
LONGEST: Final = 200
"""Characters of a name."""
MOST_KEPT: Final = 65_536
"""Bytes of JSON that a directory may keep of a user or a group."""
ALWAYS: Final = frozenset(("schemas", "id"))
"""Attributes that are in every answer."""


class Query(Struct, frozen=True, kw_only=True):
    """What of a list, or of a resource, is asked for."""

    filter: Filter | None = None
    start: int = 0
    """Resources to pass over."""
    count: int = MOST
    only: tuple[str, ...] = ()
    """Attributes; empty = all."""
    without: tuple[str, ...] = ()


class Desk(Struct, frozen=True, kw_only=True):
    """A request: who asks, and where the endpoints are for them."""

    admin: Admin
    base: str
    """URL of the endpoints."""
    query: Query = Query()

    @property
    def organisation(self) -> str | None:
        """Whose users and groups it sees and makes; None = all."""
        return self.admin.caller.organisation

    @property
    def grants(self) -> Grants:
        """What groups give, by the configuration in force."""
        compiled = self.admin.configuration.compiled
        return grants_of({} if compiled is None else compiled.groups, self.admin.gate.roles())


def query_of(given: Mapping[str, str]) -> Query:
    """The parameters of a request. Others are passed over. Raises :class:`ScimError`."""
    known = {name.lower(): value for name, value in given.items() if value}
    only, without = (listed(known.get(name, "")) for name in ("attributes", "excludedattributes"))
    if only and without:
        raise wrong("invalidValue", "Give attributes or excludedAttributes, not both.")
    return Query(
        filter=parse(known["filter"]) if "filter" in known else None,
        start=max(_number(known, "startindex", 1), 1) - 1,
        count=min(max(_number(known, "count", MOST), 0), MOST),
        only=only, without=without,
    )  # fmt: skip


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not text.removeprefix("-").isdecimal() or not text.isascii() or len(text) > 10:
        raise wrong("invalidValue", f"{name}: give a whole number.")
    return int(text)


def equal_to(of: Filter | None, names: Mapping[str, str]) -> dict[str, str]:
    """What a filter says that its finds are equal to, by column; ``names``: attribute → column.

    It narrows what is looked through: whoever takes the rows tries the filter on each.
    """
    parts = of.parts if isinstance(of, Both) else (of,)
    found = {}
    for each in parts:
        if (
            not isinstance(each, Compare)
            or each.operator != "eq"
            or not isinstance(each.value, str)
        ):
            continue
        column = "" if each.path.sub or each.path.schema else names.get(each.path.name.lower(), "")
        if column and "\0" not in each.value:
            found[column] = folded(each.value) if column == "folded" else each.value
    return found


def chosen(query: Query, resources: Iterable[Json]) -> Json:
    """A page of those that are like the filter."""
    found = [each for each in resources if query.filter is None or matches(query.filter, each)]
    return page(query, found[query.start :][: query.count], len(found))


def page(query: Query, resources: list[Json], total: int) -> Json:
    """An answer with several resources, of ``total`` that there are."""
    return {
        "schemas": [LIST], "totalResults": total, "startIndex": query.start + 1,
        "itemsPerPage": len(resources), "Resources": [shown(query, each) for each in resources],
    }  # fmt: skip


def shown(query: Query, resource: Json) -> Json:
    """What of a resource is asked for (RFC 7644, section 3.9)."""
    if query.only:
        return _part(resource, query.only) | {name: resource[name] for name in ALWAYS}
    found = dict(resource)
    for text in query.without:
        path = path_of(text, "invalidValue")
        of = holder(found, path)
        key = key_in(of, path.name) if path.name else key_in(found, path.schema)
        if not path.name:
            found.pop(key, None)
        elif key in ALWAYS:
            continue
        elif not path.sub:
            of.pop(key, None)
        elif key in of:
            of[key] = _less(of[key], path.sub)
    return found


def _part(resource: Json, names: Iterable[str]) -> Json:
    found: Json = {}
    for text in names:
        path = path_of(text, "invalidValue")
        of = holder(resource, path)
        into = found.setdefault(key_in(resource, path.schema), {}) if path.schema else found
        if not path.name:
            into.update(of)
            continue
        key = key_in(of, path.name)
        if key in of:
            into[key] = _more(of[key], path.sub, into.get(key)) if path.sub else of[key]
    return {name: value for name, value in found.items() if value not in ({}, None)}


def _more(value: Any, sub: str, there: Any) -> Any:
    """Of a value, the part ``sub``, beside what is there."""
    if isinstance(value, list):
        old = there if isinstance(there, list) else [{} for _ in value]
        return [_more(each, sub, one) for each, one in zip(value, old, strict=True)]
    if not isinstance(value, dict):
        return value
    key = key_in(value, sub)
    return (there or {}) | ({key: value[key]} if key in value else {})


def _less(value: Any, sub: str) -> Any:
    if isinstance(value, list):
        return [_less(each, sub) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: each for name, each in value.items() if name.lower() != sub.lower()}


def text_in(said: Json, name: str, *, longest: int = LONGEST) -> str | None:
    """A text that a resource has, None = it has none. Raises :class:`ScimError`."""
    value = said.get(name)
    if value is None:
        return None
    text = str(value) if isinstance(value, int | float) else value
    if not isinstance(text, str) or not text.isprintable() or not 0 < len(text.strip()) <= longest:
        raise wrong("invalidValue", f"{name}: give 1 to {longest} printable characters.")
    return text.strip()


def kept(said: Json, without: Iterable[str]) -> str:
    """What is kept of a resource as JSON. Raises :class:`ScimError`."""
    rest = {name: value for name, value in said.items() if name not in frozenset(without)}
    text = msgspec.json.encode(rest).decode()
    if len(text) > MOST_KEPT:
        raise wrong("invalidValue", f"It may have {MOST_KEPT} bytes.")
    return text


def about(desk: Desk, kind: str, ident: str, created: int, changed: int) -> Json:
    """The ``meta`` of a resource."""
    return {
        "resourceType": kind, "created": rfc3339(created), "lastModified": rfc3339(changed),
        "location": f"{desk.base}/{kind}s/{ident}",
    }  # fmt: skip


def missing(kind: str, ident: str) -> ScimError:
    """There is none (404)."""
    return ScimError(404, f"There is no {kind} with the id {ident[:100]!r}.")


Handler = Callable[[Desk, str, Any], tuple[int, Json | None]]
"""Answers a request: the id in its path (empty = none) and its body → status and document."""
