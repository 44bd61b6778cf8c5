"""The admin API: keys, usage, calls; ``changes.py`` adds the configuration.

Every request has shown the admin token before. FastAPI routes and documents the API
(``/openapi.json``, for token holders too); the documents themselves are msgspec structs. Handlers
are plain functions: FastAPI runs them on worker threads, where the database may block.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Engine
from starlette.exceptions import HTTPException

from ferryman import __version__
from ferryman.cache.key import choice
from ferryman.control import changes, journals, latencies, pricing, problem
from ferryman.control.changes import answer
from ferryman.control.configuration import Configuration
from ferryman.control.keys import KeyDesk
from ferryman.control.problem import ProblemError
from ferryman.control.query import cursor, moment_of
from ferryman.control.rows import call_row, key_row, usage_row, usage_sums
from ferryman.control.when import WhenError, duration, moment, rfc3339
from ferryman.store import clears, keys, ledger

MAX_CALLS: Final = 1000
"""Calls in one answer."""
BY: Final = ("key", "model", "provider", "day", "endpoint")


class NewKey(BaseModel):
    """Body of ``POST /admin/v1/keys``."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="What the key is for; 1 to 100 printable characters.")
    expires_in: int | str | None = Field(None, description="Seconds, or a duration such as 30d.")
    expires_at: int | str | None = Field(None, description="RFC 3339, a date, or Unix seconds.")


class Admin:
    """What the handlers work with."""

    def __init__(
        self,
        engine: Engine,
        desk: KeyDesk,
        *,
        catch_up: Callable[[], object],
        configuration: Configuration,
        version: Callable[[], str],
        cleared: Callable[[], None],
        journal: Path,
        failing: Callable[[], str],
    ) -> None:
        """``catch_up`` ingests what the journal holds now; ``version`` is the snapshot's;
        ``cleared`` is told of each order to clear the cache.

        ``journal`` is the directory of all journals; ``failing`` says what keeps them from being
        taken in, or nothing.
        """
        self.engine = engine
        self.desk = desk
        self.catch_up = catch_up
        self.configuration = configuration
        self.version = version
        self.cleared = cleared
        self.journal = journal
        self.failing = failing

    def key_id(self, id_or_name: str | None) -> str | None:
        """The id behind what a caller calls a key. Raises :class:`ProblemError`."""
        if not id_or_name:
            return None
        found = [key.id for key in keys.find(self.engine, id_or_name)]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(found[:10])
            detail = f"{len(found)} keys are named {id_or_name!r}: give an id ({ids})."
            raise ProblemError(409, "ambiguous_key", detail)
        raise ProblemError(404, "key_not_found", f"No key has the id or name {id_or_name!r}.")


def build(admin: Admin) -> FastAPI:
    """The application."""
    app = FastAPI(
        title="Ferryman admin API",
        version=__version__,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/openapi.json",
        exception_handlers={
            ProblemError: _on_problem,
            HTTPException: _on_http_error,
            RequestValidationError: _on_invalid,
        },
    )
    _add_keys(app, admin)
    _add_usage(app, admin)
    _add_calls(app, admin)
    _add_cache(app, admin)
    journals.add(app, admin)
    latencies.add(app, admin)
    pricing.add(app, admin)
    changes.add(app, admin.engine, admin.configuration, admin.version)
    return app


def _add_keys(app: FastAPI, admin: Admin) -> None:
    @app.post("/admin/v1/keys", status_code=201, tags=["keys"], summary="Make a key, shown once")
    def create(body: NewKey) -> Response:
        key, secret = admin.desk.create(body.name, _expiry(body))
        row = key_row(key, time.time())
        shown = {"id": row.id, "name": row.name, "key": secret} | msgspec.structs.asdict(row)
        return answer(shown, 201)

    @app.get("/admin/v1/keys", tags=["keys"], summary="All keys, revoked ones too")
    def list_all() -> Response:
        now = time.time()
        return answer({"data": [key_row(key, now) for key in admin.desk.list()]})

    @app.delete("/admin/v1/keys/{key:path}", tags=["keys"], summary="Revoke by id or name")
    def revoke(key: str) -> Response:
        return answer(key_row(admin.desk.revoke(key), time.time()))


