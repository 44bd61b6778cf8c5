"""Both HTTP ends in this process: what comes of damaged streams, however they are cut.

A transport of our own stands for the socket, so that thousands of cases fit into a second; the
ends, their parser and the loop are the real ones.
"""

import asyncio
import gzip
import re
import zlib
from typing import Any

import h11
from tests.http1.corpus import CASES, EVIL, GOOD

from ferryman.http1.client import ClientConnection, Fault, FaultKind
from ferryman.http1.connection import Connection
from ferryman.http1.exchange import Exchange, Headers
from ferryman.http1.limits import Limits, Refusal
from ferryman.http1.outbox import Outbox
from ferryman.http1.server import Server
from soak.fuzz import reading
from soak.fuzz.mutate import Chance, cuts, damaged

LIMITS = Limits(
    max_request_line=200, max_headers=10, max_header_bytes=1000, max_body_bytes=20_000,
    max_buffered_bytes=50_000, max_upload_bytes=30_000, max_spooled_bytes=100_000,
)  # fmt: skip
WORDS = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b":", b" ", b"\t", b",", b";", b"0\r\n\r\n",
    b"\r\n ", b"\r\n\t", b"\x0b", b"\xff", b"+", b"0x", b"_", b"HTTP/1.1", b"HTTP/1.0", b"5",
    b"Content-Length: 5\r\n", b"Content-Length : 5\r\n", b"content-length:0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding:\r\n chunked\r\n", b"chunked, ",
    b"Transfer-Encoding: identity\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n",
    b"Connection: keep-alive\r\n", b"Connection: content-length, host\r\n", b"ffffffff",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"Connection: Upgrade, HTTP2-Settings\r\n",
    b"Host: y\r\n", b"5;a=b\r\nhello\r\n", b"ffffffffffffffffff\r\n", b"http://y", b"CONNECT ",
    b"Content-Type: multipart/form-data; boundary=b\r\n", b"HEAD / ", b"GET /x HTTP/1.1\r\n", EVIL,
)  # fmt: skip
FORM = b"--b\r\nContent-Disposition: form-data; name=model\r\n\r\nx\r\n--b--\r\n"
ASKED = [
    *(data for data, _, _ in CASES.values() if len(data) < 3000),
    *GOOD.values(),
    b"POST /up HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(FORM), FORM),
    b"POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: 18000\r\n\r\n" + b"x" * 18_000,
    b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
]
_OK = b"HTTP/1.1 200 OK\r\n"
_TE = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
SAID = [
    _OK + b"Content-Length: 5\r\n\r\nhello",
    _OK + b"Content-Type: text/plain\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
    _OK + b"\r\nuntil the end",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"
    + _OK + b"Content-Length: 1\r\n\r\nx",
    _TE + b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n",
    _TE + b"1\r\na\r\n0\r\nX: y\r\nZ: \r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
    b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 1\r\n\r\na",
    _OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzip.compress(b"x" * 99))
    + gzip.compress(b"x" * 99),
    _OK + b"Content-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    % (len(zlib.compress(b"abc" * 99)), zlib.compress(b"abc" * 99)),
    _OK + b"Content-Length: 3\r\nConnection: close\r\n\r\nabc",
    _OK + b"X: %b\r\nContent-Length: 1\r\n\r\na" % (b"y" * 9000),
]  # fmt: skip


class Pipe:
    """Stands for a socket's transport: gives what is fed, keeps what is written."""

    def __init__(self, end: Any) -> None:
        self.end = end
        self.said = b""
        self.closing = self.shut = self.reading_paused = False
        end.connection_made(self)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def write(self, data: bytes) -> None:
        assert not self.shut, "written after the end"
        if not self.closing:
            self.said += data

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.shut = True

    def close(self) -> None:
        self.closing = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    async def feed(self, pieces: list[bytes]) -> None:
        """What a peer sends, piece by piece, as it is taken."""
        for piece in pieces:
            for _ in range(2000):
                if not self.reading_paused or self.closing:
                    break
                await asyncio.sleep(0)
            else:
                return  # a request waits for good: as it would for a real peer
            if self.closing:
                return
            self.end.data_received(piece)
        quiet = 0
        while quiet < 3:
            before = self.said
            await asyncio.sleep(0)
            quiet = quiet + 1 if self.said == before else 0

    async def hang_up(self) -> None:
        """The peer closes."""
        if not self.closing:
            self.end.eof_received()
        self.closing = True
        self.end.connection_lost(None)
        await asyncio.sleep(0)


