"""The control plane's HTTP front: who may come in, the feed, health; the rest is ``admin.py``.

A bare ASGI application, because the feed and health need no framework: importing one takes as long
as everything else at the start, so the admin API's is loaded after that, or at its first request.
"""

import asyncio
import contextlib
import hmac
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import parse_qs

import msgspec
from sqlalchemy.exc import OperationalError

from ferryman.control import problem
from ferryman.control.api.access import CALLER, Caller, Gate, bearer, check_token
from ferryman.control.auditing import STRANGER, TRIED, Book, act_of, who
from ferryman.control.feed import FeedHub
from ferryman.control.fence import Fence, guarded
from ferryman.control.scim import error as scim
from ferryman.log import log
from ferryman.store.audit import WHO, Act

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

FAR: Final = 2.0**33
"""Unix seconds: later than any clock says."""
MAX_BODY: Final = 65_536
"""Bytes of a request body; the largest that makes sense is a few hundred."""
SPENT: Final = "/internal/spent"
COUNTED: Final = "/internal/counted"
KEYSETS: Final = "/internal/keysets"
OPEN: Final = "open"
"""To everybody."""
FEED: Final = "feed token"
"""To other planes."""
METRICS: Final = "metrics.read"
"""To whoever has this permission, or the metrics token. Loopback is nobody: a proxy on this machine
is there, too, and need not say so."""


class Place(NamedTuple):
    """What a path of the front itself takes."""

    method: str
    access: str


PLACES: Final = {
    "/healthz": Place("GET", OPEN), "/readyz": Place("GET", OPEN),
    "/metrics": Place("GET", METRICS), "/internal/feed": Place("GET", FEED),
    SPENT: Place("GET", FEED), COUNTED: Place("POST", FEED), KEYSETS: Place("POST", FEED),
}  # fmt: skip
"""By path. Pages have theirs in ``dashboard/ways.py``; all else is the admin API's."""
MAX_COUNTED: Final = 8_000_000
"""Bytes of a question that names all calls under way."""
PAGES: Final = frozenset((
    "", "alerts", "audit", "calls", "costs", "enter", "keys", "leave", "limits", "live", "models",
    "playground", "reference", "routes", "settings", "signon", "static", "teams", "users", "vault",
    "welcome", "guardrails",
))  # fmt: skip
"""First parts of the paths that are the dashboard's; it knows its callers by a cookie."""
PAGE_BODIES: Final = {"playground": 12_000_000, "routes": 4_000_000}
"""Bytes of bodies, of pages that take more: images, and a configuration in a form's encoding."""
_pack = msgspec.msgpack.Encoder().encode


class Counted(msgspec.Struct, frozen=True):
    """What is asked of the ledger: sums as ``spent`` (of calls that have ``ended``) and ``counted``
    of ``store/budgets.py`` take them; of single calls, if there are ``ids``."""

    since: Annotated[int, msgspec.Meta(ge=0)] = 0
    until: int = 0
    step: Annotated[int, msgspec.Meta(ge=1)] = 1
    begun: dict[str, int] = {}
    without: tuple[str, ...] = ()
    ended: bool = False
    ids: tuple[str, ...] = ()


_counted: Final = msgspec.json.Decoder(Counted).decode


