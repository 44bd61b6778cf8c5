"""Calls that begin at the same moment, each on a connection of its own."""

import asyncio
from itertools import islice

from tests.gateway import KEY, Stack, asked
from tests.simulator import wire


async def all_at_once(
    stack: Stack, count: int, model: str, headers: dict[str, str], *, stay: int = 0
) -> list[int]:
    """How ``count`` chat calls end: their statuses. ``stay`` of them are waited for no longer once
    all others have ended: their callers hang up."""
    sent = wire.request(
        "/v1/chat/completions", asked(model), {"Authorization": f"Bearer {KEY}"} | headers
    )
    links = [await asyncio.open_connection("127.0.0.1", stack.port) for _ in range(count)]
    for _, writer in links:
        writer.write(sent)

    async def status(reader: asyncio.StreamReader) -> int:
        return int((await reader.readline()).split()[1])

    asks = [asyncio.ensure_future(status(reader)) for reader, _ in links]
    found = [await each for each in islice(asyncio.as_completed(asks), count - stay)]
    for each in asks:
        each.cancel()
    await asyncio.gather(*asks, return_exceptions=True)
    for _, writer in links:
        writer.close()
    return found