# -- the server's end


class Listener:
    """A server without a socket, which notes what it was asked."""

    def __init__(self) -> None:
        self.seen: list[Exchange] = []
        self.server = Server(self._handle, LIMITS, self._refuse, asyncio.get_running_loop())

    def _handle(self, exchange: Exchange) -> None:
        self.seen.append(exchange)
        if exchange.target == b"/stream":
            exchange.start(200, [])
            exchange.write(b"one,")
            exchange.finish(b"two")
            return
        incoming = exchange.incoming
        if incoming is None:
            form = (exchange.header(b"content-type") or b"").lower().startswith(b"multipart")
            body = b"" if form else exchange.body
            exchange.respond(200, [(b"x-seen", b"%d" % len(self.seen))], body)
            return

        def more() -> None:
            if incoming.complete:
                exchange.body = incoming.read(0, 1 << 20)
                exchange.respond(200, [(b"x-seen", b"%d" % len(self.seen))], b"")

        incoming.on_more = more
        more()

    def _refuse(self, refusal: Refusal) -> tuple[Headers, bytes]:
        return [(b"x-code", refusal.code.encode())], b""

    async def close(self) -> None:
        """End its sweep."""
        await self.server.close(0)


Asked = tuple[bytes, bytes, Headers, bytes]


def _plain(headers: Headers) -> Headers:
    """Without what the body says better, and offers, which are ignored (RFC 9110 §7.8)."""
    return [pair for pair in headers if pair[0] not in (b"content-length", b"upgrade")]


async def _play(listener: Listener, pieces: list[bytes]) -> tuple[list[Asked], bytes]:
    """The requests that came of ``pieces`` and what was said to them."""
    listener.seen.clear()
    pipe = Pipe(Connection(listener.server))
    await pipe.feed(pieces)
    said = pipe.said
    await pipe.hang_up()
    server = listener.server
    assert not server.connections and not server.buffered and not server.spooled, "bytes are left"
    whole = [e for e in listener.seen if e.incoming is None or e.incoming.complete]
    seen = [(e.method, e.target, _plain(e.headers), e.body) for e in whole]
    said = re.sub(rb"date: [^\r]*\r\n", b"", said)
    return seen, said.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")


async def asked(listener: Listener, data: bytes, chance: Chance) -> None:
    """One stream of requests: ours takes no more than the strict reader does and nothing else than
    h11 does, in whatever pieces it comes, and answers each once and in order."""
    seen, said = await _play(listener, [data])
    strict, _ = reading.requests(data)
    assert len(seen) <= len(strict), f"served {seen[len(strict)]}, which is not clear"
    for ours, theirs in zip(seen, strict, strict=False):
        assert ours == (theirs.method, theirs.target, _plain(theirs.headers), theirs.body), theirs
    for ours, other in zip(seen, _by_h11(data), strict=False):
        assert (ours[0], ours[1], ours[3]) == other, (ours, other)
    replies = said
    for number, (method, _, _, _) in enumerate(seen):
        answer, replies = reading.reply(replies, closed=True, head=method == b"HEAD")
        assert answer.status == 200 and answer.body in (seen[number][3], b"one,two", b""), answer
        if not answer.keeps:
            assert not replies, "more after the end"
            break
    if replies:
        refusal, rest = reading.reply(replies, closed=True)
        assert refusal.status >= 400 and not refusal.keeps and not rest, replies
    for _ in range(2):
        pieces = cuts(chance, data)
        again = await _play(listener, pieces)
        assert again == (seen, said), (again, (seen, said), pieces)


