"""Rubbish at random: the server never fails, never hangs, and always serves the next connection.

``FERRYMAN_FUZZ_SECONDS`` and ``FERRYMAN_FUZZ_SEED`` make it longer, and other.
"""

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from ferryman.http1.limits import Limits
from tests.http1.corpus import CASES, EVIL, GOOD
from tests.http1.scene import FUZZ_SECONDS, Scene, get, on_loop, post, scene

SEED = int(os.environ.get("FERRYMAN_FUZZ_SEED", "1"))
LIMITS = Limits(
    max_request_line=200,
    max_headers=10,
    max_header_bytes=1000,
    max_body_bytes=20_000,
    max_buffered_bytes=50_000,
    header_seconds=0.3,
    idle_seconds=0.6,
    body_grace_seconds=0.2,
    linger_seconds=0.2,
    linger_most_seconds=0.5,
)
SEEDS = [
    *(data for data, _, _ in CASES.values()),
    *GOOD.values(),
    post("/", b"hello"),
    post("/big/5000", b"x" * 5000),
    post("/big/1", b"x" * 18_000),
    get("/stream"),
    get("/big/100000"),
]
WORDS = [
    b"\r\n", b"\r\n\r\n", b"\n", b"\0", b":", b" ", b"0\r\n\r\n", b"HTTP/1.1", b"HTTP/1.0", b"5",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n",
    b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"ffffffff", EVIL,
]  # fmt: skip


def mutated(chance: random.Random) -> bytes:
    """Some requests in a row, mostly damaged."""
    data = bytearray(b"".join(chance.choices(SEEDS, k=chance.randrange(1, 5))))
    for _ in range(chance.choice((0, 1, 1, 2, 8))):
        at = chance.randrange(len(data) + 1)
        how = chance.randrange(5)
        if how == 0 and at < len(data):
            data[at] = chance.randrange(256)
        elif how == 1:
            data[at:at] = chance.choice(WORDS)
        elif how == 2:
            del data[at : at + chance.randrange(1, 40)]
        elif how == 3:
            data[at:at] = data[at : at + chance.randrange(1, 200)]
        else:
            data[at:at] = chance.randbytes(chance.randrange(1, 20))
    return bytes(data)


async def one(stage: Scene, chance: random.Random) -> None:
    """One connection's life."""
    peer = await stage.peer()
    data = mutated(chance)
    pieces = []
    while data:
        size = chance.choice((1, 3, 20, 100, 1000, 100_000))
        pieces.append(data[:size])
        data = data[size:]
    await peer.send_apart(pieces)
    end = chance.randrange(4)
    if end == 0:
        peer.half_close()
        await peer.rest()
    elif end == 1:
        await peer.more()
    elif end == 2 and chance.random() < 0.05:
        await asyncio.wait_for(peer.rest(), 15)  # in the end the server closes, whatever it was
    peer.close()


@pytest.mark.timeout(120 + FUZZ_SECONDS)
@on_loop
async def test_rubbish(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    async with scene(tmp_path, limits=LIMITS) as stage:
        until = time.monotonic() + FUZZ_SECONDS
        rounds = 0
        while time.monotonic() < until or rounds < 5:
            rounds += 1
            await asyncio.gather(*[one(stage, chance) for _ in range(20)])
            stage.seen.clear()
            stage.left.clear()
            good = await stage.peer()
            for _ in range(2):
                assert (await good.ask(post("/", b"hello"))).body == b"POST / hello", rounds
            good.close()
        await stage.until(lambda: not stage.server.connections)
        assert stage.server.buffered == 0
        assert not stage.pending
