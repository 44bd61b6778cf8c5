"""Answers by key, in memory and perhaps behind it, and the calls whose answers are on their way."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from msgspec import MsgspecError

from ferryman.cache.answer import Answer, pack, unpack


class Landing(Enum):
    """How waiting for another call's answer ended without one."""

    FAILED = "failed"
    """It got none."""
    APART = "apart"
    """It got one that is for its own caller alone."""
    LEFT = "left"
    """Whoever waited has gone, or waits no longer."""


Outcome = Answer | Landing


class Flight:
    """A call under way, for whose answer others may wait."""

    def __init__(self, mark: bytes) -> None:
        self.mark = mark
        """Of its request."""
        self._waiting: set[asyncio.Future[Outcome]] = set()
        self.on_join: Callable[[], None] | None = None
        self.on_empty: Callable[[], None] | None = None
        """Called when somebody waits, and when nobody does any more."""

    @property
    def awaited(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def join(self) -> asyncio.Future[Outcome]:
        """Wait; give the future back to :meth:`leave` to wait no longer."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        if self.on_join is not None:
            self.on_join()
        return future

    def leave(self, future: asyncio.Future[Outcome]) -> None:
        """Wait no longer."""
        if not future.done():
            future.set_result(Landing.LEFT)
            self._waiting.discard(future)
            if not self._waiting and self.on_empty is not None:
                self.on_empty()

    def land(self, outcome: Outcome) -> None:
        """Tell all who wait."""
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(outcome)


class Backend(Protocol):
    """Where answers lie beside memory. Its troubles are misses, which it tells the log."""

    most: int
    """Bytes of all of them."""

    async def load(self, key: bytes) -> bytes | None:
        """What was kept under ``key``, unless it has expired."""

    def save(self, key: bytes, data: bytes, until: float) -> None:
        """Keep ``data`` until a Unix time; returns at once."""

    def close(self) -> None:
        """Write what is to be written, and end."""


class Shelf:
    """Answers by key, the least recently used out first."""

    def __init__(self, most: int = 0, backend: Backend | None = None) -> None:
        """``most``: bytes of memory."""
        self.most = most
        self.backend = backend
        self.flights: dict[bytes, Flight] = {}
        self.size = 0
        self._held: OrderedDict[bytes, Answer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: bytes, now: float) -> Answer | None:
        """The answer in memory under ``key`` at the Unix time ``now``."""
        answer = self._held.get(key)
        if answer is None:
            return None
        if answer.until <= now:
            self._drop(key)
            return None
        self._held.move_to_end(key)
        return answer

    async def load(self, key: bytes, now: float) -> Answer | None:
        """The answer behind memory, which it then is in."""
        data = await self.backend.load(key) if self.backend is not None else None
        try:
            answer = unpack(data) if data is not None else None
        except MsgspecError:
            return None  # of another version
        if answer is None or answer.until <= now:
            return None
        self._hold(key, answer)
        return answer

    def put(self, key: bytes, answer: Answer) -> None:
        """Keep ``answer``, in the place of an older one."""
        self._hold(key, answer)
        if self.backend is not None:
            self.backend.save(key, pack(answer), answer.until)

    def begin(self, key: bytes, mark: bytes = b"") -> Flight:
        """Note that the answer for ``key`` is on its way."""
        flight = self.flights[key] = Flight(mark)
        return flight

    def land(self, key: bytes, flight: Flight, outcome: Outcome) -> None:
        """A flight is over."""
        if self.flights.get(key) is flight:
            del self.flights[key]
        flight.land(outcome)

    def resize(self, most: int) -> None:
        """Take at most that many bytes of memory."""
        self.most = most
        self._shrink()

    def _hold(self, key: bytes, answer: Answer) -> None:
        self._drop(key)
        self._held[key] = answer
        self.size += answer.size
        self._shrink()

    def _shrink(self) -> None:
        while self.size > self.most:
            _, oldest = self._held.popitem(last=False)
            self.size -= oldest.size

    def _drop(self, key: bytes) -> None:
        old = self._held.pop(key, None)
        if old is not None:
            self.size -= old.size
