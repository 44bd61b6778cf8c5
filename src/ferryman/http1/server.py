"""The server end's listener: accepts connections, sweeps their deadlines, drains them."""

import asyncio
import contextlib
import ssl
from email.utils import formatdate
from socket import socket
from typing import Any

from ferryman.http1.connection import Connection
from ferryman.http1.exchange import Handler
from ferryman.http1.limits import SWEEP_SECONDS, Limits, Refuse, plain_refusal
from ferryman.http1.outbox import Outbox

TLS_SHUTDOWN_SECONDS = 600.0
"""How long a TLS connection may take to close; the sweep ends those where nothing moves sooner."""


class Server:
    """A listener and its connections. Made by :func:`serve`."""

    def __init__(
        self, handler: Handler, limits: Limits, refuse: Refuse, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.refuse = refuse
        self.loop = loop
        self.outbox = Outbox(loop)
        self.connections: set[Connection] = set()
        self.draining = False
        self.recognise = True
        """False parses every head, also those that a connection has sent before."""
        self.buffered = 0
        self.spooled = 0
        """Bytes of uploads that are kept in files."""
        self.date = b""
        self.listeners: list[Any] = []  # uvloop's own servers, asyncio's only in name
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
        self._timer = self.loop.call_later(SWEEP_SECONDS, self._sweep)
        self.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        now = self.loop.time()
        for connection in [c for c in self.connections if c.deadline < now]:
            connection.overdue(now)

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    async def close(self, drain_seconds: float) -> int:
        """Stop accepting and let what has begun end, within ``drain_seconds``.

        Returns how many connections were cut in the midst of a request.
        """
        self.draining = True
        for listener in self.listeners:
            listener.close()
        for connection in list(self.connections):
            if connection.idle:
                connection.close_idle()
        self._empty.clear()
        if self.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), drain_seconds)
        cut = sum(not connection.closing for connection in self.connections)
        for connection in list(self.connections):
            connection.cut()
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
    how: dict[str, Any] = {"ssl": tls, "backlog": 4096}
    if tls is not None:
        how["ssl_handshake_timeout"] = server.limits.header_seconds
        how["ssl_shutdown_timeout"] = TLS_SHUTDOWN_SECONDS
    listener: Any
    if uds is not None:
        listener = await loop.create_unix_server(lambda: Connection(owner), path=uds, **how)
    elif sock is not None:
        listener = await loop.create_server(lambda: Connection(owner), sock=sock, **how)
    else:
        listener = await loop.create_server(lambda: Connection(owner), host=host, port=port, **how)
    server.listeners.append(listener)
    return server
