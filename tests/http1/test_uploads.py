"""Uploads: handled from their head on, while their body still comes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ferryman.http1.limits import Limits
from ferryman.http1.spool import IN_MEMORY, Spool, SpoolReader
from tests.http1.scene import LAST, Scene, on_loop, scene

LIMITS = Limits(max_upload_bytes=4_000_000, max_body_bytes=100_000)
TYPE = b"Content-Type: multipart/form-data; boundary=b\r\n"


def opening(length: int = -1, target: bytes = b"/later", more: bytes = b"") -> bytes:
    """The head of an upload of ``length`` bytes; chunked without one."""
    framing = b"Transfer-Encoding: chunked" if length < 0 else b"Content-Length: %d" % length
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%b%b%b\r\n\r\n" % (target, TYPE, more, framing)


def spooled(exchange: Any) -> bytes:
    """All that has come of an upload so far."""
    spool = exchange.incoming
    out = b""
    while data := spool.read(len(out), 1000):
        out += data
    return out


def patterned(size: int) -> bytes:
    return bytes(i * 7 & 255 for i in range(1000)) * (size // 1000)


@on_loop
async def test_an_upload_is_handled_before_it_is_whole() -> None:
    async with scene(limits=LIMITS) as stage:
        peer = await stage.peer()
        body = patterned(600_000)
        await peer.send(opening(len(body)) + body[:5000])
        exchange: Any = await stage.later()
        assert (exchange.body, exchange.incoming.announced) == (b"", 600_000)
        await stage.until(lambda: exchange.incoming.size == 5000)
        told: list[int] = []
        exchange.incoming.on_more = lambda: told.append(exchange.incoming.size)
        await peer.send(body[5000:100_000])
        await stage.until(lambda: exchange.incoming.size == 100_000)
        assert told[-1] == 100_000
        assert exchange.incoming.in_memory == stage.server.buffered == 100_000
        assert not exchange.incoming.complete
        await peer.send(body[100_000:])
        await stage.until(lambda: exchange.incoming.complete)
        assert exchange.incoming.in_memory == stage.server.buffered == 0
        assert stage.server.spooled == 600_000
        assert spooled(exchange) == body
        exchange.respond(200, [], b"thanks")
        assert (await peer.reply()).body == b"thanks"
        assert stage.server.spooled == 0
        await peer.send(LAST)  # the connection lives on
        assert (await peer.reply()).body == b"GET /last "


@on_loop
async def test_a_small_form_comes_whole_as_all_bodies_do() -> None:
    async with scene(limits=LIMITS) as stage:
        peer = await stage.peer()
        for _ in range(3):
            await peer.send(opening(4, b"/a") + b"form")
            assert (await peer.reply()).body == b"POST /a form"
        assert stage.recognised == 0, "a head of an upload is never taken for one seen before"


@on_loop
async def test_without_a_limit_for_uploads_a_form_is_like_all_bodies() -> None:
    async with scene(limits=Limits(max_body_bytes=100_000)) as stage:
        peer = await stage.peer()
        await peer.send(opening(50_000, b"/a") + b"x" * 20_000)
        await asyncio.sleep(0.05)
        assert not stage.seen
        await peer.send(b"x" * 30_000)
        assert len((await peer.reply()).body) == 50_008


@on_loop
async def test_chunks_however_they_are_cut(tmp_path: Path) -> None:
    pieces = [patterned(1000 * n) for n in (1, 3, 40)]
    sent = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\ntrail: 1\r\n\r\n"
    for size in (1, 7, 977, 8192):
        data = opening() + sent
        if size == 1:
            cut = [bytes([byte]) for byte in data[:400]] + [data[400:]]
        else:
            cut = [data[at : at + size] for at in range(0, len(data), size)]
        async with scene(tmp_path, limits=LIMITS) as stage:
            peer = await stage.peer()
            await peer.send_apart(cut)
            exchange: Any = await stage.later()
            await stage.until(lambda e=exchange: e.incoming.complete)
            assert spooled(exchange) == b"".join(pieces)
            assert exchange.incoming.announced == -1
            exchange.respond(200, [], b"ok")
            assert (await peer.reply()).body == b"ok"
        (tmp_path / "s").unlink(missing_ok=True)


@on_loop
async def test_uploads_wait_for_their_turn_and_the_next_request_for_its() -> None:
    async with scene(limits=LIMITS) as stage:
        peer = await stage.peer()
        body = patterned(150_000)
        await peer.send(
            b"GET /later/1 HTTP/1.1\r\nHost: x\r\n\r\n" + opening(len(body), b"/later/2")
        )
        first: Any = await stage.later()
        sending = asyncio.ensure_future(peer.send(body + opening(len(body), b"/later/3") + body))
        await asyncio.sleep(0.05)
        assert len(stage.pending) == 1
        assert stage.server.buffered <= 300_000
        first.respond(200, [], b"1")
        second: Any = await stage.later(2)
        await stage.until(lambda: second.incoming.complete)
        assert len(stage.pending) == 2
        assert spooled(second) == body
        second.respond(200, [], b"2")
        third: Any = await stage.later(3)
        await stage.until(lambda: third.incoming.complete)
        assert spooled(third) == body
        third.respond(200, [], b"3")
        await sending
        assert [(await peer.reply()).body for _ in range(3)] == [b"1", b"2", b"3"]


@on_loop
async def test_an_answer_before_the_end_of_the_upload_ends_the_connection() -> None:
    async with scene(limits=LIMITS) as stage:
        peer = await stage.peer()
        await peer.send(opening(1_000_000, b"/answers/at/once") + b"x" * 9000)
        reply = await peer.reply()
        assert reply.status == 200
        assert reply.headers["connection"] == "close"
        await peer.try_send(b"x" * 200_000)
        assert await peer.rest() == b""


@on_loop
async def test_an_upload_that_is_asked_for() -> None:
    async with scene(limits=LIMITS) as stage:
        peer = await stage.peer()
        await peer.send(opening(20_000, more=b"Expect: 100-continue\r\n"))
        assert (await peer.reply()).status == 100
        exchange: Any = await stage.later()
        await peer.send(b"x" * 20_000)
        await stage.until(lambda: exchange.incoming.complete)
        exchange.respond(200, [], b"ok")
        assert (await peer.reply()).body == b"ok"


async def broken(stage: Scene, exchange: Any) -> None:
    """The handler has heard that the rest won't come, and nothing of it is kept."""
    await stage.until(lambda: exchange.gone)
    assert stage.left == [b"/later"]
    assert stage.server.spooled == stage.server.buffered == 0
    exchange.respond(200, [], b"never")


