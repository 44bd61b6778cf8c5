"""The snapshot feed: what a data plane needs, sent as soon as it changes (long poll)."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import sqlalchemy as sa
from msgspec import Struct

from ferryman.config.feed import Feed, SealKey, mark
from ferryman.log import log
from ferryman.store import clears, keys

T = TypeVar("T")
LONGEST_WAIT: Final = 60.0
"""Seconds; a data plane that asks for more is answered after this."""
EMPTY_WAIT: Final = 5.0
"""Seconds that a data plane with nothing waits at least: it would only ask again at once."""


MOST_PLANES: Final = 256
"""Data planes that are remembered."""
NOTABLE: Final = 5.0
"""Seconds that a data plane's clock, which times its calls, may be off before anybody is told."""
PUBLICS: Final = 8
"""Public keys of one data plane that are remembered."""
REQUESTS: Final = 4
"""By so many of its last requests its clock is judged."""
TOLD: Final = 1.0
"""Seconds from which on the live page reckons with it."""


class Seen(Struct, frozen=True, kw_only=True):
    """What a data plane had when it asked last."""

    plane: str
    version: str
    """Of its snapshot; empty = it had none."""
    keys_seq: int
    at: float
    """Unix seconds."""
    ahead: float | None = None
    """Seconds that its clock is ahead of the control plane's; negative: behind; None: not known."""
    told: tuple[float, ...] = ()
    """The same by each of its last requests: one that takes long makes its clock look late."""
    publics: tuple[bytes, ...] = ()
    """The last public keys that came with its name."""


ADVICE: Final = "times of its calls are wrong by that; let NTP set the clocks of both machines."


def clock_of(seen: Seen) -> str:
    """How far its clock is off, in words; empty: it is not, or nobody knows."""
    if seen.ahead is None or abs(seen.ahead) < NOTABLE:
        return ""
    return f"{abs(seen.ahead):,.0f} s {'ahead' if seen.ahead > 0 else 'behind'}"


class Latest:
    """A number that the database keeps, as it was read last. Any thread may use it."""

    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self.number = read()

    def look(self) -> bool:
        """Read it again. Returns whether it is another one; that of a restored database may be
        smaller."""
        while True:
            before = self.number
            found = self._read()
            with self._lock:
                if self.number != before:
                    continue  # another thread was quicker: what was read may be older than that
                self.number = found
                return found != before


