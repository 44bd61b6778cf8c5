"""Reuse, deadlines, back-pressure and ends of connections to upstreams."""

import asyncio
import gc
import socket
from pathlib import Path

import pytest

from ferryman.http1 import pool as pool_module
from ferryman.http1.client import ClientConnection, Fault, FaultKind
from ferryman.http1.connect import Connector, Origin
from ferryman.http1.pool import Pool
from tests.http1.scene import on_loop
from tests.http1.test_replies import OK, TE, sized
from tests.http1.upstream import Catch, upstream

# -- reuse


@on_loop
async def test_a_connection_is_used_again_and_the_last_one_first() -> None:
    async with upstream() as up:
        for number in range(5):
            assert (await up.ask(sized(b"%d" % number))).body == b"%d" % number
            assert (await up.ask(TE + b"1\r\na\r\n0\r\n\r\n")).body == b"a"
        assert len(up.lines) == 1

        sinks = [Catch() for _ in range(3)]
        connections = [await up.send(sink) for sink in sinks]
        assert len(set(connections)) == 3
        for number in (2, 3, 1):
            line = await up.line(number)
            await line.request()
            await line.send(sized(b""))
        for sink in sinks:
            await sink.done()
        assert up.pool.take() is connections[0], "its reply was the last to end"


@on_loop
async def test_the_request_is_sent_as_it_was_given() -> None:
    async with upstream() as up:
        for body in (b"", b"hello", b"x" * 70_000, b"y" * 3_000_000):
            sink = Catch()
            await up.send(sink, body)
            line = await up.line()
            request = await line.request()
            assert request.endswith(b"\r\n\r\n" + body)
            await line.send(sized(b"ok"))
            assert (await sink.done()).body == b"ok"
        assert len(up.lines) == 1


@on_loop
async def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    async with upstream() as up:
        await up.ask(sized(b"one"))
        assert len(up.pool.idle) == 1
        line = await up.line()
        await line.send(sized(b"forged"))
        await line.client_closed()
        assert not up.pool.idle
        assert (await up.ask(sized(b"two"))).body == b"two"
        assert len(up.lines) == 2


@on_loop
async def test_a_reply_before_its_request_was_sent_is_taken_and_ends_the_connection() -> None:
    async with upstream() as up:
        for reply in (sized(b"too large"), TE + b"9\r\ntoo large\r\n0\r\n\r\n"):
            sink = Catch()
            number = len(up.lines) + 1
            connection = await up.send(sink, b"x" * 30_000_000)
            line = await up.line(number)
            await line.send(reply)
            await sink.done()
            assert sink.body == b"too large"
            assert connection not in up.pool.idle
            await line.client_closed()


@pytest.mark.parametrize("how", ["end", "reset"])
@on_loop
async def test_a_kept_connection_that_the_upstream_closed_is_not_used(how: str) -> None:
    async with upstream() as up:
        await up.ask(sized(b"one"))
        line = await up.line()
        getattr(line, how)()
        for _ in range(1000):
            if not up.pool.open:
                break
            await asyncio.sleep(0.002)
        assert not up.pool.idle
        assert (await up.ask(sized(b"two"))).body == b"two"


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize(("said", "fresh"), [(b"", True), (b"H", False), (OK, False)])
@on_loop
async def test_a_fault_says_whether_anything_came(how: str, said: bytes, fresh: bool) -> None:
    """What is fresh is sent again on a new connection; see the tests of the flow."""
    async with upstream() as up:
        await up.ask(sized(b"one"))
        sink = Catch()
        await up.send(sink)
        line = await up.line()
        await line.request()
        if said:
            await line.send(said)
            await asyncio.sleep(0.05)
        getattr(line, how)()
        await sink.done()
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.fresh) == (FaultKind.CLOSED, fresh)


