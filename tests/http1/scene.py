"""A real server beside raw peers, all on one event loop, and what passed between them."""

import asyncio
import fcntl
import functools
import logging
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from ferryman.http1.exchange import Exchange, Headers
from ferryman.http1.limits import Limits, Refusal
from ferryman.http1.server import Server, serve

SIOCOUTQ = 0x5411
PATIENCE = 20.0
"""Seconds after which a wait has failed. Nothing is expected to take anywhere near as long."""
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\n\r\n"


class _Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def on_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs an async test on the loop that the gateway runs on.

    Fails also for what nobody heard of: an exception in a callback, a warning of the transports.
    """

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        unheard: list[dict[str, Any]] = []
        warnings = _Warnings()

        async def play() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, c: unheard.append(c))
            await asyncio.wait_for(test(*args, **kwargs), 100)

        logging.getLogger("asyncio").addHandler(warnings)
        try:
            uvloop.run(play())
        finally:
            logging.getLogger("asyncio").removeHandler(warnings)
        expected = getattr(run, "expected", 0)
        assert len(unheard) == expected, unheard
        assert not warnings.said

    return run


def expects_faults(count: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """For tests in which a handler is to fail: so many faults are reported to the loop."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        test.expected = count  # type: ignore[attr-defined]
        return test

    return mark


class Scene:
    """A server whose handler answers by the target, and remembers what it was asked.

    ``/later…`` waits in ``pending`` for the test to answer; ``/boom`` raises; ``/big/N`` brings N
    bytes; ``/stream`` two pieces; ``/status/N`` that status without a body. All else comes back as
    ``METHOD target body``.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes, Headers, bytes]] = []
        self.recognised = 0
        """How many heads were the same as one before."""
        self.pending: list[Exchange] = []
        self.left: list[bytes] = []
        """Targets whose callers left before the reply was complete."""
        self.server: Server
        self.where: dict[str, Any] = {}

    def handle(self, exchange: Exchange) -> None:
        target = exchange.target
        self.seen.append((exchange.method, target, exchange.headers, exchange.body))
        before = exchange.shared.get("before", 0)
        self.recognised += before > 0
        exchange.shared["before"] = before + 1
        exchange.on_gone = lambda: self.left.append(target)
        if target.startswith(b"/later"):
            self.pending.append(exchange)
        elif target == b"/boom":
            raise ZeroDivisionError("boom")
        elif target.startswith(b"/boom/late"):
            exchange.start(200, [])
            raise ZeroDivisionError("boom")
        elif target.startswith(b"/big/") and target[5:].isdigit():
            exchange.respond(200, [], b"x" * int(target[5:]))
        elif target.startswith(b"/status/"):
            exchange.respond(int(target[8:]), [(b"x-a", b"1")], b"")
        elif target == b"/stream":
            exchange.start(200, [(b"content-type", b"text/plain")])
            exchange.write(b"one,")
            exchange.finish(b"two")
        else:
            body = b"%b %b %b" % (exchange.method, target, exchange.body)
            exchange.respond(200, [(b"content-type", b"text/plain")], body)

    async def until(self, happened: Callable[[], object], what: str = "") -> None:
        """Wait for something that the server is about to do."""
        for _ in range(int(PATIENCE / 0.005)):
            if happened():
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"did not happen: {what or happened}")

    async def later(self, count: int = 1) -> Exchange:
        """The exchange that is pending as the ``count``-th."""
        await self.until(lambda: len(self.pending) >= count, f"{count} pending")
        return self.pending[count - 1]

    async def peer(self, **how: Any) -> "Peer":
        return await Peer.open({**self.where, **how})


def name_refusal(refusal: Refusal) -> tuple[Headers, bytes]:
    """Refusals as their code, so that tests can tell them apart."""
    return [(b"content-type", b"text/plain")], refusal.code.encode()


@asynccontextmanager
async def scene(path: Path | None = None, **how: Any) -> AsyncIterator[Scene]:
    """A listening server: on loopback, or on a Unix socket in ``path``."""
    stage = Scene()
    limits = how.pop("limits", Limits())
    drain = how.pop("drain", 0.0)
    if path is not None:
        how["uds"] = str(path / "s")
        stage.where = {"path": how["uds"]}
    elif "host" not in how and "sock" not in how:
        how["host"] = "127.0.0.1"
    how.setdefault("refuse", name_refusal)
    stage.server = await serve(stage.handle, limits=limits, **how)
    if path is None:
        stage.where = {"host": how.get("host", "127.0.0.1"), "port": stage.server.port}
    try:
        yield stage
        assert not any(c.deadline < 0 for c in stage.server.connections)
    finally:
        await stage.server.close(drain)
        await stage.until(lambda: not stage.server.connections, "all connections are forgotten")
        assert stage.server.buffered == 0, "bytes of bodies are still counted"
        assert stage.server.spooled == 0, "bytes of uploads are still counted"


class Reply:
    """One reply, as a peer read it."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, *, whole: bool) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.whole = whole
        """False when the connection ended inside it."""

    def __repr__(self) -> str:
        return f"Reply({self.status}, {self.headers}, {self.body[:80]!r}, whole={self.whole})"


