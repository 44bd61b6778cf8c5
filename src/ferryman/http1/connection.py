"""One client connection of the server end: HTTP/1.1 on llhttp and libuv.

Rules that hold in this file:
1. Replies leave in the order of their requests: one exchange is answered at a time, others wait.
2. A connection that ends does so where its peer can tell what was complete, and after it could
   read our last words.
3. Every wait has a deadline, checked by one sweep for all connections, not by a timer each.
"""

import contextlib
import fcntl
import socket
import struct
import sys
import termios
from collections import deque
from typing import TYPE_CHECKING, Any

from ferryman.http1.intake import NEVER, NONE_WAITING, Intake
from ferryman.http1.limits import (
    SWEEP_SECONDS,
    Refusal,
)
from ferryman.http1.reply import STATUS_LINES, ServerExchange

if TYPE_CHECKING:
    from ferryman.http1.server import Server

_RESET = struct.pack("ii", 1, 0)


class Connection(Intake):
    """Keeps the order of requests, answers refusals, holds deadlines, and ends well."""

    __slots__ = ("_closing", "_eof", "_linger_ends", "_marked")

    def __init__(self, server: "Server") -> None:
        super().__init__(server)
        self._eof = False
        self._closing = False
        self._linger_ends = 0.0
        self._marked = 0.0

    @property
    def idle(self) -> bool:
        """True between two requests: nobody loses anything when the connection closes."""
        return self.current is None and not (
            self._queue or self._rest or self._begun or self._left or self._closing
        )

    @property
    def closing(self) -> bool:
        """True once the last reply has been written."""
        return self._closing

    # -- asyncio's side

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) and peer else "unix"
        server = self.server
        server.connections.add(self)
        self.deadline = self.now() + server.limits.idle_seconds
        if server.draining:
            self._close()
        elif len(server.connections) > server.limits.max_connections:
            self._refuse(Refusal(503, "too_many_connections", "Too many connections; retry later."))
        elif not transport.can_write_eof():
            transport.set_write_buffer_limits(65_536)  # TLS would take half a megabyte

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.forget(self)
        self._deaf = self._closing = True
        self._forget_requests()
        self._parser = None  # it refers back to us: let both go now, not at the next collection
        self._template = None
        current, self.current = self.current, None
        if current is not None:
            current.lost()

    def eof_received(self) -> bool:
        self._eof = True
        if self._closing:
            return False
        while self._queue and self.current is None and not self.paused and not self._closing:
            self._next()
        current = self.current
        if current is not None:
            # A half-close cannot be told from a close; like most servers we take it as leaving,
            # but tell a peer that is still reading why it gets no answer.
            self.current = None
            current.lost()  # first: it must not answer, too
            if current.started:
                self.cut()
            else:
                self._refuse_now(
                    Refusal(400, "client_closed_request", "You stopped sending before the answer.")
                )
        elif (self._begun or self._left) and not self._closing:
            self._refuse_now(
                Refusal(400, "incomplete_request", "The connection ended inside the request.")
            )
        self.server.outbox.flush()  # uvloop closes now
        return False

    def pause_writing(self) -> None:
        self.paused = True
        self._mark = -1
        self.deadline = self.now() + SWEEP_SECONDS

    def resume_writing(self) -> None:
        self.paused = False
        if self._closing:
            return
        current = self.current
        if current is None:
            self._go_on()
            return
        self.deadline = NEVER if self._upload is None else self.now() + SWEEP_SECONDS
        if current.on_resume is not None:
            current.on_resume()

    # -- order

    def _next(self) -> None:
        """Hand the next complete request to the handler, if none is being answered."""
        if self.current is not None or self.paused or self._closing:
            return
        if self._queue:
            item = self._queue.popleft()
            if isinstance(item, Refusal):
                self._refuse_now(item)
            else:
                self._start(item)
        elif self._rest:
            rest, self._rest = self._rest, b""
            self._feed(rest)
            if self.current is None and not self._closing:
                self._go_on()

    def _start(self, exchange: ServerExchange) -> None:
        self.current = exchange
        self.deadline = NEVER
        try:
            self.server.handler(exchange)
        except Exception as error:
            self._failed(exchange, error)

    def _failed(self, exchange: ServerExchange, error: Exception) -> None:
        """The handler has a fault of its own: say so, and serve on."""
        self.server.loop.call_exception_handler(
            {"message": "a request's handler failed", "exception": error, "protocol": self}
        )
        if self.current is not exchange:
            return
        if exchange.started:
            exchange.abort()
        else:
            refusal = Refusal(500, "internal_error", "The server failed to handle this request.")
            refusal.target = exchange.target
            exchange.respond(500, *self.server.refuse(refusal))

    def answered(self, keep_alive: bool) -> None:
        """The current exchange is complete: close, or go on with the next one."""
        self.current = None
        if not keep_alive:
            self._linger()
        elif self._queue or self._begun or self._reading_paused:
            self._go_on()
        else:
            self.deadline = self.now() + self.server.limits.idle_seconds

    def _go_on(self) -> None:
        """No exchange is being answered: turn to what has come in the meantime."""
        now = self.now()
        self.deadline = now + self.server.limits.idle_seconds
        if self.paused:
            return
        if self._queue or self._rest:
            # Not at once: a pipeline of a thousand requests must neither nest a thousand calls
            # deep nor keep all other connections waiting.
            self.server.loop.call_soon(self._next)
            return
        self._resume_reading()
        if self._early:
            self._begin_upload()
        elif self._headers_done:
            self._await_body()
            self._continue()
        elif self._begun:
            self.deadline = now + self.server.limits.header_seconds

    def _continue(self) -> None:
        """Ask for the body of a request that waits to be asked, when it is its turn."""
        if self._expect and self._headers_done and self.current is None and not self._queue:
            self._expect = False
            if not self._body_bytes:
                self.server.outbox.write(self.transport, b"HTTP/1.1 100 Continue\r\n\r\n")

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self.transport.resume_reading()

    # -- ends

    def _forget_requests(self) -> None:
        """Let go of all that was received and not yet handed to the handler."""
        self.server.buffered -= self._body_bytes
        self._reset()
        for item in self._queue:
            if isinstance(item, ServerExchange):
                item.release()
        self._queue = NONE_WAITING
        self._rest = b""
        self._left = 0
        self._upload = None
        self._last = None

    def _refuse(self, refusal: Refusal) -> None:
        """Answer with ``refusal`` after everything before it, then end the connection."""
        self._problem = None
        refusal.target = self._url if self._upload is None else self._upload.target
        if self._upload is not None:
            self._break_upload(self._upload, refusal)
            return
        self._deaf = True
        self.server.buffered -= self._body_bytes
        self._reset()
        self._rest = b""
        self._left = 0
        if self.current is None and not self._queue:
            self._refuse_now(refusal)
            return
        if self._queue is NONE_WAITING:
            self._queue = deque()
        self._queue.append(refusal)

    def _break_upload(self, exchange: ServerExchange, refusal: Refusal) -> None:
        """The rest of an upload won't come: nobody may go on with what did."""
        self._upload = None
        self.current = None
        exchange.lost()  # first: it must not answer, too
        if exchange.started:
            self.cut()
        else:
            self._refuse_now(refusal)

    def _refuse_now(self, refusal: Refusal) -> None:
        headers, body = self.server.refuse(refusal)
        block = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        self.server.outbox.write(
            self.transport,
            b"%b%b%bconnection: close\r\ncontent-length: %d\r\n\r\n%b"
            % (STATUS_LINES[refusal.status], block, self.server.date, len(body), body),
        )
        self._linger(refused=True)

    def _linger(self, *, refused: bool = False) -> None:
        """Close, but let a peer that is still sending read our last words first."""
        self._forget_requests()
        self._deaf = self._closing = True
        now = self._marked = self.now()
        self._mark = -1
        self._noisy = False
        self.server.outbox.flush()
        self._linger_ends = now + self.server.limits.linger_most_seconds
        self.deadline = now + self.server.limits.linger_seconds
        transport = self.transport
        if transport.is_closing():
            return
        if self._eof:
            transport.close()
        elif transport.can_write_eof():
            self._resume_reading()
            transport.write_eof()
        elif refused:
            self._resume_reading()  # TLS can't half-close: the sweep closes when it is time
        else:
            transport.close()

    def _close(self) -> None:
        """Close when what was written has been sent."""
        self.server.outbox.flush()
        self._deaf = self._closing = True
        self._mark = -1
        self.deadline = self.now() + self.server.limits.linger_seconds
        self.transport.close()

    def close_idle(self) -> None:
        """Close at once; for connections that are :attr:`idle`."""
        self._close()

    def cut(self) -> None:
        """End the connection so that the peer sees an error, not an end."""
        self.server.outbox.flush()
        self.drop()

    def drop(self) -> None:
        """The same, whatever waits to be sent."""
        self._deaf = self._closing = True
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    # -- deadlines

    def _unread(self) -> int:
        """Bytes that the peer has yet to take, in our buffer and in the kernel's.

        The kernel asks for more only when a third of its megabytes is free: by our buffer alone, a
        peer on a slow line would not seem to read at all.
        """
        count = self.transport.get_write_buffer_size()
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                queued = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
                count += int.from_bytes(queued, sys.byteorder)
        return count

    def _stuck(self, count: int, now: float) -> bool:
        """True when ``count`` has not changed for as long as a connection may be idle."""
        if count != self._mark:
            self._mark = count
            self._marked = now
        return now - self._marked >= self.server.limits.idle_seconds

    def overdue(self, now: float) -> None:
        """Called by the sweep when ``deadline`` has passed."""
        limits = self.server.limits
        if self._closing:
            self._overstay(now)
        elif self.paused:
            if self._stuck(self._unread(), now):
                self.cut()
            else:
                self.deadline = now + SWEEP_SECONDS
        elif self._upload is not None and self._upload.incoming is not None:
            self._hasten(self._upload.incoming.size, now)
        elif self.current is not None or self._queue:
            self.deadline = NEVER
        elif self._body_started:
            self._hasten(self._body_bytes, now)
        elif self._begun:
            self._refuse(
                Refusal(408, "header_timeout", f"No whole head in {limits.header_seconds:g} s.")
            )
        else:
            self._close()

    def _hasten(self, come: int, now: float) -> None:
        """Refuse a body of which ``come`` bytes are here, if it comes too slowly."""
        limits = self.server.limits
        due = limits.min_body_rate * (now - self._body_started - limits.body_grace_seconds)
        if come < due or self._stuck(come, now):
            self._refuse(Refusal(408, "body_timeout", "The body arrived too slowly."))
        else:
            self.deadline = now + SWEEP_SECONDS

    def _overstay(self, now: float) -> None:
        """A connection that is to close has not: the peer reads slowly, sends on, or is gone."""
        transport = self.transport
        unread = self._unread()
        self.deadline = now + self.server.limits.linger_seconds
        if unread or (transport.is_closing() and not transport.can_write_eof()):
            if self._stuck(unread, now):
                self.cut()
        elif self._noisy and now < self._linger_ends:
            self._noisy = False
        elif not transport.is_closing() and not transport.can_write_eof():
            transport.close()
        else:
            transport.abort()
