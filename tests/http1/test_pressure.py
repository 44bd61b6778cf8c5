"""Peers that read slowly, leave, half-close or stay; and a server that stops."""

import asyncio
import contextlib
import gc
import socket
from typing import Any

import pytest

from ferryman.http1.connection import Connection
from ferryman.http1.exchange import Exchange
from ferryman.http1.limits import Limits
from ferryman.http1.reply import ServerExchange
from tests.http1.scene import Scene, get, on_loop, post, scene

PIECE = b"x" * 50_000


def pending_bytes(stage: Scene) -> int:
    return sum(c.transport.get_write_buffer_size() for c in stage.server.connections)


# -- back-pressure


@on_loop
async def test_a_stream_waits_for_a_peer_that_does_not_read() -> None:
    async with scene() as stage:
        peer = await stage.peer(receive_buffer=100_000)
        await peer.send(get("/later"))
        exchange = await stage.later()
        written, most, resumed = 0, 0, 0

        def pump() -> None:
            nonlocal written, most, resumed
            resumed += 1
            while written < 200:
                written += 1
                more = exchange.write(PIECE)
                most = max(most, pending_bytes(stage))
                if not more:
                    exchange.on_resume = pump
                    return
            exchange.finish()

        exchange.start(200, [])
        pump()
        await asyncio.sleep(0.3)
        assert written < 200, "the peer has read nothing yet"
        assert resumed < 200
        reply = await peer.reply()
        assert len(reply.body) == 200 * len(PIECE)
        assert reply.whole
        assert resumed > 1
        assert most < 5 * len(PIECE)


@on_loop
async def test_a_peer_that_reads_nothing_is_cut_after_the_idle_time() -> None:
    async with scene(limits=Limits(idle_seconds=0.7)) as stage:
        peer = await stage.peer(receive_buffer=100_000)
        await peer.send(get("/later"))
        exchange = await stage.later()
        exchange.start(200, [])
        for _ in range(1000):
            if not exchange.write(PIECE):
                break
            await asyncio.sleep(0)
        await stage.until(lambda: exchange.gone)
        assert stage.left == [b"/later"]
        await stage.until(lambda: not stage.server.connections)
        assert not (await peer.reply()).whole


@on_loop
async def test_a_peer_that_reads_slowly_is_not_cut() -> None:
    async with scene(limits=Limits(idle_seconds=1.2, linger_seconds=0.1)) as stage:
        peers = [await stage.peer(receive_buffer=150_000) for _ in range(3)]
        size = 6_000_000
        await peers[0].send(get(f"/big/{size}"))
        await peers[1].send(get(f"/big/{size}", "Connection: close"))
        await peers[2].send(get(f"/big/{size}", version="1.0"))
        for _ in range(24):
            await asyncio.sleep(0.1)
            for peer in peers:
                # A little of it, as by a slow line; the kernel's buffers hold much of the rest.
                peer.got += await peer.loop.sock_recv(peer.sock, 50_000)
        assert len(stage.server.connections) == 3
        for peer in peers:
            reply = await peer.reply()
            assert (len(reply.body), reply.whole) == (size, True)


@on_loop
async def test_requests_wait_while_their_peer_does_not_read() -> None:
    """Or replies of a few bytes' requests would fill the memory."""
    async with scene() as stage:
        peer = await stage.peer(receive_buffer=100_000)
        for _ in range(25):  # apart, so that each is read by itself
            await peer.send(get("/big/1000000"))
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.2)
        assert len(stage.seen) < 10
        assert pending_bytes(stage) < 10_000_000
        for _ in range(25):
            assert len((await peer.reply()).body) == 1_000_000
        await peer.send(post("/", b"a"))
        assert (await peer.reply()).status == 200
        connection = next(iter(stage.server.connections))
        assert connection.deadline < float("inf"), "it can be idle for too long again"


# -- leaving


