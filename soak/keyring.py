"""Virtual keys: how soon a change reaches the data plane, and what a hundred thousand cost."""

import asyncio
import secrets
import shutil
import statistics
import time
from pathlib import Path

from msgspec import Struct
from tests.processes import PATIENCE, until

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


class Ratios(Struct, kw_only=True):
    """What so many keys change, compared with one."""

    keys: int
    start: float
    """Time from starting both planes to ready, with the data plane's cache on disk."""
    fresh: float
    """The same without the cache."""
    call: float
    """Median time of a call."""
    mb: float
    """Memory of the data plane, the difference."""


async def changes(plant: Plant, rounds: int) -> Prompt:
    """Make and revoke keys under the eyes of a caller who tries each at once, again and again."""
    found = Prompt(created=[], revoked=[])
    for number in range(rounds):
        name = f"prompt {number}"
        made = await asyncio.to_thread(plant.admin, "POST", "/api/v1/keys", {"name": name})
        address = Address("127.0.0.1", plant.port, made.json()["key"])
        found.created.append(await _until(address, 200))
        await asyncio.to_thread(plant.admin, "DELETE", f"/api/v1/keys/{made.json()['id']}")
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


def known(count: int, calls: int) -> int:
    """Call with keys drawn from ``count`` of them, and with strangers; returns how many were tried.

    Every one of ``count`` keys that is tried must be let in, and no stranger.
    """
    with plant() as place:
        some = _fill(place.data, count)
        place.up()
        strangers = [tokens.mint() for _ in range(100)]
        asyncio.run(_calls(place, some, calls, 200))
        asyncio.run(_calls(place, strangers, len(strangers), 401))
    return min(calls, len(some))


def compare(count: int, *, calls: int, starts: int = 3) -> Ratios:
    """Two installations, with one key and with ``count``, started and called in turn.

    The shortest of ``starts`` starts counts, and the median call.
    """
    with plant() as one, plant() as many:
        places = (one, many)
        keys = [_fill(place.data, number) for place, number in ((one, 1), (many, count))]
        cached: tuple[list[float], list[float]] = ([], [])
        fresh: tuple[list[float], list[float]] = ([], [])
        for number in range(2 * starts):
            for place, times in zip(places, (fresh, cached)[number % 2], strict=True):
                if place.supervisor is not None:
                    assert place.supervisor.stop() == 0
                if not number % 2:
                    shutil.rmtree(place.data / "cache", ignore_errors=True)
                times.append(_timed_up(place))
                until(lambda p=place: (p.data / "cache" / "snapshot.msgpack").exists(), "a cache")
        times = asyncio.run(_in_turn(places, keys, calls))
        size = [memory(place.pid("edge")) for place in places]
        return Ratios(
            keys=count,
            start=min(cached[1]) / min(cached[0]),
            fresh=min(fresh[1]) / min(fresh[0]),
            call=times[1] / times[0],
            mb=(size[1] - size[0]) / MB,
        )


async def _in_turn(places: tuple[Plant, ...], keys: list[list[str]], calls: int) -> list[float]:
    """Median seconds of a call at each place, each connection with a key of its own."""
    found: list[list[float]] = [[] for _ in places]
    links = []
    for place, some in zip(places, keys, strict=True):
        addresses = [Address("127.0.0.1", place.port, some[i % len(some)]) for i in range(20)]
        links.append([(await connect(address), address) for address in addresses])
    for number in range(calls):
        for at, times in zip(links, found, strict=True):
            link, address = at[number % len(at)]
            data = request(address, CHAT, SIMPLE)
            began = time.perf_counter()
            answer = await link.ask(data)
            times.append(time.perf_counter() - began)
            assert answer.status == 200, answer
    return [statistics.median(times) for times in found]


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


async def _calls(place: Plant, some: list[str], count: int, status: int) -> None:
    addresses = [Address("127.0.0.1", place.port, secret) for secret in some]
    link = await connect(addresses[0])
    for number in range(count):
        answer = await link.ask(request(addresses[number % len(addresses)], CHAT, SIMPLE))
        assert answer.status == status, answer
    link.close()