class Peer:
    """A client that sends exactly the bytes it is told to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.got = b""
        self.ended = False
        self.reset = False
        self.loop = asyncio.get_running_loop()

    @classmethod
    async def open(cls, where: dict[str, Any]) -> "Peer":
        if "path" in where:
            sock = socket.socket(socket.AF_UNIX)
            address: Any = where["path"]
        else:
            family = socket.AF_INET6 if ":" in where["host"] else socket.AF_INET
            sock = socket.socket(family)
            if "receive_buffer" in where:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, where["receive_buffer"])
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            address = (where["host"], where["port"])
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
        return cls(sock)

    async def send(self, data: bytes) -> None:
        await asyncio.wait_for(self.loop.sock_sendall(self.sock, data), PATIENCE)

    async def try_send(self, data: bytes) -> None:
        """Send, unless the other end has closed."""
        try:
            await self.send(data)
        except OSError:
            self.reset = True

    async def send_apart(self, pieces: list[bytes]) -> None:
        """Send so that each piece is read by itself; needs a Unix socket."""
        for piece in pieces:
            try:
                self.sock.send(piece)
            except OSError:
                return
            while self._unread():  # noqa: ASYNC110 - the kernel has no event for it
                await asyncio.sleep(0)
            await asyncio.sleep(0)

    def _unread(self) -> int:
        """Bytes that the other end has not read."""
        left = fcntl.ioctl(self.sock, SIOCOUTQ, struct.pack("i", 0))
        return int(struct.unpack("i", left)[0])

    async def more(self) -> bool:
        """Read once; False at the end."""
        if self.ended:
            return False
        try:
            data = await asyncio.wait_for(self.loop.sock_recv(self.sock, 1 << 18), PATIENCE)
        except ConnectionError:
            self.reset = True
            data = b""
        self.got += data
        self.ended = not data
        return bool(data)

    async def rest(self) -> bytes:
        """All bytes up to the end."""
        while await self.more():
            pass
        got, self.got = self.got, b""
        return got

    async def _line_end(self) -> bool:
        while b"\r\n\r\n" not in self.got:
            if not await self.more():
                return False
        return True

    async def reply(self, method: str = "GET") -> Reply:
        """The next reply; 1xx replies count as replies."""
        assert await self._line_end(), f"no reply, but {self.got!r}"
        head, _, self.got = self.got.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            assert name not in headers, f"{name} twice"
            headers[name] = value
        if status < 200 or status in (204, 304) or method == "HEAD":
            return Reply(status, headers, b"", whole=True)
        if "content-length" in headers:
            size = int(headers["content-length"])
            while len(self.got) < size and await self.more():
                pass
            body, self.got = self.got[:size], self.got[size:]
            return Reply(status, headers, body, whole=len(body) == size)
        if headers.get("transfer-encoding") == "chunked":
            return await self._chunks(status, headers)
        body = await self.rest()
        return Reply(status, headers, body, whole=not self.reset)

    async def _chunks(self, status: int, headers: dict[str, str]) -> Reply:
        body = b""
        while True:
            while (found := re.match(rb"([0-9a-f]+)\r\n", self.got)) is None:
                if not await self.more():
                    return Reply(status, headers, body, whole=False)
            size = int(found[1], 16)
            end = found.end() + size + 2
            while len(self.got) < end:
                if not await self.more():
                    return Reply(status, headers, body, whole=False)
            body += self.got[found.end() : end - 2]
            assert self.got[end - 2 : end] == b"\r\n"
            self.got = self.got[end:]
            if not size:
                return Reply(status, headers, body, whole=True)

    async def ask(self, data: bytes) -> Reply:
        await self.send(data)
        return await self.reply()

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def vanish(self) -> None:
        """Close with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def get(target: str, *lines: str, version: str = "1.1") -> bytes:
    """A request without a body."""
    head = [f"GET {target} HTTP/{version}", "Host: x", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def post(target: str, body: bytes, *lines: str) -> bytes:
    """A request with a sized body."""
    head = [f"POST {target} HTTP/1.1", "Host: x", *lines, f"Content-Length: {len(body)}"]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def chunked(target: str, *pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A request with a chunked body."""
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join([b"%x\r\n%b\r\n" % (len(p), p) for p in pieces]) + end
