"""The dashboard as an ASGI application: routes, sessions, and what a change has to prove.

Loaded at its first request. Pages are plain functions from a request to a template and its values
(``desk.View``); they read through the same functions as the admin API.
"""

import asyncio
import contextvars
import hmac
from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from ferryman.control import problem
from ferryman.control.auditing import who
from ferryman.control.dashboard import (
    alerts,
    audit,
    calls,
    costs,
    frame,
    keys,
    limits,
    models,
    now,
    playground,
    reference,
    routes,
    secrets,
    settings,
    teams,
    welcome,
)
from ferryman.control.dashboard.desk import Asked, Desk, File, Flow, Go, Page, View
from ferryman.control.dashboard.live import Live
from ferryman.control.doors import SESSION_SECONDS, name_of
from ferryman.control.problem import ProblemError
from ferryman.log import log
from ferryman.store.audit import WHO

MOST_FIELDS: Final = 1000
PAGE_THREADS: Final = 4
"""Pages that are made at once, of any number of viewers."""
VIEWS: Final[tuple[tuple[str, str, View], ...]] = (
    ("GET", "/", now.page),
    ("GET", "/calls", calls.page),
    ("POST", "/calls/views", calls.save_view),
    ("GET", "/calls/{request_id}", calls.one),
    ("GET", "/costs", costs.page),
    ("GET", "/costs/table.csv", costs.table),
    ("GET", "/costs/focus.csv", costs.focus),
    ("GET", "/models", models.page),
    ("GET", "/keys", keys.page),
    ("POST", "/", welcome.add_provider),
    ("POST", "/keys", keys.create),
    ("GET", "/reference", reference.page),
    ("GET", "/playground", playground.page),
    ("GET", "/playground/outcome/{request_id}", playground.outcome),
    ("POST", "/keys/revoke", keys.revoke),
    ("GET", "/vault", secrets.page),
    ("POST", "/vault", secrets.store),
    ("POST", "/vault/intake", secrets.intake),
    ("POST", "/vault/remove", secrets.remove),
    ("POST", "/vault/rotate", secrets.rotate),
    ("POST", "/vault/verify", secrets.verify),
    ("GET", "/alerts", alerts.page),
    ("POST", "/alerts/acknowledge", alerts.acknowledge),
    ("POST", "/alerts/silence", alerts.silence),
    ("POST", "/alerts/unsilence", alerts.unsilence),
    ("POST", "/alerts/test", alerts.test),
    ("GET", "/routes", routes.page),
    ("GET", "/routes/edit", routes.edit),
    ("POST", "/routes/edit", routes.save),
    ("POST", "/routes/check", routes.check),
    ("POST", "/routes/weights", routes.weights),
    ("GET", "/routes/versions", routes.history),
    ("GET", "/routes/versions/{number}", routes.version),
    ("POST", "/routes/rollback", routes.rollback),
    ("GET", "/routes/explain", routes.explain),
    ("GET", "/settings", settings.page),
    ("POST", "/settings/link", settings.link),
    ("POST", "/settings/alone", settings.alone),
    ("GET", "/teams", teams.page),
    ("POST", "/teams/assign", teams.assign),
    ("GET", "/limits", limits.page),
    ("GET", "/audit", audit.page),
    ("POST", "/limits/raise", limits.increase),
)


