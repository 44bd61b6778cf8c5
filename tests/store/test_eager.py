"""A journal that syncs each record, on disks that do and that do not."""

import os
from pathlib import Path

import pytest

from ferryman.store.journal import HEADER_BYTES, JournalError, JournalWriter, segments
from tests.store.test_journal import read_all


def test_what_an_eager_writer_has_flushed_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    sync = os.fdatasync

    def noted(fd: int) -> None:
        sync(fd)
        synced.append(os.fstat(fd).st_size)

    monkeypatch.setattr(os, "fdatasync", noted)
    writer = JournalWriter(tmp_path)
    writer.grouped = writer.eager = True
    for _ in range(3):  # those of a crowd wait for the flush, a lone one does not: it is told
        writer.append(1, b"lone", "a call")
        writer.flush()
        writer.flush()
    writer.append(1, b"one of", "a call")
    writer.append(1, b"two", "another")
    writer.flush()
    assert len(synced) == 5 and synced == sorted(set(synced))
    assert synced[-1] == segments(tmp_path)[-1][1].stat().st_size
    writer.close()


class Disk:
    """Tells once of each failure to sync, as Linux does, then says that all is well."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing = True
        self._sync, self._open = os.fdatasync, os.open
        self._told: dict[int, int] = {}
        """File → its size when it was told."""
        monkeypatch.setattr(os, "open", self.open)
        monkeypatch.setattr(os, "fdatasync", self.sync)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        fd = self._open(path, flags, mode)
        self._told.pop(fd, None)
        return fd

    def sync(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        if self.failing and self._told.get(fd) != size:
            self._told[fd] = size
            raise OSError(5, "Input/output error")
        self._sync(fd)


@pytest.mark.parametrize(
    ("grouped", "crowd"), [(False, []), (True, []), (True, [b"first", b"second"])]
)
def test_an_eager_writer_takes_a_disk_that_does_not_sync_for_one_that_can_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grouped: bool, crowd: list[bytes]
) -> None:
    writer = JournalWriter(tmp_path)
    writer.grouped, writer.eager = grouped, True
    writer.append(1, b"before")
    writer.flush()
    disk = Disk(monkeypatch)
    if crowd:
        writer._lonely = False
        for payload in crowd:
            writer.append(1, payload, payload)
        with pytest.raises(JournalError, match="Cannot sync"):
            writer.flush()
        assert writer.lost == crowd
    for number in range(5):
        with pytest.raises(JournalError, match="Input/output error"):
            writer.append(1, b"told", "a call")
        writer.flush()  # what is sent then counts on nothing
        assert len(segments(tmp_path)) == 1, number
        assert [payload for _, payload in read_all(tmp_path)] == [b"before"]
    disk.failing = False
    writer.append(1, b"last", "a call")
    writer.flush()
    assert [payload for _, payload in read_all(tmp_path)] == [b"before", b"last"]
    writer.close()


def test_a_segment_is_not_seen_before_it_is_sure_to_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path, segment_bytes=HEADER_BYTES + 1)
    writer.eager = True
    writer.append(1, b"one")
    sync, seen = os.fdatasync, []

    def failing_once(fd: int) -> None:
        seen.append(len(segments(tmp_path)))
        if len(seen) == 1:
            raise OSError(5, "Input/output error")
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", failing_once)
    writer.append(1, b"two")
    assert seen[0] == 1, "who sees a second one takes the first for finished, and away"
    assert [number for number, _ in segments(tmp_path)] == [1]
    assert [payload for _, payload in read_all(tmp_path)] == [b"one", b"two"]
    writer.close()