@on_loop
async def test_sending_on_a_connection_that_is_lost_is_a_fault_and_fresh() -> None:
    async with upstream() as up:
        connection = await up.pool.connect(5)
        (await up.line()).reset()
        for _ in range(1000):
            if connection.broken:
                break
            await asyncio.sleep(0.002)
        sink = Catch()
        connection.send(sink, b"GET / HTTP/1.1\r\n\r\n", b"", 9, 9, up.loop.time() + 9)
        assert (sink.kind, sink.fault and sink.fault.fresh) == ("closed", True)


@on_loop
async def test_a_sink_may_ask_again_from_within_its_end() -> None:
    """The driven coroutine behind it does so when it goes on at once."""
    async with upstream() as up:
        sinks = [Catch() for _ in range(3)]
        used = []

        def again(number: int) -> None:
            connection = up.pool.take()
            assert connection is not None
            used.append(connection)
            head = b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
            connection.send(sinks[number], head, b"", 9, 9, up.loop.time() + 9)

        sinks[0].at_end = lambda: again(1)
        sinks[1].at_end = lambda: again(2)
        await up.send(sinks[0])
        line = await up.line()
        for reply in (sized(b"a"), TE + b"1\r\nb\r\n0\r\n\r\n", sized(b"c")):
            await line.request()
            await line.send(reply)
        assert (await sinks[2].done()).body == b"c"
        assert [sink.body for sink in sinks] == [b"a", b"b", b"c"]
        assert used[0] is used[1]


# -- deadlines


@on_loop
async def test_each_deadline_has_its_fault() -> None:
    async with upstream() as up:
        sinks = [Catch() for _ in range(7)]
        waits = [
            await up.send(sinks[0], first_byte=0.3),
            await up.send(sinks[1], first_byte=0.3, idle=0.3),
            await up.send(sinks[2], first_byte=60, idle=0.3),
            await up.send(sinks[3], first_byte=0.3, idle=0.3),
            await up.send(sinks[4], total=0.3),
            await up.send(sinks[5], total=0.3),
            await up.send(sinks[6], idle=0.3, total=0.9),
        ]
        lines = [await up.line(number + 1) for number in range(7)]
        for line in lines:
            await line.request()
        await lines[1].send(OK + b"X: ")  # half a head is no first byte for ever
        await lines[2].send(TE + b"5\r\nhello\r\n")
        await lines[3].send(TE + b"5\r\nhello\r\n")
        await lines[5].send(TE + b"5\r\nhello\r\n")
        await lines[6].send(TE)

        async def keep_talking() -> None:
            while not sinks[6].over.is_set():
                await lines[6].send(b"1\r\nx\r\n")
                await asyncio.sleep(0.05)

        talking = asyncio.ensure_future(keep_talking())
        for sink, line in zip(sinks, lines, strict=True):
            await sink.done()
            assert sink.kind == "timeout"
            await line.client_closed()
        talking.cancel()
        assert [sink.fault.message.split()[0] for sink in sinks if sink.fault] == [
            "no", "no", "no", "no", "the", "the", "the",
        ]  # fmt: skip
        assert all(connection.broken for connection in waits)


@on_loop
async def test_an_error_at_one_deadline_leaves_the_others_in_force() -> None:
    escaped: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: escaped.append(said))

    def fails() -> None:
        raise ValueError("in whoever was waiting")

    async with upstream() as up:
        first, second = Catch(), Catch()
        first.at_end = fails
        await up.send(first, first_byte=0.2)
        await up.send(second, first_byte=0.6)
        await first.done()
        assert (await second.done()).kind == "timeout"
    assert len(escaped) == 1


@on_loop
async def test_a_kept_connection_has_no_deadline_of_its_last_call() -> None:
    async with upstream() as up:
        connection = None
        for reply in (sized(b"a"), TE + b"1\r\na\r\n0\r\n\r\n"):
            sink = Catch()
            connection = await up.send(sink, first_byte=0.2, idle=0.2, total=0.2)
            line = await up.line()
            await line.request()
            await line.send(reply)
            await sink.done()
            await asyncio.sleep(0.5)
            assert up.pool.idle == {connection: None}


