"""The dashboard as an ASGI application: routes, sessions, and what a change has to prove.

Loaded at its first request. Pages are plain functions from a request to a template and its values
(``desk.View``); they read through the same functions as the admin API.
"""

import asyncio
import contextlib
import contextvars
import hmac
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from ferryman.control import problem
from ferryman.control.api.access import CALLER, Caller
from ferryman.control.auditing import TRIED, note, who
from ferryman.control.dashboard import frame, now
from ferryman.control.dashboard.desk import Asked, Desk, File, Flow, Go, Page, View
from ferryman.control.dashboard.live import Live
from ferryman.control.dashboard.ways import BY_PLACE, WAYS, Way
from ferryman.control.doors import SESSION_SECONDS, Inside
from ferryman.control.fence import allowed_hosts
from ferryman.control.problem import ProblemError
from ferryman.control.signon import AWAY_SECONDS
from ferryman.log import log
from ferryman.store.audit import WHO

MOST_FIELDS: Final = 1000
MOST_AWAY: Final = 4
"""Questions to a provider of accounts at once."""
WRONG_LINK: Final = "That link has been used, is over an hour old, or isn't of this installation."
WRONG_USER: Final = "The name or the password is not right."
WAIT: Final = "Calls go on, and are kept in the journal. The log says more."
LOOK_EVERY: Final = 0.5
"""Seconds between two looks whether a stream's session is still open."""
RELAYED: Final = {
    "/playground/run": "/v1/chat/completions", "/playground/feedback": "/v1/feedback",
}  # fmt: skip
"""What goes on to the gateway, and where."""
AWAY: Final = "The ledger's database does not answer."


