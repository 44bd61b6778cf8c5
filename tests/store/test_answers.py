"""Answers on the disk: found again after a restart, unreadable, bounded, replaceable."""

import asyncio
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ferryman.cache.key import choice, key_of
from ferryman.store.answers import AnswerStore

Told = list[str]


async def found(store: AnswerStore, key: bytes) -> bytes | None:
    """What is kept under ``key``."""
    answer = await store.load(key)
    assert answer is None or answer[1] <= LONG
    return answer[0] if answer is not None else None


LONG = 1_000_000
"""Seconds: modules are read long before their tests are run."""
LATER = time.time() + LONG


def with_store(
    path: Path, work: Callable[[AnswerStore], Awaitable[None]], *, key: bytes = b"k" * 32,
    most: int = 10**6,
) -> Told:  # fmt: skip
    """Run ``work`` with a store of its own; what it told the log."""
    told: Told = []

    async def run() -> None:
        store = AnswerStore(path, key, most, told.append)
        await work(store)
        store.close()

    asyncio.run(run())
    return told


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sub" / "cache.db"


def test_an_answer_outlives_its_process(path: Path) -> None:
    async def save(store: AnswerStore) -> None:
        store.save(b"key", b"old", LATER)
        store.save(b"key", b"canary in the store" * 10, LATER)
        store.save(b"gone", b"x", time.time() - 1)

    async def load(store: AnswerStore) -> None:
        assert await found(store, b"key") == b"canary in the store" * 10
        assert await found(store, b"gone") is None
        assert await found(store, b"other") is None

    async def nothing(store: AnswerStore) -> None:
        assert await found(store, b"key") is None

    assert with_store(path, save) == []
    assert with_store(path, load) == []
    [told] = with_store(path, nothing, key=b"j" * 32)
    assert "FERRYMAN_PEPPER" in told, "sealed under another key"
    assert b"canary" not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0


def test_the_oldest_make_room(path: Path) -> None:
    noise = [random.Random(i).randbytes(1000) for i in range(60)]

    async def fill(store: AnswerStore) -> None:
        for i, data in enumerate(noise):
            store.save(b"%d" % i, data, LATER)
        kept_now = [await found(store, b"%d" % i) for i in range(len(noise))]
        kept = [i for i, data in enumerate(kept_now) if data is not None]
        assert kept == list(range(kept[0], len(noise)))
        assert 0 < kept[0] < len(noise) - 5
        assert all(kept_now[i] == noise[i] for i in kept)

    assert with_store(path, fill, most=20_000) == []


def test_a_damaged_file_is_begun_anew(path: Path) -> None:
    async def save(store: AnswerStore) -> None:
        store.save(b"key", b"data", LATER)
        assert await found(store, b"key") == b"data"

    with_store(path, save)
    path.write_bytes(b"this is no database" * 1000)

    async def again(store: AnswerStore) -> None:
        assert await found(store, b"key") is None
        store.save(b"key", b"new", LATER)
        assert await found(store, b"key") == b"new"

    [told] = with_store(path, again)
    assert "cache.db" in told


def test_without_a_place_to_write_there_are_only_misses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def both(store: AnswerStore) -> None:
        for _ in range(3):
            store.save(b"key", b"data", LATER)
            assert await found(store, b"key") is None

    assert len(with_store(tmp_path / "file" / "cache.db", both)) == 1, "told once"


WRITER = """
import asyncio, os, resource, sys, time
from pathlib import Path
from ferryman.store.answers import AnswerStore
told = []
store = AnswerStore(Path(sys.argv[1]), b"k" * 32, 10**8, told.append)
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
async def work():
    for i in range(100 if limit else 10**9):
        store.save(b"%d" % (i % 50), os.urandom(10_000), time.time() + 1000)
        await store.load(b"%d" % (i % 50))
        print(i, flush=True)
asyncio.run(work())
store.close()
print("told", len(told), flush=True)
"""


def writer(path: Path, limit: int = 0) -> subprocess.Popen[str]:
    """Another process that keeps answers in the same file, of ``limit`` bytes at most."""
    command = [sys.executable, "-c", WRITER, str(path), str(limit)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_that_share_a_file_and_are_killed_leave_it_whole(path: Path) -> None:
    async def both(store: AnswerStore) -> None:
        for i in range(60):
            store.save(b"%d" % (i % 50), b"mine" * 1000, LATER)
        store.save(b"last", b"mine", LATER)
        assert await found(store, b"last") == b"mine"
        count, size = await store.sizes()
        assert 0 < count <= 51
        assert size > 0

    for _ in range(3):
        other = writer(path)
        assert other.stdout is not None
        other.stdout.readline()
        assert with_store(path, both) == []
        other.kill()
        other.wait()
        other.stdout.close()
    assert with_store(path, both) == [], "after kill -9"


def test_a_full_disk_is_told_of_once_and_costs_only_misses(path: Path) -> None:
    other = writer(path, 200_000)
    said, _ = other.communicate(timeout=60)
    assert other.returncode == 0
    [*_, last] = said.splitlines()
    assert last == "told 1"


def test_what_others_put_into_a_row_is_a_miss(path: Path) -> None:
    async def save(store: AnswerStore) -> None:
        for i in range(5):
            store.save(b"%d" % i, b"data", LATER)

    with_store(path, save)
    file = sqlite3.connect(path)
    file.execute("UPDATE answers SET sealed = 'text' WHERE key = ?", (b"0",))
    file.execute("UPDATE answers SET sealed = x'' WHERE key = ?", (b"1",))
    file.execute("UPDATE answers SET until = until + 9999 WHERE key = ?", (b"2",))
    query = "UPDATE answers SET sealed = (SELECT sealed FROM answers WHERE key = ?) WHERE key = ?"
    file.execute(query, (b"4", b"3"))
    file.commit()
    file.close()

    async def load(store: AnswerStore) -> None:
        assert [await found(store, b"%d" % i) for i in range(5)] == [None] * 4 + [b"data"]

    [told] = with_store(path, load)
    assert "damaged" in told
    with_store(path, save)

    async def again(store: AnswerStore) -> None:
        assert [await found(store, b"%d" % i) for i in range(5)] == [b"data"] * 5

    assert with_store(path, again) == []


def test_answers_are_cleared_by_what_their_keys_begin_with(path: Path) -> None:
    def key(owner: str, model: str) -> bytes:
        return key_of(owner.encode(), model.encode(), b"", b"x")

    async def clear(store: AnswerStore) -> None:
        for owner in "ab":
            for model in "mn":
                store.save(key(owner, model), b"data", LATER)
        store.clear(choice("a", "m", None))
        assert await found(store, key("a", "m")) is None
        assert (await store.sizes())[0] == 3
        store.clear(choice("b", None, None))
        assert await found(store, key("a", "n")) == b"data"
        assert (await store.sizes())[0] == 1
        store.clear(choice(None, None, None))
        assert await store.sizes() == (0, 0)

    assert with_store(path, clear) == []
