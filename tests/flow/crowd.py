"""Calls that begin at the same moment, each on a connection of its own."""

import asyncio

from tests.gateway import KEY, Stack, asked
from tests.simulator import wire


async def all_at_once(stack: Stack, count: int, model: str, headers: dict[str, str]) -> list[int]:
    """How ``count`` chat calls end: their statuses."""
    sent = wire.request(
        "/v1/chat/completions", asked(model), {"Authorization": f"Bearer {KEY}"} | headers
    )
    links = [await asyncio.open_connection("127.0.0.1", stack.port) for _ in range(count)]
    for _, writer in links:
        writer.write(sent)

    async def status(reader: asyncio.StreamReader) -> int:
        return int((await reader.readline()).split()[1])

    found = await asyncio.gather(*[status(reader) for reader, _ in links])
    for _, writer in links:
        writer.close()
    return list(found)