class Dashboard:
    """The application; ``close`` ends its streams."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._away = asyncio.Semaphore(MOST_AWAY)
        self.live = Live(desk.lookers, now.looks(desk))
        own = {"/live": self._stream} | dict.fromkeys(RELAYED, self._run)
        paths = [
            Route(
                way.path, own[way.path] if way.view is None else self._page(way, way.view),
                methods=[way.method],
            )
            for way in WAYS
        ]  # fmt: skip
        paths += [
            Route("/enter", self._entrance),
            Route("/enter", self._enter, methods=["POST"]),
            Route("/signon/start", self._depart),
            Route("/signon/callback", self._return),
            Route("/leave", self._leave, methods=["POST"]),
            Route("/static/{edition}/{name}", self._static),
        ]
        handlers: dict[object, object] = {
            HTTPException: self._on_http_error,
            ProblemError: self._on_problem,
            SQLAlchemyError: self._on_outage,
            Exception: self._on_fault,
        }
        self.app = Starlette(routes=paths, exception_handlers=handlers)  # type: ignore[arg-type]

    def close(self) -> None:
        """End all streams."""
        self.live.close()

    # -- who may

    async def _inside(self, request: Request) -> Inside | None:
        """The session, if there is one. Raises SQLAlchemyError."""
        return await asyncio.to_thread(self._find, request)

    def _find(self, request: Request) -> Inside | None:
        plain, guarded = _cookies(request)
        given = request.cookies.get(guarded, "")
        if not given and not self._tls(request):
            given = request.cookies.get(plain, "")
        return self.desk.doors.inside(given)

    def _tls(self, request: Request) -> bool:
        """Whether the browser speaks TLS, to us or to a proxy: then no other cookie than that of
        TLS is its session's. Any neighbour below the same domain can set the plain one, and have
        somebody work in the neighbour's own session."""
        said = [request.headers.get(name, "") for name in ("x-forwarded-proto", "forwarded")]
        if (
            request.headers.get("origin", "").startswith("https:")
            or "https" in "".join(said).lower()
        ):
            return True
        if allowed_hosts(request.url.hostname or "") is not None:
            return False
        # Browsers say where a request is from (Sec-Fetch-*) to TLS and to loopback alone.
        return "sec-fetch-site" in request.headers or self.desk.sign_on.secure

    async def _entrance(self, request: Request) -> Response:
        to = _inside(request.query_params.get("next"))
        if await self._inside(request):
            return RedirectResponse(to, 303, frame.HEADERS)
        return self._door(200, to)

    async def _enter(self, request: Request) -> Response:
        if not _same_origin(request):
            return self._foreign()
        form = await _form(request)
        to, name = _inside(form.get("next")), form.get("name", "").strip()
        try:
            inside = await self._entered(request, form, name)
        except ProblemError as error:
            return self._door(error.status, to, name, error.detail)
        if inside is None:
            return self._door(401, to, name, WRONG_USER if name else WRONG_LINK)
        WHO.set(who(request.scope, inside.actor))
        response = RedirectResponse(to, 303, frame.HEADERS)
        _let_in(request, response, inside, self._tls(request))
        return response

    def _door(self, status: int, to: str, name: str = "", problem: str = "") -> Response:
        """The page to sign in at, and what was wrong."""
        return _html(
            "enter.html", status, title="Sign in", next=to, name=name, problem=problem,
            provider=self.desk.sign_on.name,
        )  # fmt: skip

    # -- who comes with an account of a provider

    async def _depart(self, request: Request) -> Response:
        """To the provider. Only a cookie changes, so that a link may lead here."""
        to, sign_on = _inside(request.query_params.get("next")), self.desk.sign_on
        try:
            async with self._away:
                where, cookie = await asyncio.to_thread(sign_on.start, to)
        except ProblemError as error:
            return self._door(error.status, to, "", error.detail)
        response = RedirectResponse(where, 303, frame.HEADERS)
        # Lax: it is a page of the provider's that leads back here.
        response.set_cookie(
            _away_cookie(request, sign_on.secure), cookie, max_age=AWAY_SECONDS, path="/",
            httponly=True, samesite="lax", secure=sign_on.secure,
        )  # fmt: skip
        return response

    async def _return(self, request: Request) -> Response:
        """Back from the provider."""
        sign_on, doors = self.desk.sign_on, self.desk.doors
        address = (request.scope.get("client") or ("",))[0]
        name = _away_cookie(request, sign_on.secure)
        cookie, query = request.cookies.get(name, ""), dict(request.query_params)
        try:
            async with self._away:
                user, to = await asyncio.to_thread(sign_on.finish, cookie, query)
            was = await self._inside(request)
            instead = "" if was is None else was.session
            inside = await asyncio.to_thread(doors.open_for, user, address, instead)
            if inside is None:
                raise ProblemError(403, "no_role", "You are not let in here any more.")
        except ProblemError as error:
            response = self._door(error.status, "/", "", error.detail)
        else:
            request.scope[TRIED] = user.id
            WHO.set(who(request.scope, inside.actor))
            # A page that goes on by itself: a redirect would belong to the provider's page, and
            # browsers send no strict cookie then.
            response = _html("signed_in.html", 200, title="Signed in", next=_inside(to))
            _let_in(request, response, inside, sign_on.secure or self._tls(request))
        response.delete_cookie(name, path="/", secure=sign_on.secure)
        return response

    async def _entered(self, request: Request, form: dict[str, str], name: str) -> Inside | None:
        """A new session, in place of the one that the browser had. Raises :class:`ProblemError`."""
        was = await self._inside(request)
        instead = "" if was is None else was.session
        address = (request.scope.get("client") or ("",))[0]
        doors = self.desk.doors
        if not name:
            token = form.get("token", "").strip()
            return await asyncio.to_thread(doors.enter, token, address, instead)
        user, inside = await doors.sign_in(name, form.get("password", ""), address, instead)
        request.scope[TRIED] = "" if user is None else user.id
        return inside

    async def _leave(self, request: Request) -> Response:
        inside = await self._inside(request)
        if not _same_origin(request) or not self._proven(inside, await _form(request), request):
            return self._foreign()
        assert inside is not None
        WHO.set(who(request.scope, inside.actor))
        await asyncio.to_thread(self.desk.doors.leave, inside.session)
        response = RedirectResponse("/enter", 303, frame.HEADERS)
        plain, guarded = _cookies(request)
        response.delete_cookie(plain, path="/")
        response.delete_cookie(guarded, path="/", secure=True)
        return response

    def _proven(self, inside: Inside | None, form: dict[str, str], request: Request) -> bool:
        if inside is None:
            return False
        given = form.get("proof") or request.headers.get("x-ferryman-proof", "")
        right = self.desk.doors.proof(inside.session)
        return hmac.compare_digest(given.encode(), right.encode())

    def _foreign(self) -> Response:
        told = "That came from another page, or from one that was open for too long."
        fix = "Load the page again, and try once more."
        return _html("error.html", 403, title="Not done", problem=told, fix=fix)

    # -- pages

    def _page(self, way: Way, view: View) -> Callable[[Request], object]:
        async def endpoint(request: Request) -> Response:
            inside = await self._inside(request)
            if inside is None:
                back = quote(
                    request.url.path + (f"?{request.url.query}" if request.url.query else "")
                )
                return RedirectResponse(f"/enter?next={back}", 303, frame.HEADERS)
            form, body = {}, b""
            if request.method == "POST":
                if not _same_origin(request):  # before a body that may be large
                    return self._foreign()
                body = await request.body()
                form = await _form(request)
                if not self._proven(inside, form, request):
                    return self._foreign()
            asked = Asked(
                path=request.url.path, params=dict(request.path_params),
                query=dict(request.query_params),
                pairs=tuple(request.query_params.multi_items()), form=form, body=body,
                session=inside.session, caller=inside.caller,
            )  # fmt: skip
            WHO.set(who(request.scope, inside.actor))
            request.scope[CALLER] = inside.caller  # what is not there is noted, as in the API
            if inside.caller.within:
                self.desk.fence.check_lost(inside.caller.name)
            run = contextvars.copy_context().run
            loop = asyncio.get_running_loop()
            pool = self.desk.downloads if way.download else self.desk.pool
            return await loop.run_in_executor(pool, run, self._answer, way, view, asked)

        return endpoint

    def _answer(self, way: Way, view: View, asked: Asked) -> Response:
        desk = replace(self.desk, admin=replace(self.desk.admin, caller=asked.caller))
        try:
            made = view(desk, asked) if way.open_to(asked.caller) else _shut(way, asked.caller)
            if way.act and not (isinstance(made, Page) and made.status >= 400):
                note(desk.admin.engine, way.act, asked.path, asked.query)
        except ProblemError as error:
            made = _sorry(error.status, error.detail, error.fix)
        except SQLAlchemyError as error:
            log("control", f"a page could not be read: {type(error).__name__}")
            made = _sorry(503, AWAY, WAIT)
        if isinstance(made, Go):
            return RedirectResponse(made.to, 303, frame.HEADERS)
        if isinstance(made, Flow):
            sent = {"content-disposition": f'attachment; filename="{made.name}"'}
            return StreamingResponse(made.parts, 200, frame.HEADERS | sent, made.kind)
        if isinstance(made, File):
            sent = {"content-disposition": f'attachment; filename="{made.name}"'}
            sent = sent if made.name else {}
            return Response(made.data, 200, frame.HEADERS | sent, made.kind)
        values = self._shared(asked.session, asked.caller) | {"path": asked.path} | made.values
        return _html(made.template, made.status, title=made.title, **values)

    def _shared(self, session: str, caller: Caller) -> dict[str, object]:
        """What templates of pages within a session need."""
        return {
            "session": session, "proof": self.desk.doors.proof(session),
            "nav": _nav(caller), "can": partial(_can, caller),
        }  # fmt: skip

    async def _stream(self, request: Request) -> Response:
        inside = await self._inside(request)
        if inside is None or not BY_PLACE["GET", "/live"].open_to(inside.caller):
            status = 401 if inside is None else 403
            return Response("Sign in first.\n", status, frame.HEADERS, "text/plain")

        async def events() -> AsyncIterator[bytes]:
            looked = time.monotonic()
            async for event in self.live.events():
                if time.monotonic() - looked >= LOOK_EVERY:
                    looked = time.monotonic()
                    now: Inside | None = inside
                    with contextlib.suppress(SQLAlchemyError):  # nobody can say: not yet out
                        now = await self._inside(request)
                    if now is None or now.caller != inside.caller:
                        return
                if event:
                    yield event

        return StreamingResponse(events(), 200, frame.HEADERS, "text/event-stream")

    async def _run(self, request: Request) -> Response:
        """A call of the playground, or what is said of one; its answer is streamed as it comes."""
        inside = await self._inside(request)
        if not _same_origin(request) or not self._proven(inside, {}, request):
            return _problem(403, "Load the page again: you are signed out, or it is too old.")
        assert inside is not None
        if not BY_PLACE["POST", request.url.path].open_to(inside.caller):
            return _problem(403, "Your role may not call models here.")
        try:
            body = await request.body()
            status, headers, pieces = await self.desk.relay.call(RELAYED[request.url.path], body)
        except ProblemError as error:
            return _problem(error.status, error.detail)
        kept = {n: v for n, v in headers.items() if n in ("content-type", "x-ferryman-request-id")}
        return StreamingResponse(pieces, status, frame.HEADERS | kept)

    async def _static(self, request: Request) -> Response:
        return frame.static(request.path_params["name"])

    async def _on_outage(self, request: Request, error: SQLAlchemyError) -> Response:
        """The database is away: that says nothing of who asks."""
        log("control", f"a session could not be looked up: {type(error).__name__}")
        if request.url.path in RELAYED:
            return _problem(503, AWAY)
        return _html("error.html", 503, title="That did not work", problem=AWAY, fix=WAIT)

    async def _on_http_error(self, request: Request, error: HTTPException) -> Response:
        inside = None
        with contextlib.suppress(SQLAlchemyError):
            inside = await self._inside(request)
        shared = {} if inside is None else self._shared(inside.session, inside.caller)
        told = f"There is no page {request.url.path}."
        if error.status_code != 404:
            told = f"{request.method} is not for {request.url.path}."
        return _html(
            "error.html", error.status_code, title="Not found", problem=told,
            fix="The menu has all pages.", **shared,
        )  # fmt: skip

    async def _on_problem(self, _request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)
        told, fix = error.detail, error.fix
        return _html("error.html", error.status, title="Not done", problem=told, fix=fix)

    async def _on_fault(self, request: Request, error: Exception) -> Response:
        """Our own mistake: ``control/app.py`` writes into the log what it was."""
        fix = "The control plane's log says why. Calls are not affected."
        return _html("error.html", 500, title="That failed", problem="This page failed.", fix=fix)


