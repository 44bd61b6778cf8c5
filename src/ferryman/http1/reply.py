"""One request of a connection and its reply, on the server end."""

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from ferryman.http1.exchange import Headers
from ferryman.http1.limits import status_line
from ferryman.http1.spool import Spool

if TYPE_CHECKING:
    from ferryman.http1.intake import Intake

_now: Final[Callable[[], float]] = monotonic  # compiled, names of others are looked up each time
JOIN_BELOW: Final = 65_536
"""Head and body up to this many bytes leave as one buffer; above, the copy would cost more."""
STATUS_LINES: Final = {code: status_line(code) for code in range(100, 1000)}


class ServerExchange:
    """One request of a connection, see :class:`ferryman.http1.exchange.Exchange`."""

    gone = False
    started = False
    held = 0
    """Bytes of the body that are counted in ``server.buffered`` until the reply is complete."""
    incoming: Spool | None = None
    spooled = 0
    """Bytes of it that are counted in ``server.spooled``."""
    on_gone: Callable[[], None] | None = None
    on_resume: Callable[[], None] | None = None
    _ending: "Intake | None" = None
    """The connection, once the end of the reply is on its way."""

    def __init__(
        self,
        conn: "Intake",
        method: bytes,
        target: bytes,
        headers: Headers,
        body: bytes,
        shared: dict[str, Any],
    ) -> None:
        self._conn: Intake | None = conn
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.peer = conn.peer
        self.began = _now()
        self.shared = shared
        self._chunked = conn.http11
        self._keep_alive = conn.keep_alive
        self._mute = method == b"HEAD"
        """True: no body is sent, or another one in its place."""

    def header(self, name: bytes) -> bytes | None:
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def _head(
        self, conn: "Intake", status: int, headers: Headers | bytes, last: bytes, body: bytes
    ) -> bytes:
        """The head, ended by ``last``, and ``body`` behind it."""
        if isinstance(headers, list):
            headers = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        if not self._keep_alive or conn.server.draining or self._unfinished():
            self._keep_alive = False
            last = b"connection: close\r\n" + last
        elif not self._chunked:
            last = b"connection: keep-alive\r\n" + last
        return b"".join((STATUS_LINES[status], headers, conn.server.date, last, body))

    def _unfinished(self) -> bool:
        """True when answered before all of the request was there: the rest can't be told apart."""
        return self.incoming is not None and not self.incoming.complete

    def respond(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        conn = self._conn
        if conn is None or self.started:
            return
        self.started = True
        self._ending = conn
        if self._mute or len(body) > JOIN_BELOW:
            head = self._head(conn, status, headers, _framing(status, body), b"")
            conn.server.outbox.write(conn.transport, head, self, b"" if self._mute else body)
        else:
            data = self._head(conn, status, headers, _framing(status, body), body)
            conn.server.outbox.write(conn.transport, data, self)
        self._done(conn)

    def instead(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        conn = self._conn or self._ending
        if conn is None or self._mute:
            return
        data = b""
        if status:
            data = self._head(conn, status, headers, _framing(status, body), body)
        elif body and self._ending is not None:
            data = self._last(body)
        self._mute = True
        waits = conn.server.outbox.replace(self, data, status > 0)
        if (waits and not data) or (not waits and self._conn is not None):
            conn.drop()

    def start(self, status: int, headers: Headers | bytes) -> None:
        conn = self._conn
        if conn is None or self.started:
            return
        self.started = True
        if self._chunked:
            last = b"transfer-encoding: chunked\r\n\r\n"
        else:
            self._keep_alive = False
            last = b"\r\n"
        conn.server.outbox.write(conn.transport, self._head(conn, status, headers, last, b""), self)

    def write(self, data: bytes) -> bool:
        conn = self._conn
        if conn is None:
            return True
        if data and not self._mute:
            if self._chunked:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            conn.server.outbox.write(conn.transport, data)
        return not conn.paused

    def finish(self, data: bytes = b"") -> None:
        conn = self._conn
        if conn is None:
            return
        self._ending = conn
        if not self._mute:  # also where only the end of the connection says that it has ended
            conn.server.outbox.write(conn.transport, self._last(data), self)
        self._done(conn)

    def _last(self, data: bytes) -> bytes:
        """The last piece of a streamed reply as it is sent, with the end of the framing."""
        if not self._chunked:
            return data
        return b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"

    def abort(self) -> None:
        conn = self._conn
        if conn is not None:
            self.release()
            self._conn = None
            self.on_gone = self.on_resume = None
            conn.current = None
            conn.cut()

    def _done(self, conn: "Intake") -> None:
        keep_alive = self._keep_alive and not self._unfinished()
        if self.held or self.incoming is not None:
            self.release()
        self._conn = None
        self.on_gone = self.on_resume = None
        conn.answered(keep_alive)

    def release(self) -> None:
        """Count the body no longer, and let go of what was kept of an upload."""
        if self._conn is None:
            return
        self._conn.server.buffered -= self.held
        self.held = 0
        if self.incoming is not None:
            self._conn.server.spooled -= self.spooled
            self.spooled = 0
            self.incoming.close()

    def lost(self) -> None:
        """The connection is no more: tell whoever is working on the reply."""
        self.release()
        self._conn = None
        self.gone = True
        callback, self.on_gone = self.on_gone, None
        self.on_resume = None
        if callback is not None:
            callback()


def _framing(status: int, body: bytes) -> bytes:
    """The last lines of a head that ``body`` follows."""
    if body or (status != 204 and status != 304):
        return b"content-length: %d\r\n\r\n" % len(body)
    return b"\r\n"


class Template:
    """A request head that this connection has sent before, cut around its content-length.

    Clients that keep a connection alive repeat themselves: only the length differs. A head with the
    same bytes before and after the digits has the same meaning, so it needs no second parse.
    """

    __slots__ = ("before", "digits_at", "headers", "method", "shared", "target", "then")

    def __init__(self, head: bytes, at: int, end: int, exchange: "ServerExchange") -> None:
        self.before = head[:at]
        self.digits_at = at
        self.then = head[end:]
        self.method = exchange.method
        self.target = exchange.target
        self.headers = exchange.headers
        self.shared = exchange.shared