@on_loop
async def test_too_large() -> None:
    async with scene(limits=LIMITS) as stage:
        peer = await stage.peer()
        await peer.send(opening(4_000_001))
        assert (await peer.reply()).body == b"body_too_large"
        peer = await stage.peer()
        await peer.send(opening() + b"1e8480\r\n" + b"x" * 2_000_000 + b"\r\n")
        exchange: Any = await stage.later()
        await peer.try_send(b"1e8481\r\n" + b"x" * 2_000_001)
        assert (await peer.reply()).body == b"body_too_large"
        await broken(stage, exchange)


@on_loop
async def test_malformed_in_the_midst() -> None:
    async with scene(limits=LIMITS) as stage:
        peer = await stage.peer()
        await peer.send(opening() + b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        exchange: Any = await stage.later()
        await peer.send(b"no chunk\r\n")
        assert (await peer.reply()).body == b"malformed_http"
        await broken(stage, exchange)


@on_loop
async def test_a_caller_who_leaves() -> None:
    async with scene(limits=LIMITS) as stage:
        peer = await stage.peer()
        await peer.send(opening(3_000_000) + b"x" * 400_000)
        exchange: Any = await stage.later()
        await stage.until(lambda: stage.server.spooled == 400_000)
        peer.sock.close()
        await broken(stage, exchange)


@on_loop
async def test_too_slow() -> None:
    limits = Limits(max_upload_bytes=9_000_000, min_body_rate=100_000, body_grace_seconds=0.1)
    async with scene(limits=limits) as stage:
        peer = await stage.peer()
        await peer.send(opening(9_000_000) + b"x" * 9000)
        exchange: Any = await stage.later()
        assert (await peer.reply()).body == b"body_timeout"
        await broken(stage, exchange)


@on_loop
async def test_a_reply_that_has_begun_is_cut() -> None:
    async with scene(limits=LIMITS) as stage:
        peer = await stage.peer()
        await peer.send(opening() + b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        exchange: Any = await stage.later()
        exchange.start(200, [])
        exchange.write(b"half an ")
        await peer.send(b"no chunk\r\n")
        reply = await peer.reply()
        assert not reply.whole
        await broken(stage, exchange)


@pytest.mark.parametrize("limit", ["spooled", "directory"])
@on_loop
async def test_no_room(limit: str) -> None:
    how: dict[str, Any] = {"spool_directory": "/nowhere/at/all"}
    if limit == "spooled":
        how = {"max_spooled_bytes": 700_000}
    async with scene(limits=Limits(max_upload_bytes=4_000_000, **how)) as stage:
        peer = await stage.peer()
        await peer.send(opening(3_000_000))
        exchange: Any = await stage.later()
        await peer.try_send(b"x" * 900_000)
        assert (await peer.reply()).body == b"gateway_overloaded"
        await broken(stage, exchange)


def test_a_spool_gives_what_it_got_with_one_place_replaced() -> None:
    spool = Spool()
    data = patterned(IN_MEMORY + 50_000)
    allowed = [True]
    reader = SpoolReader(spool, 1000, 1005, b"new", lambda: allowed[0])
    got = b""
    for at in range(0, len(data), 30_011):
        spool.append(data[at : at + 30_011])
        if spool.size > 1005:
            while piece := reader.pull(777):
                got += piece
        assert not reader.over
    assert reader.length == -1
    spool.end()
    assert reader.length == len(data) - 2
    assert reader.over
    assert got == data[:1000] + b"new" + data[1005:]
    again = SpoolReader(spool, 0, 0, b"", lambda: allowed[0])
    assert again.pull(10) == data[:10]
    allowed[0] = False
    assert again.pull(10) == b""
    assert again.stopped
    spool.close()


@on_loop
async def test_a_broken_upload_is_refused_in_the_shape_of_its_target() -> None:
    async with scene(limits=LIMITS, refuse=lambda refusal: ([], refusal.target)) as stage:
        peer = await stage.peer()
        await peer.send(opening(target=b"/later/a") + b"1\r\nx\r\n")
        await stage.later()
        await peer.send(b"no length\r\n")
        reply = await peer.reply()
        assert (reply.status, reply.body) == (400, b"/later/a")
