"""The client end: one HTTP/1.1 connection to an upstream, driven by callbacks.

Rules that hold in this file:
1. Parser callbacks only collect; the :class:`Sink` is called after ``feed_data`` has returned.
2. A connection is used again only after a complete reply, kept alive by both sides, with not one
   byte to spare. Anything else closes it.
3. Upstream bytes are hostile: head, body, and decompressed size all have caps.
"""

import asyncio
import re
import zlib
from enum import StrEnum
from typing import Any, Final, Protocol

import httptools

from ferryman.http1.exchange import Headers
from ferryman.http1.head import number_at
from ferryman.http1.outbox import Outbox
from ferryman.http1.spool import SpoolReader

NEVER: Final = float("inf")
USED_UP: Final = "the call's total time is used up"
"""What a :class:`Fault` of kind TIMEOUT says when it was the total deadline that passed."""
MAX_HEAD_BYTES: Final = 262_144
MAX_HEADERS: Final = 256
MAX_INFLATION = 200
"""Most bytes that one compressed byte may become, once past ``INFLATION_FREE`` bytes."""
INFLATION_FREE = 1 << 20


class FaultKind(StrEnum):
    """How an exchange with an upstream failed below HTTP's own status codes."""

    CONNECT = "connect"
    """No connection could be made; nothing was sent."""
    TIMEOUT = "timeout"
    CLOSED = "closed"
    """The upstream closed or reset the connection before its reply was complete."""
    PROTOCOL = "protocol"
    """The reply isn't valid HTTP, or breaks a cap."""
    CANCELLED = "cancelled"


