"""The endpoints of SCIM below ``/scim/v2``, for tokens with the permission ``scim.write``."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ferryman.control.admin import Admin
from ferryman.control.api.access import CALLER, Caller, may
from ferryman.control.app import whole
from ferryman.control.problem import ProblemError
from ferryman.control.scim import desk as common
from ferryman.control.scim import groups, schemas, users
from ferryman.control.scim.desk import Desk, Handler
from ferryman.control.scim.error import MEDIA_TYPE, PREFIX, ScimError, body, wrong
from ferryman.control.scim.paths import Json, listed
from ferryman.store.scim import NobodyError
from ferryman.store.users import TakenError

PERMISSION: Final = "scim.write"
MAX_BODY: Final = 4_000_000
"""Bytes of a request: a group of tens of thousands."""
_NO_STORE: Final = {"cache-control": "no-store"}
_encode: Final = msgspec.json.Encoder().encode


def _config(desk: Desk, _ident: str, _body: Any) -> tuple[int, Json]:
    return 200, schemas.config(desk.base)


def _search(*finds: Callable[[Desk], list[Json]]) -> dict[tuple[str, bool], Handler]:
    """A list, asked for by POST: the query stands in the body (RFC 7644, section 3.4.3)."""

    def search(desk: Desk, _ident: str, said: Any) -> tuple[int, Json]:
        if not isinstance(said, dict):
            raise wrong("invalidSyntax", "Give an object.")
        texts = {name: ",".join(map(str, listed(value))) for name, value in said.items()}
        asked = replace(desk, query=common.query_of(texts))
        return 200, common.chosen(asked.query, [each for find in finds for each in find(asked)])

    return {("POST", False): search}


def _documents(make: Callable[[str], list[Json]]) -> dict[tuple[str, bool], Handler]:
    def all_of(desk: Desk, _ident: str, _body: Any) -> tuple[int, Json]:
        if desk.query.filter is not None:  # RFC 7644, section 4
            raise ScimError(403, "There is no filter for this.")
        found = make(desk.base)
        return 200, common.page(common.Query(), found, len(found))

    def one_of(desk: Desk, ident: str, _body: Any) -> tuple[int, Json]:
        for each in make(desk.base):
            if each["id"].lower() == ident.lower():
                return 200, each
        raise common.missing("document", ident)

    return {("GET", False): all_of, ("GET", True): one_of}


HANDLERS: Final[dict[str, dict[tuple[str, bool], Handler]]] = {
    "/ServiceProviderConfig": {("GET", False): _config},
    "/ResourceTypes": _documents(schemas.types),
    "/Schemas": _documents(schemas.documents),
    "/.search": _search(users.found, groups.found),
    "/Users/.search": _search(users.found),
    "/Groups/.search": _search(groups.found),
    "/Users": users.HANDLERS,
    "/Groups": groups.HANDLERS,
}
"""Path → what is done there."""


def routes(admin: Admin) -> list[Route]:
    """For the application of the admin API, behind the same door."""
    return [
        Route(
            PREFIX + path + ("/{ident}" if one else ""), _endpoint(admin, handler),
            methods=[method],
        )
        for path, handlers in HANDLERS.items()
        for (method, one), handler in handlers.items()
    ]  # fmt: skip


def _endpoint(admin: Admin, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            caller: Caller = request.scope[CALLER]
            may(caller, PERMISSION)
            if caller.team is not None:
                detail = f"{caller.name} belongs to a team, and a directory is an organisation's."
                raise ScimError(403, detail)
            takes = request.method in ("POST", "PUT", "PATCH")
            sent = (
                await whole(request.scope["headers"], request.receive, MAX_BODY) if takes else b""
            )
            return await run_in_threadpool(
                _answer, replace(admin, caller=caller), handler, request, sent
            )
        except ProblemError as error:
            return refusal(error.status, error.detail)
        except ScimError as error:
            return refusal(error.status, error.detail, error.kind)

    return endpoint


def _answer(admin: Admin, handler: Handler, request: Request, sent: bytes) -> Response:
    query = common.query_of(dict(request.query_params))
    desk = Desk(admin=admin, base=str(request.base_url).rstrip("/") + PREFIX, query=query)
    given = _decoded(sent) if request.method in ("POST", "PUT", "PATCH") else None
    try:
        status, made = handler(desk, request.path_params.get("ident", ""), given)
    except TakenError as error:
        raise ScimError(409, str(error), "uniqueness") from None
    except NobodyError as error:
        raise wrong("invalidValue", str(error)) from None
    place = (made or {}).get("meta", {}).get("location") if status == 201 else None
    headers = _NO_STORE | ({"location": place} if place else {})
    return Response(b"" if made is None else _encode(made), status, headers, MEDIA_TYPE)


def _decoded(sent: bytes) -> Any:
    try:
        return msgspec.json.decode(sent)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise wrong("invalidSyntax", f"The body is no JSON: {error}.") from None


def refusal(status: int, detail: str, kind: str = "") -> Response:
    """An error as SCIM has it."""
    return Response(body(status, detail, kind), status, _NO_STORE, MEDIA_TYPE)
