"""Calls that begin at the same moment, each on a connection of its own."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from tests.gateway import KEY, Stack, asked, whole
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


@contextlib.contextmanager
def under_way(stack: Stack, headers: dict[str, str]) -> Iterator[Callable[[], wire.Reply]]:
    """A call to slow/m (which is ``CANNED``) that may get ten tokens, gets five, and ends when what
    this gives is called."""
    may_end = threading.Event()
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    said = {"role": "assistant", "content": "One by one."}
    choices = [{"index": 0, "message": said, "finish_reason": "stop"}]
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}

    def answer(link: socket.socket) -> bool:
        may_end.wait()
        link.sendall(whole(json.dumps({**body, "choices": choices, "usage": usage}).encode()))
        return False

    stack.canned.answers.append(answer)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(stack.chat, "slow/m", headers=headers, max_tokens=10)

        def ends() -> wire.Reply:
            may_end.set()
            return call.result()

        try:
            yield ends
        finally:
            may_end.set()
