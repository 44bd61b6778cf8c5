"""Answers on their way from the data plane to the playground."""

import asyncio

import pytest

from ferryman.control.dashboard.relay import BROKEN, _body

EVENTS = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
WHOLE = b"5\r\nhello\r\n0\r\n\r\n"


async def relayed(sent: bytes, headers: dict[str, str]) -> bytes:
    """What comes out of a body that a real server sends before it closes."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        found = b""
        async for piece in _body(reader, writer, headers):
            found += piece
        return found


@pytest.mark.parametrize("end", range(len(WHOLE) + 1))
def test_a_stream_that_breaks_off_says_so(end: int) -> None:
    found = asyncio.run(relayed(WHOLE[:end], EVENTS))
    whole = end > WHOLE.index(b"0\r\n")
    assert found == b"hello" if whole else found.endswith(b"}\n\n") and BROKEN.encode() in found


def test_another_answer_that_breaks_off_is_not_ended_as_if_it_were_whole() -> None:
    plain = {"content-type": "application/json", "content-length": "5"}
    assert asyncio.run(relayed(b"hello", plain)) == b"hello"
    assert asyncio.run(relayed(b"", plain | {"content-length": "0"})) == b""
    for headers in (plain, {"transfer-encoding": "chunked"}):
        with pytest.raises((asyncio.IncompleteReadError, ValueError)):
            asyncio.run(relayed(b"hell", headers))