def _can(caller: Caller, path: str, method: str = "POST") -> bool:
    """Whether the caller may ask for this; a path that no page has is a mistake (KeyError)."""
    return BY_PLACE[method, path].open_to(caller)


def _nav(caller: Caller) -> list[tuple[str, str, str]]:
    """The menu, of what the caller may see."""
    return [entry for entry in frame.NAV if _can(caller, entry[0], "GET")]


def _shut(way: Way, caller: Caller) -> Page | Go:
    """What stands where the caller may not go: in place of the first page, their first one."""
    nav = _nav(caller)
    if (way.method, way.path) == ("GET", "/") and nav:
        return Go(nav[0][0])
    if way.permission in caller.permissions:
        told = "This is about the whole installation, and you belong to an organisation or a team."
    else:
        told = f"That takes the permission {way.permission}, which your role ({caller.role}) lacks."
    return _sorry(403, told, "Whoever manages users can give you another role.")


def _let_in(request: Request, response: Response, inside: Inside, secure: bool) -> None:
    """Give the browser its session."""
    plain, guarded = _cookies(request)
    response.delete_cookie(plain if secure else guarded, path="/", secure=not secure)
    response.set_cookie(
        guarded if secure else plain, inside.session, max_age=SESSION_SECONDS, path="/",
        httponly=True, samesite="strict", secure=secure,
    )  # fmt: skip


def _sorry(status: int, problem: str, fix: str) -> Page:
    values = {"problem": problem, "fix": fix}
    return Page(template="error.html", title="That did not work", status=status, values=values)


def _problem(status: int, detail: str) -> Response:
    body = problem.body(ProblemError(status, "dashboard", detail))
    return Response(body, status, frame.HEADERS, problem.MEDIA_TYPE)


def _html(template: str, status: int, **values: object) -> Response:
    shared = {"path": "", "session": "", "proof": "", "nav": ()}
    text = frame.render(template, **(shared | values))
    return Response(text, status, frame.HEADERS, "text/html; charset=utf-8")


def _cookies(request: Request) -> tuple[str, str]:
    """Names of the session's cookie, without and with TLS. Cookies know no ports, so two
    installations on one host need two names."""
    name = f"ferryman-{request.url.port or 0}"
    return name, f"__Host-{name}"


def _away_cookie(request: Request, secure: bool) -> str:
    """Name of the cookie of somebody who is away at the provider."""
    return f"{_cookies(request)[secure]}-away"


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
