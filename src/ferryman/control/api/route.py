"""Routes of the admin API. What a route takes and gives is read off its function's signature.

Parameters with these names get: ``admin`` the control plane's parts; ``query``, ``headers`` and
``body`` the request's, in the type that they are annotated with (a body of ``bytes`` as it came);
``pages`` the page that is asked for; ``where`` every further query parameter, which names a
dimension of calls. All others stand in the path. The docstring describes the route.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import Struct, structs
from starlette.requests import Request

from ferryman.config.problem import either, near
from ferryman.control.admin import Admin
from ferryman.control.api.access import PERMISSIONS, theirs
from ferryman.control.api.cursor import DEFAULT, MOST, Pages, key_of
from ferryman.control.problem import ProblemError
from ferryman.ir.unreadable import UNREADABLE
from ferryman.store.dimensions import DIMENSIONS, PERIODS, check

PREFIX: Final = "/api/v1"
MAX_BODY: Final = 65_536
"""Bytes of a request body; the largest that makes sense is a few hundred."""
PAGED: Final = {"limit", "cursor"}
CHOICES: Final = tuple(name for name in DIMENSIONS if name not in PERIODS)
_GIVEN: Final = frozenset(("admin", "query", "headers", "body", "pages", "where", "return"))
_UNKNOWN: Final = re.compile(r"unknown field `(.*?)`")


class Route(Struct, frozen=True):
    """One thing that can be asked for."""

    method: str
    path: str
    """Below :data:`PREFIX`."""
    permission: str
    """Of :data:`~ferryman.control.api.access.PERMISSIONS`."""
    handler: Callable[..., Any]
    status: int = 200
    errors: tuple[int, ...] = ()
    """Statuses of its problems, beside those that all routes may have."""
    most: int = MAX_BODY
    """Bytes of its body."""
    tagged: bool = False
    """Its answer's ``version`` goes into the header ``ETag``."""
    example: object = None
    """Of its body."""
    tenants: bool = False
    """Whoever belongs to an organisation or a team may ask too, and meets only what is theirs:
    ``where`` says so, and ``admin.caller.within``."""

    act: str = ""
    """What the audit log calls it, where the store, which writes down what it changes, has no part
    in it."""

    def __post_init__(self) -> None:
        if self.permission not in PERMISSIONS:
            raise ValueError(f"{self.method} {self.path}: no permission {self.permission!r}")

    @property
    def hints(self) -> dict[str, Any]:
        """The types of what its handler takes, and under ``return``, gives."""
        return _hints(self.handler)

    @property
    def places(self) -> dict[str, Any]:
        """The types of what stands in the path."""
        return {name: kind for name, kind in self.hints.items() if name not in _GIVEN}


@functools.cache
def _hints(handler: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(handler, include_extras=True)


def arguments(route: Route, admin: Admin, request: Request, body: bytes) -> dict[str, Any]:
    """What the route's handler is called with. Raises :class:`ProblemError` (400, 404)."""
    hints = route.hints
    found: dict[str, Any] = {"admin": admin} if "admin" in hints else {}
    for name, kind in route.places.items():
        if request.path_params[name] == "":  # nothing is named so
            raise ProblemError(404, "not_found", f"There is no {request.url.path} here.")
        found[name] = _convert(request.path_params[name], kind, "invalid_path", name)
    given = _once(request.query_params.multi_items())
    if "pages" in hints:
        paging = {name: given.pop(name) for name in PAGED if name in given}
        found["pages"] = _pages(route, admin, request, paging, given)
    known = _names(hints.get("query"))
    if "where" in hints:
        more = {name: given.pop(name) for name in list(given) if name not in known}
        found["where"] = _where(admin, more, known)
    if "query" in hints:
        found["query"] = _converted(given, hints["query"], "invalid_query")
    elif given:
        _refuse_unknown(next(iter(given)), [*(PAGED if "pages" in hints else ())], "invalid_query")
    if "headers" in hints:
        names = _names(hints["headers"])
        sent = {name: request.headers[name] for name in names if name in request.headers}
        found["headers"] = _converted(sent, hints["headers"], "invalid_header")
    if "body" in hints:
        found["body"] = body if hints["body"] is bytes else decoded(body, hints["body"])
    return found


def decoded(body: bytes, kind: Any) -> Any:
    """The JSON ``body`` as ``kind``. Raises :class:`ProblemError` (400)."""
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        raise _told(str(error), kind, "invalid_body") from None


def _converted(given: Mapping[str, str], kind: Any, code: str) -> Any:
    try:
        return msgspec.convert(dict(given), kind, strict=False)
    except msgspec.MsgspecError as error:
        raise _told(str(error), kind, code) from None


def _convert(value: str, kind: Any, code: str, name: str) -> Any:
    if "\0" in value:
        raise ProblemError(400, code, f"{name}: there is a NUL character in it.")
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.MsgspecError as error:
        raise ProblemError(400, code, f"{name}: {error}.") from None


def _told(message: str, kind: Any, code: str) -> ProblemError:
    unknown = _UNKNOWN.search(message)
    if unknown:
        try:
            _refuse_unknown(unknown[1], _names(kind), code)
        except ProblemError as error:
            return error
    text, _, where = message.partition(" - at `$")
    where = where.rstrip("`").lstrip(".")
    return ProblemError(400, code, f"{where}: {text}." if where else f"{text}.")


def _refuse_unknown(name: str, known: Iterable[str], code: str) -> None:
    names = sorted(known)
    what = "field" if code == "invalid_body" else "parameter"
    close = near(name, names)
    fix = f"Did you mean {either(close)}?" if close else f"There are: {', '.join(names) or 'none'}."
    raise ProblemError(400, code, f"There is no {what} {name!r}. {fix}", fix=fix)


def _names(kind: Any) -> list[str]:
    return [] if kind is None else [each.encode_name for each in structs.fields(kind)]


def _once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Parameters that say something, each at most once."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise ProblemError(400, "invalid_query", f"{name}: give it once.")
        if "\0" in value:
            raise ProblemError(400, "invalid_query", f"{name}: there is a NUL character in it.")
        if value:
            found[name] = value
    return found


class _Paging(Struct):
    limit: int = DEFAULT
    cursor: str = ""


def _pages(
    route: Route, admin: Admin, request: Request, paging: dict[str, str], rest: dict[str, str]
) -> Pages:
    said: _Paging = _converted(paging, _Paging, "invalid_query")
    if not 1 <= said.limit <= MOST:
        raise ProblemError(400, "invalid_query", f"limit: give a number from 1 to {MOST}.")
    question = msgspec.json.encode(
        [request.url.path, sorted(rest.items()), sorted(admin.caller.within.items())]
    )
    key = key_of(admin.admin_token)
    return Pages(limit=said.limit, cursor=said.cursor, question=question, key=key)


def _where(admin: Admin, given: Mapping[str, str], own: Iterable[str]) -> dict[str, str]:
    """What calls must be like. Raises :class:`ProblemError`."""
    found = {}
    for name, value in given.items():
        try:
            check(name)
        except ValueError:
            _refuse_unknown(name, (*own, *CHOICES), "invalid_query")
        found[name] = (admin.key_id(value) or "") if name == "key" else value
    return theirs(admin.caller, found)


def describe(route: Route) -> tuple[str, str]:
    """The first line of what the handler says, and the rest."""
    first, _, rest = (inspect.getdoc(route.handler) or "").partition("\n")
    return first.rstrip("."), rest.strip()
