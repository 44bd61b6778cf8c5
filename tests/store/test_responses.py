"""Kept answers: encrypted, expiring, bound to their tenant and name."""

import shutil
from pathlib import Path

import pytest

from ferryman.store import responses
from ferryman.store.responses import ResponseStore, StoreError

KEY = bytes(range(32))


@pytest.fixture
def kept(tmp_path: Path) -> ResponseStore:
    return ResponseStore(tmp_path / "responses", KEY)


def files(folder: Path) -> list[Path]:
    return sorted((folder / "responses").iterdir())


def test_what_is_kept_comes_back_to_its_tenant_only(kept: ResponseStore) -> None:
    kept.save("key_a", "resp_1", b"the words", 60)
    assert kept.load("key_a", "resp_1") == b"the words"
    assert kept.load("key_b", "resp_1") is None
    assert kept.load("key_a", "resp_2") is None
    assert ResponseStore(kept._directory, bytes(32)).load("key_a", "resp_1") is None


def test_nothing_is_readable_on_the_disk(kept: ResponseStore, tmp_path: Path) -> None:
    kept.save("key_a", "resp_1", b"canary " * 100, 60)
    [path] = files(tmp_path)
    assert b"canary" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert "resp_1" not in path.name


def test_it_expires_and_its_file_goes(kept: ResponseStore, tmp_path: Path) -> None:
    kept.save("key_a", "old", b"x", -1)
    kept.save("key_a", "new", b"y", 60)
    assert kept.load("key_a", "old") is None
    assert kept.sweep() == 1
    assert len(files(tmp_path)) == 1
    assert kept.load("key_a", "new") == b"y"


def test_moved_cut_and_changed_files_are_nobodys(kept: ResponseStore, tmp_path: Path) -> None:
    kept.save("key_a", "one", b"x" * 100, 60)
    [path] = files(tmp_path)
    kept.save("key_b", "one", b"z", 60)
    [other] = set(files(tmp_path)) - {path}
    shutil.copyfile(path, other)
    assert kept.load("key_b", "one") is None
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert kept.load("key_a", "one") is None
        path.write_bytes(whole[:at])
        assert kept.load("key_a", "one") is None
    path.write_bytes(whole)
    assert kept.load("key_a", "one") == b"x" * 100


def test_forgetting_is_said_truly(kept: ResponseStore) -> None:
    kept.save("key_a", "one", b"x", 60)
    assert kept.delete("key_a", "one")
    assert not kept.delete("key_a", "one")
    assert kept.load("key_a", "one") is None


def test_what_cannot_be_kept_is_an_error_and_leaves_nothing(
    kept: ResponseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "MAX_BYTES", 10)
    with pytest.raises(StoreError, match="over 10"):
        kept.save("key_a", "one", b"x" * 11, 60)
    (tmp_path / "responses").write_text("a file in the way")
    with pytest.raises(StoreError):
        kept.save("key_a", "one", b"x", 60)
