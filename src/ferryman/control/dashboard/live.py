"""Pages that stay true: one look at the ledger a tick, however many watch.

A look makes *regions*: id of an element → its HTML. Each viewer is sent the regions that differ
from what it was sent before, as server-sent events. Without viewers nothing is looked at.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from typing import Final

import msgspec

from ferryman.log import log

TICK: Final = 0.5
"""Seconds between looks; more if a look takes over a tenth of it of a processor's time."""
QUIET: Final = 15.0
"""Seconds after which a viewer gets a sign of life."""
Regions = dict[str, str]


class Live:
    """Looks while there are viewers. All methods are for the loop's thread."""

    def __init__(self, pool: Executor, look: Callable[[int], Regions]) -> None:
        """``look`` is given the number of the turn, and runs in ``pool``."""
        self._pool = pool
        self._look = look
        self._regions: Regions = {}
        self._news = asyncio.Event()
        self._viewers = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def close(self) -> None:
        """End all streams, and let none begin."""
        self._closed = True
        self._wake()

    async def events(self) -> AsyncIterator[bytes]:
        """What a viewer is sent, from now on; nothing (empty) after a look that found no news."""
        self._viewers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._run())
        seen: Regions = {}
        yield b"retry: 1000\n\n"
        try:
            while not self._closed:
                news = self._news
                fresh = {n: html for n, html in self._regions.items() if seen.get(n) != html}
                seen |= fresh
                yield b"data: " + msgspec.json.encode(fresh) + b"\n\n" if fresh else b""
                try:
                    async with asyncio.timeout(QUIET):
                        await news.wait()
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self._viewers -= 1

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _run(self) -> None:
        loop, turn = asyncio.get_running_loop(), 0
        self._regions = {}
        while self._viewers and not self._closed:
            begun, work = loop.time(), TICK / 10
            try:
                found, work = await loop.run_in_executor(self._pool, self._timed, turn)
                self._regions |= found
            except Exception as error:  # the database may be away: the page says that it waits
                log("control", f"the live page could not be read: {type(error).__name__}: {error}")
            turn += 1
            self._wake()
            await asyncio.sleep(max(TICK - (loop.time() - begun), 9 * work))

    def _timed(self, turn: int) -> tuple[Regions, float]:
        """A look, and the seconds of a processor that it took."""
        before = time.thread_time()
        return self._look(turn), time.thread_time() - before
