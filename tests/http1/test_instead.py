"""Replies in place of those that have not left yet."""

from collections.abc import Callable

import pytest

from ferryman.http1.exchange import Exchange
from ferryman.http1.reply import JOIN_BELOW
from tests.http1.scene import LAST, Peer, Scene, on_loop, scene

NEW = b"HTTP/1.1\r\nHost: x\r\n\r\n"
OLD = b"HTTP/1.0\r\n\r\n"


def in_pieces(exchange: Exchange) -> None:
    exchange.start(200, [(b"x-a", b"1")])
    exchange.write(b"one,")
    exchange.finish(b"two")


ENDS: dict[str, Callable[[Exchange], None]] = {
    "whole": lambda exchange: exchange.respond(200, [(b"x-a", b"1")], b"fine"),
    "large": lambda exchange: exchange.respond(200, [], b"x" * (JOIN_BELOW + 1)),
    "kept stream": lambda exchange: (exchange.start(200, []), exchange.finish(b"kept"))[0],
}


async def asked(stage: Scene, version: bytes) -> tuple[Peer, Exchange]:
    peer = await stage.peer()
    await peer.send(b"GET /later " + version)
    return peer, await stage.later()


async def begun(stage: Scene, version: bytes) -> tuple[Peer, Exchange]:
    """The same with a streamed reply whose first piece has come."""
    peer, exchange = await asked(stage, version)
    exchange.start(200, [])
    exchange.write(b"one,")
    while b"one," not in peer.got:
        await peer.more()
    return peer, exchange


def replaces(stage: Scene, lonely: bool, act: Callable[[], None]) -> None:
    """Have ``act`` done before the next that leaves; ``lonely``: at once, as it is written."""
    outbox = stage.server.outbox

    def before() -> None:
        outbox.before = None
        act()

    outbox.before = before
    outbox._lonely = lonely


@pytest.mark.parametrize("lonely", [True, False])
@pytest.mark.parametrize(
    "version", [NEW, OLD, NEW.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")]
)
@pytest.mark.parametrize("end", ENDS)
@on_loop
async def test_another_reply_takes_the_place_of_a_whole_one(
    end: str, version: bytes, lonely: bool
) -> None:
    async with scene() as stage:
        peer, exchange = await asked(stage, version)
        replaces(stage, lonely, lambda: exchange.instead(503, [(b"x-b", b"2")], b"full"))
        ENDS[end](exchange)
        reply = await peer.reply()
        assert (reply.status, reply.body, reply.whole) == (503, b"full", True)
        assert (reply.headers.get("x-a"), reply.headers["x-b"]) == (None, "2")
        if version is NEW:
            assert (await peer.ask(LAST)).body == b"GET /last ", "the connection goes on"
        else:
            assert await peer.rest() == b""


@pytest.mark.parametrize("lonely", [True, False])
@pytest.mark.parametrize("version", [NEW, OLD])
@on_loop
async def test_another_end_takes_the_place_of_that_of_a_stream(
    version: bytes, lonely: bool
) -> None:
    async with scene() as stage:
        peer, exchange = await begun(stage, version)
        exchange.write(b"two,")
        replaces(stage, lonely, lambda: exchange.instead(0, b"", b"error"))
        exchange.finish(b"three")
        reply = await peer.reply()
        assert (reply.body, reply.whole) == (b"one,two,error", True)
        if version is NEW:
            assert (await peer.ask(LAST)).body == b"GET /last "


@on_loop
async def test_a_stream_that_begins_and_ends_in_one_turn_keeps_its_beginning() -> None:
    async with scene() as stage:
        peer, exchange = await asked(stage, NEW)
        replaces(stage, False, lambda: exchange.instead(0, b"", b"error"))
        in_pieces(exchange)
        reply = await peer.reply()
        assert (reply.status, reply.body, reply.whole) == (200, b"one,error", True)


@pytest.mark.parametrize("end", [b"two", b""])
@pytest.mark.parametrize("version", [NEW, OLD])
@on_loop
async def test_a_stream_without_another_end_is_cut(version: bytes, end: bytes) -> None:
    async with scene() as stage:
        peer, exchange = await begun(stage, version)
        replaces(stage, False, lambda: exchange.instead(0, b"", b""))
        exchange.finish(end)
        stage.server.outbox.flush()
        assert not (await peer.reply()).whole


@pytest.mark.parametrize("status", [503, 0])
@on_loop
async def test_a_stream_that_has_not_ended_is_cut(status: int) -> None:
    async with scene() as stage:
        peer, exchange = await begun(stage, NEW)
        exchange.instead(status, b"", b"error")
        exchange.write(b"two")
        exchange.finish(b"three")
        reply = await peer.reply()
        assert (reply.body, reply.whole) == (b"one,", False)


@pytest.mark.parametrize("status", [503, 0])
@on_loop
async def test_what_has_left_is_left_alone(status: int) -> None:
    async with scene() as stage:
        peer, exchange = await asked(stage, NEW)
        exchange.respond(200, [], b"fine")
        assert (await peer.reply()).body == b"fine"
        exchange.instead(status, b"", b"error")
        assert (await peer.ask(LAST)).body == b"GET /last "


@on_loop
async def test_nothing_is_said_to_who_is_gone() -> None:
    async with scene() as stage:
        peer, exchange = await asked(stage, NEW)
        peer.sock.close()
        await stage.until(lambda: exchange.gone)
        exchange.instead(503, b"", b"full")
        assert (await (await stage.peer()).ask(LAST)).body == b"GET /last "
