"""Answers by key, in memory and perhaps behind it, and the calls whose answers are on their way."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, Protocol

from msgspec import MsgspecError
from msgspec.structs import replace

from ferryman.cache.answer import Answer, pack, unpack
from ferryman.cache.key import Choice


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


class Stored(NamedTuple):
    """What was found behind memory."""

    data: bytes
    seconds: float
    """How long it will be kept yet."""


class Busy(NamedTuple):
    """Another data plane is fetching the answer."""

    same: bool
    """Whether it is for the same request."""


class AwayError(Exception):
    """The place that data planes share can't be asked now."""


class Backend(Protocol):
    """Where answers lie beside memory. It tells the log of its troubles."""

    async def claim(self, key: bytes, mark: bytes) -> Stored | Busy | Landing | None:
        """What is kept under ``key``; else None: the answer is for the caller of this to fetch.

        Where several data planes share the place, one of them is told None, until it saves or
        releases ``key``, or is heard of no more; ``APART`` = what was fetched was for that call
        alone. ``mark`` is what others are told of the request. Raises :class:`AwayError`.
        """

    def save(self, key: bytes, data: bytes, until: float) -> None:
        """Keep ``data`` until a Unix time; returns at once."""

    def release(self, key: bytes, apart: bool) -> None:
        """Nobody fetches ``key`` any more (after :meth:`save`, where there is an answer)."""

    def clear(self, choice: Choice) -> None:
        """Forget the answers that are chosen; returns at once."""

    async def sizes(self) -> tuple[int, int]:
        """Answers that are kept, and their bytes. Raises :class:`AwayError`."""

    async def close(self) -> None:
        """Write what is to be written, and end."""


class Shelf:
    """Answers by key, the least recently used out first."""

    def __init__(self, most: int = 0, backend: Backend | None = None) -> None:
        """``most``: bytes of memory."""
        self.most = most
        self.backend = backend
        self.flights: dict[bytes, Flight] = {}
        self.strict = False
        """True: calls are refused while the place behind memory can't be asked."""
        self.size = 0
        self.cleared = 0
        """How often answers were taken out by order."""
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

    async def load(self, key: bytes, mark: bytes, now: float) -> Answer | Busy | Landing | None:
        """The answer behind memory, which it then is in; else as :meth:`Backend.claim` says."""
        if self.backend is None:
            return None
        found = await self.backend.claim(key, mark)
        if not isinstance(found, Stored):
            return found
        try:
            answer = replace(unpack(found.data), until=now + found.seconds)
        except MsgspecError:
            return None  # of another version
        self._hold(key, answer)
        return answer

    def put(self, key: bytes, answer: Answer, since: int = 0) -> None:
        """Keep ``answer``, in the place of an older one.

        ``since`` is what ``cleared`` was when it was asked for: it may be from before that order.
        """
        if since != self.cleared:
            return
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
            if self.backend is not None:
                self.backend.release(key, outcome is Landing.APART)
        flight.land(outcome)

    def clear(self, choice: Choice) -> None:
        """Forget the answers that are chosen, and keep none that is on its way."""
        self.cleared += 1
        for key in choice.among(self._held):
            self._drop(key)
        if self.backend is not None:
            self.backend.clear(choice)

    def resize(self, most: int) -> None:
        """Take at most that many bytes of memory."""
        self.most = most
        self._shrink()

    def _hold(self, key: bytes, answer: Answer) -> None:
        self._drop(key)
        if answer.size > self.most:
            return  # all others would go for it, and it too
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
