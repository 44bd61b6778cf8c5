"""What callers sent and got, on its way to the database: a journal of its own, encrypted.

A frame's payload is the MessagePack of a :class:`Sealed`. One thread beside the event loop redacts,
seals and writes; how much may wait for it is bounded.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from ferryman.store.journal import JournalError, JournalWriter
from ferryman.store.sealing import Sealer

PURPOSE: Final = "contents"
"""What the key is derived for (``config/seal.py``)."""
BODY: Final = 1
"""Journal frame kind of a :class:`Sealed`."""
MOST_WAITING: Final = 64_000_000
"""Bytes that may wait for the thread, or be about to."""
SEGMENT_BYTES: Final = 4 << 20
TOLD_EVERY: Final = 60.0
_pack: Final = msgspec.msgpack.Encoder().encode


class Body(Struct, frozen=True, array_like=True, kw_only=True):
    """What a call's caller sent and got, as it was on the wire but for HTTP's framing."""

    request: bytes
    """As much as is kept of it; empty for a form with files."""
    reply: bytes
    request_bytes: int
    """As long as it was, like the next; -1 = a form, of which nothing is kept."""
    reply_bytes: int
    media_type: str = ""
    """Of the reply."""
    status: int = 0
    whole: bool = True
    """False: the reply broke off, or its caller had left."""

    @property
    def cut(self) -> bool:
        """Whether there was more than is kept."""
        return self.request_bytes > len(self.request) or self.reply_bytes > len(self.reply)


class Sealed(Struct, frozen=True, array_like=True):
    """A :class:`Body` as it leaves the process."""

    id: str
    """The call's."""
    at_us: int
    key: str
    team: str
    """Of the virtual key; empty = none."""
    data: bytes


Redactor = Callable[[Body], Body]


class Kept(Struct, frozen=True):
    """A :class:`Body` that is to be kept."""

    id: str
    """The call's, like the next three."""
    at_us: int
    key: str
    team: str
    body: Body
    reserved: int
    """Bytes that were taken for it (:meth:`BodyWriter.reserve`)."""
    redact: Redactor | None = None
    """What is done to it first."""


body_of: Final = msgspec.msgpack.Decoder(Body).decode


def bound(call: str) -> bytes:
    """What the sealed body of a call is bound to."""
    return b"content " + call.encode()


class BodyWriter:
    """Keeps bodies for the control plane to take in."""

    def __init__(self, directory: Path, key: bytes, log: Callable[[str], None]) -> None:
        """``key``: 32 bytes."""
        self.counts = {"kept": 0, "dropped": 0, "failed": 0}
        self._directory = directory
        self._sealer = Sealer(key)
        self._log = log
        self._told = -TOLD_EVERY
        self._lock = threading.Lock()
        self._waiting = 0
        self._journal: JournalWriter | None = None
        self._thread = ThreadPoolExecutor(1, "ferryman-content")

    def reserve(self, size: int) -> bool:
        """Whether there is room for ``size`` bytes, which are taken then."""
        with self._lock:
            if self._waiting + size > MOST_WAITING:
                self.counts["dropped"] += 1
                return False
            self._waiting += size
            return True

    def save(self, kept: Kept) -> None:
        """Keep it, and give back what was reserved for it. Returns at once."""
        self._thread.submit(self._save, kept)

    def close(self) -> None:
        """Write what is to be written, and end."""
        self._thread.shutdown()
        if self._journal is not None:
            try:
                self._journal.close()
            except JournalError as error:
                self._log(str(error))

    # -- in the thread

    def _save(self, kept: Kept) -> None:
        try:
            body = kept.body if kept.redact is None else kept.redact(kept.body)
            data = self._sealer.seal(bound(kept.id), _pack(body))
            if self._journal is None:
                self._journal = JournalWriter(self._directory, segment_bytes=SEGMENT_BYTES)
            self._journal.append(
                BODY, _pack(Sealed(kept.id, kept.at_us, kept.key, kept.team, data))
            )
            self.counts["kept"] += 1
        except Exception as error:  # whatever it is: calls go on, and nothing unredacted is kept
            self.counts["failed"] += 1
            now = time.monotonic()
            if now - self._told >= TOLD_EVERY:
                self._told = now
                self._log(f"contents of calls can't be kept: {type(error).__name__}: {error}")
        finally:
            with self._lock:
                self._waiting -= kept.reserved
