"""The journal: append-only segments of CRC-framed records, one directory per data plane.

A segment ``<10-digit number>.fj`` starts with a 16-byte header (``FMJ1``, then the 12 random bytes
of the writer's boot id). Frames follow, little endian: ``u32 length of payload | u32 CRC-32 of
kind and payload | u8 kind | payload``. A process that is killed loses nothing it has appended (the
kernel has it); one whose machine loses power keeps what the last :meth:`JournalWriter.sync` saw.
"""

import contextlib
import errno
import fcntl
import os
import re
import struct
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

MAGIC: Final = b"FMJ1"
HEADER_BYTES: Final = 16
FRAME_BYTES: Final = 9
"""Bytes of a frame before its payload."""
MAX_PAYLOAD: Final = 16 << 20
SEGMENT_BYTES: Final = 16 << 20
READ_BYTES: Final = 4 << 20
BAD: Final = 0
"""Kind that :func:`read_segment` reports for a damaged frame between two sound ones."""
DAMAGED: Final = ".damaged"
"""Suffix of segments that were :func:`set_aside`."""

_FRAME: Final = struct.Struct("<IIB")
_pack: Final = _FRAME.pack
_append: Final = os.write
_crc: Final = crc32
_CRC_OF_KIND: Final = tuple(crc32(bytes([kind])) for kind in range(256))
_NAME = re.compile(r"\d{10}\.fj")
_HEAD = re.compile(rb"(?=[\s\S]{3}[\x00\x01][\s\S]{4}[\x01-\x0f])")
"""What the head of a frame looks like: a length of :data:`MAX_PAYLOAD` or so, a small kind."""
_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)


class JournalError(Exception):
    """A record was not written or not made durable; the message says where, why and what to do."""


class Frame(NamedTuple):
    """One record as read: ``end`` is the offset of the byte after it."""

    kind: int
    payload: bytes
    end: int


