"""The server end: HTTP/1.1 on llhttp and libuv, one protocol object a connection.

Rules that hold in this file:
1. Parser callbacks only collect; decisions are taken after ``feed_data`` has returned.
2. Replies leave in the order of their requests: one exchange is answered at a time, others wait.
3. Nothing that is ambiguous is answered as if it were clear: a framing error ends the connection.
4. Every wait has a deadline, checked by one sweep for all connections, not by a timer each.
"""

import asyncio
import contextlib
import re
import ssl
from collections import deque
from email.utils import formatdate
from socket import socket
from typing import Any

import httptools

from ferryman.http1.exchange import Handler, Headers
from ferryman.http1.limits import (
    BODY_GRACE,
    LINGER_SECONDS,
    SWEEP_SECONDS,
    Limits,
    Refusal,
    Refuse,
    plain_refusal,
)
from ferryman.http1.reply import STATUS_LINES, ServerExchange, Template

NEVER = float("inf")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """One client connection: parses requests, keeps their order, holds its deadlines."""

    __slots__ = (
        "_body", "_body_bytes", "_body_started", "_discarding", "_eof", "_head", "_header_bytes",
        "_headers", "_headers_done", "_left", "_method", "_parser", "_problem", "_queue",
        "_reading_paused", "_template", "_url", "current", "deadline", "http11", "keep_alive",
        "now", "on_body", "paused", "peer", "server", "transport",
    )  # fmt: skip

    transport: asyncio.Transport

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.now = server.loop.time
        self.current: ServerExchange | None = None
        self.paused = False
        self.http11 = True
        self.keep_alive = True
        self.deadline = NEVER
        self.peer = ""
        self._template: Template | None = None
        self._left = 0
        """Bytes still to come of a body whose head matched the template."""
        self._body: list[bytes] = []
        self.on_body = self._body.append  # the parser calls it with each piece: no frame of ours
        self._parser: Any = httptools.HttpRequestParser(self)
        self._queue: deque[ServerExchange | Refusal] = deque()
        self._problem: Refusal | None = None
        self._discarding = False
        self._reading_paused = False
        self._eof = False
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: Headers = []
        self._header_bytes = 0
        self._headers_done = False
        self._head = b""
        self._body.clear()
        self._body_bytes = 0
        self._body_started = 0.0

    # -- asyncio's side

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) and peer else "unix"
        self.server.connections.add(self)
        self.deadline = self.now() + self.server.limits.idle_seconds
        if len(self.server.connections) > self.server.limits.max_connections:
            self._refuse(Refusal(503, "too_many_connections", "Too many connections; retry later."))

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.forget(self)
        self.server.buffered -= self._body_bytes
        self._queue.clear()
        self._parser = None  # it refers back to us: let both go now, not at the next collection
        current, self.current = self.current, None
        if current is not None:
            current.lost()

    def eof_received(self) -> bool:
        self._eof = True
        if self._discarding:
            return False
        if self.current is not None:
            # A half-close cannot be told from a close; like most servers we take it as leaving,
            # but tell a peer that is still reading why it gets no answer.
            current, self.current = self.current, None
            current.lost()
            if current.started:
                self.transport.close()
            else:
                self._refuse_now(
                    Refusal(400, "client_closed_request", "You stopped sending before the answer.")
                )
            return False
        if self._header_bytes or self._body_bytes or self._left:
            self._refuse(
                Refusal(400, "incomplete_request", "The connection ended inside the request.")
            )
            return True
        return False

    def pause_writing(self) -> None:
        self.paused = True
        self.deadline = self.now() + self.server.limits.idle_seconds

    def resume_writing(self) -> None:
        self.paused = False
        self.deadline = NEVER
        current = self.current
        if current is not None and current.on_resume is not None:
            current.on_resume()

    def data_received(self, data: bytes) -> None:
        if self._discarding:
            return
        template = self._template
        if template is not None and not self._header_bytes:
            if self._left:
                self._take_body(data)
                return
            if data.startswith(template.before) and self._repeat(template, data):
                return
        if self.current is None and not self._header_bytes and not self._body_started:
            self.deadline = self.now() + self.server.limits.header_seconds
        if not self._headers_done:
            if not self._header_bytes:
                self._head = data
            self._header_bytes += len(data)
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # An offer to upgrade may be ignored (RFC 9110 §7.8): go on in HTTP/1.1.
            self._parser = httptools.HttpRequestParser(self)
            rest = data[upgrade.args[0] :]
            if rest:
                self.data_received(rest)
                return
        except httptools.HttpParserError as error:
            self._problem = self._problem or _framing_refusal(error)
        if self._body and self._problem is None:
            self._count_body(sum(map(len, self._body)) - self._body_bytes)
        if self._problem is not None:
            self._refuse(self._problem)
            return
        if not self._headers_done and self._header_bytes > self.server.limits.max_header_bytes:
            self._refuse(self._too_long())
            return
        if self._queue:
            if self.current is None:
                self._next()
            if self._queue and not self._reading_paused:
                self._reading_paused = True
                self.transport.pause_reading()

    # -- heads seen before

    def _repeat(self, template: Template, data: bytes) -> bool:
        """Take a request whose head matches the template; False when it doesn't after all."""
        at = template.digits_at
        end = data.find(b"\r", at, at + 10)
        if end <= at or not data.startswith(template.then, end):
            return False
        digits = data[at:end]
        if not digits.isdigit():
            return False
        left = int(digits)
        body = data[end + len(template.then) :]
        if left > self.server.limits.max_body_bytes or len(body) > left:
            return False  # refused, or with another request behind it: the parser's business
        if self.current is not None or self._queue:
            return False
        if len(body) == left:
            self._start(template, body)
            return True
        self._left = left
        self._body_started = self.now()
        self.deadline = self._body_started + BODY_GRACE
        self._take_body(body)
        return True

    def _take_body(self, data: bytes) -> None:
        left = self._left
        rest = b""
        if len(data) > left:
            data, rest = data[:left], data[left:]
        self._left = left - len(data)
        self._body.append(data)
        self._count_body(len(data))
        if self._problem is not None:
            self._refuse(self._problem)
            return
        if not self._left:
            body = b"".join(self._body)
            self.server.buffered -= self._body_bytes
            self._reset()
            assert self._template is not None
            self._start(self._template, body)
            if rest:
                self.data_received(rest)

    def _start(self, template: Template, body: bytes) -> None:
        exchange = ServerExchange(
            self, template.method, template.target, template.headers, body, template.shared
        )
        self.current = exchange
        self.deadline = NEVER
        self.server.handler(exchange)

    def _count_body(self, more: int) -> None:
        self._body_bytes += more
        self.server.buffered += more
        if self._body_bytes > self.server.limits.max_body_bytes:
            self._problem = _body_too_large(self.server.limits)
        elif self.server.buffered > self.server.limits.max_buffered_bytes:
            self._problem = Refusal(
                503, "gateway_overloaded", "Too many large requests at once; retry in a moment."
            )

    # -- the parser's side: collect only

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._headers_done = True
        limits = self.server.limits
        if len(self._headers) > limits.max_headers or len(self._url) > limits.max_request_line:
            self._problem = self._too_long()
            return
        if self._header_bytes > limits.max_header_bytes:  # may count body bytes: look closer
            size = sum([len(name) + len(value) + 4 for name, value in self._headers])
            if size > limits.max_header_bytes:
                self._problem = self._too_long()
                return
        parser = self._parser
        self.http11 = parser.get_http_version() == "1.1"
        self._method = parser.get_method()
        expect = False
        framed = False
        for name, value in self._headers:
            if name == b"content-length":
                framed = True
                if int(value) > limits.max_body_bytes:
                    self._problem = _body_too_large(limits)
            elif name == b"transfer-encoding":
                if value.lower() != b"chunked":
                    self._problem = Refusal(
                        501, "unsupported_transfer_encoding", "Only 'chunked' is understood."
                    )
            elif name == b"expect":
                expect = value.lower() == b"100-continue"
        if framed:
            self._headers = [pair for pair in self._headers if pair[0] != b"content-length"]
        if self._method == b"CONNECT":
            self._problem = Refusal(501, "not_a_proxy", "CONNECT is not offered here.")
        if self._problem is None:
            self._body_started = self.now()
            if self.current is None:
                self.deadline = self._body_started + BODY_GRACE
            if expect and self.current is None and not self._queue:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_message_complete(self) -> None:
        if self._problem is not None:
            return
        self.keep_alive = self._parser.should_keep_alive()
        body = self._body
        more = sum(map(len, body)) - self._body_bytes
        if self._body_bytes + more > self.server.limits.max_body_bytes:
            self._problem = _body_too_large(self.server.limits)
            return
        whole = body[0] if len(body) == 1 else b"".join(body)
        exchange = ServerExchange(self, self._method, self._url, self._headers, whole, {})
        self._queue.append(exchange)
        if self.keep_alive and self.http11 and len(self._head) == self._header_bytes:
            self._remember(exchange)
        self.server.buffered -= self._body_bytes
        self._reset()

    def _remember(self, exchange: ServerExchange) -> None:
        """Keep the head as a template, if it is a plain one with one content-length."""
        end = self._head.find(b"\r\n\r\n")
        head = self._head[: end + 4]
        found = _LENGTH.search(head)
        if end > 0 and found is not None and exchange.header(b"expect") is None:
            self._template = Template(head, found.start(1), found.end(1), exchange)

    # -- order and ends

    def _next(self) -> None:
        """Hand the next complete request to the handler, if none is being answered."""
        while self._queue and self.current is None and not self._discarding:
            item = self._queue.popleft()
            if isinstance(item, Refusal):
                self._refuse_now(item)
                return
            self.current = item
            self.deadline = NEVER
            self.server.handler(item)

    def answered(self, keep_alive: bool) -> None:
        """The current exchange is complete: close, or go on with the next one."""
        self.current = None
        if not keep_alive or self._eof:
            self._linger()
            return
        self.deadline = self.now() + self.server.limits.idle_seconds
        if self._queue:
            # Not at once: a pipeline of a thousand requests must not nest a thousand calls deep.
            self.server.loop.call_soon(self._next)
        elif self._reading_paused:
            self._reading_paused = False
            self.transport.resume_reading()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer with ``refusal`` after everything before it, then end the connection."""
        self._problem = None
        self.server.buffered -= self._body_bytes
        self._body_bytes = 0
        self._body.clear()
        if self.current is None and not self._queue:
            self._refuse_now(refusal)
        elif not self._reading_paused:
            self._queue.append(refusal)
            self._reading_paused = True
            self.transport.pause_reading()
            if self.current is None:
                self._next()

    def _refuse_now(self, refusal: Refusal) -> None:
        headers, body = self.server.refuse(refusal)
        block = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        self.transport.write(
            b"%b%b%bconnection: close\r\ncontent-length: %d\r\n\r\n%b"
            % (STATUS_LINES[refusal.status], block, self.server.date, len(body), body)
        )
        self._linger()

    def _linger(self) -> None:
        """Close, but let a peer that is still sending read our last words first."""
        self._discarding = True
        self._queue.clear()
        if self.transport.is_closing():
            return
        if self._eof or not self.transport.can_write_eof():
            self.transport.close()
            return
        if self._reading_paused:
            self._reading_paused = False
            self.transport.resume_reading()
        self.transport.write_eof()
        self.deadline = self.now() + LINGER_SECONDS

    def _too_long(self) -> Refusal:
        limits = self.server.limits
        if len(self._url) > limits.max_request_line:
            return Refusal(
                414, "uri_too_long", f"The request line is over {limits.max_request_line} bytes."
            )
        return Refusal(
            431,
            "headers_too_large",
            f"The request has over {limits.max_headers} header fields or "
            f"{limits.max_header_bytes} bytes of them.",
        )

    def overdue(self, now: float) -> None:
        """Called by the sweep when ``deadline`` has passed."""
        limits = self.server.limits
        if self._discarding or self.paused:
            self.transport.abort()
        elif self._body_started:
            elapsed = now - self._body_started
            if self._body_bytes >= limits.min_body_rate * (elapsed - BODY_GRACE):
                self.deadline = now + SWEEP_SECONDS
                return
            self._refuse(Refusal(408, "body_timeout", "The body arrived too slowly."))
        elif self._header_bytes:
            self._refuse(
                Refusal(408, "header_timeout", f"No whole head in {limits.header_seconds:g} s.")
            )
        elif self.current is None:
            self.transport.close()


def _body_too_large(limits: Limits) -> Refusal:
    return Refusal(413, "body_too_large", f"The body is over {limits.max_body_bytes} bytes.")


def _framing_refusal(error: Exception) -> Refusal:
    """llhttp's words say which rule was broken; RFC 9112 says that we must not guess."""
    return Refusal(400, "malformed_http", f"Not valid HTTP/1.1: {error}.")