class Fault(Exception):  # noqa: N818 - named for what it is to the upstream, not to us
    """An exchange that failed. ``fresh`` says that not one byte of a reply had arrived."""

    def __init__(self, kind: FaultKind, message: str, *, fresh: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.fresh = fresh


class Sink(Protocol):
    """Who receives a reply. ``on_end`` or ``on_fault`` comes last, exactly once."""

    def on_head(self, status: int, headers: Headers) -> None:
        """Status and headers, names in lower case; 1xx replies are passed over."""

    def on_data(self, data: bytes) -> None:
        """A piece of the body, decompressed; all that one read brought."""

    def on_end(self) -> None:
        """The reply is complete."""

    def on_fault(self, fault: Fault) -> None:
        """The reply will not be completed."""

    def on_whole(self, status: int, headers: Headers, body: bytes) -> None:
        """A reply that came in one piece: stands for on_head, on_data and on_end together."""


_OK: Final = b"HTTP/1.1 200 OK\r\n"
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_FRAMING: Final = frozenset(
    (b"transfer-encoding", b"content-encoding", b"connection", b"trailer", b"upgrade")
)
_BODIED: Final = frozenset((b"content-length", b"transfer-encoding"))
_LENGTH: Final = b"content-length"
_LENGTHS: Final = frozenset((b"Content-Length: ", b"content-length: "))
"""The spellings that nearly all have."""
_fields_seen: Final[dict[bytes, Any]] = {}
"""Header lines that upstreams repeat, parsed once into pairs. Bounded, and without framing in it.
(``Any``, since compiled code would take a pair apart and make a new one.)"""
FIELDS_KEPT: Final = 2048


def _read_field(line: bytes) -> tuple[bytes, bytes] | None:
    """A plain header line as a pair; None when the full parser has to look at it."""
    if line[:16] in _LENGTHS:  # hardly ever the same as before
        number, end = number_at(line, 16)
        return (_LENGTH, line[16:]) if number >= 0 and end == len(line) else None
    if line[:15].lower() == b"content-length:":
        value = line[15:].strip(b" \t")
        return (_LENGTH, value) if value.isdigit() and len(value) < 10 else None
    found = _FIELD.fullmatch(line)
    if found is None:
        return None
    name, value = found[1].lower(), found[2].rstrip(b" \t")
    pair = (name, value)
    if name in _FRAMING and not (name == b"connection" and value.lower() == b"keep-alive"):
        return None
    if len(line) <= 128:
        if len(_fields_seen) >= FIELDS_KEPT:
            _fields_seen.clear()
        _fields_seen[line] = pair
    return pair


class ClientConnection(asyncio.Protocol):
    """One connection. ``send`` starts an exchange; the sink hears of the rest."""

    __slots__ = (
        "_active", "_active_before", "_awaits_content", "_body", "_chunked", "_complete",
        "_ended_by_close", "_eof", "_fields", "_first_byte", "_first_byte_by", "_fresh", "_full",
        "_headers", "_headers_done", "_idle_seconds", "_inflate", "_interim", "_keep_alive",
        "_large", "_parser", "_paused", "_sink", "_source", "_status", "_unfruitful", "broken",
        "deadline", "idle_since", "loop", "on_body", "pool", "total_deadline", "transport", "uses",
    )  # fmt: skip

    transport: asyncio.Transport

    def __init__(self, pool: "Owner", loop: asyncio.AbstractEventLoop) -> None:
        self.pool = pool
        self.loop = loop
        self.broken = False
        self.uses = 0
        self.idle_since = 0.0
        self.deadline = NEVER
        self.total_deadline = NEVER
        self._paused = False
        self._large = False
        """True when the request was too large to be sent at once."""
        self._source: SpoolReader | None = None
        """What is still to be sent of an upload."""
        self._chunked = False
        self._full = False
        """True while the transport has enough to send."""
        self._first_byte = 0.0
        self._first_byte_by = NEVER
        self._eof = False
        self._idle_seconds = NEVER
        self._sink: Sink | None = None
        self._parser: Any = None
        self._body: list[bytes] = []
        self.on_body = self._body.append  # the parser calls it with each piece: no frame of ours
        self._reset()

    def _reset(self) -> None:
        self._active = False
        """True when something came since a deadline was last set."""
        self._active_before = False
        self._awaits_content = False
        """True while the deadline for the first byte is still the one that holds."""
        self._body.clear()
        self._headers: Headers = []
        self._headers_done = False
        self._status = 0
        self._unfruitful = 0
        """Bytes in a row that brought no body; 0 only while nothing of a reply has come."""
        self._complete = False
        self._keep_alive = False
        self._fresh = True
        self._interim = False
        self._ended_by_close = False
        self._inflate: Inflater | None = None

    # -- the owner's side

    def send(
        self, sink: Sink, head: bytes, body: bytes, first_byte: float, idle: float, total: float
    ) -> None:
        """Send a request and give its reply to ``sink``.

        ``first_byte`` and ``idle`` are seconds; ``total`` is a loop time by which all must be over.
        A reply that stalls is given up after ``idle`` seconds, and before twice as many.
        """
        if self.broken:
            sink.on_fault(Fault(FaultKind.CLOSED, "closed before it was used", fresh=True))
            return
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        self.uses += 1
        self._sink = sink
        self.deadline = self.loop.time() + first_byte
        self.total_deadline = total
        self._idle_seconds = idle
        self._large = len(body) > 65_536
        if self._large:
            self.pool.outbox.write(self.transport, head, self, body)
        else:
            self.pool.outbox.write(self.transport, head + body, self)

    def send_upload(
        self,
        sink: Sink,
        head: bytes,
        source: SpoolReader,
        first_byte: float,
        idle: float,
        total: float,
    ) -> None:
        """As :meth:`send`, with a body that is sent as it comes; ``head`` lacks its framing.

        ``first_byte`` seconds may also pass without the upstream taking more of the body.
        """
        length = source.length
        framing = b"content-length: %d" % length if length >= 0 else b"transfer-encoding: chunked"
        self.send(sink, b"%b%b\r\n\r\n" % (head, framing), b"", first_byte, idle, total)
        if self._sink is None:
            return
        self._large = True
        self._chunked = length < 0
        self._first_byte = first_byte
        self._source = source
        source.spool.on_more = self._pump
        self.pool.outbox.flush()
        self._pump()

    def _pump(self) -> None:
        """Send what has come of an upload, as far as the upstream takes it."""
        source = self._source
        moved = False
        while source is not None and not self._full:
            data = source.pull()
            if data:
                framed = b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
                self.transport.write(framed)
                moved = True
            elif source.stopped:
                self._fail(FaultKind.CANCELLED, "the upload was stopped")
                return
            elif source.over:
                if self._chunked:
                    self.transport.write(b"0\r\n\r\n")
                self._source = None
                moved = True
                break
            else:
                if not self._headers_done:
                    self.deadline = NEVER  # it is the caller who keeps us waiting
                return
        if moved and not self._headers_done:
            self.deadline = self.loop.time() + self._first_byte

    def cancel(self) -> None:
        """Give up the exchange: the connection is cut and the sink hears nothing more."""
        self._sink = None
        self._drop()

    def unsend(self) -> None:
        """Forget what waits to be sent."""
        self.pool.outbox.replace(self, b"")

    def pause(self) -> None:
        """Stop reading: whoever takes the data has had enough for now."""
        if self._paused or self.transport.is_closing():
            return
        self._paused = True
        self.deadline = NEVER
        self.transport.pause_reading()

    def resume(self) -> None:
        """Read on after :meth:`pause`."""
        if not self._paused or self.transport.is_closing():
            return
        self._paused = False
        self.deadline = self.loop.time() + self._idle_seconds
        self.transport.resume_reading()

    def await_content(self) -> None:
        """A stream's head has come: it still has until the deadline for the first byte to say
        something, or an idle time if that is longer."""
        if self._complete or self._first_byte_by == NEVER:
            return
        self._awaits_content = True
        self.deadline = max(self.deadline, self._first_byte_by)

    def content_came(self) -> None:
        """The stream says something: from now on it must not fall silent."""
        if self._awaits_content:
            self._awaits_content = False
            self.deadline = self.loop.time() + self._idle_seconds

    def only_alive(self) -> None:
        """What just came only keeps the connection open: no deadline moves for that."""
        self._active = self._active_before

    def hurry(self, seconds: float) -> None:
        """Whatever the reply still brings must be here within ``seconds``."""
        self.total_deadline = min(self.total_deadline, self.loop.time() + seconds)

    def overdue(self, now: float) -> None:
        """Called by the pool's sweep when a deadline has passed."""
        if now >= self.total_deadline:
            self._fail(FaultKind.TIMEOUT, USED_UP)
        elif self._awaits_content:
            self._fail(FaultKind.TIMEOUT, "it said nothing within the first-byte deadline")
        elif self._active:
            self._active = False
            self.deadline = now + self._idle_seconds
        elif self._headers_done:
            self._fail(FaultKind.TIMEOUT, f"no data for {self._idle_seconds:g} s")
        else:
            self._fail(FaultKind.TIMEOUT, "no reply within the first-byte deadline")

    # -- asyncio's side

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._pump()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sink is not None:
            if self._ended_by_close and self._eof and exc is None:
                self._finish(reusable=False)
            else:
                self._fail(FaultKind.CLOSED, f"connection lost: {exc}" if exc else "closed early")
        self.broken = True
        self._parser = None
        self.pool.lost(self)

    def eof_received(self) -> bool:
        self._eof = True  # TLS that is cut instead of closed doesn't come here
        return False

    def data_received(self, data: bytes) -> None:
        if self._sink is None:
            self._drop()  # bytes nobody asked for: the next reply could not be trusted
            return
        if not self._unfruitful and data.startswith(_OK) and self._take_whole(data):
            return
        self._active_before = self._active
        self._active = True
        self._fresh = False
        self._unfruitful += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(FaultKind.PROTOCOL, "the upstream switched protocols")
            return
        except (httptools.HttpParserError, httptools.HttpParserCallbackError) as error:
            cause = error.__context__ if isinstance(error.__context__, Fault) else None
            self._deliver()
            if self._complete and self._sink is not None:
                self._finish(reusable=False)  # this reply is whole; what follows is nobody's
                return
            self._fail(FaultKind.PROTOCOL, cause.message if cause else f"not valid HTTP: {error}")
            return
        if self._body:
            self._unfruitful = 1
        elif self._unfruitful > MAX_HEAD_BYTES and not self._complete:
            self._fail(FaultKind.PROTOCOL, f"response head or trailers over {MAX_HEAD_BYTES} bytes")
            return
        self._deliver()
        if self._complete and self._sink is not None:
            self._finish(reusable=self._keep_alive)

    def _take_whole(self, data: bytes) -> bool:
        """Take a plain 200 reply that is all here and no more; False leaves it to the parser."""
        head, blank, body = data.partition(b"\r\n\r\n")
        if not blank or len(head) > MAX_HEAD_BYTES:
            return False
        headers: list[Any] = []
        length = -1
        for line in head[len(_OK) :].split(b"\r\n"):
            pair = _fields_seen.get(line)
            if pair is None:
                pair = _read_field(line)
                if pair is None:
                    return False
                if pair[0] == b"content-length":  # which is never among those seen
                    if length >= 0:
                        return False
                    length, _ = number_at(pair[1], 0)
            headers.append(pair)
        if len(body) != length or len(headers) > MAX_HEADERS:
            return False
        if self._large and (self._source is not None or self.transport.get_write_buffer_size()):
            return False
        sink, self._sink = self._sink, None
        self.deadline = self.total_deadline = NEVER
        self.pool.release(self)
        if sink is not None:
            sink.on_whole(200, headers, body)
        return True

    def _deliver(self) -> None:
        if self._status and self._sink is not None:
            status, self._status = self._status, 0
            if not self._complete:
                self._active = False
                self._first_byte_by = self.deadline
                self.deadline = self.loop.time() + self._idle_seconds
            self._sink.on_head(status, self._fields)
        body = self._body
        if not body or self._sink is None:
            return
        data = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        if self._inflate is not None:
            try:
                data = self._inflate.feed(data)
            except Fault as fault:
                self._fail(fault.kind, fault.message)
                return
            if not data:
                return
        self._sink.on_data(data)

    # -- the parser's side

    def on_message_begin(self) -> None:
        if self._complete:
            self._keep_alive = False  # bytes to spare: what follows can't be trusted

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self._complete:
            raise Fault(FaultKind.PROTOCOL, "bytes after the end of the reply")
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:
                raise Fault(FaultKind.PROTOCOL, f"status {status} was not asked for")
            if [name for name, _ in self._headers if name in _BODIED]:
                raise Fault(FaultKind.PROTOCOL, f"status {status} has no body, and says it has")
            self._interim = True
            self._headers = []
            return
        if len(self._headers) > MAX_HEADERS:
            raise Fault(FaultKind.PROTOCOL, f"over {MAX_HEADERS} header fields")
        if self._unfruitful > MAX_HEAD_BYTES:  # may count body bytes: look closer
            size = sum([len(name) + len(value) + 4 for name, value in self._headers])
            if size > MAX_HEAD_BYTES:
                raise Fault(FaultKind.PROTOCOL, f"response head over {MAX_HEAD_BYTES} bytes")
        self._headers_done = True
        fields = dict(self._headers)
        coding = fields.get(b"transfer-encoding")
        if coding is not None:  # of several, the parser heeds the last
            codings = [v.lower() for name, v in self._headers if name == b"transfer-encoding"]
            if codings != [b"chunked"]:
                raise Fault(FaultKind.PROTOCOL, "its transfer-encoding is not understood")
        self._ended_by_close = not (
            b"content-length" in fields or coding is not None or status == 204 or status == 304
        )
        self._fields, self._headers = self._headers, []  # what comes now are trailers: forgotten
        encoding = fields.get(b"content-encoding", b"").strip().lower()
        if encoding and encoding != b"identity":
            self._inflate = Inflater(encoding)
            dropped = (b"content-encoding", b"content-length")
            self._fields = [pair for pair in self._fields if pair[0] not in dropped]
        self._status = status

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        else:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()  # llhttp forgets after this

    # -- ends

    def _finish(self, *, reusable: bool) -> None:
        sink, self._sink = self._sink, None
        inflate = self._inflate
        self.deadline = self.total_deadline = NEVER
        if self._large and (self._source is not None or self.transport.get_write_buffer_size()):
            reusable = False  # answered before all was sent
        self._source = None
        if reusable and not self.broken and not self.transport.is_closing():
            if self._paused:
                self.resume()
                self.deadline = NEVER
            self._reset()
            self.pool.release(self)
        else:
            self._drop()
        if sink is None:
            return
        if inflate is not None and not inflate.complete:
            sink.on_fault(Fault(FaultKind.PROTOCOL, "compressed body ends early"))
        else:
            sink.on_end()

    def _fail(self, kind: FaultKind, message: str) -> None:
        sink, self._sink = self._sink, None
        fresh = self._fresh
        self._drop()
        if sink is not None:
            sink.on_fault(Fault(kind, message, fresh=fresh))

    def _drop(self) -> None:
        self.broken = True
        self._source = None
        self.deadline = self.total_deadline = NEVER
        self.transport.abort()


class Owner(Protocol):
    """The pool, as a connection sees it."""

    outbox: Outbox

    def release(self, connection: ClientConnection) -> None:
        """The connection is free again."""

    def lost(self, connection: ClientConnection) -> None:
        """The connection is closed."""


class Inflater:
    """Bounded decompression of gzip and deflate: some upstreams send it although not asked."""

    def __init__(self, encoding: bytes) -> None:
        if encoding not in (b"gzip", b"x-gzip", b"deflate"):
            name = encoding.decode("latin-1")[:40]
            raise Fault(FaultKind.PROTOCOL, f"content-encoding {name!r} is not understood")
        self._gzip = encoding != b"deflate"
        self._z: Any = zlib.decompressobj(31) if self._gzip else None
        self._start = b""
        self._in = 0
        self._out = 0

    @property
    def complete(self) -> bool:
        """False when data ended inside the compressed body; no data at all is complete."""
        return not self._in or (self._z is not None and self._z.eof)

    def feed(self, data: bytes) -> bytes:
        """Raises :class:`Fault` when the data is not what it says, or a bomb."""
        self._in += len(data)
        if self._z is None:
            # Servers disagree on whether "deflate" has zlib's wrapper (RFC 9110 §8.4.1.2), whose
            # two first bytes are a multiple of 31 (RFC 1950 §2.2).
            data = self._start = self._start + data
            if len(data) < 2:
                return b""
            wrapped = data[0] & 15 == 8 and (data[0] * 256 + data[1]) % 31 == 0
            self._z = zlib.decompressobj(15 if wrapped else -15)
        try:
            return self._inflate(data)
        except zlib.error as error:
            raise Fault(FaultKind.PROTOCOL, f"bad compressed body: {error}") from None

    def _inflate(self, data: bytes) -> bytes:
        allowed = max(INFLATION_FREE, self._in * MAX_INFLATION) - self._out
        parts = []
        while data:
            if self._z.eof:
                if not self._gzip:
                    raise zlib.error("data after its end")
                self._z = zlib.decompressobj(31)  # gzip may have several members
            out = self._z.decompress(data, max(allowed, 0) + 1)
            self._out += len(out)
            allowed -= len(out)
            if allowed < 0:
                raise Fault(FaultKind.PROTOCOL, "compressed body inflates beyond reason")
            parts.append(out)
            data = self._z.unused_data
        return parts[0] if len(parts) == 1 else b"".join(parts)