def _by_h11(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """What h11 takes of a stream, up to what it refuses."""
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(data)
    out: list[tuple[bytes, bytes, bytes]] = []
    head: h11.Request | None = None
    body = b""
    while True:
        try:
            event = reader.next_event()
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                out.append((head.method, head.target, body))
                reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                reader.send(h11.EndOfMessage())
                reader.start_next_cycle()
            else:
                return out
        except h11.ProtocolError:
            return out


def ask(chance: Chance) -> bytes:
    """Some requests in a row, mostly damaged."""
    some = b"".join(chance.choices(ASKED, k=chance.randrange(1, 5)))
    return damaged(chance, some, WORDS, ASKED)


# -- the client's end


class Owner:
    """Stands for the pool of one connection."""

    def __init__(self) -> None:
        self.outbox = Outbox(asyncio.get_running_loop())
        self.free = 0

    def release(self, connection: ClientConnection) -> None:
        self.free += 1

    def lost(self, connection: ClientConnection) -> None:
        self.free = -1


class Catch:
    """A sink: what came, in its order."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.body = b""
        self.over = ""

    def on_head(self, status: int, headers: Headers) -> None:
        assert not self.status and not self.over
        self.status, self.headers = status, headers

    def on_data(self, data: bytes) -> None:
        assert self.status and not self.over
        self.body += data

    def on_end(self) -> None:
        assert self.status and not self.over
        self.over = "end"

    def on_fault(self, fault: Fault) -> None:
        assert not self.over
        assert fault.kind in (FaultKind.PROTOCOL, FaultKind.CLOSED), fault
        self.over = fault.kind

    def on_whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.on_head(status, headers)
        self.on_data(body)
        self.on_end()


Told = tuple[int, Headers, bytes, str, bool]


async def _hear(pieces: list[bytes], *, closed: bool) -> Told:
    """What came of a reply, and whether its connection was kept."""
    owner = Owner()
    link = ClientConnection(owner, asyncio.get_running_loop())
    pipe = Pipe(link)
    sink = Catch()
    link.send(sink, b"POST / HTTP/1.1\r\nhost: x\r\n\r\n", b"", 9, 9, 1e12)
    for piece in pieces:
        if pipe.closing:
            break
        link.data_received(piece)
    kept = owner.free == 1 and not pipe.closing
    if kept and not closed:
        again = Catch()
        link.send(again, b"POST / HTTP/1.1\r\nhost: x\r\n\r\n", b"", 9, 9, 1e12)
        link.data_received(_OK + b"Content-Length: 6\r\n\r\nsecond")
        assert (again.status, again.body, again.over) == (200, b"second", "end"), "desync"
    await pipe.hang_up()
    assert sink.over, "nobody was told of the end"
    return sink.status, sink.headers, sink.body, sink.over, kept


async def said(data: bytes, chance: Chance) -> None:
    """One upstream's reply: ours takes as a whole one only what the strict reader and h11 take so
    too, keeps the connection only where no byte is to spare, in whatever pieces it comes."""
    whole = await _hear([data], closed=False)
    status, _, body, over, kept = whole
    if over == "end":
        try:
            strict, rest = reading.reply(data, closed=True)
        except (reading.UnclearError, reading.WantsMoreError) as error:
            raise AssertionError(f"taken for whole: {whole}") from error
        packed = any(name == b"content-encoding" for name, _ in strict.headers)
        assert status == strict.status and (packed or body == strict.body), (whole, strict)
        spare = rest.strip(b"\r\n")  # blank lines begin no reply
        assert not kept or (strict.keeps and not spare), "kept with bytes to spare"
        other = _reply_by_h11(data)
        assert other is None or packed or other == (status, body), (whole, other)
    pieces = cuts(chance, data)
    apart = await _hear(pieces, closed=False)
    # A connection that ends within a reply gives as much of it as had come.
    assert apart[:4] == whole[:4] or over != "end", (pieces, apart, whole)
    assert (apart[3] == "end") == (over == "end"), (pieces, apart, whole)


def _reply_by_h11(data: bytes) -> tuple[int, bytes] | None:
    """The reply that h11 takes, if it takes one."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    reader.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(data)
    reader.receive_data(b"")
    status, body = 0, b""
    try:
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, body
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.ProtocolError:
        return None


def say(chance: Chance) -> bytes:
    """A reply, or two, mostly damaged."""
    some = b"".join(chance.choices(SAID, k=chance.choice((1, 1, 1, 2))))
    return damaged(chance, some, WORDS, SAID)
