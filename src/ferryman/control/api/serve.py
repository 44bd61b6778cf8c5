"""The admin API as an ASGI application, and its OpenAPI document.

On Starlette, with msgspec for what goes in and out (docs/architecture.md says why).
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from msgspec.structs import replace
from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as _Route

from ferryman.control import (
    changes,
    contents,
    exporting,
    journals,
    latencies,
    pricing,
    problem,
    reports,
    traces,
    vaults,
)
from ferryman.control.admin import Admin
from ferryman.control.alerts import api as alerts
from ferryman.control.api import (
    audit,
    keys,
    limits,
    live,
    models,
    openapi,
    status,
    tenants,
    tokens,
    users,
)
from ferryman.control.api.access import CALLER, Caller, may
from ferryman.control.api.route import PREFIX, Route, arguments
from ferryman.control.app import whole
from ferryman.control.problem import ProblemError, outage
from ferryman.control.scim import error as scim_error
from ferryman.control.scim import serve as scim
from ferryman.store.audit import Act, record

ROUTES: Final = (
    *keys.ROUTES, *reports.ROUTES, *traces.ROUTES, *contents.ROUTES, *exporting.ROUTES,
    *pricing.ROUTES, *latencies.ROUTES, *journals.ROUTES, *alerts.ROUTES, *models.ROUTES,
    *limits.ROUTES, *live.ROUTES, *status.ROUTES, *changes.ROUTES, *vaults.ROUTES,
    *audit.ROUTES, *tenants.ROUTES, *tokens.ROUTES, *users.ROUTES,
    Route("GET", "/openapi.json", "api.read", openapi.document, tenants=True),
)  # fmt: skip
NDJSON: Final = "application/x-ndjson"
_encode: Final = msgspec.json.Encoder().encode
_NO_STORE: Final = {"cache-control": "no-store"}


def build(admin: Admin) -> Starlette:
    """The application."""
    handlers: dict[Any, Any] = {
        ProblemError: _on_problem, HTTPException: _on_http_error,
        OperationalError: _on_outage, Exception: _on_fault,
    }  # fmt: skip
    # The longer first: what stands in a path may go up to its end.
    routes = [
        _Route(PREFIX + _template(route), _endpoint(route, admin), methods=[route.method])
        for route in sorted(ROUTES, key=lambda route: -route.path.count("/"))
    ]
    return Starlette(routes=[*routes, *scim.routes(admin)], exception_handlers=handlers)


def _template(route: Route) -> str:
    """What is a plain text in a path may have slashes in it."""
    path = route.path
    for name, kind in route.places.items():
        path = path.replace(f"{{{name}}}", f"{{{name}:path}}" if kind is str else f"{{{name}}}")
    return path


def _endpoint(route: Route, admin: Admin) -> Callable[[Request], Awaitable[Response]]:
    takes = "body" in route.hints

    async def endpoint(request: Request) -> Response:
        headers = request.scope["headers"]
        caller: Caller = request.scope[CALLER]
        may(caller, route.permission)
        if caller.within and not route.tenants:
            detail = f"{caller.name} belongs to an organisation or a team, and this is about all."
            raise ProblemError(403, "forbidden", detail)
        asked = replace(admin, caller=caller)
        body = await whole(headers, request.receive, route.most) if takes else b""
        return await run_in_threadpool(_answer, route, asked, request, body)

    return endpoint


def _answer(route: Route, admin: Admin, request: Request, body: bytes) -> Response:
    made = route.handler(**arguments(route, admin, request, body))
    if route.act:
        target = unquote(request.url.path.removeprefix(PREFIX))
        record(admin.engine, Act(action=route.act, target=target))
    if isinstance(made, Iterator):
        return StreamingResponse(made, route.status, _NO_STORE, NDJSON)
    headers = _NO_STORE | ({"etag": f'"{made.version}"'} if route.tagged else {})
    return Response(_encode(made), route.status, headers, "application/json")


async def _on_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return Response(problem.body(error), error.status, _NO_STORE, problem.MEDIA_TYPE)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    told = {
        404: ProblemError(404, "not_found", f"There is no {path} here."),
        405: ProblemError(405, "method_not_allowed", f"{request.method} is not for {path}."),
    }
    unknown = ProblemError(error.status_code, "http_error", str(error.detail))
    found = told.get(error.status_code, unknown)
    if path.startswith(scim_error.PREFIX):
        return scim.refusal(found.status, found.detail)
    return await _on_problem(request, found)


async def _on_outage(request: Request, error: Exception) -> Response:
    found = outage(error)
    if request.url.path.startswith(scim_error.PREFIX):
        return scim.refusal(found.status, found.detail)
    return await _on_problem(request, found)


async def _on_fault(request: Request, _error: Exception) -> Response:
    """Our own mistake: ``control/app.py`` writes into the log what it was."""
    detail = "The control plane failed to handle this."
    return await _on_problem(request, ProblemError(500, "internal_error", detail))