@pytest.mark.parametrize("how", ["close", "vanish"])
@pytest.mark.parametrize("begun", [False, True])
@on_loop
async def test_a_caller_that_leaves_is_noticed(how: str, begun: bool) -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(get("/later"))
        exchange = await stage.later()
        if begun:
            exchange.start(200, [])
            exchange.write(b"one")
            await peer.more()
        getattr(peer, how)()
        await stage.until(lambda: exchange.gone)
        assert stage.left == [b"/later"]
        exchange.respond(200, [], b"too late")
        exchange.start(200, [])
        assert exchange.write(b"too late")
        exchange.finish(b"too late")
        exchange.abort()
        assert stage.left == [b"/later"]
        await stage.until(lambda: not stage.server.connections)


@on_loop
async def test_a_caller_that_leaves_a_short_pipeline_is_noticed() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(get("/later") + get("/2") + get("/3"))
        exchange = await stage.later()
        peer.close()
        await stage.until(lambda: exchange.gone)
        assert [target for _, target, _, _ in stage.seen] == [b"/later"]


@on_loop
async def test_answering_from_within_on_gone_does_no_harm() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(get("/later"))
        exchange = await stage.later()
        done = []

        def gone() -> None:
            done.append(exchange.gone)
            exchange.respond(500, [], b"nobody hears")
            exchange.abort()

        exchange.on_gone = gone
        peer.vanish()
        await stage.until(lambda: done)
        assert done == [True]


# -- half-closed peers


@on_loop
async def test_half_closed_before_a_request() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        peer.half_close()
        assert await peer.rest() == b""
        assert not peer.reset


@pytest.mark.parametrize("data", [get("/")[:-1], b"\r\nG", post("/", b"hello")[:-1]])
@on_loop
async def test_half_closed_inside_a_request(data: bytes) -> None:
    async with scene() as stage:
        for warm in (False, True):
            peer = await stage.peer()
            if warm:
                assert (await peer.ask(post("/", b"hello"))).status == 200
            await peer.send(data)
            peer.half_close()
            reply = await peer.reply()
            assert (reply.status, reply.body) == (400, b"incomplete_request")
            assert await peer.rest() == b""


@on_loop
async def test_half_closed_after_requests_that_need_no_waiting() -> None:
    async with scene() as stage:
        for count in (1, 5, 500):
            peer = await stage.peer()
            await peer.send(b"".join([get(f"/{n}") for n in range(count)]))
            peer.half_close()
            for number in range(count):
                assert (await peer.reply()).body == b"GET /%d " % number
            assert await peer.rest() == b""
            assert not peer.reset


@on_loop
async def test_half_closed_while_waiting_is_leaving_but_is_told() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(get("/later") + get("/2"))
        exchange = await stage.later()
        peer.half_close()
        reply = await peer.reply()
        assert (reply.status, reply.body) == (400, b"client_closed_request")
        assert await peer.rest() == b""
        assert exchange.gone
        assert stage.left == [b"/later"]
        assert len(stage.seen) == 1


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@on_loop
async def test_half_closed_inside_a_stream_cuts_it_visibly(version: str) -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(get("/later", version=version))
        exchange = await stage.later()
        exchange.start(200, [])
        exchange.write(b"one")
        await peer.more()
        peer.half_close()
        assert not (await peer.reply()).whole
        assert exchange.gone


# -- abort


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("begun", [False, True])
@on_loop
async def test_an_aborted_reply_is_seen_to_be_incomplete(version: str, begun: bool) -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(get("/later", version=version))
        exchange = await stage.later()
        if begun:
            exchange.start(200, [])
            exchange.write(b"one")
            await peer.more()
        exchange.abort()
        if begun:
            assert not (await peer.reply()).whole
        else:
            assert await peer.rest() == b""
        assert stage.left == [], "the server did it itself"


# -- draining


