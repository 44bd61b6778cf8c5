"""``ferryman.asgi:app``: the gateway inside somebody else's ASGI server.

ASGI 3.0, HTTP scope only: https://asgi.readthedocs.io/en/latest/specs/www.html. Options come from
the ``FERRYMAN_*`` variables as for ``ferryman gateway``; the control plane runs beside as usual.
The server's own HTTP end replaces ours, with its cost; the request path is the same.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ferryman.config.options import Options
from ferryman.edge.gateway import Gateway
from ferryman.http1.exchange import Headers
from ferryman.http1.head import is_upload
from ferryman.http1.spool import Spool

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
HIGH_WATER = 65_536
"""Bytes waiting for the server before the upstream is asked to pause."""


class AsgiExchange:
    """An exchange (:class:`ferryman.http1.exchange.Exchange`) whose replies wait in a queue."""

    def __init__(self, scope: Scope, began: float) -> None:
        client = scope.get("client")
        path = scope.get("raw_path") or scope["path"].encode()
        query = scope.get("query_string", b"")
        self.method: bytes = scope["method"].encode()
        self.target: bytes = path + b"?" + query if query else path
        self.headers: Headers = [(n.lower(), v) for n, v in scope["headers"]]
        self.body = b""
        self.peer: str = client[0] if client else "unix"
        self.began = began
        self.incoming: Spool | None = None
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None
        self.shared: dict[str, Any] = {}
        self.queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.waiting = 0
        self.aborted = False
        self._started = False
        self._over = False

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    def respond(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        if self._started:
            return
        pairs = _pairs(headers)
        self.start(status, [*pairs, (b"content-length", b"%d" % len(body))])
        self.finish(body)

    def start(self, status: int, headers: Headers | bytes) -> None:
        if self._started:
            return
        self._started = True
        head = {"type": "http.response.start", "status": status, "headers": _pairs(headers)}
        self.queue.put_nowait(head)

    def write(self, data: bytes) -> bool:
        if data and not self._over:
            self.waiting += len(data)
            self.queue.put_nowait({"type": "http.response.body", "body": data, "more_body": True})
        return self.waiting < HIGH_WATER

    def finish(self, data: bytes = b"") -> None:
        if not self._over:
            self._over = True
            self.on_gone = self.on_resume = None
            self.queue.put_nowait({"type": "http.response.body", "body": data})
            self.queue.put_nowait(None)

    def instead(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        self.abort()  # what is sent here is the server's

    def abort(self) -> None:
        self._over = True
        self.aborted = True
        self.queue.put_nowait(None)

    def leave(self) -> None:
        """The caller has disconnected."""
        if self._over or self.gone:
            return
        self.gone = self._over = True
        callback, self.on_gone = self.on_gone, None
        if callback is not None:
            callback()
        self.queue.put_nowait(None)

    def break_off(self, refuse: Callable[["AsgiExchange"], None]) -> None:
        """Nobody may go on with what the caller sends: tell the caller, and whoever works on it."""
        callback, self.on_gone = self.on_gone, None
        if self._started:
            self.abort()
        else:
            refuse(self)
        self.gone = True
        if callback is not None:
            callback()

    def sent(self, message: dict[str, Any]) -> None:
        """The server has taken ``message``."""
        self.waiting -= len(message.get("body", b""))
        if self.waiting < HIGH_WATER and self.on_resume is not None:
            self.on_resume()


def _pairs(headers: Headers | bytes) -> Headers:
    if not isinstance(headers, bytes):
        return list(headers)
    lines = [line.partition(b": ") for line in headers.split(b"\r\n") if line]
    return [(name, value) for name, _, value in lines]


class App:
    """The ASGI application. Starts with the server's lifespan, or with the first request."""

    def __init__(self) -> None:
        self._gateway: Gateway | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})

    def _start(self) -> Gateway:
        if self._gateway is None:
            self._gateway = Gateway(Options.from_env(), dict(os.environ))
            self._gateway.start()
        return self._gateway

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._start()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._gateway is not None:
            await self._gateway.finish()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway = self._start()
        limits = gateway.limits
        exchange = AsgiExchange(scope, time.monotonic())
        if is_upload(exchange.headers, limits):
            exchange.incoming = Spool(limits.spool_directory or None)
            gateway.edge.handle(exchange)
        elif not await _take(exchange, receive, limits.max_body_bytes):
            return
        elif len(exchange.body) > limits.max_body_bytes:
            gateway.edge.too_large(exchange, limits.max_body_bytes)
        else:
            gateway.edge.handle(exchange)
        watching = asyncio.ensure_future(_watch(exchange, receive, gateway))
        try:
            while (answer := await exchange.queue.get()) is not None:
                await send(answer)
                exchange.sent(answer)
        finally:
            watching.cancel()
            exchange.leave()
            if exchange.incoming is not None:
                exchange.incoming.close()
        if exchange.aborted:
            raise ConnectionAbortedError("the reply is incomplete")


async def _take(exchange: AsgiExchange, receive: Receive, most: int) -> bool:
    """Take the body, or just over ``most`` bytes of a longer one; False = the caller left."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return False
        if size <= most:
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        if not message.get("more_body"):
            exchange.body = b"".join(parts)
            return True


async def _watch(exchange: AsgiExchange, receive: Receive, gateway: Gateway) -> None:
    """Take the rest of an upload, if it is one, and look whether the caller leaves."""
    spool = exchange.incoming
    most = gateway.limits.max_upload_bytes
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            exchange.leave()
            return
        if spool is None or spool.complete:
            continue
        try:
            spool.append(message.get("body", b""))
        except OSError as error:
            gateway.plane.log(f"an upload can't be kept: {error}")
            exchange.break_off(gateway.edge.no_room)
            return
        if spool.size > most:
            exchange.break_off(lambda exchange: gateway.edge.too_large(exchange, most))
            return
        if message.get("more_body"):
            spool.tell()
        else:
            spool.end()


app = App()
