"""A backlog of records is taken into the ledger while calls are served, which hardly notice it."""

import asyncio
import json
import time
from collections.abc import Callable

from bench.ingestion import fill
from msgspec import Struct
from tests.processes import PATIENCE

from soak.client import call
from soak.mix import CHAT
from soak.plant import PRICED, PROVIDER, Plant

BODY = json.dumps(
    {
        "model": f"{PROVIDER}/{PRICED[0]}",
        "messages": [{"role": "user", "content": "Is there a queue?"}],
        "max_tokens": 100,
        "sim": "tokens=5",
    }
).encode()


class Outcome(Struct, kw_only=True):
    """What a run has shown. Times are seconds."""

    records: int
    """Of the backlog; a call is two."""
    served: int
    """Calls meanwhile, each of which is in the ledger too."""
    seconds: float
    """From the start of the installation until the backlog was in."""
    p50: float
    p99: float
    """Of the calls meanwhile, without those of the first second, which is the start's;"""
    p50_after: float
    p99_after: float
    """of as many seconds, at most 30, without a backlog."""

    @property
    def rate(self) -> float:
        """Records taken in per second."""
        return self.records / self.seconds


async def run(plant: Plant, *, calls: int, rate: float) -> Outcome:
    """Start ``plant`` on a journal of ``calls`` calls, and serve ``rate`` calls a second."""
    await asyncio.to_thread(fill, plant.data / "journal" / "gateway-of-yesterday", calls)
    await asyncio.to_thread(plant.up)
    began = time.monotonic()
    waiting = asyncio.create_task(_drained(plant))
    meanwhile = await _load(plant, rate, waiting.done)
    seconds = (await waiting) - began
    until = time.monotonic() + min(seconds, 30)
    after = await _load(plant, rate, lambda: time.monotonic() > until)
    ledger = await asyncio.to_thread(plant.ledger)
    assert len(ledger.rows) == calls + len(meanwhile) + len(after), "not each call once"
    assert not ledger.open
    warm = meanwhile[min(int(rate), len(meanwhile) // 2) :]
    return Outcome(
        records=2 * calls,
        served=len(meanwhile),
        seconds=seconds,
        p50=_at(warm, 0.5),
        p99=_at(warm, 0.99),
        p50_after=_at(after, 0.5),
        p99_after=_at(after, 0.99),
    )


async def _drained(plant: Plant) -> float:
    """Wait until nothing of the backlog waits; returns when that was (monotonic)."""
    while True:
        found = (await asyncio.to_thread(plant.admin, "GET", "/api/v1/journal")).json()
        old = [row for row in found["planes"] if row["plane"] != "gateway"]
        if not sum(row["waiting_bytes"] for row in old):
            return time.monotonic()
        await asyncio.sleep(0.2)


async def _load(plant: Plant, rate: float, ended: Callable[[], bool]) -> list[float]:
    """Call at a fixed rate, whether or not the calls before are answered. Returns their seconds."""
    taken: list[float] = []

    async def one(due: float) -> None:
        answer = await asyncio.wait_for(call(plant.address, CHAT, BODY), PATIENCE)
        assert answer.whole, answer
        assert answer.status == 200, answer
        taken.append(time.monotonic() - due)

    due = time.monotonic()
    async with asyncio.TaskGroup() as group:
        while not ended():
            group.create_task(one(due))
            due += 1 / rate
            await asyncio.sleep(max(due - time.monotonic(), 0))
    return taken


def _at(times: list[float], share: float) -> float:
    return sorted(times)[int(share * (len(times) - 1))]
