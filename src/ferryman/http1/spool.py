"""A body that is too large to be held: kept as it comes, so that it can be sent on at once, and
again from its beginning when an upstream fails."""

import os
import tempfile
from collections.abc import Callable
from typing import Any

IN_MEMORY = 262_144
"""Bytes up to which a body stays in memory; a longer one goes into a file without a name."""


class Spool:
    """Bytes that one side appends and the other reads, from any place and as often as it likes.

    Files are written on the event loop, in pieces as they come from the network: the kernel takes
    them into its cache, which costs less than to hand them to another thread.
    """

    def __init__(self, directory: str | None = None) -> None:
        """``directory`` is where the file goes; None = where the system keeps such."""
        self.size = 0
        """Bytes that have come."""
        self.announced = -1
        """Bytes that will have come at the end; -1 = nobody has said."""
        self.complete = False
        """True once no more will come."""
        self.on_more: Callable[[], None] | None = None
        """Called when bytes have come, and at the end."""
        self._directory = directory
        self._memory = bytearray()
        self._file: Any = None

    @property
    def in_memory(self) -> int:
        """Bytes that are held in memory."""
        return len(self._memory)

    def append(self, data: bytes) -> None:
        """Add ``data``. Raises OSError when the file can't be made or written."""
        if self._file is not None:
            self._write(data)
        else:
            self._memory += data
            if len(self._memory) > IN_MEMORY:
                self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115
                held, self._memory = self._memory, bytearray()
                self._write(bytes(held))
        self.size += len(data)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def end(self) -> None:
        """No more will come."""
        self.complete = True
        self.tell()

    def tell(self) -> None:
        """Let the reader know that there is more."""
        if self.on_more is not None:
            self.on_more()

    def read(self, at: int, most: int) -> bytes:
        """Up to ``most`` bytes from ``at`` on; none where nothing has come yet, or no more will."""
        if self._file is not None:
            return os.pread(self._file.fileno(), most, at)
        return bytes(self._memory[at : at + most])

    def close(self) -> None:
        """Let go of all of it."""
        self.on_more = None
        self._memory = bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None


class SpoolReader:
    """Reads a spool once from its beginning on, with one place of it replaced."""

    def __init__(
        self, spool: Spool, start: int, end: int, new: bytes, watch: Callable[[], bool]
    ) -> None:
        """``new`` stands for the bytes from ``start`` up to ``end``, which have come already.

        ``watch`` is asked before each piece; once it says False, nothing more may be sent.
        """
        self.spool = spool
        self._start = start
        self._end = end
        self._new = new
        self._watch = watch
        self._at = 0
        self.stopped = False

    @property
    def length(self) -> int:
        """Bytes in all; -1 = not known yet."""
        whole = self.spool.size if self.spool.complete else self.spool.announced
        return whole + len(self._new) - (self._end - self._start) if whole >= 0 else -1

    @property
    def over(self) -> bool:
        """True once all has been read that will ever come."""
        return self.spool.complete and self._at >= self.spool.size

    def pull(self, most: int = 65_536) -> bytes:
        """The next piece, of about ``most`` bytes; empty while there is none, and when stopped."""
        if not self._watch():
            self.stopped = True
            return b""
        if self._at >= self._end:
            data = self.spool.read(self._at, most)
            self._at += len(data)
            return data
        data = self.spool.read(self._at, min(most, self._start - self._at))
        self._at += len(data)
        if self._at == self._start:
            self._at = self._end
            data += self._new
        return data
