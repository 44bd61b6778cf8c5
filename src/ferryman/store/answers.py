"""Answers that outlive their process, encrypted, in an SQLite file of the data plane's own.

A row: key, expiry (Unix seconds), size, nonce (12 bytes) and AES-256-GCM of the answer, bound to
key and expiry. All work happens in one thread beside the event loop. A file that is damaged is
begun anew: it is a cache. ``cryptography`` is imported when a store is made.
"""

import asyncio
import os
import sqlite3
import struct
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

_NONCE: Final = 12
_UNTIL: Final = struct.Struct(">d")
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS answers (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, "
    "until REAL NOT NULL, size INTEGER NOT NULL, sealed BLOB NOT NULL)"
)
_OLDEST: Final = "SELECT number, size FROM answers ORDER BY number LIMIT 100"
_MOST_UNSAVED: Final = 1000
"""Answers that may wait for the thread; more are not kept on the disk."""


class AnswerStore:
    """The answers of one data plane (:class:`ferryman.cache.shelf.Backend`)."""

    def __init__(self, path: Path, key: bytes, most: int, log: Callable[[str], None]) -> None:
        """``key``: 32 bytes; ``most``: bytes of all answers."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.most = most
        self._path = path
        self._cipher = AESGCM(key)
        self._log = log
        self._thread = ThreadPoolExecutor(1, "ferryman-answers")
        self._unsaved = 0
        self._database: sqlite3.Connection | None = None
        self._size = 0
        self._troubled = False

    async def load(self, key: bytes) -> bytes | None:
        """What was kept under ``key``, unless it has expired."""
        loop = asyncio.get_running_loop()
        found: bytes | None = await loop.run_in_executor(
            self._thread, self._guarded, self._load, key
        )
        return found

    def save(self, key: bytes, data: bytes, until: float) -> None:
        """Keep ``data`` until a Unix time; returns at once."""
        if self._unsaved < _MOST_UNSAVED:
            self._unsaved += 1
            self._thread.submit(self._guarded, self._save, key, data, until)

    def close(self) -> None:
        """Write what is to be written, and end."""
        self._thread.submit(self._end)
        self._thread.shutdown()

    # -- in the thread

    def _guarded(self, work: Callable[..., bytes | None], *args: Any) -> bytes | None:
        try:
            found = work(*args)
        except (sqlite3.Error, OSError) as error:
            if not self._troubled:
                self._log(f"answers can't be kept in {self._path}: {error}")
            self._troubled = True
            self._end()
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(
                error, sqlite3.OperationalError
            ):
                for end in ("", "-wal", "-shm"):
                    Path(f"{self._path}{end}").unlink(missing_ok=True)
            return None
        self._troubled = False
        return found

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
            [self._size] = database.execute("SELECT coalesce(sum(size), 0) FROM answers").fetchone()
            self._database = database
        return self._database

    def _load(self, key: bytes) -> bytes | None:
        from cryptography.exceptions import InvalidTag

        query = "SELECT until, sealed FROM answers WHERE key = ?"
        row = self._open().execute(query, (key,)).fetchone()
        if row is None or row[0] <= time.time():
            return None
        until, sealed = row
        bound = key + _UNTIL.pack(until)
        try:
            packed = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], bound)
        except InvalidTag:
            return None
        return zlib.decompress(packed)

    def _save(self, key: bytes, data: bytes, until: float) -> None:
        self._unsaved -= 1
        nonce = os.urandom(_NONCE)
        bound = key + _UNTIL.pack(until)
        sealed = nonce + self._cipher.encrypt(nonce, zlib.compress(data, 1), bound)
        database = self._open()
        self._forget("SELECT number, size FROM answers WHERE key = ?", (key,))
        row = (key, until, len(sealed), sealed)
        database.execute("INSERT INTO answers (key, until, size, sealed) VALUES (?, ?, ?, ?)", row)
        self._size += len(sealed)
        if self._size > self.most:
            query = "SELECT number, size FROM answers WHERE until <= ?"
            self._forget(query, (time.time(),))
        while self._size > self.most and self._forget(_OLDEST, ()):
            pass

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
