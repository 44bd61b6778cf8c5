"""What one client sends: bytes in, complete requests or a refusal out.

Rules that hold in this file:
1. Parser callbacks only collect and note the time; decisions are taken after ``feed_data`` has
   returned.
2. How the bytes were cut into reads makes no difference to what they mean, nor does it when a head
   is recognised instead of parsed.
3. Nothing that is ambiguous is taken as if it were clear, and not one byte behind it is looked at.
4. What is held in memory is weighed against the limits before more of it is taken.
"""

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import httptools

from ferryman.http1 import head as heads
from ferryman.http1.exchange import Headers
from ferryman.http1.limits import ENDLESS, MAX_WAITING, SLICE, SMALL_BODY, Refusal
from ferryman.http1.reply import ServerExchange, Template
from ferryman.http1.spool import Spool

if TYPE_CHECKING:
    from ferryman.http1.server import Server

NEVER: Final = float("inf")
NONE_WAITING: Final["deque[ServerExchange | Refusal]"] = deque(maxlen=0)
"""Stands for an empty queue; most connections never need one of their own."""
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)


class Intake(asyncio.Protocol):
    """The receiving half of a connection; ``connection.py`` has the other."""

    __slots__ = (
        "_announced", "_begun", "_body", "_body_bytes", "_body_started", "_deaf", "_early",
        "_expect", "_fields", "_head", "_headers", "_headers_done", "_last", "_left", "_mark",
        "_method", "_more", "_noisy", "_parser", "_problem", "_queue", "_reading_paused", "_rest",
        "_served", "_template", "_unfruitful", "_upload", "_url", "current", "deadline", "http11",
        "keep_alive", "now", "on_body", "paused", "peer", "server", "transport",
    )  # fmt: skip

    transport: asyncio.Transport

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.now = server.loop.time
        self.peer = ""
        """The client's address, or ``unix``."""
        self.current: ServerExchange | None = None
        """The request that is being answered."""
        self.paused = False
        """True while the peer has yet to read what was written."""
        self.http11 = True
        self.keep_alive = True
        self.deadline = NEVER
        self._template: Template | None = None
        self._left = 0
        """Bytes still to come of a body whose head matched the template."""
        self._body: list[bytes] = []
        """Pieces of the body that the present read brought."""
        self.on_body = self._body.append  # the parser calls it with each piece: no frame of ours
        self._parser: Any = httptools.HttpRequestParser(self)
        self._more: bytearray | None = None
        """The body as far as earlier reads brought it."""
        self._upload: ServerExchange | None = None
        """The request that is being handled while its body still comes."""
        self._last: bytes | None = None
        """Its body's last piece, once that has come."""
        self._queue = NONE_WAITING
        """Complete requests that wait for their turn, with a refusal as the last, if any."""
        self._rest = b""
        """Received while enough requests were waiting, and not parsed yet."""
        self._served = False
        """True once a whole request has come."""
        self._problem: Refusal | None = None
        self._deaf = False
        """True once nothing more that is received counts."""
        self._noisy = False
        """True when a deaf connection has received something since the last look."""
        self._reading_paused = False
        self._mark = -1
        """What a deadline watched when it last looked: a count that should change."""
        self._body_bytes = 0
        self._reset()

    def _reset(self) -> None:
        """Make ready for the next request."""
        self._begun = False
        self._head = b""
        self._url = b""
        self._headers: Headers = []
        self._headers_done = False
        self._early = False
        """True for an upload, which is handled as soon as it is its turn."""
        self._announced = -1
        """Its length, if its head says that."""
        self._unfruitful = 0
        """Bytes received in a row that brought no piece of a body: heads, trailers, extensions."""
        self._expect = False
        self._body.clear()
        self._more = None
        self._body_bytes = 0
        """Of the body that is being received, counted in ``server.buffered``."""
        self._body_started = 0.0

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._noisy = True
            return
        template = self._template
        if template is not None and not self._begun:
            if self._left:
                self._take_body(data)
                return
            if data.startswith(template.before) and self._repeat(template, data):
                return
        if self._rest:
            self._rest += data
        else:
            self._feed(data)

    # -- heads that the parser reads

    def _feed(self, data: bytes) -> None:
        """Parse ``data``, slice by slice; what follows on many waiting requests has to wait."""
        size = len(data)
        for at in range(0, size, SLICE):
            self._parse(data[at : at + SLICE] if size > SLICE else data)
            if self._deaf:
                return
            if len(self._queue) >= MAX_WAITING:
                self._rest = data[at + SLICE :]
                self._pause_reading()
                return

    def _parse(self, data: bytes) -> None:
        if not self._headers_done:
            self._head = b"" if self._begun else data
        self._unfruitful += len(data)
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self._problem is None:
                    data = self._without_offer() + data[upgrade.args[0] :]
                    continue
            except httptools.HttpParserCallbackError:
                raise  # a fault of ours: nothing is known about the rest
            except httptools.HttpParserError as error:
                start = b"" if self._served else self._head
                if self._problem is None and self._body and self._last is None:
                    self._weigh()  # what came before it
                self._problem = self._problem or heads.not_http(error, start)
            break
        if self._last is not None:
            self._end_upload(self._last)
        if self._problem is None:
            self._weigh()
        if self._problem is not None:
            self._refuse(self._problem)
        elif self._early:
            self._begin_upload()
        elif self._expect:
            self._continue()
        if self._queue and self.current is None:
            self._next()
        if self._queue and not self._deaf and self._queue[-1].held:  # type: ignore[union-attr]
            self._pause_reading()

    def _without_offer(self) -> bytes:
        """The head just parsed, without its offer to upgrade, which is ignored (RFC 9110 §7.8).

        The parser takes what follows such a head for another protocol, while it is this request's
        body. So a new parser gets the head again.
        """
        head = b"%b %b HTTP/%b\r\n" % (
            self._parser.get_method(), self._url, self._parser.get_http_version().encode(),
        )  # fmt: skip
        head += b"".join([b"%b: %b\r\n" % pair for pair in self._headers if pair[0] != b"upgrade"])
        self._url, self._headers = b"", []
        self._parser = httptools.HttpRequestParser(self)
        return head + b"\r\n"

    def _weigh(self) -> None:
        """Hold what has come of an unfinished request against the limits."""
        if self._body:
            self._unfruitful = 0
            body = self._body
            self._keep(body[0] if len(body) == 1 else b"".join(body))
            body.clear()
        elif not self._begun:
            self._unfruitful = 0  # blank lines between requests
        else:
            # Whether a head is too large is said at its end: before that, how much of it the parser
            # has told depends on the cut, and so would whether it was too large or malformed first.
            limits = self.server.limits
            most = limits.max_request_line + 2 * limits.max_header_bytes
            if self._unfruitful > max(most, ENDLESS):
                self._problem = heads.too_large(
                    self._url, self._headers, limits
                ) or heads.headers_too_large(limits)
            del self._headers[limits.max_headers + 1 :]  # enough to refuse it

    def _keep(self, data: bytes) -> None:
        """Add a piece to the body that is being received."""
        if self._upload is not None:
            self._spool(self._upload, data)
            return
        if self._more is None:
            self._more = bytearray(data)
        else:
            self._more += data
        self._body_bytes += len(data)
        self.server.buffered += len(data)
        if self._body_bytes > self.server.limits.max_body_bytes:
            self._problem = heads.body_too_large(self.server.limits.max_body_bytes)
        elif self.server.buffered > self.server.limits.max_buffered_bytes:
            self._problem = _overloaded()

    def on_message_begin(self) -> None:
        self._begun = True
        if self.current is None and not self._queue:
            self.deadline = self.now() + self.server.limits.header_seconds

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        parser = self._parser
        method = parser.get_method()
        if self._problem is not None or (parser.should_upgrade() and method != b"CONNECT"):
            return  # an offer to upgrade comes again, without the offer
        version = parser.get_http_version()
        headers = self._headers
        self._problem = heads.faults(method, self._url, version, headers, self.server.limits)
        self._headers_done = True
        self._method = method
        self.http11 = version == "1.1"
        self._fields = [pair for pair in headers if pair[0] != b"content-length"]
        self._early = heads.is_upload(headers, self.server.limits)
        if self._early:
            self._announced = int(dict(headers).get(b"content-length", b"-1"))
        self._headers = []  # what comes now are trailers: read, weighed, and forgotten
        if self.http11:
            self._expect = (b"expect", b"100-continue") in [(n, v.lower()) for n, v in headers]
        self._await_body()

    def on_message_complete(self) -> None:
        if self._problem is not None or not self._headers_done:
            return
        limits = self.server.limits
        self._problem = heads.too_large(b"", self._headers, limits)
        body = b"".join(self._body)
        if self._upload is not None and self._last is None:
            self._last = body
            self._reset()
            return
        if self._more is not None:
            self._more += body
            body = bytes(self._more)
        if len(body) > limits.max_body_bytes:
            self._problem = heads.body_too_large(limits.max_body_bytes)
        if self._problem is not None:
            return
        self.keep_alive = self._parser.should_keep_alive()
        exchange = ServerExchange(self, self._method, self._url, self._fields, body, {})
        if not self._hold(exchange):
            return
        if self._queue is NONE_WAITING:
            self._queue = deque()
        self._queue.append(exchange)
        self._served = True
        if self.keep_alive and self.http11 and self.server.recognise and not self._early:
            self._remember(exchange)
        else:
            self._template = None  # its requests are taken for HTTP/1.1 that keeps alive
        self._reset()

    def _hold(self, exchange: ServerExchange) -> bool:
        """Count a large body until it is answered; False when there is no room for it."""
        server = self.server
        size = len(exchange.body)
        if size > SMALL_BODY or self._body_bytes:
            server.buffered += size - self._body_bytes
            self._body_bytes = size
            if server.buffered > server.limits.max_buffered_bytes:
                self._problem = _overloaded()
                return False
            exchange.held = size
        return True

    # -- uploads, handled while they come

    def _begin_upload(self) -> None:
        """Hand over a request whose body is still to come, when it is its turn."""
        if self.current is not None or self._queue or self.paused:
            self._pause_reading()
            return
        self._early = False
        self._template = None
        self.keep_alive = self._parser.should_keep_alive()
        exchange = ServerExchange(self, self._method, self._url, self._fields, b"", {})
        exchange.incoming = Spool(self.server.limits.spool_directory or None)
        exchange.incoming.announced = self._announced
        held = self._more
        self._more = None
        self.server.buffered -= self._body_bytes
        self._body_bytes = 0
        self._upload = exchange
        if held:
            self._spool(exchange, bytes(held))
        else:
            self._continue()
        self._served = True
        self._start(exchange)
        self._await_upload()

    def _spool(self, exchange: ServerExchange, data: bytes) -> None:
        """Keep a further piece of the upload, and let its handler know."""
        incoming = exchange.incoming
        server = self.server
        assert incoming is not None
        try:
            incoming.append(data)
        except OSError as error:
            self._problem = Refusal(
                503, "gateway_overloaded", f"There is no room to keep the upload: {error.strerror}."
            )
            return
        server.buffered += incoming.in_memory - exchange.held
        exchange.held = incoming.in_memory
        if not incoming.in_memory:
            server.spooled += incoming.size - exchange.spooled
            exchange.spooled = incoming.size
        limits = server.limits
        if incoming.size > limits.max_upload_bytes:
            self._problem = heads.body_too_large(limits.max_upload_bytes)
        elif (
            server.buffered > limits.max_buffered_bytes or server.spooled > limits.max_spooled_bytes
        ):
            self._problem = _overloaded()
        else:
            incoming.tell()

    def _end_upload(self, last: bytes) -> None:
        """All of the upload is here."""
        exchange = self._upload
        self._last = None
        if exchange is None:
            return  # answered and forgotten in the meantime
        behind = self._wrong(None)  # with what follows it
        if last:
            self._spool(exchange, last)
        own = self._wrong(behind)
        if own is not None:
            self._problem = own
            return
        self._upload = None
        self.deadline = NEVER
        assert exchange.incoming is not None
        exchange.incoming.end()
        if self._deaf:  # answered meanwhile, and that was the last
            self._problem = None

    def _wrong(self, problem: Refusal | None) -> Refusal | None:
        """Say what is wrong; what was wrong before."""
        before, self._problem = self._problem, problem
        return before

    def _await_upload(self) -> None:
        """Set the deadline of an upload that goes on; it may be answered by now."""
        if self._upload is None:
            return
        self._body_started = self.now()
        self._mark = -1
        self.deadline = self._body_started + self.server.limits.body_grace_seconds

    # -- heads seen before

    def _remember(self, exchange: ServerExchange) -> None:
        """Keep the head as a template, if it came in one read and has one content-length."""
        end = self._head.find(b"\r\n\r\n")
        head = self._head[: end + 4]
        found = _LENGTH.search(head)
        if end > 0 and found is not None and exchange.header(b"expect") is None:
            self._template = Template(head, found.start(1), found.end(1), exchange)

    def _repeat(self, template: Template, data: bytes) -> bool:
        """Take a request whose head matches the template; False when it doesn't after all."""
        left, end = heads.number_at(data, template.digits_at)
        then = end + len(template.then)
        if left < 0 or data[end:then] != template.then:
            return False
        body = data[then:]
        if left > self.server.limits.max_body_bytes or len(body) > left:
            return False  # refused, or with another request behind it: the parser's business
        if self.current is not None or self.paused or self._queue or self._rest:
            return False
        if len(body) == left:
            if left > SMALL_BODY:
                self._complete(template, body)
                return True
            self._start(
                ServerExchange(
                    self, template.method, template.target, template.headers, body, template.shared
                )
            )
            return True
        self._left = left
        self._url = template.target
        self._await_body()
        self._take_body(body)
        return True

    def _take_body(self, data: bytes) -> None:
        """Take a further piece of the body that belongs to a repeated head."""
        left = self._left
        rest = b""
        if len(data) > left:
            data, rest = data[:left], data[left:]
        self._left = left - len(data)
        self._keep(data)
        if self._problem is not None:
            self._refuse(self._problem)
        elif not self._left:
            assert self._template is not None
            self._complete(self._template, bytes(self._more or b""))
            if rest:
                self.data_received(rest)

    def _complete(self, template: Template, body: bytes) -> None:
        exchange = ServerExchange(
            self, template.method, template.target, template.headers, body, template.shared
        )
        if len(body) > SMALL_BODY or self._body_bytes:
            if not self._hold(exchange):
                assert self._problem is not None
                self._url = template.target
                self._refuse(self._problem)
                return
            self._reset()
        self._start(exchange)

    # -- waits

    def _await_body(self) -> None:
        self._body_started = self.now()
        self._mark = -1
        if self.current is None and not self._queue:
            self.deadline = self._body_started + self.server.limits.body_grace_seconds

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()

    # -- the other half's part

    def answered(self, keep_alive: bool) -> None:
        """The current exchange is complete."""
        raise NotImplementedError

    def cut(self) -> None:
        """End the connection so that the peer sees an error, not an end."""
        raise NotImplementedError

    def drop(self) -> None:
        """The same, whatever waits to be sent."""
        raise NotImplementedError

    def _start(self, exchange: ServerExchange) -> None:
        """Hand a request to the handler."""
        raise NotImplementedError

    def _next(self) -> None:
        """Start the first request that waits, if none is being answered."""
        raise NotImplementedError

    def _continue(self) -> None:
        """Ask for the body of a request that waits to be asked, when it is its turn."""
        raise NotImplementedError

    def _refuse(self, refusal: Refusal) -> None:
        """Answer with ``refusal`` after everything before it, then end the connection."""
        raise NotImplementedError


def _overloaded() -> Refusal:
    return Refusal(503, "gateway_overloaded", "Too many large requests at once; retry in a moment.")
