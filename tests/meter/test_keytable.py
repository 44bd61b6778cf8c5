"""The data plane's key table: from blobs as the control plane makes them."""

import gc
import mmap
import random
import struct
from pathlib import Path

import pytest

from ferryman.meter.keytable import CACHED, KeyRow, KeyTable, KeyTableError

RECORD = struct.Struct("<32s24sII")  # restated from the contract between the planes


def record(digest: bytes, key_id: str, expires: int = 0, flags: int = 0) -> bytes:
    return RECORD.pack(digest, key_id.encode(), expires, flags)


def sample(count: int, seed: int = 1) -> dict[bytes, str]:
    draw = random.Random(seed)
    return {draw.randbytes(32): f"key_{number:012d}" for number in range(count)}


def blob(keys: dict[bytes, str]) -> bytes:
    return b"".join(record(digest, keys[digest]) for digest in sorted(keys))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
def test_every_key_is_found_and_no_other(count: int) -> None:
    keys = sample(count)
    table = KeyTable(blob(keys))
    assert len(table) == count
    for _ in range(2):  # the second time from the cache
        for digest, key_id in keys.items():
            assert table.get(digest) == KeyRow(key_id, 0, False)
    near = [digest[:31] + bytes([digest[31] ^ 1]) for digest in keys]
    far = list(sample(100, seed=2))
    for digest in (*near, *far, b"\0" * 32, b"\xff" * 32):
        assert table.get(digest) is None


def test_keys_that_share_their_first_bytes_are_told_apart() -> None:
    digests = [b"\x42" * 31 + bytes([last]) for last in range(50)]
    table = KeyTable(blob({digest: f"key_{digest[31]}" for digest in digests}))
    for digest in digests:
        found = table.get(digest)
        assert found is not None
        assert found.id == f"key_{digest[31]}"
    assert table.get(b"\x42" * 31 + b"\xff") is None


def test_expiry_and_revocation() -> None:
    digests = [bytes([number]) * 32 for number in range(3)]
    table = KeyTable(
        record(digests[0], "key_a")
        + record(digests[1], "key_b", expires=1000)
        + record(digests[2], "key_c", flags=1)
    )
    always, until, never = (table.get(digest) for digest in digests)
    assert always and until and never
    assert always.usable(4e9)
    assert until.usable(999.9)
    assert not until.usable(1000)
    assert not never.usable(0)


def test_changes_win_over_the_table_and_over_what_was_looked_up() -> None:
    keys = sample(100)
    table = KeyTable(blob(keys))
    first, second = list(keys)[:2]
    assert table.get(first) == KeyRow(keys[first], 0, False)
    new = b"\x07" * 32
    assert table.get(new) is None
    table.apply(
        record(new, "key_new") + record(first, keys[first], flags=1) + record(new, "key_newer")
    )
    assert table.get(first) == KeyRow(keys[first], 0, True)
    assert table.get(second) == KeyRow(keys[second], 0, False)
    assert table.get(new) == KeyRow("key_newer", 0, False)
    assert len(table) == 101


def test_damaged_tables_are_refused() -> None:
    good = blob(sample(10))
    for cut in (1, 63, 65, len(good) - 1):
        with pytest.raises(KeyTableError, match="whole records"):
            KeyTable(good[:cut])
    with pytest.raises(KeyTableError, match="sorted"):
        KeyTable(good[64:] + good[:64])
    table = KeyTable(good)
    with pytest.raises(KeyTableError, match="whole records"):
        table.apply(record(b"\1" * 32, "key_x") + b"rest")
    assert table.get(b"\1" * 32) is None


def test_a_mapped_file_serves_as_table(tmp_path: Path) -> None:
    keys = sample(1000)
    path = tmp_path / "keys.bin"
    path.write_bytes(blob(keys))
    with path.open("rb") as file:
        table = KeyTable(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    path.unlink()
    assert all(table.get(digest) == KeyRow(key_id, 0, False) for digest, key_id in keys.items())


def test_a_hundred_thousand_keys_cost_little_memory() -> None:
    keys = sample(100_000)
    data = blob(keys)
    gc.collect()
    before = len(gc.get_objects())
    table = KeyTable(data)
    gc.collect()
    assert len(gc.get_objects()) - before < 100, "no object per key"
    for digest, key_id in keys.items():
        found = table.get(digest)
        assert found is not None
        assert found.id == key_id
    assert len(table._cached) <= CACHED
