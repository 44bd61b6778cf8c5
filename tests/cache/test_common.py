"""Answers at a server that is nearly full: they leave room for what limits count there."""

import asyncio
import os
import time
from pathlib import Path

from ferryman.cache.key import TAG
from ferryman.cache.shelf import Stored
from ferryman.edge.common import CommonAnswers
from tests.valkey import Server


def test_answers_leave_a_quarter_of_the_servers_memory_to_limits(tmp_path: Path) -> None:
    server, said = Server(tmp_path), list[str]()
    client = server.client()
    used = client.info("memory")["used_memory"]
    most = used + 40_000_000
    client.config_set("maxmemory", most)

    async def kept(answers: CommonAnswers, key: bytes, data: bytes) -> bool:
        assert await answers.claim(key, b"m") is None
        answers.save(key, data, time.time() + 600)
        answers.release(key, False)
        while (found := await answers.claim(key, b"m")) is not None:  # until the lease has ended
            if isinstance(found, Stored):
                return True
            await asyncio.sleep(0.01)
        return False

    async def fill() -> list[bool]:
        answers = CommonAnswers(server.url, {}, "cache", bytes(32), 4_000_000, said.append)
        names = [bytes([n]) * (3 * TAG + 16) for n in range(1, 17)]
        found = [await kept(answers, name, os.urandom(4_000_000)) for name in names]
        await answers.close()
        return found

    try:
        found = asyncio.run(fill())
        assert found[0]
        assert not found[-1]
        assert client.info("memory")["used_memory"] < most * 0.85
        client.set("a counter", 1)
        assert len([line for line in said if "no answers are kept there" in line]) == 1
    finally:
        server.end()
