"""``kill -9`` under load: of the data plane, the control plane, both at once, the supervisor; with
PostgreSQL also of its processes."""

import asyncio
import random
import time
from collections import Counter

from msgspec import Struct
from tests.processes import PATIENCE

from soak.books import balanced
from soak.client import Address, Answer, call
from soak.mix import CHAT, SIMPLE, Load, Mix, Tally, check
from soak.plant import PROBE, Plant

VICTIMS = {"edge": 6, "control": 5, "both": 3, "supervisor": 2, "database": 3}
"""What is killed, and how often next to the others; the last with PostgreSQL only."""
HASTE = 0.25
"""Share of kills that come while the installation is still recovering from the one before."""


class Outcome(Struct, kw_only=True):
    """What a run has shown."""

    kills: dict[str, int]
    tally: Tally
    served_meanwhile: int
    """Probes answered while the control plane was dead."""
    waited: float
    """Longest that a caller who connected to a dead data plane waited for its answer, seconds."""
    counters: int
    """Counters of budgets that stood at the sum of the ledger's calls in the end."""
    keys: int
    """Keys made or revoked right before a kill, and found so after it."""


class Killer:
    """One run: load on one side, kills on the other."""

    def __init__(self, plant: Plant, kills: int, seed: int, callers: int) -> None:
        self._plant = plant
        self._draw = random.Random(seed)
        victims = dict(VICTIMS)
        if plant.database.startswith("sqlite"):
            del victims["database"]
        first = sorted(victims)
        self._draw.shuffle(first)  # each at least once, then by weight
        weights = list(victims.values())
        self._victims = [*first, *self._draw.choices([*victims], weights, k=kills)][:kills]
        self._load = Load(lambda: self._address, Mix(seed), pause=0.03)
        self._callers = callers
        self._address = plant.address
        self._killed: Counter[str] = Counter()
        self._served = 0
        self._waited = 0.0
        self._keys: dict[str, bool] = {}
        """Secret → whether it must be let in."""

    async def run(self) -> Outcome:
        """Kill, recover, again and again; then look at the ledger."""
        self._load.start(self._callers)
        for number, victim in enumerate(self._victims):
            await asyncio.sleep(self._draw.uniform(0.05, 1.2))
            await self._change_keys(number)
            await getattr(self, f"_kill_{victim}")()
            self._killed[victim] += 1
            if self._draw.random() >= HASTE:
                await self._recovered()
        await self._recovered()
        await self._load.stop()
        await self._check_keys()
        assert not self._load.refused, f"{self._load.refused} callers were refused"
        ledger, stats = await asyncio.to_thread(
            lambda: (self._plant.ledger(), self._plant.stats()["models"])
        )
        stats = {name: n for name, n in stats.items() if name in self._load.sent}
        counters = await asyncio.to_thread(balanced, self._plant, ledger)
        probes = ledger.take_out(PROBE)
        assert len(probes) >= self._served
        return Outcome(
            kills=dict(self._killed),
            tally=check(self._load, ledger, stats),
            served_meanwhile=self._served,
            waited=self._waited,
            counters=counters,
            keys=len(self._keys),
        )

    # -- kills

    async def _kill_edge(self) -> None:
        await asyncio.to_thread(self._plant.kill, "edge")
        await self._probe("a caller who connects to a dead data plane")

    async def _kill_control(self) -> None:
        await asyncio.to_thread(self._plant.kill, "control")
        await self._probe("a caller while the control plane is dead")
        self._served += 1

    async def _kill_both(self) -> None:
        planes = ["edge", "control"]
        self._draw.shuffle(planes)
        for plane in planes:
            await asyncio.to_thread(self._plant.kill, plane)
        await self._probe("a caller who connects while both planes are dead")

    async def _kill_database(self) -> None:
        await asyncio.to_thread(self._plant.kill_database, self._draw)
        await self._probe("a caller while the database is dead")

    async def _kill_supervisor(self) -> None:
        self._load.may_be_refused = True
        await asyncio.to_thread(self._plant.kill_supervisor)
        self._load.may_be_refused = False

    async def _probe(self, who: str) -> None:
        began = time.monotonic()
        answer = await self._call(self._address)
        assert answer.whole, f"{who} got {answer.failure or answer.status} {answer.body[:200]!r}"
        assert answer.status == 200, f"{who} got {answer.status}: {answer.body[:200]!r}"
        self._waited = max(self._waited, time.monotonic() - began)

    async def _call(self, address: Address) -> Answer:
        return await asyncio.wait_for(call(address, CHAT, SIMPLE), PATIENCE)

    async def _recovered(self) -> None:
        """Both planes are there, and answer."""
        for plane in ("edge", "control"):
            await asyncio.to_thread(self._plant.pid, plane)
        await self._probe("a caller after the recovery")
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                reply = await asyncio.to_thread(self._plant.admin, "GET", "/readyz")
                if reply.status == 200:
                    return
            except OSError:
                pass
            assert time.monotonic() < deadline, "the control plane did not recover"
            await asyncio.sleep(0.05)

    # -- keys

    async def _change_keys(self, number: int) -> None:
        """Make two keys and revoke one of them, the moment before a kill."""
        try:
            made = [await self._make(f"k{number}-{which}") for which in ("stays", "goes")]
            reply = await asyncio.to_thread(
                self._plant.admin, "DELETE", f"/api/v1/keys/k{number}-goes"
            )
        except OSError:
            return  # the control plane is still on its way back
        self._keys[made[0]] = True
        if reply.status == 200:
            self._keys[made[1]] = False

    async def _make(self, name: str) -> str:
        reply = await asyncio.to_thread(self._plant.admin, "POST", "/api/v1/keys", {"name": name})
        if reply.status != 201:
            raise OSError(f"no key was made: {reply.status}")
        return str(reply.json()["key"])

    async def _check_keys(self) -> None:
        deadline = time.monotonic() + PATIENCE
        for secret, good in self._keys.items():
            address = Address(self._address.host, self._address.port, secret)
            while (answer := await self._call(address)).status != (200 if good else 401):
                assert time.monotonic() < deadline, f"{good} key gets {answer.status}"
                await asyncio.sleep(0.1)


async def run(plant: Plant, *, kills: int, seed: int, callers: int = 20) -> Outcome:
    """Kill ``kills`` times at moments drawn from ``seed``. ``plant`` must be up.

    It should have :data:`~soak.books.LIMITS`: budgets are compared with the ledger in the end.
    """
    return await Killer(plant, kills, seed, callers).run()