class JournalWriter:
    """Appends records to a segment of its own. One thread appends; another may call ``sync``, but
    not where it is ``eager``: of two that ask, the disk tells one only that it failed.

    A writer never appends to a segment it finds: it opens the next number, so that a torn tail left
    by a crash stays the last thing in its file. It holds ``<directory>/lock`` while it lives.
    """

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Create ``directory`` if need be. Raises :class:`JournalError`, also when it is in use."""
        self.boot_id = os.urandom(12)
        self.directory = directory
        self._segment_bytes = segment_bytes
        self._retired: deque[int] = deque()
        self._syncing = threading.Lock()
        self._synced = (-1, 0)
        self._fd = -1
        self._full = False
        self.grouped = False
        """True: records that have an owner are written together with others of the same turn of the
        event loop. Nothing that counts on them is sent before :meth:`flush`."""
        self.eager = False
        """True: what is written is synced at once, or taken off again: a disk that does not sync is
        one that can't be written."""
        self.lost: list[object] = []
        """Owners of records that a flush could not write: for whoever calls it, to tell them."""
        self._waiting: list[bytes] = []
        self._owners: list[object] = []
        self._appended = 0
        """Records since the last flush."""
        self._lonely = True
        """True when there was one at most before the last flush: then the first is not kept."""
        self._failing = False
        """True: the last write failed. Then records are written one by one, and each is told."""
        self._kept = 0
        """How many of its records are in the journal all the same."""
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._directory_fd = os.open(directory, _DIRECTORY)
        except OSError as error:
            raise _failed("use", directory, error) from error
        self._directory_dirty = True
        try:
            self._lock_fd = _lock(directory)
        except JournalError:
            os.close(self._directory_fd)
            raise
        self._number = max((number for number, _ in segments(directory)), default=0)
        try:
            self._open_next()
        except JournalError:
            self.close()
            raise

    def append(self, kind: int, payload: bytes, owner: object = None) -> None:
        """Write one record of ``kind`` 1..255, by one system call of about 1.6 µs; or keep it for
        the next flush, if calls come in crowds and it has an ``owner``.

        Raises :class:`JournalError` if the record is not in the journal whole; records before and
        after it stay readable.
        """
        data = _framed(kind, payload)
        if owner is not None and self.grouped:
            self._appended += 1
            alone = self._failing or (self._lonely and self._appended == 1)
            if self._waiting or not alone:  # none overtakes those that wait
                self._waiting.append(data)
                self._owners.append(owner)
                return
        self._write(data)

    def append_all(self, kind: int, payloads: Sequence[bytes]) -> int:
        """Write several, at once. Returns how many are in the journal: all, or the first of them.

        Raises :class:`JournalError` where it is none.
        """
        frames = [_framed(kind, payload) for payload in payloads]
        try:
            self._write(b"".join(frames))
        except JournalError:
            if not self._kept:
                raise
            return self._kept
        return len(frames)

    def flush(self) -> None:
        """Write the records that wait. Raises :class:`JournalError`; then :attr:`lost` has the
        owners of those that are not in the journal. Nothing of them is kept here."""
        self._lonely = self._appended <= 1
        self._appended = 0
        if not self._waiting:
            return
        waiting, owners = self._waiting, self._owners
        self._waiting, self._owners = [], []
        try:
            self._write(b"".join(waiting))
        except JournalError:
            self.lost += owners[self._kept :]
            raise

    def _write(self, data: bytes) -> None:
        self._failing, self._kept = True, 0
        if self._full or self._end >= self._segment_bytes:
            self._rotate()
        try:
            written = _append(self._fd, data)
        except OSError as error:
            self._undo(0)
            raise _failed("append to", self._path, error) from error
        if written == len(data):
            self._end += written
        else:
            self._finish(data, written)
        if self.eager:
            self._secure(len(data))
        self._failing = False

    def _secure(self, written: int) -> None:
        """Sync the bytes ``written`` last, or take them off again."""
        try:
            self.sync()
        except JournalError:
            self._end -= written
            self._undo(written)
            raise

    def _finish(self, data: bytes, written: int) -> None:
        """Write what of ``data`` isn't ``written`` yet: after a short write, the next one completes
        it or names the reason."""
        try:
            while written < len(data):
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError as error:
            # What is there whole stays: a reader may have seen it. (Unless it has to be synced.)
            self._kept, size = (0, 0) if self.eager else _whole(data, written)
            self._end += size
            self._undo(written - size)
            raise _failed("append to", self._path, error) from error
        self._end += len(data)

    def _undo(self, written: int) -> None:
        """Take ``written`` bytes of a failed write off again; go on in a fresh segment."""
        # A reader may have taken whole frames of those bytes already and stand past the new end; so
        # nothing may follow them here. A segment that holds nothing yet stays, or a full disk would
        # make files without end.
        self._full = written > 0 or self._end > HEADER_BYTES
        try:
            os.ftruncate(self._fd, self._end)
        except OSError:
            self._full = True

    def _rotate(self) -> None:
        try:
            self._open_next()
        except JournalError:
            if self._full:
                raise
            self._segment_bytes += SEGMENT_BYTES  # this one still takes records: try again later

    def _open_next(self) -> None:
        if self._lock_fd < 0:
            raise JournalError(f"The journal at {self.directory} was closed; open a new writer.")
        number = self._number + 1
        path, part = self.directory / f"{number:010d}.fj", self.directory / "next"
        try:
            fd = os.open(
                part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise _failed("create", path, error) from error
        try:
            if os.write(fd, MAGIC + self.boot_id) != HEADER_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self.eager:  # here, or a disk that does not sync would make files without end
                os.fdatasync(fd)
            # Not seen before: whoever sees it takes the one before for finished.
            part.rename(path)
        except OSError as error:
            os.close(fd)
            raise _failed("write to", path, error) from error
        if self._fd >= 0:
            # A sync may be using it: only sync and close may close it.
            self._retired.append(self._fd)
        self._directory_dirty = True
        self._path, self._full, self._end = path, False, HEADER_BYTES
        self._number, self._fd = number, fd

    def sync(self) -> None:
        """Make everything appended so far survive a power cut (blocking: call it off the loop).

        Raises :class:`JournalError` when the disk refuses; records are then in doubt until a later
        sync succeeds.
        """
        with self._syncing:
            try:
                while self._retired:
                    os.fdatasync(self._retired[0])
                    os.close(self._retired.popleft())
                # The number is read before the size: a rotation in between then can't look synced.
                number = self._number
                mark = (number, self._end)
                if self._fd >= 0 and mark != self._synced:
                    os.fdatasync(self._fd)
                    self._synced = mark
                if self._directory_dirty:
                    self._directory_dirty = False
                    os.fsync(self._directory_fd)
            except OSError as error:
                self._directory_dirty = True
                raise _failed("sync", self.directory, error) from error

    def close(self) -> None:
        """Sync, close the files and give the directory back. Safe to call twice."""
        if self._lock_fd < 0:
            return
        try:
            if self._fd >= 0:
                self.flush()
                self.sync()
        finally:
            with self._syncing:
                for fd in (*self._retired, self._fd, self._directory_fd, self._lock_fd):
                    if fd >= 0:
                        os.close(fd)
                self._retired.clear()
                self._fd = self._directory_fd = self._lock_fd = -1
                self._full = True  # so that a later append asks for a segment, and is told


def _framed(kind: int, payload: bytes) -> bytes:
    size = len(payload)
    if size > MAX_PAYLOAD:
        raise JournalError(f"A record of {size} bytes is over the journal's limit, {MAX_PAYLOAD}.")
    return _pack(size, _crc(payload, _CRC_OF_KIND[kind]), kind) + payload


def _whole(data: bytes, most: int) -> tuple[int, int]:
    """How many whole frames the first ``most`` bytes of ``data`` are, and how many bytes these."""
    count = at = 0
    while at + FRAME_BYTES <= most:
        length: int = _FRAME.unpack_from(data, at)[0]
        if at + FRAME_BYTES + length > most:
            break
        at += FRAME_BYTES + length
        count += 1
    return count, at


def _failed(verb: str, path: Path, error: OSError) -> JournalError:
    advice = {
        errno.ENOSPC: "Free some disk space",
        errno.EDQUOT: "Raise the disk quota",
        errno.EFBIG: "Raise the file size limit (ulimit -f)",
        errno.EMFILE: "Raise the limit of open files (ulimit -n)",
        errno.EACCES: "Let this user write there, or choose another data directory",
        errno.EROFS: "Choose a data directory on a writable disk",
    }.get(error.errno or 0, "Check the disk")
    return JournalError(f"Cannot {verb} the journal at {path}: {error.strerror}. {advice}.")


def _lock(directory: Path) -> int:
    path = directory / "lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _failed("lock", path, error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise _failed("lock", path, error) from error
        raise JournalError(
            f"The journal at {directory} is in use by process {holder}. "
            "Stop that gateway, or give this one a data directory or plane name of its own."
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def segments(directory: Path) -> list[tuple[int, Path]]:
    """Numbers and paths of a plane's segments, oldest first. Only the last may still grow."""
    found = (path for path in directory.iterdir() if _NAME.fullmatch(path.name))
    return sorted((int(path.stem), path) for path in found)


def boot_of(path: Path) -> bytes | None:
    """The 12-byte boot id in a segment's header; None when the header is missing or not ours."""
    with path.open("rb", buffering=0) as file:
        header = file.read(HEADER_BYTES)
    if len(header) == HEADER_BYTES and header.startswith(MAGIC):
        return header[4:]
    return None


def read_segment(
    path: Path, offset: int = 0, *, limit: int = READ_BYTES
) -> tuple[list[Frame], bool]:
    """Whole frames from ``offset`` (a frame's start; 0 = the first) within about ``limit`` bytes.

    The flag is True when what follows the last frame is not a frame: torn, damaged (then
    :func:`next_frame` finds the rest), or in the newest segment not written to its end yet. No
    frames and False means the end was reached. A damaged frame that is followed by a sound one
    comes as a frame of kind ``BAD`` without payload: only that record is lost. Raises OSError.
    """
    offset = max(offset, HEADER_BYTES)
    with path.open("rb", buffering=0) as file:
        frames: list[Frame] = []
        for size in (limit, 1 << 20, 2 * (FRAME_BYTES + MAX_PAYLOAD)):  # the last: any two frames
            data = os.pread(file.fileno(), size, offset)
            at_end = len(data) < size
            frames, rest = _parse(data, offset)
            if frames or at_end:
                return frames, at_end and rest
    return frames, True


def next_frame(path: Path, offset: int) -> int | None:
    """Where the first sound frame from ``offset`` on begins; None = nowhere. Raises OSError.

    Beyond ``offset`` itself, what is between is damaged: a segment is written front to back, so
    nothing sound follows what is only torn.
    """
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    found = _sound_from(data, 0)
    return None if found < 0 else offset + found


def damages(path: Path) -> list[tuple[int, int]]:
    """The damaged places of a segment: (offset, bytes), without a torn end. Raises OSError."""
    found = [] if boot_of(path) is not None else [(0, HEADER_BYTES)]
    offset = HEADER_BYTES
    while True:
        frames, torn = read_segment(path, offset)
        for frame in frames:
            if frame.kind == BAD:
                found.append((offset, frame.end - offset))
            offset = frame.end
        if torn:
            sound = next_frame(path, offset)
            if sound is None:
                return found
            if sound > offset:
                found.append((offset, sound - offset))
            offset = sound
        elif not frames:
            return found


def set_aside(path: Path) -> Path:
    """Keep a segment under another name, which stays when the segment is deleted: the damaged can
    be looked at later. Returns that path. Raises OSError.
    """
    aside = path.with_suffix(DAMAGED)
    with contextlib.suppress(FileExistsError):
        aside.hardlink_to(path)
    return aside


def _parse(data: bytes, offset: int) -> tuple[list[Frame], bool]:
    """Frames in ``data`` (which starts at ``offset`` of its file), and whether bytes are left."""
    frames: list[Frame] = []
    at, unpack = 0, _FRAME.unpack_from
    while at + FRAME_BYTES <= len(data):
        length, crc, kind = unpack(data, at)
        end = at + FRAME_BYTES + length
        if length > MAX_PAYLOAD or end > len(data):
            break
        payload = data[at + FRAME_BYTES : end]
        if _crc(payload, _CRC_OF_KIND[kind]) != crc:
            # It may be its length that is wrong, so that it reaches over others.
            found = _sound_from(data, at + 1)
            if not 0 <= found <= end:
                break
            kind, payload, end = BAD, b"", found
        frames.append(Frame(kind, payload, offset + end))
        at = end
    return frames, at < len(data)


def _sound_from(data: bytes, at: int) -> int:
    """Where the first whole, undamaged frame from ``at`` on stands; -1 = nowhere."""
    for found in _HEAD.finditer(data, at):
        if _sound(data, found.start()):
            return found.start()
    return -1


def _sound(data: bytes, at: int) -> bool:
    """Whether a whole, undamaged frame stands at ``at``."""
    if at + FRAME_BYTES > len(data):
        return False
    length, crc, kind = _FRAME.unpack_from(data, at)
    end = at + FRAME_BYTES + length
    if end > len(data):
        return False
    return crc32(data[at + FRAME_BYTES : end], _CRC_OF_KIND[kind]) == int(crc)
