"""The virtual keys as a data plane holds them: a sorted blob of records, and what changed since.

A record is 64 bytes, little endian: digest 32 | key id 24, ASCII, NUL-padded | ``u32`` expiry in
Unix seconds, 0 = never | ``u32`` flags, bit 0 = revoked. The blob stays bytes (or a mapped file):
100,000 keys are 6.4 MB of it and 0.8 MB of index, made in some 10 ms by operations that run in C.
"""

import mmap
import os
import struct
import sys
from array import array
from bisect import bisect_left
from hmac import compare_digest
from itertools import islice
from operator import itemgetter, le
from pathlib import Path
from typing import Final
from zlib import crc32

from msgspec import Struct

RECORD_BYTES: Final = 64
REVOKED: Final = 1
CACHED: Final = 4096
"""Decoded rows kept at hand."""
_MAGIC: Final = b"FMK1"
_FILE: Final = struct.Struct("<4sIQ")  # magic, CRC-32 of sequence number and records, number
_RECORD: Final = struct.Struct("<32s24sII")
_number = int.from_bytes


class KeyTableError(Exception):
    """The table is damaged; the message says how. Ask the control plane for all of it again."""


class KeyRow(Struct, frozen=True):
    """What a data plane knows of a key."""

    id: str
    expires: int
    """Unix seconds; 0 = never."""
    revoked: bool

    def usable(self, now: float) -> bool:
        """Whether the key may be used at ``now`` (Unix seconds)."""
        return not self.revoked and (not self.expires or now < self.expires)


class KeyTable:
    """Finds a key by its digest in about 1 µs, known or not."""

    def __init__(self, records: bytes | mmap.mmap | memoryview = b"") -> None:
        """Take over ``records``, sorted by digest. Raises :class:`KeyTableError`."""
        self._records = memoryview(records).cast("B")
        self._index = _index(self._records)
        self._changed: dict[bytes, KeyRow] = {}
        self._cached: dict[bytes, KeyRow] = {}

    def __len__(self) -> int:
        """Number of keys, revoked and expired ones too."""
        new = sum(self._find(digest) is None for digest in self._changed)
        return len(self._index) + new

    def get(self, digest: bytes) -> KeyRow | None:
        """The key with this 32-byte digest; revoked and expired ones are found too."""
        row = self._changed.get(digest) or self._cached.get(digest)
        if row is None:
            row = self._find(digest)
            if row is not None:
                if len(self._cached) >= CACHED:
                    self._cached.clear()
                self._cached[digest] = row
        return row

    def apply(self, delta: bytes) -> None:
        """Add or replace the keys in ``delta``, records in any order; the last of a digest counts.

        Raises :class:`KeyTableError`, and then nothing has changed.
        """
        if len(delta) % RECORD_BYTES:
            raise KeyTableError(f"A change of {len(delta)} bytes is not a number of whole records.")
        rows = {record[0]: _row(record) for record in _RECORD.iter_unpack(delta)}
        self._changed.update(rows)

    def dump(self) -> bytes:
        """All records as one sorted blob, changes merged in."""
        parts: list[bytes | memoryview] = []
        copied = 0
        for digest, row in sorted(self._changed.items(), key=itemgetter(0)):
            start = self._position(digest) * RECORD_BYTES
            parts.append(self._records[copied:start])
            flags = REVOKED if row.revoked else 0
            parts.append(_RECORD.pack(digest, row.id.encode(), row.expires, flags))
            replaced = self._records[start : start + 32] == digest
            copied = start + RECORD_BYTES if replaced else start
        return b"".join([*parts, self._records[copied:]])

    def save(self, path: Path, seq: int) -> None:
        """Write all records and their sequence number to ``path``, whole or not at all (0600).

        Raises OSError.
        """
        records = self.dump()
        number = seq.to_bytes(8, "little")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(_FILE.pack(_MAGIC, crc32(records, crc32(number)), seq))
                file.write(records)
                file.flush()
                os.fsync(fd)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> tuple["KeyTable", int]:
        """Map the file that :meth:`save` wrote; returns the table and its sequence number.

        Raises FileNotFoundError, other OSErrors, and :class:`KeyTableError` if it is damaged.
        """
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < _FILE.size:
                raise KeyTableError(f"{path} is {size} bytes long: not a key table.")
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        magic, crc, seq = _FILE.unpack_from(data)
        records = data[_FILE.size :]
        if magic != _MAGIC or crc32(records, crc32(data[8:16])) != crc:
            raise KeyTableError(f"{path} is damaged: its checksum is wrong.")
        return cls(records), seq

    def _find(self, digest: bytes) -> KeyRow | None:
        index, records = self._index, self._records
        prefix = _number(digest[:8], "big")
        at = bisect_left(index, prefix)
        while at < len(index):
            start = at * RECORD_BYTES
            # Compared also where the prefix says no: an unknown key costs what a known one does.
            if compare_digest(records[start : start + 32], digest):
                return _row(_RECORD.unpack_from(records, start))
            if index[at] != prefix:
                return None
            at += 1
        return None

    def _position(self, digest: bytes) -> int:
        """Number of the first record whose digest is not less than ``digest``."""
        at = bisect_left(self._index, _number(digest[:8], "big"))
        while at < len(self._index) and self._digest(at) < digest:
            at += 1
        return at

    def _digest(self, at: int) -> bytes:
        return bytes(self._records[at * RECORD_BYTES : at * RECORD_BYTES + 32])


def _index(records: memoryview) -> "array[int]":
    """The first 8 bytes of every digest as numbers, which sort as the digests do."""
    if len(records) % RECORD_BYTES:
        raise KeyTableError(
            f"A key table of {len(records)} bytes is not a number of whole records."
        )
    index = array("Q", records.cast("Q")[:: RECORD_BYTES // 8].tolist())
    if sys.byteorder == "little":
        index.byteswap()
    if not all(map(le, index, islice(index, 1, None))):
        raise KeyTableError("The records of the key table are not sorted by digest.")
    return index


def _row(record: tuple[bytes, bytes, int, int]) -> KeyRow:
    _, key_id, expires, flags = record
    try:
        return KeyRow(key_id.rstrip(b"\0").decode("ascii"), expires, bool(flags & REVOKED))
    except UnicodeDecodeError:
        raise KeyTableError(f"The key id {key_id!r} is not ASCII.") from None
