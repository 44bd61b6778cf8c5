"""The data plane's end of the snapshot feed: a cache on disk, and a long-poll for what is new.

The cache lets a data plane start, and serve, while its control plane is away. Files are written by
a thread of their own, one after the other, whole or not at all.
"""

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from ferryman.cache.key import Choice
from ferryman.config.feed import NO_FACTS, Feed, KeyFacts, SealKey, mark
from ferryman.config.options import Options
from ferryman.config.snapshot import Snapshot
from ferryman.edge.sealing import Opener
from ferryman.http1.client import Fault, FaultKind
from ferryman.http1.connect import Connector, Origin
from ferryman.http1.exchange import Headers
from ferryman.http1.pool import Pool
from ferryman.meter.keytable import KeyTable, KeyTableError

WAIT_SECONDS = 25
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
MOST_UNWRITTEN = 1000
"""Writes to the cache that may wait for the disk before the feed does."""
SNAPSHOT = msgspec.msgpack.Decoder(Snapshot)
_feed = msgspec.msgpack.Decoder(Feed)
_facts = msgspec.msgpack.Decoder(dict[str, KeyFacts])
_pack = msgspec.msgpack.Encoder().encode


class Collect:
    """A sink that waits for one whole reply."""

    def __init__(self) -> None:
        self.status = 0
        self.parts: list[bytes] = []
        self.fault: Fault | None = None
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_head(self, status: int, headers: Headers) -> None:
        self.status = status

    def on_data(self, data: bytes) -> None:
        self.parts.append(data)

    def on_end(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    def on_fault(self, fault: Fault) -> None:
        self.fault = fault
        self.on_end()

    def on_whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.on_head(status, headers)
        self.on_data(body)
        self.on_end()


class FeedClient:
    """Keeps a data plane's snapshot and key table current."""

    def __init__(
        self,
        options: Options,
        token: str,
        opener: Opener,
        on_snapshot: Callable[[Snapshot], int],
        on_seal: Callable[[], None],
        on_keys: Callable[[KeyTable], None],
        on_facts: Callable[[dict[str, KeyFacts]], None],
        on_clear: Callable[[Choice], None],
        on_keysets: Callable[[bytes], None],
        log: Callable[[str], None],
    ) -> None:
        self._origin = Origin.of(options.feed_url)
        self._token = token
        self._plane = options.plane
        self._snapshot, self._keys = options.paths.cache_of(options.plane)
        self._opener = opener
        self._on_snapshot = on_snapshot
        self._on_seal = on_seal
        self._on_keys = on_keys
        self._on_facts = on_facts
        self._on_clear = on_clear
        self._on_keysets = on_keysets
        self._log = log
        self.version = ""
        self.keys: KeyTable | None = None
        self.facts: dict[str, KeyFacts] = {}
        self.seq = 0
        self.keysets = b""
        self._cleared = -1
        """Number of the latest order to clear the cache that was followed."""
        self._failures = 0
        self._disk = ThreadPoolExecutor(1, "feed-cache")
        self._unwritten: deque[Future[None]] = deque()

    def load_cache(self) -> None:
        """Start from the last snapshot and key table on disk, if they are there and sound."""
        with contextlib.suppress(OSError, ValueError):
            self._cleared = int(self._orders.read_bytes())
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            keysets = self._keysets_file.read_bytes()
            self._on_keysets(keysets)
            self.keysets = keysets
        self._opener.load(self._seal_file)
        try:
            snapshot = SNAPSHOT.decode(self._snapshot.read_bytes())
            shut = self._on_snapshot(snapshot)
            # What does not open may be this copy's fault: it is asked for anew.
            self.version = "" if shut else snapshot.version
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as error:
            self._log(f"the cached snapshot is not usable, waiting for the control plane: {error}")
            return
        try:
            table = KeyTable(self._keys.read_bytes())
            if self._deltas.exists():
                table.apply(self._deltas.read_bytes())
            if self._facts_file.exists():
                self.facts = _facts.decode(self._facts_file.read_bytes())
            self._on_facts(self.facts)
            # Served until the control plane answers, which is asked for the whole table (seq 0).
            self.keys = table
            self._on_keys(table)
        except FileNotFoundError:
            return
        except (OSError, KeyTableError, msgspec.MsgspecError) as error:
            self._log(f"the cached key table is not usable: {error}")

    async def take_keysets(self, keysets: bytes) -> None:
        """Check tokens with these keys of issuers from now on, also after a restart."""
        if keysets != self.keysets:
            self._on_keysets(keysets)
            self.keysets = keysets
            await self._later(self._save, self._keysets_file, keysets)

    async def run(self) -> None:
        """Follow the feed for as long as the process lives."""
        pool = Pool(self._origin, Connector(asyncio.get_running_loop()), max_connections=4)
        try:
            while True:
                wait = WAIT_SECONDS if self.version and self.keys is not None else 0
                try:
                    await self._apply(await self._ask(pool, wait))
                except Exception as error:
                    # Whatever it is: a data plane that stops asking never hears of a revoked key.
                    await self._again(error)
                    continue
                if self._failures >= len(RETRY_SECONDS):
                    self._log("the control plane answers again")
                self._failures = 0
        finally:
            pool.close()

    async def _again(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == len(RETRY_SECONDS):
            where = self._origin.authority
            self._log(f"no usable answer from a control plane at {where} ({error}); serving on")
        await asyncio.sleep(RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS)) - 1])

    async def _ask(self, pool: Pool, wait: int) -> Feed:
        connection = pool.take() or await pool.connect(2.0)
        sink = Collect()
        head = (
            f"GET /internal/feed?snapshot={self.version}&keys={self.seq}&cleared={self._cleared}"
            f"&issuers={mark(self.keysets)}&wait={wait}&plane={self._plane}"
            f"&public={self._opener.public}&seal={self._opener.mark}"
            f"&now={time.time():.3f} HTTP/1.1\r\n"
            f"host: {self._origin.authority}\r\nauthorization: Bearer {self._token}\r\n\r\n"
        )
        limit = wait + 15.0
        total = asyncio.get_running_loop().time() + limit * 2
        connection.send(sink, head.encode(), b"", limit, limit, total)
        await sink.future
        if sink.fault is not None:
            raise sink.fault
        if sink.status != 200:
            hint = " (do both planes share FERRYMAN_FEED_TOKEN?)" if sink.status == 401 else ""
            raise Fault(FaultKind.PROTOCOL, f"it answered {sink.status}{hint}")
        return _feed.decode(b"".join(sink.parts))

    async def _apply(self, feed: Feed) -> None:
        """Take over what is new, and have it cached. Raises what is wrong with the answer.

        Keys come first, so that a bad snapshot keeps no revoked key alive; then what opens the
        secrets in the snapshot.
        """
        full = bool(feed.keys_full) or self.keys is None
        said = feed.facts if full else {**self.facts, **feed.facts}
        told = full or bool(feed.facts)
        if told:
            self.facts = {key: facts for key, facts in said.items() if facts != NO_FACTS}
            self._on_facts(self.facts)
        if full:
            self.keys = KeyTable(feed.keys_full)
            self._on_keys(self.keys)
        elif feed.keys_delta and self.keys is not None:
            self.keys.apply(feed.keys_delta)
        self.seq = feed.keys_seq
        if feed.keysets:
            await self.take_keysets(feed.keysets)
        try:
            if feed.seal is not None:
                await self._take_seal(feed.seal, alone=not feed.snapshot)
            if feed.snapshot:
                snapshot = SNAPSHOT.decode(feed.snapshot)
                self._on_snapshot(snapshot)
                self.version = snapshot.version
        finally:
            if told:  # before the keys: none is cached without whose it is
                await self._later(self._save, self._facts_file, _pack(self.facts))
            await self._cache_keys(feed, full)
        if feed.cleared >= 0:
            for tags in feed.clears:
                self._on_clear(Choice(*tags))
            self._cleared = feed.cleared
            await self._later(self._save, self._orders, b"%d" % feed.cleared)
        if feed.snapshot:
            await self._later(self._save, self._snapshot, feed.snapshot)

    async def _take_seal(self, seal: SealKey, *, alone: bool) -> None:
        """Open sealed secrets with this from now on; those of the snapshot here, if none comes."""
        self._opener.take(seal)
        if alone:
            self._on_seal()
        await self._later(self._save, self._seal_file, _pack(seal))

    async def _cache_keys(self, feed: Feed, full: bool) -> None:
        if full:
            await self._later(self._save, self._keys, feed.keys_full)
            await self._later(self._save, self._deltas, b"")
        elif feed.keys_delta:
            await self._later(self._append, self._deltas, feed.keys_delta)

    async def _later(self, write: Callable[[Path, bytes], None], path: Path, data: bytes) -> None:
        """Have it written after what came before. A disk that takes long does not hold up the feed:
        keys that are revoked meanwhile are shut out."""
        self._unwritten.append(self._disk.submit(write, path, data))
        while self._unwritten and self._unwritten[0].done():
            self._unwritten.popleft()
        if len(self._unwritten) > MOST_UNWRITTEN:
            await asyncio.wrap_future(self._unwritten[0])

    @property
    def _orders(self) -> Path:
        return self._snapshot.with_name("cleared")

    @property
    def _keysets_file(self) -> Path:
        return self._snapshot.with_name("issuers")

    @property
    def _seal_file(self) -> Path:
        return self._snapshot.with_suffix(".seal")

    @property
    def _deltas(self) -> Path:
        """Changes since the cached table: a revoked key stays revoked across a restart."""
        return self._keys.with_suffix(".delta")

    @property
    def _facts_file(self) -> Path:
        return self._keys.with_suffix(".facts")

    def _append(self, path: Path, data: bytes) -> None:
        try:
            with path.open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._log(f"cannot cache {path.name} on disk: {error}")

    def _save(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = path.with_name(f".{path.name}.{os.getpid()}")
            with os.fdopen(
                os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
            ) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            self._log(f"cannot cache {path.name} on disk: {error}")
