"""Replies of upstreams, good and bad, whole and cut at every byte."""

import asyncio
import gzip
import random
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ferryman.http1.client import MAX_HEAD_BYTES, MAX_HEADERS
from tests.http1.scene import on_loop
from tests.http1.upstream import Catch, Upstream, upstream

OK = b"HTTP/1.1 200 OK\r\n"
TE = OK + b"Transfer-Encoding: chunked\r\n\r\n"
TEXT = b"The quick brown fox jumps over the lazy dog. " * 20
CLOSED, PROTOCOL = "closed", "protocol"


def sized(body: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([OK[:-2], *fields, b"Content-Length: %d" % len(body), b"", body])


def raw_deflate(data: bytes) -> bytes:
    z = zlib.compressobj(wbits=-15)
    return z.compress(data) + z.flush()


class Case:
    """Bytes, whether the upstream closes behind them, and what is to come of it."""

    def __init__(
        self,
        data: bytes,
        body: bytes = b"",
        *,
        status: int = 200,
        close: bool = False,
        fault: str = "",
        kept: bool = False,
    ) -> None:
        self.data = data
        self.close = close
        self.expected = (status, body, fault, kept)


CASES: dict[str, Case] = {
    # complete, and the connection is kept
    "sized": Case(sized(b"hello"), b"hello", kept=True),
    "empty": Case(sized(b""), kept=True),
    "no reason": Case(b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", b"a", kept=True),
    "blank line first": Case(b"\r\n" + sized(b"a"), b"a", kept=True),
    "chunked": Case(TE + b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n", b"hello!", kept=True),
    "trailers": Case(TE + b"1\r\na\r\n0\r\nX: y\r\nContent-Encoding: br\r\n\r\n", b"a", kept=True),
    "continue first": Case(b"HTTP/1.1 100 Continue\r\n\r\n" + sized(b"a"), b"a", kept=True),
    "hints first": Case(
        b"HTTP/1.1 103 Hints\r\nLink: </x>\r\n\r\n" * 3 + sized(b"a"), b"a", kept=True
    ),
    "no content": Case(b"HTTP/1.1 204 No Content\r\n\r\n", status=204, kept=True),
    "not modified": Case(
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", status=304, kept=True
    ),
    "HTTP/1.0 kept": Case(
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", b"a", kept=True
    ),
    "error": Case(b"HTTP/1.1 429 Slow\r\nContent-Length: 1\r\n\r\na", b"a", status=429, kept=True),
    "odd fields": Case(
        sized(b"a", b"X:", b"Y: \t b c \t", b"!#$%&'*+-.^_`|~1: \xff", b"Keep-Alive: timeout=5"),
        b"a", kept=True,
    ),
    "upgrade offered": Case(
        sized(b"abc", b"Connection: upgrade", b"Upgrade: h2c"), b"abc", kept=True
    ),
    # complete, but the connection is not to be used again
    "sized and close": Case(sized(b"a", b"Connection: close"), b"a"),
    "HTTP/1.0": Case(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", b"a"),
    "chunked in HTTP/1.0": Case(
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", b"a"
    ),
    "until close": Case(OK + b"\r\nhello", b"hello", close=True),
    "until close in HTTP/1.0": Case(b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", close=True),
    "nothing until close": Case(OK + b"\r\n", close=True),
    "longer than it says": Case(sized(b"hello") + b"x", b"hello"),
    "two replies": Case(sized(b"a") + sized(b"b"), b"a"),
    "half a second reply": Case(sized(b"a") + OK, b"a"),
    "a byte behind the last chunk": Case(TE + b"1\r\na\r\n0\r\n\r\nx", b"a"),
    "a body where none may be": Case(
        b"HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\nx", status=204
    ),
    # incomplete
    "nothing": Case(b"", status=0, close=True, fault=CLOSED),
    "half a head": Case(OK + b"Content-Le", status=0, close=True, fault=CLOSED),
    "shorter than it says": Case(sized(b"hello")[:-1], b"hell", close=True, fault=CLOSED),
    "no last chunk": Case(TE + b"5\r\nhello\r\n", b"hello", close=True, fault=CLOSED),
    "half a chunk": Case(TE + b"5\r\nhel", b"hel", close=True, fault=CLOSED),
    "no end of trailers": Case(TE + b"1\r\na\r\n0\r\n", b"a", close=True, fault=CLOSED),
    "only a continue": Case(
        b"HTTP/1.1 100 Continue\r\n\r\n", status=0, close=True, fault=CLOSED
    ),
    # not HTTP
    "HTML": Case(b"<html><body>502 Bad Gateway</body></html>", status=0, fault=PROTOCOL),
    "HTTP/2 settings": Case(b"\x00\x00\x06\x04" + bytes(11), status=0, fault=PROTOCOL),
    "LF only": Case(b"HTTP/1.1 200 OK\nContent-Length: 1\n\na", status=0, fault=PROTOCOL),
    "folded field": Case(OK + b"X: a\r\n b\r\n\r\n", status=0, fault=PROTOCOL),
    "zero byte": Case(OK + b"X: a\0b\r\n\r\n", status=0, fault=PROTOCOL),
    "length and chunked": Case(
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status=0,
        fault=PROTOCOL,
    ),
    "two lengths": Case(
        OK + b"Content-Length: 5\r\nContent-Length: 4\r\n\r\nhello", status=0, fault=PROTOCOL
    ),
    "length with plus": Case(OK + b"Content-Length: +5\r\n\r\nhello", status=0, fault=PROTOCOL),
    "bad chunk": Case(TE + b"5\r\nhello\r\nzz\r\n", b"hello", fault=PROTOCOL),
    "chunk of another size": Case(TE + b"5\r\nhello!\r\n0\r\n\r\n", b"hello", fault=PROTOCOL),
    "unknown coding": Case(
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", status=0, fault=PROTOCOL
    ),
    "identity": Case(OK + b"Transfer-Encoding: identity\r\n\r\nx", status=0, fault=PROTOCOL),
    "switch of protocols": Case(
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", status=0,
        fault=PROTOCOL,
    ),
    "bare switch of protocols": Case(b"HTTP/1.1 101 S\r\n\r\n", status=0, fault=PROTOCOL),
    "status 0": Case(b"HTTP/1.1 000 OK\r\n\r\n" + sized(b"a"), status=0, fault=PROTOCOL),
    "status 99": Case(b"HTTP/1.1 99 OK\r\n\r\n", status=0, fault=PROTOCOL),
    # compressed
    "gzip": Case(sized(gzip.compress(TEXT), b"Content-Encoding: gzip"), TEXT, kept=True),
    "gzip in members": Case(
        sized(gzip.compress(TEXT) + gzip.compress(b"more"), b"Content-Encoding: X-GZIP"),
        TEXT + b"more", kept=True,
    ),
    "deflate": Case(sized(zlib.compress(TEXT), b"Content-Encoding: deflate"), TEXT, kept=True),
    "raw deflate": Case(sized(raw_deflate(TEXT), b"Content-Encoding: Deflate "), TEXT, kept=True),
    "identity encoding": Case(sized(b"a", b"Content-Encoding: identity"), b"a", kept=True),
    "gzip of nothing": Case(sized(b"", b"Content-Encoding: gzip"), kept=True),
    "gzip without content": Case(
        b"HTTP/1.1 204 No Content\r\nContent-Encoding: gzip\r\n\r\n", status=204, kept=True
    ),
    "unknown encoding": Case(sized(b"a", b"Content-Encoding: br"), status=0, fault=PROTOCOL),
    "two encodings": Case(sized(b"a", b"Content-Encoding: gzip, gzip"), status=0, fault=PROTOCOL),
    "no gzip at all": Case(sized(b"hello", b"Content-Encoding: gzip"), fault=PROTOCOL),
}  # fmt: skip


async def play(up: Upstream, case: Case, pieces: list[bytes]) -> tuple[Any, ...]:
    """What came of a case on a new connection whose reads are ``pieces``."""
    while (kept := up.pool.take()) is not None:
        kept.cancel()
    sink = Catch()
    number = len(up.lines) + 1
    connection = await up.send(sink)
    line = await up.line(number)
    await line.request()
    await line.send_apart(pieces)
    if case.close:
        line.end()
    await sink.done()
    await asyncio.sleep(0)
    kept = connection in up.pool.idle and not connection.broken  # type: ignore[assignment]
    if not kept:
        if not case.close:
            await line.client_closed()
        assert connection not in up.pool.idle
    line.end()
    return (sink.status, sink.body, sink.kind, bool(kept)), sink.headers, sink.calls


@pytest.mark.parametrize("name", CASES)
def test_each_reply_has_its_verdict_however_it_is_cut(name: str, tmp_path: Path) -> None:
    @on_loop
    async def check() -> None:
        case = CASES[name]
        data = case.data
        async with upstream(tmp_path) as up:
            whole = await play(up, case, [data])
            assert whole[0] == case.expected
            assert await play(up, case, [data[i : i + 1] for i in range(len(data))]) == whole
            for at in range(1, len(data)):
                assert await play(up, case, [data[:at], data[at:]]) == whole, at

    check()


def _damaged(chance: random.Random) -> bytes:
    """A reply of the list, with some damage, and maybe another behind it."""
    replies = [case.data for case in CASES.values()]
    data = bytearray(chance.choice(replies))
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(data) + 1)
        how = chance.randrange(4)
        if how == 0:
            data[at : at + 1] = chance.randbytes(1)
        elif how == 1:
            del data[at : at + chance.randrange(1, 20)]
        elif how == 2:
            data[at:at] = chance.choice((b"\r\n", b"\n", b" ", b":", b"0", b"5", OK, b"\0"))
        else:
            data[at:at] = data[at : at + chance.randrange(1, 60)]
    return bytes(data) + chance.choice((b"", b"", chance.choice(replies)))


@on_loop
async def test_damaged_replies_mean_the_same_however_they_are_cut(tmp_path: Path) -> None:
    chance = random.Random(11)
    async with upstream(tmp_path) as up:
        for number in range(800):
            case = Case(_damaged(chance), close=True)
            size = len(case.data)
            cuts = [0, *sorted(chance.randrange(size + 1) for _ in range(3)), size]
            pieces = [case.data[a:b] for a, b in pairwise(cuts) if a < b]
            whole = await play(up, case, [case.data])
            parts = await play(up, case, pieces)
            said = (number, pieces)
            assert parts[1:] == whole[1:], said
            assert (parts[0][0], parts[0][2]) == (whole[0][0], whole[0][2]), said
            if b"encoding" not in case.data.lower() or not whole[0][2]:
                assert parts[0][1] == whole[0][1], said


# -- limits


@pytest.mark.parametrize(
    "data",
    [
        OK + b"X: y\r\n" * (MAX_HEADERS + 1) + b"Content-Length: 0\r\n\r\n",
        OK + b"X: " + b"a" * (MAX_HEAD_BYTES + 1),
        OK + b"X: y\r\n" * (MAX_HEAD_BYTES // 6 + 10),
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_HEAD_BYTES // 25 + 10),
        TE + b"0\r\n" + b"X: y\r\n" * (MAX_HEAD_BYTES // 6 + 10),
        TE + b"1\r\na\r\n0\r\nX: " + b"a" * (2 * MAX_HEAD_BYTES),
        TE + b"1;" + b"a" * (MAX_HEAD_BYTES + 10),
    ],
)
@on_loop
async def test_heads_and_trailers_have_limits(data: bytes) -> None:
    async with upstream() as up:
        sink = Catch()
        await up.send(sink)
        line = await up.line()
        await line.request()
        sending = asyncio.ensure_future(line.send(data))
        assert (await sink.done()).kind == PROTOCOL
        sending.cancel()
        await line.client_closed()


@on_loop
async def test_heads_within_the_limits_are_taken() -> None:
    async with upstream() as up:
        fields = [b"X-%d: %b" % (n, b"a" * 900) for n in range(MAX_HEADERS - 1)]
        sink = await up.ask(sized(b"hello", *fields))
        assert sink.body == b"hello"
        assert len(sink.headers) == MAX_HEADERS
        sink = await up.ask(TE, *[b"1;x=y\r\na\r\n"] * 100_000, b"0\r\n\r\n")
        assert sink.body == b"a" * 100_000
        assert len(up.lines) == 1


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
@on_loop
async def test_a_bomb_is_not_inflated(encoding: bytes) -> None:
    z = zlib.compressobj(9, wbits=31 if encoding == b"gzip" else 15)
    bomb = z.compress(bytes(50_000_000)) + z.flush()
    async with upstream() as up:
        for pieces in ([bomb], [bomb[i : i + 1000] for i in range(0, len(bomb), 1000)]):
            sink = Catch()
            number = len(up.lines) + 1
            await up.send(sink)
            line = await up.line(number)
            await line.request()
            await line.send(sized(bomb, b"Content-Encoding: " + encoding)[: -len(bomb)])
            for piece in pieces:
                try:
                    await line.send(piece)
                except OSError:
                    break
            assert (await sink.done()).kind == PROTOCOL
            assert len(sink.body) < 25_000_000
            await line.client_closed()


@on_loop
async def test_what_compresses_well_is_no_bomb() -> None:
    text = b'{"object": "list", "data": []}' * 30_000
    async with upstream() as up:
        sink = await up.ask(sized(gzip.compress(text), b"Content-Encoding: gzip"))
        assert sink.body == text
        assert b"content-encoding" not in [name for name, _ in sink.headers]
        assert b"content-length" not in [name for name, _ in sink.headers]


@pytest.mark.parametrize("cut", [1, 5, 11, 30])
@on_loop
async def test_compressed_bodies_that_end_early_are_faults(cut: int) -> None:
    whole = gzip.compress(TEXT)
    async with upstream() as up:
        sink = await up.ask(sized(whole[:-cut], b"Content-Encoding: gzip"))
        assert sink.kind == PROTOCOL
        damaged = whole[:20] + bytes([whole[20] ^ 0xFF]) + whole[21:]
        sink = await up.ask(sized(damaged, b"Content-Encoding: gzip"))
        assert sink.kind == PROTOCOL
        sink = await up.ask(sized(zlib.compress(TEXT) + b"x", b"Content-Encoding: deflate"))
        assert sink.kind == PROTOCOL
