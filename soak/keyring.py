"""Virtual keys: how soon a change reaches the data plane, and what a hundred thousand cost."""

import asyncio
import secrets
import statistics
import time
from pathlib import Path

from msgspec import Struct
from tests.processes import PATIENCE

from ferryman.meter import keys as tokens
from ferryman.store.db import migrate, open_engine
from ferryman.store.keys import NewKey, create_many
from soak.client import Address, connect, request
from soak.kills import SIMPLE
from soak.mix import CHAT
from soak.plant import Plant, memory, plant

BATCH = 20_000
MB = 1_000_000
SOON = 2.0
"""Seconds within which a change must have reached the data plane; a millisecond is usual."""


class Prompt(Struct, kw_only=True):
    """Seconds from the admin API's answer to the first call that saw the change."""

    created: list[float]
    revoked: list[float]


class Ring(Struct, kw_only=True):
    """What an installation with so many keys has shown."""

    keys: int
    ready: float
    """Seconds from starting both planes to ready, with the keys in the database and no cache."""
    again: float
    """The same with the data plane's cache on disk."""
    call_us: float
    """Median time of a call at one connection, with keys drawn from all of them."""
    edge_mb: float


async def changes(plant: Plant, rounds: int) -> Prompt:
    """Make and revoke keys under the eyes of a caller who tries each at once, again and again."""
    found = Prompt(created=[], revoked=[])
    for number in range(rounds):
        name = f"prompt {number}"
        made = await asyncio.to_thread(plant.admin, "POST", "/admin/v1/keys", {"name": name})
        address = Address("127.0.0.1", plant.port, made.json()["key"])
        found.created.append(await _until(address, 200))
        await asyncio.to_thread(plant.admin, "DELETE", f"/admin/v1/keys/{made.json()['id']}")
        found.revoked.append(await _until(address, 401))
    return found


async def _until(address: Address, status: int) -> float:
    began = time.monotonic()
    link = await connect(address)
    try:
        while True:
            answer = await link.ask(request(address, CHAT, SIMPLE))
            took = time.monotonic() - began
            if answer.status == status:
                return took
            assert took < PATIENCE, f"after {took:.1f} s the key still gets {answer.status}"
            await asyncio.sleep(0.002)
    finally:
        link.close()


def ring(count: int, calls: int) -> Ring:
    """Start an installation with ``count`` keys, twice, and call with keys drawn from them."""
    with plant() as place:
        some = _fill(place.data, count)
        ready = _timed_up(place)
        asyncio.run(_calls(place, some, 50))
        assert place.supervisor is not None
        assert place.supervisor.stop() == 0
        again = _timed_up(place)
        call_us = asyncio.run(_calls(place, some, calls))
        return Ring(
            keys=count,
            ready=ready,
            again=again,
            call_us=call_us,
            edge_mb=memory(place.pid("edge")) / MB,
        )


def _timed_up(place: Plant) -> float:
    began = time.monotonic()
    place.up()
    return time.monotonic() - began


def _fill(data: Path, count: int) -> list[str]:
    """Put ``count`` keys into a new database; returns the secrets of a thousand of them."""
    data.mkdir(mode=0o700)
    pepper = secrets.token_hex(32)
    (data / "secrets").mkdir(mode=0o700)
    (data / "secrets" / "pepper").write_text(pepper)
    engine = open_engine(f"sqlite:///{data / 'ferryman.db'}")
    migrate(engine)
    kept: list[str] = []
    for start in range(0, count, BATCH):
        batch = []
        for number in range(start, min(start + BATCH, count)):
            secret = tokens.mint()
            if number * 1000 // count >= len(kept):
                kept.append(secret)
            digest = tokens.digest(pepper.encode(), secret.encode())
            batch.append(NewKey(name=f"k{number}", digest=digest, hint=tokens.hint(secret)))
        create_many(engine, batch)
    engine.dispose()
    return kept


async def _calls(place: Plant, some: list[str], count: int) -> float:
    """Median microseconds of a call, one after the other on one connection."""
    addresses = [Address("127.0.0.1", place.port, secret) for secret in some]
    link = await connect(addresses[0])
    times = []
    for number in range(count):
        data = request(addresses[number % len(addresses)], CHAT, SIMPLE)
        began = time.perf_counter()
        answer = await link.ask(data)
        times.append(time.perf_counter() - began)
        assert answer.status == 200, answer
    link.close()
    return statistics.median(times) * 1e6
