"""Kept answers in an SQLite file of the data plane's own.

A row: key, expiry (Unix seconds), size, and the answer sealed (``store/sealing.py``), bound to key
and expiry. All work happens in one thread beside the event loop. A file that is damaged is begun
anew: it is a cache. Several processes may have the same file open.
"""

import asyncio
import sqlite3
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from ferryman.store.sealing import Sealer

_UNTIL: Final = struct.Struct(">d")
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS answers (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, "
    "until REAL NOT NULL, size INTEGER NOT NULL, sealed BLOB NOT NULL)"
)
_OLDEST: Final = "SELECT number, size FROM answers ORDER BY number LIMIT 100"
_SUMS: Final = "SELECT count(*), coalesce(sum(size), 0) FROM answers"
TOLD_EVERY: Final = 60.0
"""Seconds between two lines in the log about one kind of trouble."""
_MOST_UNSAVED: Final = 1000
_MOST_UNSAVED_BYTES: Final = 64_000_000
"""Answers that may wait for the thread; more are not kept on the disk."""


class AnswerStore:
    """The answers of one data plane."""

    def __init__(self, path: Path, key: bytes, most: int, log: Callable[[str], None]) -> None:
        """``key``: 32 bytes; ``most``: bytes of all answers."""
        self.most = most
        self._path = path
        self._sealer = Sealer(key)
        self._log = log
        self._thread = ThreadPoolExecutor(1, "ferryman-answers")
        self._lock = threading.Lock()
        self._unsaved = 0
        self._unsaved_bytes = 0
        self._database: sqlite3.Connection | None = None
        self._size = 0
        self._version = 0
        """Changes when another process has written to the file."""
        self._told: dict[str, float] = {}
        """When the log was told of a kind of trouble."""

    async def load(self, key: bytes) -> tuple[bytes, float] | None:
        """What was kept under ``key``, with the seconds that it has left."""
        found: tuple[bytes, float] | None = await self._done(self._load, key)
        return found

    def save(self, key: bytes, data: bytes, until: float) -> None:
        """Keep ``data`` until a Unix time; returns at once."""
        with self._lock:
            many = self._unsaved >= _MOST_UNSAVED
            if many or self._unsaved_bytes + len(data) > _MOST_UNSAVED_BYTES:
                return
            self._unsaved += 1
            self._unsaved_bytes += len(data)
        self._thread.submit(self._guarded, self._save, key, data, until)

    def clear(self, tags: tuple[bytes, ...]) -> None:
        """Forget answers whose keys begin with these tags, all of one length, "" for any."""
        self._thread.submit(self._guarded, self._clear, tags)

    async def sizes(self) -> tuple[int, int]:
        """Answers that are kept, and their bytes."""
        found: tuple[int, int] | None = await self._done(self._sizes)
        return found or (0, 0)

    def close(self) -> None:
        """Write what is to be written, and end."""
        self._thread.submit(self._end)
        self._thread.shutdown()

    async def _done(self, work: Callable[..., Any], *args: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._guarded, work, *args)

    # -- in the thread

    def _guarded(self, work: Callable[..., Any], *args: Any) -> Any:
        try:
            return work(*args)
        except (sqlite3.Error, OSError) as error:
            self._tell("file", f"answers can't be kept in {self._path}: {error}")
            self._end()
            if type(error) is sqlite3.DatabaseError:  # no database, or a damaged one
                for end in ("", "-wal", "-shm"):
                    Path(f"{self._path}{end}").unlink(missing_ok=True)
            return None

    def _tell(self, kind: str, text: str) -> None:
        now = time.monotonic()
        if now - self._told.get(kind, -TOLD_EVERY) >= TOLD_EVERY:
            self._told[kind] = now
            self._log(text)

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path.touch(0o600)
            # Autocommit; what a power cut loses was a cache's.
            database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=OFF")
            database.execute(_TABLE)
            database.execute("DELETE FROM answers WHERE until <= ?", (time.time(),))
            self._version = -1
            self._database = database
        [version] = self._database.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version = version
            [_, self._size] = self._database.execute(_SUMS).fetchone()
        return self._database

    def _load(self, key: bytes) -> tuple[bytes, float] | None:
        # Whatever types somebody has put there.
        query = "SELECT CAST(until AS REAL), CAST(sealed AS BLOB) FROM answers WHERE key = ?"
        row = self._open().execute(query, (key,)).fetchone()
        now = time.time()
        if row is None or row[0] <= now:
            return None
        until, sealed = row
        data = self._sealer.open(key + _UNTIL.pack(until), sealed)
        if data is None:
            text = "a kept answer is damaged, or was sealed with another FERRYMAN_PEPPER"
            self._tell("row", f"{text}: {self._path}; it is asked for anew")
            return None
        return data, until - now

    def _save(self, key: bytes, data: bytes, until: float) -> None:
        with self._lock:
            self._unsaved -= 1
            self._unsaved_bytes -= len(data)
        sealed = self._sealer.seal(key + _UNTIL.pack(until), data)
        database = self._open()
        self._forget("SELECT number, size FROM answers WHERE key = ?", (key,))
        row = (key, until, len(sealed), sealed)
        query = "INSERT OR REPLACE INTO answers (key, until, size, sealed) VALUES (?, ?, ?, ?)"
        database.execute(query, row)
        self._size += len(sealed)
        if self._size > self.most:
            query = "SELECT number, size FROM answers WHERE until <= ?"
            self._forget(query, (time.time(),))
        while self._size > self.most and self._forget(_OLDEST, ()):
            pass

    def _clear(self, tags: tuple[bytes, ...]) -> None:
        query, values = "DELETE FROM answers WHERE 1", []
        for at, tag in enumerate(tags):
            if tag:
                query += f" AND substr(key, {at * len(tag) + 1}, {len(tag)}) = ?"
                values.append(tag)
        database = self._open()
        database.execute(query, values)
        [_, self._size] = database.execute(_SUMS).fetchone()

    def _sizes(self) -> tuple[int, int]:
        count, size = self._open().execute(_SUMS).fetchone()
        return count, size

    def _forget(self, query: str, values: tuple[object, ...]) -> int:
        database = self._open()
        rows = database.execute(query, values).fetchall()
        for number, size in rows:
            if query is _OLDEST and self._size <= self.most:
                break
            database.execute("DELETE FROM answers WHERE number = ?", (number,))
            self._size -= size
        return len(rows)

    def _end(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()
