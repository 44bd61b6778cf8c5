"""Pages that stay true: one look at the ledger a tick, however many watch.

What takes longer is looked at apart, and less often: nobody waits for it to see what else is new.

A look makes *regions*: id of an element → its HTML. Each viewer is sent the regions that differ
from what it was sent before, as server-sent events. Without viewers nothing is looked at.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from typing import Final

import msgspec
from msgspec import Struct

from ferryman.log import log

QUIET: Final = 15.0
"""Seconds after which a viewer gets a sign of life."""
SHARE: Final = 0.1
"""Of a processor's time that each kind of look takes at most: else it is taken less often."""
Regions = dict[str, str]


class Look(Struct, frozen=True):
    """Makes some of the regions, every so many seconds."""

    make: Callable[[], Regions]
    tick: float


class Live:
    """Looks while there are viewers. All methods are for the loop's thread."""

    def __init__(self, pool: Executor, looks: Sequence[Look]) -> None:
        """``looks`` run in ``pool``, each for itself."""
        self._pool = pool
        self._looks = looks
        self._regions: Regions = {}
        self._news = asyncio.Event()
        self._viewers = 0
        self._tasks: dict[Look, asyncio.Task[None]] = {}
        self._closed = False

    def close(self) -> None:
        """End all streams, and let none begin."""
        self._closed = True
        self._wake()

    async def events(self) -> AsyncIterator[bytes]:
        """What a viewer is sent, from now on; nothing (empty) after a look that found no news."""
        self._viewers += 1
        if all(task.done() for task in self._tasks.values()):
            self._regions = {}
        for look in self._looks:  # each ends by itself once nobody watches, some sooner
            task = self._tasks.get(look)
            if task is None or task.done():
                self._tasks[look] = asyncio.ensure_future(self._run(look))
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

    async def _run(self, look: Look) -> None:
        loop = asyncio.get_running_loop()
        while self._viewers and not self._closed:
            begun, work = loop.time(), look.tick * SHARE
            try:
                found, work = await loop.run_in_executor(self._pool, _timed, look)
                self._regions |= found
            except Exception as error:  # the database may be away: the page says that it waits
                log("control", f"the live page could not be read: {type(error).__name__}: {error}")
            self._wake()
            await asyncio.sleep(max(look.tick - (loop.time() - begun), work / SHARE - work))


def _timed(look: Look) -> tuple[Regions, float]:
    """What it makes, and the seconds of a processor that it took."""
    before = time.thread_time()
    return look.make(), time.thread_time() - before
