"""The control plane's port: who sends a request by halves is hung up on, who waits is not."""

import asyncio
import contextlib
import socket
from typing import Any

import uvicorn
import uvloop

from ferryman.control.listener import Ends, Listener

HALVES = {
    "nothing": b"",
    "half a head": b"GET / HTTP/1.1\r\nHost: x\r\nX",
    "half a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345",
    "half a chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "half a second head": b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT",
}


OFFER = (b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
         b"Content-Length: 5\r\n\r\n12345")  # fmt: skip
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
OFFERED = {"in one packet": (OFFER + NEXT + NEXT,), "in several": (OFFER, NEXT, NEXT),
           "before its body": (OFFER[:-5], b"12345" + NEXT, NEXT)}  # fmt: skip


async def _app(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/poll":
        await asyncio.sleep(2)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _told(port: int, packets: tuple[bytes, ...]) -> bytes:
    """What comes until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said: list[bytes] = []

    async def listen() -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(1000):
                said.append(piece)

    heard = asyncio.create_task(listen())
    for packet in packets:
        writer.write(packet)
        await asyncio.sleep(0.1)
    await heard
    writer.close()
    return b"".join(said)


async def _rest(port: int, data: bytes) -> tuple[bytes, float]:
    """What comes until the connection is closed, and after how many seconds that was."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = loop.time()
    writer.write(data)
    said = b""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(1000):
            said += piece
            if b"/poll" in data:
                break
    writer.close()
    return said, loop.time() - began


def test_halves_of_requests_hold_no_connection_for_long() -> None:
    async def play() -> None:
        config = uvicorn.Config(
            _app,
            http=Ends,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=1,
        )
        server = Listener(config, patience=0.5)
        with socket.create_server(("127.0.0.1", 0)) as sock:
            serving = asyncio.create_task(server.serve([sock]))
            port = sock.getsockname()[1]
            asked = [*HALVES.values(), b"GET /poll HTTP/1.1\r\nHost: x\r\n\r\n"]
            async with asyncio.timeout(30):
                found = await asyncio.gather(*[_rest(port, data) for data in asked])
            for name, (_, seconds) in zip(HALVES, found, strict=False):
                assert seconds > 0.4, name
            assert found[-1][0].startswith(b"HTTP/1.1 204"), "who waits for an answer gets it"
            async with asyncio.timeout(30):
                for name, packets in OFFERED.items():
                    assert (await _told(port, packets)).count(b"HTTP/1.1") == 1, name
            server.should_exit = True
            await serving

    uvloop.run(play())