class Front:
    """Routes a request by path, after checking ``Host`` and token."""

    def __init__(
        self,
        hub: FeedHub,
        *,
        feed_token: str,
        metrics_token: str,
        gate: Gate,
        fence: Fence,
        spent: Callable[[int, int, int], object],
        counted: Callable[["Counted"], object],
        renewed: Callable[[str], bytes],
        admin: Callable[[], Application],
        dashboard: Callable[[], Application],
        unready: Callable[[], str],
        metrics: Callable[[], str],
        book: Book,
    ) -> None:
        """``spent``, ``counted``: as in ``store/budgets.py``, on any thread; ``renewed``: as in
        ``control/keysets.py``, the same; ``admin`` and
        ``dashboard`` make these on first use; ``unready`` says why not, or nothing; ``metrics``
        is a page for Prometheus."""
        self._spent, self._counted = spent, counted
        self._renewed = renewed
        self._hub = hub
        self._own: dict[str, Callable[[Scope, Receive, Send], Awaitable[None]]] = {
            "/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._page,
            "/internal/feed": self._feed, SPENT: self._sums, COUNTED: self._count,
            KEYSETS: self._renew,
        }  # fmt: skip
        if self._own.keys() != PLACES.keys():
            raise ValueError(f"declared in one place only: {self._own.keys() ^ PLACES.keys()}")
        self._feed_token, self._metrics_token = feed_token.encode(), metrics_token.encode()
        self._gate = gate
        self._fence = fence
        self._admin = _Later(admin)
        self._dashboard = _Later(dashboard)
        self._unready = unready
        self._metrics = metrics
        self._book = book

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        send = guarded(send)

        async def heard(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                named = scope.get(TRIED, "")
                caller: Caller | None = scope.get(CALLER)
                bound = caller is not None and bool(caller.within)
                status = message["status"]
                if caller is not None and bound and status == 404:
                    self._fence.note_lost(caller.name)
                act = act_of(scope["method"], scope["path"], status, named, bound=bound)
                if act is not None and (act.outcome == "done" or self._book.room()):
                    await asyncio.to_thread(self._book.write, act)
            await send(message)

        WHO.set(who(scope, STRANGER))
        await self._answer(scope, receive, heard)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._route(scope, receive, send)
        except problem.ProblemError as error:
            await _problem(send, error, scope["path"])
        except OperationalError as away:
            await _problem(send, problem.outage(away), scope["path"])
        except Exception as error:
            # What is told to the caller says nothing of our insides; the log does.
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            at = f" at {where.tb_frame.f_code.co_qualname}:{where.tb_lineno}" if where else ""
            log("control", f"request failed: {type(error).__name__}: {error}{at}")
            with contextlib.suppress(Exception):  # the reply may have begun, or its reader be gone
                detail = "The control plane failed to handle this. Its log says more."
                failed = problem.ProblemError(500, "internal_error", detail)
                await _problem(send, failed, scope["path"])

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._fence.check_host(headers)
        path = scope["path"]
        place = PLACES.get(path)
        if place is not None:
            await self._allow(scope, place)
            await self._own[path](scope, receive, send)
        elif path[1:].partition("/")[0] in PAGES:
            pages = await self._dashboard.ready()
            limit = PAGE_BODIES.get(path[1:].partition("/")[0], MAX_BODY)
            await pages(scope, capped(headers, receive, limit), send)
        else:
            with self._fence.minding(scope, "admin token"):
                caller = await self._gate.admit(headers)
            WHO.set(who(scope, caller.name))
            scope[CALLER] = caller
            if caller.within:
                self._fence.check_lost(caller.name)
            application = await self._admin.ready()
            await application(scope, receive, send)

    async def _allow(self, scope: Scope, place: Place) -> None:
        """Check method and token. Raises :class:`~ferryman.control.problem.ProblemError`."""
        headers, path, method = scope["headers"], scope["path"], scope["method"]
        if method != place.method and (place.method, method) != ("GET", "HEAD"):
            raise problem.ProblemError(405, "method_not_allowed", f"Use {place.method} for {path}.")
        if place.access == FEED:
            with self._fence.minding(scope, "feed token"):
                check_token(headers, self._feed_token, "feed token")
        elif place.access != OPEN and not (
            place.access == METRICS and hmac.compare_digest(bearer(headers), self._metrics_token)
        ):
            with self._fence.minding(scope, "admin token"):
                await self._gate.admit(headers, place.access)

    async def _healthz(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await _json(send, 200, {"status": "ok"})

    async def _readyz(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        reason = self._unready()
        await _json(send, 503 if reason else 200, {"status": reason or "ready"})

    async def _page(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        kind = "text/plain; version=0.0.4; charset=utf-8"
        await _reply(send, 200, kind, self._metrics().encode())

    async def _renew(self, scope: Scope, receive: Receive, send: Send) -> None:
        source = (await whole(scope["headers"], receive, MAX_BODY)).decode("utf-8", "replace")
        found = await asyncio.to_thread(self._renewed, source)
        await _reply(send, 200, "application/msgpack", found)

    async def _sums(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """What budgets bear, for a data plane that begins to count."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        try:
            since, until, step = (int(query[name][0]) for name in ("since", "until", "step"))
            if min(since, until) < 0 or step < 1:
                raise ValueError
        except (KeyError, ValueError):
            detail = "since (seconds), until (microseconds) and step (seconds) must be numbers."
            raise problem.ProblemError(400, "invalid_query", detail) from None
        found = await asyncio.to_thread(self._spent, since, until, step)
        await _reply(send, 200, "application/msgpack", _pack(found))

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same for counters that data planes share, and what single calls are charged."""
        body = await whole(scope["headers"], receive, MAX_COUNTED)
        try:
            asked = _counted(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise problem.ProblemError(400, "invalid_body", str(error)) from None
        found = await asyncio.to_thread(self._counted, asked)
        await _reply(send, 200, "application/msgpack", _pack(found))

    async def prepare(self) -> None:
        """Load the admin API, so that its first caller need not wait; the dashboard stays away
        until somebody wants to see it."""
        await self._admin.ready()

    async def _feed(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        version = query.get("snapshot", [""])[0]
        try:
            seq = int(query.get("keys", ["0"])[0])
            wait = float(query.get("wait", ["0"])[0])
            cleared = int(query["cleared"][0]) if "cleared" in query else None
            if seq < 0 or wait != wait:
                raise ValueError
            issuers = query["issuers"][0] if "issuers" in query else None
            now = float(query["now"][0]) if "now" in query else None
            if now is not None and not 0 <= now < FAR:
                raise ValueError
            plane = query.get("plane", [""])[0][:64]
            public = _public(query["public"][0], plane) if "public" in query else b""
            seal = self._hub.hand(plane, public, query.get("seal", [""])[0]) if public else None
        except ValueError:
            raise problem.ProblemError(
                400,
                "invalid_query",
                "keys and cleared must be whole numbers, wait and now seconds, public the key of a "
                "data plane that says its name (X25519, 64 hexadecimal digits).",
            ) from None
        if plane and self._hub.note(plane, version, seq, now, public):
            await asyncio.to_thread(self._book.write, Act(action="plane.key", target=plane))
        answer = asyncio.ensure_future(self._hub.answer(version, seq, wait, cleared, issuers, seal))
        leaves = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((answer, leaves), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                await _reply(send, 200, "application/msgpack", _pack(answer.result()))
        finally:
            answer.cancel()
            leaves.cancel()


def _public(text: str, plane: str) -> bytes:
    """The public key of a data plane. Raises ``ValueError``."""
    if not plane or not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError
    return bytes.fromhex(text)


class _Later:
    """An application that is loaded when it is needed, off the loop."""

    def __init__(self, make: Callable[[], Application]) -> None:
        self._make = make
        self._made: Application | None = None
        self._lock = asyncio.Lock()

    async def ready(self) -> Application:
        async with self._lock:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
        return self._made


async def whole(headers: list[tuple[bytes, bytes]], receive: Receive, limit: int) -> bytes:
    """The body. Raises :class:`~ferryman.control.problem.ProblemError` over ``limit`` bytes."""
    receive = capped(headers, receive, limit)
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def capped(headers: list[tuple[bytes, bytes]], receive: Receive, limit: int) -> Receive:
    """A ``receive`` that raises :class:`~ferryman.control.problem.ProblemError` over ``limit``
    bytes; so does this where the length that is announced is over it."""
    for name, value in headers:
        # Python reads no number of thousands of digits, and no limit has more than these.
        if name == b"content-length" and (
            not value.isdigit() or len(value) > 18 or int(value) > limit
        ):
            raise _too_large(limit)
    came = 0

    async def counted() -> MutableMapping[str, Any]:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        if came > limit:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> problem.ProblemError:
    return problem.ProblemError(413, "body_too_large", f"The body may have {limit} bytes.")


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _problem(send: Send, error: problem.ProblemError, path: str) -> None:
    extra = [(b"www-authenticate", b"Bearer")] if error.status == 401 else []
    extra += [(b"retry-after", b"60")] if error.status == 429 else []
    if path.startswith(scim.PREFIX):
        body, kind = scim.body(error.status, error.detail), scim.MEDIA_TYPE
    else:
        body, kind = problem.body(error), problem.MEDIA_TYPE
    await _reply(send, error.status, kind, body, extra)


async def _json(send: Send, status: int, value: object) -> None:
    await _reply(send, status, "application/json", msgspec.json.encode(value))


async def _reply(
    send: Send,
    status: int,
    kind: str,
    body: bytes,
    extra: list[tuple[bytes, bytes]] | None = None,
) -> None:
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *(extra or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