@on_loop
async def test_closing_ends_idle_connections_and_lets_calls_end() -> None:
    async with scene() as stage:
        fresh, used, busy, half, piped = [await stage.peer() for _ in range(5)]
        assert (await used.ask(get("/"))).status == 200
        await busy.send(get("/later"))
        exchange = await stage.later()
        await half.send(post("/half", b"hello")[:-1])
        await piped.send(get("/later") + get("/never"))
        first = await stage.later(2)
        await asyncio.sleep(0.05)

        closing = asyncio.ensure_future(stage.server.close(10))
        assert await fresh.rest() == b""
        assert await used.rest() == b""
        assert not closing.done()
        await half.send(b"o")
        reply = await half.reply()
        assert (reply.body, reply.headers["connection"]) == (b"POST /half hello", "close")
        exchange.start(200, [])
        exchange.finish(b"whole")
        reply = await busy.reply()
        assert (reply.body, reply.whole, reply.headers["connection"]) == (b"whole", True, "close")
        first.respond(200, [], b"")
        assert (await piped.reply()).headers["connection"] == "close"
        for peer in (half, busy, piped):
            assert await peer.rest() == b""
            assert not peer.reset
            peer.close()
        assert await closing == 0
        assert b"/never" not in [target for _, target, _, _ in stage.seen]
        with pytest.raises(OSError):
            await stage.peer()


@on_loop
async def test_closing_cuts_what_does_not_end() -> None:
    async with scene() as stage:
        peers = [await stage.peer() for _ in range(3)]
        for peer in peers[:2]:
            await peer.send(get("/later"))
        exchange = await stage.later(2)
        exchange.start(200, [])
        assert await stage.server.close(0.3) == 2
        assert await peers[0].rest() == b""
        assert not (await peers[1].reply()).whole
        await stage.until(lambda: len(stage.left) == 2)
        assert exchange.gone


# -- memory


def alive(*kinds: type[Any]) -> int:
    return sum(isinstance(thing, kinds) for thing in gc.get_objects())


@pytest.mark.parametrize("leave", ["close", "vanish", "half_close"])
@on_loop
async def test_closed_connections_leave_nothing_behind(leave: str) -> None:
    """Without the garbage collector's help, which runs seldom in the gateway."""
    async with scene() as stage:
        gc.collect()
        before = alive(Connection, ServerExchange)
        gc.disable()
        try:
            for number in range(5):
                requests = [b"", get("/1"), get("/2") + post("/3", b"x" * 30_000), get("/later")]
                for data in [*requests, get("/later") + get("/4"), post("/5", b"x")[:-1], b"BAD"]:
                    peer = await stage.peer()
                    await peer.send(post("/", b"warm"))
                    await peer.reply()
                    await peer.send(data)
                    if b"/later" in data and number == 1:
                        exchange = await stage.later()
                        exchange.start(200, [])
                        exchange.write(PIECE)
                    if number == 2:
                        await asyncio.sleep(0.01)
                    getattr(peer, leave)()
                    if leave == "half_close":
                        await peer.rest()
                        peer.close()
                await stage.until(lambda: not stage.server.connections)
                stage.pending.clear()
                exchange = None  # type: ignore[assignment]
            await asyncio.sleep(0.01)
            assert alive(Connection, ServerExchange) == before
        finally:
            gc.enable()


@on_loop
async def test_a_reply_while_the_peer_vanishes_raises_nothing() -> None:
    """The kernel knows that the peer is gone before the loop has told us."""
    async with scene() as stage:
        for number in range(30):
            peer = await stage.peer()
            await peer.send(get("/later"))
            exchange: Exchange = await stage.later(number + 1)
            peer.vanish()
            if number % 3 == 0:
                exchange.respond(200, [], PIECE * 10)
            else:
                exchange.start(200, [])
                with contextlib.suppress(OSError):
                    for _ in range(30):
                        exchange.write(PIECE)
                        if number % 3 == 1:
                            await asyncio.sleep(0)
                exchange.finish()
        await stage.until(lambda: not stage.server.connections)


@on_loop
async def test_many_small_writes_do_not_wait_for_each_other() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        nodelay = []
        await peer.send(get("/later"))
        exchange = await stage.later()
        for connection in stage.server.connections:
            sock = connection.transport.get_extra_info("socket")
            nodelay.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        assert nodelay == [1]
        exchange.respond(200, [], b"")
