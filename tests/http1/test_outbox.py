"""Writes that are sent together at the end of a turn of the event loop."""

import asyncio
import socket
from typing import Any

import pytest

from ferryman.http1.outbox import MOST, Outbox
from tests.http1.scene import on_loop


class Wire:
    """A transport, and the other end of its connection."""

    def __init__(self, transport: Any, peer: socket.socket) -> None:
        self.transport = transport
        self.peer = peer

    def got(self) -> bytes:
        """What has reached the peer by now."""
        try:
            return self.peer.recv(1 << 20)
        except BlockingIOError:
            return b""


async def wire() -> Wire:
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    return Wire(transport, peer)


async def busy() -> tuple[Outbox, Wire, Wire]:
    """An outbox whose last turn had more than one write, and two transports."""
    outbox = Outbox(asyncio.get_running_loop())
    one, two = await wire(), await wire()
    outbox.write(one.transport, b"before")
    outbox.write(two.transport, b"before")
    await asyncio.sleep(0)
    assert (one.got(), two.got()) == (b"before", b"before")
    return outbox, one, two


@on_loop
async def test_writes_of_a_turn_leave_at_its_end() -> None:
    outbox, one, two = await busy()
    outbox.write(one.transport, b"a")
    outbox.write(two.transport, b"b")
    outbox.write(one.transport, b"c")
    assert (one.got(), two.got()) == (b"", b"")
    await asyncio.sleep(0)
    assert (one.got(), two.got()) == (b"ac", b"b")


@on_loop
async def test_after_a_turn_with_one_write_the_first_is_not_made_to_wait() -> None:
    outbox, one, two = await busy()
    outbox.write(one.transport, b"a")
    assert one.got() == b""
    await asyncio.sleep(0)
    assert one.got() == b"a"
    outbox.write(one.transport, b"b")
    assert one.got() == b"b"
    outbox.write(two.transport, b"c")
    outbox.write(one.transport, b"d")
    assert (one.got(), two.got()) == (b"", b"")
    await asyncio.sleep(0)
    assert (one.got(), two.got()) == (b"d", b"c")


@on_loop
async def test_much_is_not_kept_back() -> None:
    outbox, one, two = await busy()
    outbox.write(one.transport, b"a")
    outbox.write(two.transport, b"x" * MOST)
    assert one.got() == b"a"
    assert two.got() == b"x" * MOST
    outbox.write(one.transport, b"b")
    assert one.got() == b""
    await asyncio.sleep(0)
    assert one.got() == b"b"


@on_loop
async def test_what_is_flushed_before_a_close_arrives() -> None:
    outbox, one, two = await busy()
    outbox.write(one.transport, b"a")
    outbox.write(two.transport, b"b")
    outbox.flush()
    one.transport.close()
    await asyncio.sleep(0.01)
    assert one.got() == b"a"
    assert one.peer.recv(1) == b""
    assert two.got() == b"b"


@pytest.mark.parametrize("end", ["close", "abort"])
@on_loop
async def test_a_transport_that_is_gone_keeps_nobody_else_from_being_written_to(end: str) -> None:
    outbox, one, two = await busy()
    getattr(one.transport, end)()
    await asyncio.sleep(0.01)
    assert one.peer.recv(1) == b""
    outbox.write(one.transport, b"a")
    outbox.write(two.transport, b"b")
    await asyncio.sleep(0)
    assert two.got() == b"b"
    await asyncio.sleep(0.01)
    outbox.write(one.transport, b"alone")
    outbox.write(two.transport, b"c")
    await asyncio.sleep(0)
    assert two.got() == b"c"


@pytest.mark.parametrize("everything", [True, False])
@on_loop
async def test_what_waits_can_be_replaced_before_it_is_sent(everything: bool) -> None:
    outbox, one, two = await busy()
    done = []

    def before() -> None:
        done.append(outbox.replace("mine", b"<other>", everything))

    outbox.before = before
    outbox.write(one.transport, b"before ")
    outbox.write(one.transport, b"head ", "mine")
    outbox.write(two.transport, b"theirs", "theirs")
    outbox.write(one.transport, b"body ", "mine", b"end")
    outbox.write(one.transport, b" after")
    assert not done
    await asyncio.sleep(0)
    assert one.got() == (
        b"before <other> after" if everything else b"before head body <other> after"
    )
    assert two.got() == b"theirs"
    assert done == [True]
    outbox.write(one.transport, b"alone")
    outbox.flush()
    assert done == [True, False], "it has been sent"
