"""The connection to Valkey: who waits for how long."""

import asyncio
import socket
import time

import pytest
import uvloop

from ferryman.store.valkey import AwayError, connect, server_of

PACE, PATIENCE, ASKED = 0.2, 1.0, 8


def test_a_server_with_much_to_do_is_not_away_and_one_that_says_nothing_is() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(ASKED):
            for _ in range(3):
                await reader.readline()
            await asyncio.sleep(PACE)
            writer.write(b"+PONG\r\n")
        await reader.read()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        link = await connect(server_of(f"valkey://127.0.0.1:{port}/0", {}), PATIENCE)
        asked = [link.call("PING") for _ in range(ASKED)]  # the last waits longer than the patience
        assert set(await asyncio.gather(*asked)) == {b"PONG"}
        with pytest.raises(AwayError, match="no answer within"):
            await link.call("PING")
        server.close()

    asyncio.run(run())


def test_what_takes_long_before_a_command_is_written_is_no_silence_of_the_server() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            if b"PING" in await reader.readuntil(b"PING\r\n"):
                await asyncio.sleep(PACE)
                writer.write(b"+PONG\r\n")

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        link = await connect(server_of(f"valkey://127.0.0.1:{port}/0", {}), PATIENCE)
        asked = link.call("PING")
        time.sleep(PATIENCE * 1.2)  # noqa: ASYNC251 - as a crowd takes that this call leads
        assert await asked == b"PONG"
        server.close()

    uvloop.run(run())


def test_a_command_of_the_turn_in_which_the_server_hangs_up_fails_without_a_traceback() -> None:
    async def run() -> list[object]:
        said: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: said.append(context))
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            link = await connect(server_of(f"valkey://127.0.0.1:{port}/0", {}), PATIENCE)
            there, _ = server.accept()
        asked: list[asyncio.Future[object]] = []
        mine, other = socket.socketpair()
        loop.add_reader(mine, lambda: (asked.append(link.call("PING")), loop.remove_reader(mine)))
        there.close()
        other.send(b"now")  # heard of in the same turn, after that
        await asyncio.sleep(0.1)
        [answer] = asked
        with pytest.raises(AwayError):
            await answer
        mine.close()
        other.close()
        return said

    assert uvloop.run(run()) == []