@on_loop
async def test_a_first_byte_deadline_holds_on_a_connection_that_was_busy() -> None:
    async with upstream() as up:
        await up.ask(TE, b"1\r\na\r\n0\r\n\r\n", apart=False)
        sink = Catch()
        await up.send(sink, first_byte=0.2, idle=60)
        await sink.done()
        assert sink.kind == "timeout"


@on_loop
async def test_hurry_shortens_what_is_left() -> None:
    async with upstream() as up:
        sink = Catch()
        connection = await up.send(sink)
        line = await up.line()
        await line.request()
        await line.send(TE + b"1\r\na\r\n")
        await asyncio.sleep(0.05)
        connection.hurry(0.1)
        assert (await sink.done()).kind == "timeout"


# -- back-pressure


@on_loop
async def test_a_paused_reply_waits_and_its_time_is_not_the_upstreams() -> None:
    async with upstream() as up:
        sink = Catch()
        connection = await up.send(sink, idle=0.3)
        sink.on_piece = lambda _: connection.pause()
        line = await up.line()
        await line.request()
        data = bytes(8_000_000)
        sending = asyncio.ensure_future(line.send(sized(data)))
        await asyncio.sleep(1.0)
        assert sink.kind == ""
        assert not sending.done(), "the upstream has to wait"
        held = len(sink.body)
        assert held < 1_000_000
        while not sink.over.is_set():
            connection.resume()
            await asyncio.sleep(0)
        await sending
        assert sink.body == data
        assert connection in up.pool.idle


@on_loop
async def test_a_paused_reply_has_a_total_time_still() -> None:
    async with upstream() as up:
        sink = Catch()
        connection = await up.send(sink, total=0.4)
        sink.on_piece = lambda _: connection.pause()
        line = await up.line()
        await line.request()
        await line.send(TE + b"1\r\na\r\n")
        assert (await sink.done()).kind == "timeout"


@pytest.mark.parametrize("reply", [sized(b"hello"), TE + b"5\r\nhello\r\n0\r\n\r\n"])
@on_loop
async def test_a_reply_may_end_while_it_is_paused(reply: bytes) -> None:
    async with upstream() as up:
        for _ in range(3):
            sink = Catch()
            connection = await up.send(sink)
            sink.on_piece = lambda _, c=connection: c.pause()  # type: ignore[misc]
            line = await up.line()
            await line.request()
            await line.send(reply)
            assert (await sink.done()).body == b"hello"
            connection.resume()
        assert len(up.lines) == 1


@pytest.mark.parametrize("chunked", [False, True])
@on_loop
async def test_an_upstream_that_closes_while_it_is_paused_has_said_all_it_said(
    chunked: bool,
) -> None:
    async with upstream() as up:
        sink = Catch()
        connection = await up.send(sink)
        sink.on_piece = lambda _: connection.pause()
        line = await up.line()
        await line.request()
        await line.send((TE + b"1\r\na\r\n") if chunked else OK + b"\r\na")
        await asyncio.sleep(0.1)
        await line.send(b"1\r\nb\r\n0\r\n\r\n" if chunked else b"b")
        line.end()
        await asyncio.sleep(0.1)
        assert (sink.body, sink.ended) == (b"a", False)
        connection.resume()
        await asyncio.sleep(0.05)
        connection.resume()
        await sink.done()
        assert (sink.body, sink.kind) == (b"ab", "")


# -- cancelling


@pytest.mark.parametrize("said", [b"", OK, TE + b"1\r\na\r\n"])
@on_loop
async def test_cancelling_closes_the_upstreams_connection(said: bytes) -> None:
    async with upstream() as up:
        sink = Catch()
        connection = await up.send(sink)
        line = await up.line()
        await line.request()
        if said:
            await line.send(said)
            await asyncio.sleep(0.02)
        connection.cancel()
        await line.client_closed()
        assert not sink.over.is_set(), "it hears nothing more"
        assert not up.pool.idle


