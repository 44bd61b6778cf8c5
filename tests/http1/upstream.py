"""A scripted upstream on raw sockets, and what the client end makes of it."""

import asyncio
import fcntl
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ferryman.http1.client import ClientConnection, Fault
from ferryman.http1.connect import Connector, Origin
from ferryman.http1.exchange import Headers
from ferryman.http1.pool import Pool, Pools
from tests.http1.scene import PATIENCE, SIOCOUTQ

HEAD = b"POST /v1/x HTTP/1.1\r\nhost: up\r\n"


class Catch:
    """A sink that keeps all it is told, in order."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.pieces: list[bytes] = []
        self.ended = False
        self.fault: Fault | None = None
        self.calls: list[str] = []
        self.over = asyncio.Event()
        self.on_piece: Callable[[bytes], None] = lambda data: None
        self.at_end: Callable[[], None] = lambda: None

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def kind(self) -> str:
        return self.fault.kind if self.fault else ""

    def on_head(self, status: int, headers: Headers) -> None:
        assert not self.calls, "the head comes first, and once"
        self.calls.append("head")
        self.status = status
        self.headers = headers

    def on_data(self, data: bytes) -> None:
        assert self.calls == ["head"], "after the head, before the end"
        self.pieces.append(data)
        self.on_piece(data)

    def on_end(self) -> None:
        assert self.calls == ["head"]
        self.calls.append("end")
        self.ended = True
        self.over.set()
        self.at_end()

    def on_fault(self, fault: Fault) -> None:
        assert self.calls in ([], ["head"])
        self.calls.append("fault")
        self.fault = fault
        self.over.set()
        self.at_end()

    def on_whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.on_head(status, headers)
        if body:
            self.on_data(body)
        self.on_end()

    async def done(self) -> "Catch":
        await asyncio.wait_for(self.over.wait(), PATIENCE)
        return self


class Line:
    """The upstream's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self.got = b""

    async def request(self) -> bytes:
        """The next request, whole."""
        while (found := re.match(rb"(?s).*?\r\n\r\n", self.got)) is None:
            self.got += await self._read()
        length = re.search(rb"content-length: (\d+)", found[0])
        end = found.end() + (int(length[1]) if length else 0)
        while len(self.got) < end:
            self.got += await self._read()
        request, self.got = self.got[:end], self.got[end:]
        return request

    async def _read(self) -> bytes:
        data = await asyncio.wait_for(self.loop.sock_recv(self.sock, 1 << 18), PATIENCE)
        assert data, f"the client closed, after {self.got!r}"
        return data

    async def send(self, data: bytes) -> None:
        await asyncio.wait_for(self.loop.sock_sendall(self.sock, data), PATIENCE)

    async def send_apart(self, pieces: list[bytes]) -> None:
        """Send so that each piece is read by itself; needs a Unix socket."""
        for piece in pieces:
            try:
                self.sock.send(piece)
            except OSError:
                return
            for _ in range(10_000):
                if not self._unread():
                    break
                await asyncio.sleep(0)
            await asyncio.sleep(0)

    def _unread(self) -> int:
        left = fcntl.ioctl(self.sock, SIOCOUTQ, struct.pack("i", 0))
        return int(struct.unpack("i", left)[0])

    async def client_closed(self) -> None:
        """Wait until the client's end of it is closed."""
        try:
            while await asyncio.wait_for(self.loop.sock_recv(self.sock, 1 << 18), PATIENCE):
                pass
        except ConnectionError:
            pass

    def end(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Upstream:
    """A listener whose connections a test plays by hand, and a pool of connections to it."""

    def __init__(self, listener: socket.socket, origin: Origin, pools: Pools) -> None:
        self.origin = origin
        self.pools = pools
        self.pool: Pool = pools.get(origin)
        self.lines: list[Line] = []
        self._made: list[ClientConnection] = []
        self.loop = asyncio.get_running_loop()
        self._listener = listener
        self._accepting = self.loop.create_task(self._accept())

    async def _accept(self) -> None:
        while True:
            sock, _ = await self.loop.sock_accept(self._listener)
            sock.setblocking(False)
            self.lines.append(Line(sock))

    async def line(self, number: int = 1) -> Line:
        """The connection that was made as the ``number``-th."""
        for _ in range(int(PATIENCE / 0.002)):
            if len(self.lines) >= number:
                return self.lines[number - 1]
            await asyncio.sleep(0.002)
        raise AssertionError("the client has not connected")

    async def send(
        self,
        sink: Catch,
        body: bytes = b"",
        *,
        first_byte: float = 10.0,
        idle: float = 10.0,
        total: float = 100.0,
    ) -> ClientConnection:
        """Send a request as the gateway does: on a kept connection, or a new one."""
        connection = self.pool.take() or await self.pool.connect(5.0)
        self._number(connection)
        head = HEAD + b"content-length: %d\r\n\r\n" % len(body)
        connection.send(sink, head, body, first_byte, idle, self.loop.time() + total)
        return connection

    async def ask(
        self, *pieces: bytes, end: bool = False, apart: bool = False, **how: Any
    ) -> Catch:
        """One exchange: the upstream answers with ``pieces``; ``end`` closes behind them."""
        sink = Catch()
        connection = await self.send(sink, **how)
        line = await self.line(self._number(connection))
        await line.request()
        if apart:
            await line.send_apart(list(pieces))
        else:
            await line.send(b"".join(pieces))
        if end:
            line.end()
        return await sink.done()

    def _number(self, connection: ClientConnection) -> int:
        """Connections are accepted in the order in which they were made."""
        if connection not in self._made:
            self._made.append(connection)
        return self._made.index(connection) + 1

    def close(self) -> None:
        self._accepting.cancel()
        self._made.clear()
        for line in self.lines:
            line.end()
        self._listener.close()


@asynccontextmanager
async def upstream(path: Path | None = None) -> AsyncIterator[Upstream]:
    """An upstream on loopback, or on a Unix socket in ``path``."""
    loop = asyncio.get_running_loop()
    if path is None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        origin = Origin("http", "127.0.0.1", listener.getsockname()[1])
    else:
        place = str(path / "up")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(place)
        listener.listen(100)
        origin = Origin("http", "localhost", 80, uds=place)
    listener.setblocking(False)
    pools = Pools(Connector(loop))
    up = Upstream(listener, origin, pools)
    try:
        yield up
    finally:
        pools.close()
        up.close()
        for _ in range(1000):
            if not up.pool.open:
                break
            await asyncio.sleep(0.002)
        assert not up.pool.open, "connections are still counted as open"
        assert not up.pool.idle
