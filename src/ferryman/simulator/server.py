"""The simulator's listener: plays scripts, faults included, for thousands of streams on one timer.

It does not stand on ``http1.server``, which can't send wrong lengths, resets or half replies: that
one is right by construction, and this one has to be wrong on demand.
"""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

import httptools

from ferryman.http1.exchange import Headers
from ferryman.simulator.script import IDENT, End, Script
from ferryman.simulator.service import Service

TICK = 0.002
"""Seconds: steps due within the same tick are played in one go."""


class Ticker:
    """Calls many things at many times from one timer. Times are the loop's, in seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.slots: dict[int, list[Callable[[], None]]] = {}
        self.next = 0
        self.running = False

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call ``call`` at ``when``, at most a tick late."""
        now = int(self.loop.time() / TICK)
        if not self.running:
            self.running, self.next = True, now
            self.loop.call_later(TICK, self._tick)
        slot = max(int(when / TICK) + 1, self.next + 1)
        calls = self.slots.get(slot)
        if calls is None:
            self.slots[slot] = [call]
        else:
            calls.append(call)

    def _tick(self) -> None:
        now = int(self.loop.time() / TICK)
        while self.next < now:
            self.next += 1
            for call in self.slots.pop(self.next, ()):
                call()
        if self.slots:
            self.loop.call_at((self.next + 1) * TICK, self._tick)
        else:
            self.running = False


class Connection(asyncio.Protocol):
    """One caller. Requests are answered in order; those that came early wait."""

    def __init__(self, server: "Simulator") -> None:
        self.server = server
        self.parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.waiting: deque[tuple[Script, bool]] = deque()
        self.script: Script | None = None
        self.keep = True
        """Whether the caller wants the connection kept after the present reply."""
        self.step = 0
        self.due = 0.0
        self.ident = b""
        self.paused = False
        self.target = b""
        self.headers: Headers = []
        self.body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # libuv's is no subclass
        sock = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.connections.add(self)
        self.server.service.stats.connections += 1
        self.server.service.stats.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        stats = self.server.service.stats
        stats.open -= 1
        if self.script is not None:
            self.script = None
            stats.active -= 1
            stats.cancelled += 1

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.script is not None and self.step:
            self.due = max(self.due, self.server.loop.time())
            self.play()

    # -- requests -------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.transport.close()
        except httptools.HttpParserError:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
            self.transport.close()

    def on_message_begin(self) -> None:
        self.target, self.headers, self.body = b"", [], []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))
        if value.lower() == b"100-continue" and name.lower() == b"expect":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        method = self.parser.get_method()
        body = self.body[0] if len(self.body) == 1 else b"".join(self.body)
        script = self.server.service.handle(method, self.target, self.headers, body)
        self.waiting.append((script, self.parser.should_keep_alive()))
        self.advance()

    # -- replies --------------------------------------------------------------------------------

    def advance(self) -> None:
        """Answer those that wait, one after the other."""
        while self.script is None and self.waiting and not self.transport.is_closing():
            script, self.keep = self.waiting.popleft()
            self.begin(script)

    def begin(self, script: Script) -> None:
        """Start to play; what is due at once leaves at once."""
        self.ident = self.server.ident()
        if script.note is not None:
            script.note(self.ident)
        steps = script.steps
        if self.keep and script.at_once:
            self.transport.write(steps[0][1].replace(IDENT, self.ident))
            self.server.service.stats.answered += script.counted
            return
        self.script, self.step = script, 0
        self.server.service.stats.active += 1
        self.due = self.server.loop.time() + steps[0][0]
        if steps[0][0]:
            self.server.ticker.at(self.due, self.play)
        else:
            self.play()

    def play(self) -> None:
        """Send the step that is due and plan the next one."""
        script = self.script
        if script is None or self.paused:
            return  # gone; or resume_writing will call again
        steps = script.steps
        data = steps[self.step][1]
        if data:
            self.transport.write(data.replace(IDENT, self.ident))
        self.step += 1
        if self.step < len(steps):
            self.due += steps[self.step][0]
            self.server.ticker.at(self.due, self.play)
        elif script.end != End.HANG:
            self.finish(script)

    def finish(self, script: Script) -> None:
        """End the reply as its script says."""
        self.script = None
        self.server.service.stats.active -= 1
        self.server.service.stats.answered += script.counted
        if script.end == End.RESET:
            self.cut()
        elif script.end == End.CLOSE or not self.keep:
            self.transport.close()
        if script.hangup >= 0:
            when = self.server.loop.time() + script.hangup
            self.server.ticker.at(when, self.hang_up)
        self.advance()

    def hang_up(self) -> None:
        """Close the connection if it is idle."""
        if self.script is None:
            self.transport.close()

    def cut(self) -> None:
        """Reset the connection: no lingering, so that the peer gets RST instead of FIN."""
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Simulator:
    """A listening simulator; made by :func:`listen`."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self.service = service
        self.loop = loop
        self.ticker = Ticker(loop)
        self.connections: set[Connection] = set()
        self.listener: asyncio.Server | None = None
        self.more: dict[str, Any] = {}
        """What else the listener is made with."""
        self.shutting: asyncio.Task[None] | None = None
        self.count = 0
        service.door = self.shut

    def ident(self) -> bytes:
        """A new number for a reply, as wide as :data:`IDENT`."""
        self.count += 1
        return b"%024x" % self.count

    @property
    def port(self) -> int:
        """The TCP port listened on."""
        assert self.listener is not None
        return int(self.listener.sockets[0].getsockname()[1])

    async def open(self, **where: Any) -> None:
        """Listen, ``where`` as ``loop.create_server`` takes it. Raises OSError."""
        self.listener = await self.loop.create_server(
            lambda: Connection(self), backlog=8192, **where, **self.more
        )

    def shut(self, how: str, seconds: float) -> None:
        """Drop all connections and take none for ``seconds``.

        ``closed``: the port refuses them; ``deaf``: nobody picks up, since its queue is full.
        """
        if self.shutting is None or self.shutting.done():
            self.shutting = self.loop.create_task(self._shut(how, seconds))

    async def _shut(self, how: str, seconds: float) -> None:
        assert self.listener is not None
        family, address = self.listener.sockets[0].family, self.listener.sockets[0].getsockname()
        await asyncio.sleep(0.01)  # for the reply to whom asked for it
        await self.close()
        await asyncio.sleep(0.01)
        with contextlib.ExitStack() as queue:
            sock = socket.socket(family)  # bound, so that nobody else takes the port meanwhile
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            if how == "deaf":
                sock.listen(0)
                for _ in range(3):
                    caller = queue.enter_context(socket.socket(family))
                    caller.setblocking(False)
                    caller.connect_ex(address)
            await asyncio.sleep(seconds)
        await self.open(sock=sock)

    async def close(self) -> None:
        """Stop listening and drop all connections."""
        if self.listener is not None:
            self.listener.close()
        for connection in list(self.connections):
            connection.transport.abort()


async def listen(
    service: Service, *, host: str = "127.0.0.1", port: int = 0, **more: Any
) -> Simulator:
    """Serve on ``host:port`` (0 = a free port). Raises OSError when that can't be bound.

    ``more`` goes to ``loop.create_server``, such as ``ssl``.
    """
    simulator = Simulator(service, asyncio.get_running_loop())
    simulator.more = more
    await simulator.open(host=host, port=port)
    return simulator