class FeedHub:
    """The current snapshot and key sequence, and whoever waits for them to change.

    ``publish``, ``keys_changed`` and ``look`` may be called on any thread, ``answer`` and ``close``
    on the loop's only.
    """

    def __init__(self, engine: sa.Engine, loop: asyncio.AbstractEventLoop, seal_key: bytes) -> None:
        self._engine = engine
        self._seal_key = seal_key
        self._loop = loop
        self._lock = threading.Lock()
        self._version = ""
        self._snapshot = b""
        self._keys = Latest(lambda: keys.key_seq(engine))
        self._clears = Latest(lambda: clears.order_seq(engine))
        self._keysets = b""
        self._readers = ThreadPoolExecutor(2, "feed")
        self._changed = asyncio.Event()
        self._closing = False
        self._seen: dict[str, Seen] = {}

    @property
    def version(self) -> str:
        """Version of the published snapshot; empty when there is none yet."""
        return self._version

    def publish(self, version: str, snapshot: bytes) -> bool:
        """Make ``snapshot`` (msgpack) the current one. Returns False when it is no different."""
        with self._lock:
            if version == self._version:
                return False
            self._version, self._snapshot = version, snapshot
        self._loop.call_soon_threadsafe(self._wake)
        return True

    def publish_keysets(self, keysets: bytes) -> None:
        """Hand out these keys of issuers (``config/feed.py``)."""
        with self._lock:
            if keysets == self._keysets:
                return
            self._keysets = keysets
        self._loop.call_soon_threadsafe(self._wake)

    def keys_changed(self) -> None:
        """See whether the key table has changed."""
        if self._keys.look():
            self._loop.call_soon_threadsafe(self._wake)

    def look(self) -> None:
        """See whether somebody has changed keys, or ordered that the cache be cleared."""
        self.keys_changed()
        if self._clears.look():
            self._loop.call_soon_threadsafe(self._wake)

    def hand(self, plane: str, public: bytes, has: str) -> SealKey | None:
        """What opens sealed secrets, for the data plane ``plane`` alone; None if it ``has`` it.

        Raises ``ValueError`` for a ``public`` key that nothing can be wrapped to.
        """
        if has == mark(self._seal_key):
            return None
        from ferryman.config.wrapping import wrapped

        found = wrapped(self._seal_key, plane, public)
        log("control", f"data plane {plane} gets what opens sealed secrets, wrapped to its key "
            f"{mark(public)}")  # fmt: skip
        return SealKey(mark(self._seal_key), found)

    def note(
        self, plane: str, version: str, keys_seq: int, now: float | None = None,
        public: bytes = b"",
    ) -> bool:  # fmt: skip
        """A data plane asks; ``plane`` is its name, ``now`` what its clock says, ``public`` its
        key. Returns whether another key was known by this name, and not this one."""
        before, at = self._seen.pop(plane, None), time.time()
        publics = () if before is None else before.publics
        other = bool(public and publics) and public not in publics
        if other:
            log("control", f"data plane {plane} came with another key, {mark(public)}: it was set "
                "up anew, or two have one name, or somebody else has the feed token")  # fmt: skip
        if public and public not in publics:
            publics = (*publics, public)[-PUBLICS:]
        ahead, told = None, () if before is None else before.told
        if now is not None:
            told = (*told, now - at)[-REQUESTS:]
            ahead = max(told) if len(told) > 1 or now > at else None
        seen = Seen(
            plane=plane, version=version, keys_seq=keys_seq, at=at, ahead=ahead, told=told,
            publics=publics,
        )  # fmt: skip
        self._seen[plane] = seen
        if (off := clock_of(seen)) and (before is None or not clock_of(before)):
            log("control", f"the clock of data plane {plane} is {off}: {ADVICE}")
        if len(self._seen) > MOST_PLANES:
            del self._seen[next(iter(self._seen))]
        return other

    def planes(self) -> tuple[list[Seen], int]:
        """The data planes that have asked, and the sequence number that they should have."""
        return sorted(self._seen.values(), key=lambda each: each.plane), self._keys.number

    def ahead(self) -> dict[str, int]:
        """Data planes whose clocks are off → microseconds that they are ahead."""
        return {
            name: round(seen.ahead * 1e6)
            for name, seen in list(self._seen.items())
            if seen.ahead is not None and abs(seen.ahead) >= TOLD
        }

    def close(self) -> None:
        """Answer everybody who waits; let nobody wait from now on."""
        self._closing = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def answer(
        self, version: str, seq: int, wait: float, cleared: int | None = None,
        issuers: str | None = None, seal: SealKey | None = None,
    ) -> Feed:  # fmt: skip
        """What is newer than that within ``wait`` seconds, else nothing.

        ``cleared``: number of the latest order to clear the cache that was heard of, -1 = of none,
        and none matters, None = they never do. ``issuers``: mark of the keys of issuers that it
        has, None = it takes none. ``seal``: goes along, at once.
        """
        if not version or not seq:
            wait = max(wait, EMPTY_WAIT)
        deadline = self._loop.time() + min(max(wait, 0.0), LONGEST_WAIT)
        while True:
            changed = self._changed
            found = await self._newer(version, seq, cleared, issuers, seal)
            left = deadline - self._loop.time()
            if found or self._closing or left <= 0:
                return found or Feed(keys_seq=seq)
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                return Feed(keys_seq=seq)

    async def _read(self, read: Callable[..., T], *given: object) -> T:
        """Read from the database, and not behind what else this process has threads do."""
        return await self._loop.run_in_executor(self._readers, read, self._engine, *given)

    async def _newer(
        self, version: str, seq: int, cleared: int | None, issuers: str | None,
        seal: SealKey | None,
    ) -> Feed | None:  # fmt: skip
        with self._lock:
            snapshot = self._snapshot if self._version != version else b""
            ours, latest = self._keys.number, self._clears.number
            keysets = self._keysets
        reached, full, delta = seq, b"", b""
        facts: keys.Facts = {}
        if seq and seq != ours:
            reached, delta, facts = await self._read(keys.changed_since, seq)
        if not reached or not seq:
            # A new data plane; or its table comes from a database that ours is a backup of.
            reached, full, facts = await self._read(keys.full_table)
        known = -1
        orders: list[tuple[bytes, ...]] = []
        if cleared is not None and cleared != latest:
            known, orders = await self._read(clears.orders_since, cleared)
            orders = orders if cleared >= 0 else []
            known = known if known != cleared else -1
        if issuers is None or issuers == mark(keysets):
            keysets = b""
        if not (snapshot or full or delta or reached < seq or known >= 0 or keysets or seal):
            return None
        return Feed(
            snapshot=snapshot, keys_seq=reached, keys_full=full, keys_delta=delta,
            facts=facts, cleared=known, clears=tuple(orders), keysets=keysets,
            seal=seal,
        )  # fmt: skip