class Dashboard:
    """The application; ``close`` ends its streams."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.live = Live(desk.pool, now.looks(desk))
        paths = [Route(path, self._page(view), methods=[method]) for method, path, view in VIEWS]
        paths += [
            Route("/live", self._stream),
            Route("/enter", self._entrance),
            Route("/enter", self._enter, methods=["POST"]),
            Route("/leave", self._leave, methods=["POST"]),
            Route("/playground/run", self._run, methods=["POST"]),
            Route("/static/{edition}/{name}", self._static),
        ]
        handlers: dict[object, object] = {
            HTTPException: self._on_http_error,
            Exception: self._on_fault,
        }
        self.app = Starlette(routes=paths, exception_handlers=handlers)  # type: ignore[arg-type]

    def close(self) -> None:
        """End all streams."""
        self.live.close()

    # -- who may

    def _session(self, request: Request) -> str:
        """The session, or nothing if it is not one."""
        given = (request.cookies.get(name, "") for name in _cookies(request))
        return next((each for each in given if self.desk.doors.knows(each)), "")

    async def _entrance(self, request: Request) -> Response:
        if self._session(request):
            to = _inside(request.query_params.get("next"))
            return RedirectResponse(to, 303, frame.HEADERS)
        return _html(
            "enter.html",
            200,
            title="Sign in",
            next=_inside(request.query_params.get("next")),
            wrong=False,
        )

    async def _enter(self, request: Request) -> Response:
        if not _same_origin(request):
            return self._foreign()
        form = await _form(request)
        session = self.desk.doors.enter(form.get("token", "").strip())
        to = _inside(form.get("next"))
        if session is None:
            return _html("enter.html", 401, title="Sign in", next=to, wrong=True)
        WHO.set(who(request.scope, f"session {name_of(session)}"))
        response = RedirectResponse(to, 303, frame.HEADERS)
        plain, guarded = _cookies(request)
        secure = request.headers.get("origin", "").startswith("https:")
        response.set_cookie(
            guarded if secure else plain, session, max_age=SESSION_SECONDS, path="/",
            httponly=True, samesite="strict", secure=secure,
        )  # fmt: skip
        return response

    async def _leave(self, request: Request) -> Response:
        session = self._session(request)
        if not _same_origin(request) or not self._proven(session, await _form(request), request):
            return self._foreign()
        WHO.set(who(request.scope, f"session {name_of(session)}"))
        self.desk.doors.leave(session)
        response = RedirectResponse("/enter", 303, frame.HEADERS)
        plain, guarded = _cookies(request)
        response.delete_cookie(plain, path="/")
        response.delete_cookie(guarded, path="/", secure=True)
        return response

    def _proven(self, session: str, form: dict[str, str], request: Request) -> bool:
        given = form.get("proof") or request.headers.get("x-ferryman-proof", "")
        right = self.desk.doors.proof(session)
        return bool(session) and hmac.compare_digest(given.encode(), right.encode())

    def _foreign(self) -> Response:
        told = "That came from another page, or from one that was open for too long."
        fix = "Load the page again, and try once more."
        return _html("error.html", 403, title="Not done", problem=told, fix=fix, session="")

    # -- pages

    def _page(self, view: View) -> Callable[[Request], object]:
        async def endpoint(request: Request) -> Response:
            session = self._session(request)
            if not session:
                back = quote(
                    request.url.path + (f"?{request.url.query}" if request.url.query else "")
                )
                return RedirectResponse(f"/enter?next={back}", 303, frame.HEADERS)
            form, body = {}, b""
            if request.method == "POST":
                body = await request.body()
                form = await _form(request)
                if not _same_origin(request) or not self._proven(session, form, request):
                    return self._foreign()
            asked = Asked(
                path=request.url.path, params=dict(request.path_params),
                query=dict(request.query_params), form=form, body=body, session=session,
            )  # fmt: skip
            WHO.set(who(request.scope, f"session {name_of(session)}"))
            run = contextvars.copy_context().run
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.desk.pool, run, self._answer, view, asked)

        return endpoint

    def _answer(self, view: View, asked: Asked) -> Response:
        try:
            made = view(self.desk, asked)
        except ProblemError as error:
            made = _sorry(error.status, error.detail, error.fix)
        except SQLAlchemyError as error:
            log("control", f"a page could not be read: {type(error).__name__}")
            fix = "Calls go on, and are kept in the journal. The log says more."
            made = _sorry(503, "The ledger's database does not answer.", fix)
        if isinstance(made, Go):
            return RedirectResponse(made.to, 303, frame.HEADERS)
        if isinstance(made, Flow):
            sent = {"content-disposition": f'attachment; filename="{made.name}"'}
            return StreamingResponse(made.parts, 200, frame.HEADERS | sent, made.kind)
        if isinstance(made, File):
            sent = {"content-disposition": f'attachment; filename="{made.name}"'}
            sent = sent if made.name else {}
            return Response(made.data, 200, frame.HEADERS | sent, made.kind)
        proof = self.desk.doors.proof(asked.session)
        shared = {"title": made.title, "path": asked.path, "session": asked.session, "proof": proof}
        return _html(made.template, made.status, **shared, **made.values)

    async def _stream(self, request: Request) -> Response:
        session = self._session(request)
        if not session:
            return Response("Sign in first.\n", 401, frame.HEADERS, "text/plain")

        async def events() -> AsyncIterator[bytes]:
            async for event in self.live.events():
                if not self.desk.doors.knows(session):
                    return
                yield event

        return StreamingResponse(events(), 200, frame.HEADERS, "text/event-stream")

    async def _run(self, request: Request) -> Response:
        """A call of the playground, streamed as it comes."""
        session = self._session(request)
        if not _same_origin(request) or not self._proven(session, {}, request):
            return _problem(403, "Load the page again: you are signed out, or it is too old.")
        try:
            body = await request.body()
            status, headers, pieces = await self.desk.relay.call("/v1/chat/completions", body)
        except ProblemError as error:
            return _problem(error.status, error.detail)
        kept = {n: v for n, v in headers.items() if n in ("content-type", "x-ferryman-request-id")}
        return StreamingResponse(pieces, status, frame.HEADERS | kept)

    async def _static(self, request: Request) -> Response:
        return frame.static(request.path_params["name"])

    async def _on_http_error(self, request: Request, error: HTTPException) -> Response:
        session = self._session(request)
        proof = self.desk.doors.proof(session) if session else ""
        told = f"There is no page {request.url.path}."
        if error.status_code != 404:
            told = f"{request.method} is not for {request.url.path}."
        return _html(
            "error.html", error.status_code, title="Not found", problem=told,
            fix="The menu has all pages.", session=session, proof=proof, path="",
        )  # fmt: skip

    async def _on_fault(self, request: Request, error: Exception) -> Response:
        """Our own mistake: ``control/app.py`` writes into the log what it was."""
        fix = "The control plane's log says why. Calls are not affected."
        return _html("error.html", 500, title="That failed", problem="This page failed.", fix=fix)


def _sorry(status: int, problem: str, fix: str) -> Page:
    values = {"problem": problem, "fix": fix}
    return Page(template="error.html", title="That did not work", status=status, values=values)


def _problem(status: int, detail: str) -> Response:
    body = problem.body(ProblemError(status, "dashboard", detail))
    return Response(body, status, frame.HEADERS, problem.MEDIA_TYPE)


def _html(template: str, status: int, **values: object) -> Response:
    shared = {"path": "", "session": "", "proof": ""}
    text = frame.render(template, **(shared | values))
    return Response(text, status, frame.HEADERS, "text/html; charset=utf-8")


def _cookies(request: Request) -> tuple[str, str]:
    """Names of the session's cookie, without and with TLS. Cookies know no ports, so two
    installations on one host need two names."""
    name = f"ferryman-{request.url.port or 0}"
    return name, f"__Host-{name}"


def _same_origin(request: Request) -> bool:
    """Whether a page of this very address sent it, as far as the browser says; it has to say so.

    A proxy may speak TLS where we don't, so schemes are not compared.
    """
    origin = request.headers.get("origin")
    if origin is not None:
        return bool(origin) and urlsplit(origin).netloc == request.headers.get("host")
    return request.headers.get("sec-fetch-site") == "same-origin"


async def _form(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        return {}
    try:
        said = (await request.body()).decode("utf-8", "replace")
        return dict(parse_qsl(said, max_num_fields=MOST_FIELDS))
    except ValueError:
        return {}


def _inside(path: str | None) -> str:
    """``path`` if it leads to a page of this dashboard, else its first."""
    if not path or not path.startswith("/") or path.startswith(("//", "/\\")):
        return "/"
    return path if not urlsplit(path).netloc and path.isprintable() else "/"
