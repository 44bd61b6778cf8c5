"""``kill -9`` under load of data planes, the control plane and Valkey: counters equal the ledger.

Four workers count limits together. What is killed is one of them, the control plane, or the server
of the counters, which comes back with its data or without. Afterwards each budget's counter is the
sum of what the ledger says that it bears, nothing is held any more, and no call is lost or doubled.
"""

import asyncio
import http.client
import json
import os
import random
import signal
import time
from collections import Counter
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from tests.processes import PATIENCE, alive, until
from tests.valkey import Server

from soak.mix import Load, Mix, Tally, check
from soak.plant import PRICED, Plant

WORKERS = 4
VICTIMS = {"edge": 6, "control": 3, "valkey": 3, "wiped": 3}
HASTE = 0.25
"""Share of kills that come while the installation is still recovering from the one before."""


def settings(url: str) -> str:
    """Configuration of a plant: limits that refuse nothing, and count everything."""
    facts = ", ".join(f"{name}: {{ max_output: 4000 }}" for name in PRICED)
    return f"""\
    models: {{ {facts} }}
    requests: {{ most: 100000000, per: second }}
    tokens: {{ most: 100000000, per: second }}
    max_in_flight: 100000
server: {{ state: "{url}", workers: {WORKERS}, state_away: fail_open }}
limits:
  - name: all
    parallel: 100000
    requests: {{ most: 100000000, per: second }}
    tokens: {{ most: 100000000, per: second }}
    budget:
      - {{ usd: 1000000, per: month }}
      - {{ tokens: 1000000000000, per: day, rolling: true }}
  - {{ name: each, by: [model, key], budget: {{ usd: 1000000, per: week, soft: true }} }}
  - {{ name: there, by: provider, budget: {{ usd: 1000000, per: month }} }}
"""


class Outcome(Struct, kw_only=True):
    """What a run has shown."""

    kills: dict[str, int]
    tally: Tally
    budgets: int
    """Counters of budgets compared."""
    settled_after: float
    """Seconds from the end of the load until they were equal."""
    alone: int
    """Calls that were decided without the server."""


class Killer:
    """One run: load on one side, kills on the other."""

    def __init__(self, plant: Plant, server: Server, kills: int, seed: int) -> None:
        self._plant = plant
        self._server = server
        self._draw = random.Random(seed)
        first = sorted(VICTIMS)
        self._draw.shuffle(first)
        weights = list(VICTIMS.values())
        self._victims = [*first, *self._draw.choices([*VICTIMS], weights, k=kills)][:kills]
        mix = Mix(seed, lambda serial: PRICED[serial % len(PRICED)])
        self._load = Load(lambda: plant.address, mix, pause=0.03)

    async def run(self, callers: int) -> Outcome:
        """Kill, again and again; then compare."""
        self._load.start(callers)
        for victim in self._victims:
            await asyncio.sleep(self._draw.uniform(0.05, 1.0))
            await asyncio.to_thread(getattr(self, f"_kill_{victim}"))
            if self._draw.random() >= HASTE:
                await asyncio.to_thread(self._recovered)
        await asyncio.to_thread(self._recovered)
        await self._load.stop()
        began = time.monotonic()
        budgets = await asyncio.to_thread(equal, self._plant, self._server)
        settled = time.monotonic() - began
        assert not self._load.refused, f"{self._load.refused} callers were refused"
        ledger = await asyncio.to_thread(self._plant.ledger)
        stats = (await asyncio.to_thread(self._plant.stats))["models"]
        stats = {name: n for name, n in stats.items() if name in self._load.sent}
        return Outcome(
            kills=dict(Counter(self._victims)),
            tally=check(self._load, ledger, stats),
            budgets=budgets,
            settled_after=settled,
            alone=_alone(self._plant),
        )

    def _kill_edge(self) -> None:
        pids = self._plant.pids("edge")
        if pids:
            _kill(self._draw.choice(sorted(pids)))

    def _kill_control(self) -> None:
        self._plant.kill("control")

    def _kill_valkey(self) -> None:
        self._server.end()
        time.sleep(self._draw.uniform(0, 0.5))
        self._server.start()

    def _kill_wiped(self) -> None:
        self._server.wipe()

    def _recovered(self) -> None:
        until(lambda: len(self._plant.pids("edge")) == WORKERS, "all workers")
        until(lambda: self._plant.pids("control"), "the control plane")
        until(lambda: _shared(self._plant) == WORKERS, "all workers at the server")


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), "a killed process's end")