@pytest.mark.parametrize("at", ["head", "piece"])
@on_loop
async def test_a_sink_may_cancel_from_within(at: str) -> None:
    async with upstream() as up:
        for reply in (TE + b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n", TE + b"1\r\na\r\nzz\r\n"):
            sink = Catch()
            number = len(up.lines) + 1
            connection = await up.send(sink)
            if at == "head":

                class Quitter(Catch):
                    def on_head(self, status, headers):  # type: ignore[no-untyped-def]
                        super().on_head(status, headers)
                        connection.cancel()  # noqa: B023

                sink.__class__ = Quitter
            else:
                sink.on_piece = lambda _, c=connection: c.cancel()  # type: ignore[misc]
            line = await up.line(number)
            await line.request()
            await line.send(reply)
            await line.client_closed()
            assert sink.calls == ["head"]


# -- pools


@on_loop
async def test_a_pool_has_a_limit() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    loop = asyncio.get_running_loop()
    origin = Origin("http", "127.0.0.1", listener.getsockname()[1])
    pool = Pool(origin, Connector(loop), max_connections=3)
    made = await asyncio.gather(*[pool.connect(5) for _ in range(5)], return_exceptions=True)
    faults = [fault for fault in made if isinstance(fault, Fault)]
    assert [fault.kind for fault in faults] == [FaultKind.CONNECT] * 2
    first = next(c for c in made if isinstance(c, ClientConnection))
    first.cancel()
    for _ in range(1000):
        if len(pool.open) == 2:
            break
        await asyncio.sleep(0.002)
    await pool.connect(5)
    pool.close()
    listener.close()
    await asyncio.sleep(0.02)
    assert not pool.open


@on_loop
async def test_connections_that_idle_for_long_are_closed() -> None:
    async with upstream() as up:
        sinks = [Catch() for _ in range(3)]
        for sink in sinks:
            await up.send(sink)
        for number, sink in enumerate(sinks):
            line = await up.line(number + 1)
            await line.request()
            await line.send(sized(b""))
            await sink.done()
        oldest, _, newest = up.pool.idle
        now = up.loop.time()
        oldest.idle_since = now - pool_module.IDLE_SECONDS - 1
        newest.idle_since = now
        await (await up.line(1)).client_closed()
        assert oldest not in up.pool.idle
        assert newest in up.pool.idle
        assert len(up.pool.idle) == 2


@on_loop
async def test_thousands_of_kept_connections_can_be_lost_at_once() -> None:
    async with upstream() as up:
        connections = [await up.pool.connect(5) for _ in range(400)]
        for connection in connections:
            up.pool.release(connection)
        await up.line(400)
        for line in up.lines:
            line.end()
        for _ in range(2000):
            if not up.pool.open:
                break
            await asyncio.sleep(0.002)
        assert not up.pool.idle
        assert up.pool.take() is None


@on_loop
async def test_closed_connections_leave_nothing_behind(tmp_path: Path) -> None:
    """Without the garbage collector's help, which runs seldom in the gateway."""

    def alive() -> int:
        return sum(isinstance(thing, ClientConnection | Catch) for thing in gc.get_objects())

    async def some() -> None:
        async with upstream(tmp_path) as up:
            await up.ask(sized(b"a"))
            await up.ask(TE + b"1\r\na\r\n0\r\n\r\n")
            await up.ask(TE + b"zz")
            await up.ask(sized(b"a")[:-1], end=True)
            await up.ask(OK + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\na")
            (await up.send(Catch())).cancel()
        (tmp_path / "up").unlink()

    await some()
    gc.collect()
    before = alive()
    gc.disable()
    try:
        for _ in range(3):
            await some()
            await asyncio.sleep(0.02)
        assert alive() == before
    finally:
        gc.enable()