class Server:
    """A listener and its connections. Made by :func:`serve`."""

    def __init__(
        self, handler: Handler, limits: Limits, refuse: Refuse, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.refuse = refuse
        self.loop = loop
        self.connections: set[Connection] = set()
        self.draining = False
        self.buffered = 0
        self.date = b""
        self.listeners: list[asyncio.Server] = []
        self._empty = asyncio.Event()
        self._sweep()

    @property
    def port(self) -> int:
        """The first TCP port listened on."""
        for listener in self.listeners:
            for sock in listener.sockets:
                name = sock.getsockname()
                if isinstance(name, tuple):
                    return int(name[1])
        return 0

    def _sweep(self) -> None:
        self.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        now = self.loop.time()
        for connection in [c for c in self.connections if c.deadline < now]:
            connection.overdue(now)
        self._timer = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def forget(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    async def close(self, drain_seconds: float) -> int:
        """Stop accepting, let open calls end for ``drain_seconds``; returns how many were cut."""
        self.draining = True
        for listener in self.listeners:
            listener.close()
        for connection in list(self.connections):
            if connection.current is None:
                connection.transport.close()
        self._empty.clear()
        if self.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), drain_seconds)
        cut = len(self.connections)
        for connection in list(self.connections):
            connection.transport.abort()
        self._timer.cancel()
        return cut


async def serve(
    handler: Handler,
    *,
    host: str | None = None,
    port: int = 0,
    sock: socket | None = None,
    uds: str | None = None,
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    refuse: Refuse = plain_refusal,
    server: Server | None = None,
) -> Server:
    """Listen on ``sock``, the Unix socket ``uds``, or ``host:port``; give ``server`` to add to it.

    Raises OSError when the address can't be bound.
    """
    loop = asyncio.get_running_loop()
    server = server or Server(handler, limits or Limits(), refuse, loop)
    owner = server
    if uds is not None:
        listener = await loop.create_unix_server(
            lambda: Connection(owner), path=uds, ssl=tls, backlog=4096
        )
    elif sock is not None:
        listener = await loop.create_server(
            lambda: Connection(owner), sock=sock, ssl=tls, backlog=4096
        )
    else:
        listener = await loop.create_server(
            lambda: Connection(owner), host=host, port=port, ssl=tls, backlog=4096
        )
    server.listeners.append(listener)
    return server
