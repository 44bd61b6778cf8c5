"""Answers on the disk: found again after a restart, unreadable, bounded, replaceable."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ferryman.store.answers import AnswerStore

Told = list[str]


async def found(store: AnswerStore, key: bytes) -> bytes | None:
    """What is kept under ``key``."""
    answer = await store.load(key)
    assert answer is None or answer[1] <= 1000
    return answer[0] if answer is not None else None


LATER = time.time() + 1000


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