def _metric(plant: Plant, name: str) -> int:
    try:
        lines = plant.metrics().splitlines()
    except (OSError, http.client.HTTPException):
        return -1
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def _shared(plant: Plant) -> int:
    return _metric(plant, "ferryman_limits_shared")


def _alone(plant: Plant) -> int:
    return _metric(plant, "ferryman_limits_alone_total")


def equal(plant: Plant, server: Server) -> int:
    """Wait until the counters are what the ledger says; returns how many there are."""
    found: list[object] = []

    def same() -> bool:
        found[:] = [counted(server), borne(plant), held(server)]
        return found[0] == found[1] and not found[2]

    deadline = time.monotonic() + PATIENCE
    while not same():
        assert time.monotonic() < deadline, f"counters, ledger, holds: {found}"
        time.sleep(0.2)
    assert isinstance(found[0], dict)
    return len(found[0])


def counted(server: Server) -> dict[str, int]:
    """What the counters have of every key of every budget, by measure and key."""
    client = server.client()
    sums: Counter[str] = Counter()
    generation = _generation(server)
    for name in client.scan_iter(match="ferryman:*:limits:*:b:*", count=1000):
        place = name.decode().split(":limits:")[1]
        of, _, account = place.partition(":b:")
        if of == generation:
            identity, _, key = account.partition("\x1f")
            measure = f"{identity} {key}"
            sums[measure] += sum(int(amount) for amount in client.hvals(name))
    return {name: amount for name, amount in sums.items() if amount}


def held(server: Server) -> list[str]:
    """Calls that hold something."""
    client = server.client()
    generation = _generation(server)
    match = f"ferryman:*:limits:{generation}:"
    names = [*client.scan_iter(match=f"{match}h:*", count=1000)]
    calls = [call.decode() for name in names for call in client.hkeys(name)]
    return calls + [name.decode() for name in client.scan_iter(match=f"{match}p:*", count=1000)]


def _generation(server: Server) -> str:
    client = server.client()
    for name in client.scan_iter(match="ferryman:*:limits:generation", count=1000):
        return str((client.get(name) or b"").decode().partition(":")[0])
    return ""


def borne(plant: Plant) -> dict[str, int]:
    """The same as the ledger has it."""
    url = urlsplit((plant.data / "admin-url").read_text().strip())
    token = (plant.data / "secrets" / "feed-token").read_text().strip()
    link = http.client.HTTPConnection(url.hostname or "", url.port, timeout=PATIENCE)
    body = json.dumps({"since": 0, "until": 1 << 62, "step": 86_400})
    try:
        link.request("POST", "/internal/counted", body, {"authorization": f"Bearer {token}"})
        reply = link.getresponse()
        data = reply.read()
    except OSError:
        return {}
    finally:
        link.close()
    if reply.status != 200:
        return {}
    sums: Counter[str] = Counter()
    for keys, _, picodollars, tokens in msgspec.msgpack.decode(data):
        for key in keys:
            if key == "all":
                sums["usd/month/UTC/hard all"] += picodollars
                sums["tokens/day/rolling/hard all"] += tokens
            elif key.startswith("there|"):
                sums[f"usd/month/UTC/hard {key}"] += picodollars
            else:
                sums[f"usd/week/UTC/soft {key}"] += picodollars
    return {name: amount for name, amount in sums.items() if amount}


async def run(plant: Plant, server: Server, *, kills: int, seed: int, callers: int = 48) -> Outcome:
    """Kill ``kills`` times at moments drawn from ``seed``. ``plant`` must be up."""
    return await Killer(plant, server, kills, seed).run(callers)