def _add_usage(app: FastAPI, admin: Admin) -> None:
    text = Annotated[str, Query()]

    @app.get("/admin/v1/usage", tags=["ledger"], summary="What was used and what it cost")
    def usage(
        by: Annotated[str, Query(description=f"Any of {', '.join(BY)}, with commas.")] = "",
        since: text = "30d",
        until: text = "",
        key: text = "",
        model: text = "",
        provider: text = "",
        endpoint: text = "",
    ) -> Response:
        groups = tuple(name.strip() for name in by.split(",") if name.strip())
        wrong = [name for name in groups if name not in BY]
        if wrong or len(set(groups)) != len(groups):
            detail = f"by={by!r}: give any of {', '.join(BY)}, each once, with commas between."
            raise ProblemError(400, "invalid_query", detail)
        begin, end = moment_of("since", since), moment_of("until", until)
        chosen: dict[str, Any] = {
            "since_us": None if begin is None else begin * 1_000_000,
            "until_us": None if end is None else end * 1_000_000,
            "key": admin.key_id(key),
            "model": model or None,
            "provider": provider or None,
            "endpoint": endpoint or None,
        }
        admin.catch_up()
        rows = ledger.usage(admin.engine, by=groups, **chosen)
        total = ledger.total(rows)
        first, last = ledger.kept(admin.engine, chosen["since_us"], chosen["until_us"])
        names = keys.names(admin.engine, (row.key for row in rows if row.key))
        return answer(
            {
                "since": None if first is None else rfc3339(first / 1e6),
                "until": rfc3339(time.time() if last is None else last / 1e6),
                "by": groups,
                "data": [usage_row(row, groups, names) for row in rows] if groups else [],
                "total": usage_sums(total),
            }
        )


def _add_calls(app: FastAPI, admin: Admin) -> None:
    text = Annotated[str, Query()]

    @app.get("/admin/v1/calls", tags=["ledger"], summary="Single calls, newest first")
    def calls(
        limit: Annotated[int, Query(ge=1, le=MAX_CALLS)] = 50,
        before: Annotated[str, Query(description="`next` of the page before.")] = "",
        since: text = "",
        until: text = "",
        key: text = "",
        model: text = "",
        provider: text = "",
        status: Annotated[str, Query(description="An HTTP status, or `lost`.")] = "",
        request_id: text = "",
    ) -> Response:
        begin, end = moment_of("since", since), moment_of("until", until)
        chosen: dict[str, Any] = {
            "since_us": None if begin is None else begin * 1_000_000,
            "until_us": None if end is None else end * 1_000_000,
            "before": cursor(before),
            "key": admin.key_id(key),
            "model": model or None,
            "provider": provider or None,
            "request_id": request_id or None,
            **_status(status),
        }
        admin.catch_up()
        found = ledger.calls(admin.engine, limit=limit, **chosen)
        names = keys.names(admin.engine, (call.key for call in found))
        more = len(found) == limit
        return answer(
            {
                "data": [call_row(call, names) for call in found],
                "next": f"{found[-1].at_us}:{found[-1].request_id}" if more else None,
            }
        )


def _add_cache(app: FastAPI, admin: Admin) -> None:
    text = Annotated[str, Query(max_length=1000)]

    @app.delete("/admin/v1/cache", tags=["cache"], summary="Clear the cache of answers")
    def clear(
        key: Annotated[str, Query(description="Answers of this virtual key (id or name).")] = "",
        model: text = "",
        namespace: text = "",
    ) -> Response:
        owner = admin.key_id(key)
        number = clears.order(admin.engine, choice(owner, model or None, namespace or None))
        admin.cleared()
        shown = {"key": owner, "model": model or None, "namespace": namespace or None}
        return answer({"order": number, "cleared": shown}, 202)


def _expiry(body: NewKey) -> int | None:
    """Unix seconds at which the new key ends; None = never. Raises :class:`ProblemError`."""
    if body.expires_in is not None and body.expires_at is not None:
        raise ProblemError(400, "invalid_body", "Give expires_in or expires_at, not both.")
    now = time.time()
    try:
        if body.expires_in is not None:
            given = body.expires_in
            return int(now) + (given if isinstance(given, int) else duration(given))
        if body.expires_at is not None:
            return moment(str(body.expires_at), now, ahead=True)
    except WhenError as error:
        name = "expires_in" if body.expires_in is not None else "expires_at"
        raise ProblemError(400, "invalid_body", f"{name}: {error}") from None
    return None


def _status(text: str) -> dict[str, int | str]:
    if not text:
        return {}
    if text == "lost":
        return {"state": "lost"}
    if text.isascii() and text.isdigit() and len(text) == 3:
        return {"status": int(text)}
    raise ProblemError(400, "invalid_query", "status: give an HTTP status such as 429, or lost.")


def _problem(status: int, code: str, detail: str) -> Response:
    return Response(problem.body(status, code, detail), status, media_type=problem.MEDIA_TYPE)


async def _on_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    body = problem.body(error.status, error.code, error.detail, **error.more)
    return Response(body, error.status, media_type=problem.MEDIA_TYPE)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        detail = f"There is no {request.url.path} here; /openapi.json lists what there is."
        return _problem(404, "not_found", detail)
    if error.status_code == 405:
        detail = f"{request.method} is not for {request.url.path}; see /openapi.json."
        return _problem(405, "method_not_allowed", detail)
    code = "invalid_body" if error.status_code == 400 else "http_error"
    return _problem(error.status_code, code, str(error.detail))


async def _on_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = []
    for each in error.errors()[:10]:
        where = ".".join(str(part) for part in each["loc"])
        found.append(f"{where}: {each['msg']}")
    body = any(each["loc"][:1] == ("body",) for each in error.errors())
    return _problem(400, "invalid_body" if body else "invalid_query", "; ".join(found) + ".")
