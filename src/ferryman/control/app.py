"""The control plane's HTTP front: who may come in, the feed, health; the rest is ``admin.py``.

A bare ASGI application, because the feed and health need no framework: importing one takes as long
as everything else at the start, so the admin API's is loaded after that, or at its first request.
"""

import asyncio
import contextlib
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from ferryman.control import problem
from ferryman.control.feed import FeedHub
from ferryman.log import log

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY: Final = 65_536
"""Bytes of a request body; the largest that makes sense is a few hundred."""
MAX_CONFIG: Final = 1_000_000
"""The same of configurations, as of the file."""
CONFIG: Final = "/admin/v1/config"
SPENT: Final = "/internal/spent"
LOOPBACK_NAMES: Final = frozenset(("localhost", "127.0.0.1", "[::1]"))
_pack = msgspec.msgpack.Encoder().encode


class Front:
    """Routes a request by path, after checking ``Host`` and token."""

    def __init__(
        self,
        hub: FeedHub,
        *,
        feed_token: str,
        admin_token: str,
        admin_host: str,
        spent: Callable[[int, int, int], object],
        admin: Callable[[], Application],
        unready: Callable[[], str],
    ) -> None:
        """``spent`` is as in ``store/ledger.py``, on any thread; ``admin`` makes the admin API on
        first use; ``unready`` says why not, or nothing."""
        self._spent = spent
        self._hub = hub
        self._feed_token = feed_token.encode()
        self._admin_token = admin_token.encode()
        self._hosts = allowed_hosts(admin_host)
        self._make_admin = admin
        self._admin: Application | None = None
        self._unready = unready
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            await self._route(scope, receive, send)
        except problem.ProblemError as error:
            await _problem(send, error)
        except Exception as error:
            # What is told to the caller says nothing of our insides; the log does.
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            at = f" at {where.tb_frame.f_code.co_qualname}:{where.tb_lineno}" if where else ""
            log("control", f"request failed: {type(error).__name__}: {error}{at}")
            with contextlib.suppress(Exception):  # the reply may have begun, or its reader be gone
                detail = "The control plane failed to handle this. Its log says more."
                await _problem(send, problem.ProblemError(500, "internal_error", detail))

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._check_host(headers)
        path, method = scope["path"], scope["method"]
        if path in ("/healthz", "/readyz", "/internal/feed", SPENT) and method not in (
            "GET",
            "HEAD",
        ):
            raise problem.ProblemError(405, "method_not_allowed", f"Use GET for {path}.")
        if path == "/healthz":
            await _json(send, 200, {"status": "ok"})
        elif path == "/readyz":
            reason = self._unready()
            await _json(send, 503 if reason else 200, {"status": reason or "ready"})
        elif path == "/internal/feed":
            _check_token(headers, self._feed_token, "feed token")
            await self._feed(scope, receive, send)
        elif path == SPENT:
            _check_token(headers, self._feed_token, "feed token")
            await self._sums(scope, send)
        else:
            _check_token(headers, self._admin_token, "admin token")
            application = await self.admin()
            limit = MAX_CONFIG if path.startswith(CONFIG) else MAX_BODY
            await application(scope, await _whole(headers, receive, limit), send)

    async def _sums(self, scope: Scope, send: Send) -> None:
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

    async def admin(self) -> Application:
        """The admin API, loaded off the loop."""
        async with self._lock:
            if self._admin is None:
                self._admin = await asyncio.to_thread(self._make_admin)
        return self._admin

    def _check_host(self, headers: list[tuple[bytes, bytes]]) -> None:
        """On loopback, refuse names that a web page could have pointed here (DNS rebinding)."""
        if self._hosts is None:
            return
        given = [value.decode("latin-1").lower() for name, value in headers if name == b"host"]
        name = given[0] if len(given) == 1 else ""
        if _without_port(name) not in self._hosts:
            raise problem.ProblemError(
                403,
                "host_not_allowed",
                "This address is served for localhost, 127.0.0.1 and [::1] only. To reach it by "
                "another name, start the control plane with --admin-host set to that address.",
            )

    async def _feed(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        version = query.get("snapshot", [""])[0]
        try:
            seq = int(query.get("keys", ["0"])[0])
            wait = float(query.get("wait", ["0"])[0])
            cleared = int(query["cleared"][0]) if "cleared" in query else None
            if seq < 0 or wait != wait:
                raise ValueError
        except ValueError:
            raise problem.ProblemError(
                400, "invalid_query", "keys and cleared must be whole numbers, wait seconds."
            ) from None
        answer = asyncio.ensure_future(self._hub.answer(version, seq, wait, cleared))
        leaves = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((answer, leaves), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                await _reply(send, 200, "application/msgpack", _pack(answer.result()))
        finally:
            answer.cancel()
            leaves.cancel()


def allowed_hosts(admin_host: str) -> frozenset[str] | None:
    """``Host`` names to serve when listening on ``admin_host``; None = any (it is not loopback)."""
    name = admin_host.lower()
    try:
        loopback = ipaddress.ip_address(name).is_loopback
        name = f"[{name}]" if ":" in name else name
    except ValueError:
        loopback = name == "localhost" or name.endswith(".localhost")
    return LOOPBACK_NAMES | {name} if loopback else None


def _without_port(host: str) -> str:
    head, colon, port = host.rpartition(":")
    return head if colon and port.isdigit() and not (head.count(":") and head[-1] != "]") else host


def _check_token(headers: list[tuple[bytes, bytes]], token: bytes, name: str) -> None:
    """Refuse with the same words whether a token is missing or wrong."""
    given = [value for field, value in headers if field == b"authorization"]
    scheme, _, sent = (given[0] if len(given) == 1 else b"").partition(b" ")
    # Compared in full even if the scheme is wrong, in a time that doesn't depend on the token.
    right = hmac.compare_digest(sent.strip(), token)
    if not right or scheme.lower() != b"bearer":
        raise problem.ProblemError(
            401, "unauthorized", f"Send `Authorization: Bearer` with the {name}."
        )


async def _whole(headers: list[tuple[bytes, bytes]], receive: Receive, limit: int) -> Receive:
    """A ``receive`` with the whole body in it. Refuses bodies over ``limit`` bytes."""
    for name, value in headers:
        if name == b"content-length" and (not value.isdigit() or int(value) > limit):
            raise _too_large(limit)
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise _too_large(limit)
    whole = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def again() -> MutableMapping[str, Any]:
        return next(whole, None) or await receive()

    return again


def _too_large(limit: int) -> problem.ProblemError:
    return problem.ProblemError(413, "body_too_large", f"The body may have {limit} bytes.")


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _problem(send: Send, error: problem.ProblemError) -> None:
    extra = [(b"www-authenticate", b"Bearer")] if error.status == 401 else []
    body = problem.body(error.status, error.code, error.detail)
    await _reply(send, error.status, problem.MEDIA_TYPE, body, extra)


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
