"""``kill -9`` under load of data planes, the control plane, the supervisor, PostgreSQL and Valkey:
counters equal the ledger, and what may not pass doesn't.

Data planes count limits together. What is killed is one of them, the control plane, the supervisor,
one of PostgreSQL's processes, or the server of the counters, which comes back with its data or
without. Afterwards each budget's counter is the sum of what the ledger says that it bears, nothing
is held any more, and no call is lost or doubled.

Where limits *bind*, callers use up one small budget after the other, and come back to old ones: of
none more has passed than it had, as the ledger says; and no more calls are at work than may be, as
the provider says.
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

from soak.client import Address, call
from soak.mix import CHAT, KINDS, SIMPLE, Load, Mix, Tally, check, turned_away
from soak.plant import FLAT, PRICED, PROBE, RATES, Ledger, Plant

VICTIMS = {"edge": 6, "control": 3, "valkey": 3, "wiped": 3, "supervisor": 1, "database": 3}
"""What is killed, and how often next to the others; the last with PostgreSQL only."""
HASTE = 0.25
"""Share of kills that come while the installation is still recovering from the one before."""
PURSE = 2_000_000_000
"""Picodollars of each small budget: some 80 calls,"""
HOLDS = 60
"""of which each may have so many tokens."""
ASKS = 120
"""Calls to a small budget, before callers go on to the next."""
BACK = 8
"""One in so many calls is to one of the budgets before."""
AT_ONCE = 8
"""Calls at work, where limits bind: the provider fails whoever comes while so many are."""
WATCHED = f"room={AT_ONCE}"
BINDING = {
    "whole": (20, WATCHED, False),
    "late": (40, f"delay={{pause}}&{WATCHED}", False),
    "details": (6, f"cached=300&reasoning=11&{WATCHED}", False),
    "stream": (10, WATCHED, True),
    "paced": (16, f"tps=150&{WATCHED}", True),
    "unknown": (2, f"no-usage&{WATCHED}", False),
} | {kind: KINDS[kind] for kind in ("error", "cut", "reset")}
"""Calls where limits bind, as :data:`~soak.mix.KINDS`. Nobody leaves: providers notice it late."""


class Mode(Struct, frozen=True, kw_only=True):
    """How an installation counts."""

    workers: int
    away: str
    """``server.state_away``"""
    binds: bool = False
    """Whether limits are reached."""


SHARED = Mode(workers=4, away="fail_open")
CLOSED = Mode(workers=4, away="fail_closed", binds=True)
LOCAL = Mode(workers=1, away="local", binds=True)


def settings(url: str, mode: Mode = SHARED) -> str:
    """Configuration of a plant: limits that refuse nothing, and count everything; and, where limits
    bind, some that do."""
    facts = ", ".join(f"{name}: {{ max_output: 4000 }}" for name in RATES)
    more = f"""\
  - {{ name: purse, by: end_user, budget: {{ usd: {PURSE / 1e12}, per: month }} }}
  - {{ name: few, parallel: {AT_ONCE} }}
"""
    return f"""\
    models: {{ {facts} }}
    requests: {{ most: 100000000, per: second }}
    tokens: {{ most: 100000000, per: second }}
    max_in_flight: 100000
server: {{ state: "{url}", workers: {mode.workers}, state_away: {mode.away} }}
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
{more if mode.binds else ""}"""


COUNTED = {
    "all": ("usd/month/UTC/hard", "tokens/day/rolling/hard"),
    "each": ("usd/week/UTC/soft",),
    "there": ("usd/month/UTC/hard",),
    "purse": ("usd/month/UTC/hard",),
}
"""Names of these limits' counters in the server, by the limit."""


def mix_of(seed: int, mode: Mode) -> Mix:
    """The calls of callers."""
    if not mode.binds:
        return Mix(seed, lambda serial: PRICED[serial % len(PRICED)])
    draw = random.Random(seed)

    def purse(serial: int) -> str:
        back = draw.randint(1, 5) if serial % BACK == 0 else 0
        return f"purse-{serial // ASKS - back}"

    return Mix(seed, lambda _: FLAT, BINDING, purse, max_tokens=HOLDS)


class Outcome(Struct, kw_only=True):
    """What a run has shown."""

    kills: dict[str, int]
    tally: Tally
    budgets: int
    """Counters of budgets compared."""
    settled_after: float
    """Seconds from the end of the load until they were equal."""
    alone: int
    """Calls that were decided without the server, since the supervisor was killed last."""
    reached: int
    """Small budgets that have refused calls; none has borne more than it had."""


class Killer:
    """One run: load on one side, kills on the other."""

    def __init__(self, plant: Plant, server: Server, mode: Mode, kills: int, seed: int) -> None:
        self._plant = plant
        self._server = server
        self._mode = mode
        self._draw = random.Random(seed)
        victims = dict(VICTIMS)
        if plant.database.startswith("sqlite"):
            del victims["database"]
        first = sorted(victims)
        self._draw.shuffle(first)
        weights = list(victims.values())
        self._victims = [*first, *self._draw.choices([*victims], weights, k=kills)][:kills]
        pause = 0.1 if mode.binds else 0.03
        self._load = Load(lambda: plant.address, mix_of(seed, mode), pause=pause)

    async def run(self, callers: int) -> Outcome:
        """Kill, again and again; then compare."""
        await asyncio.to_thread(self._recovered)
        self._load.start(callers)
        for victim in self._victims:
            await asyncio.sleep(self._draw.uniform(0.05, 2.0 if self._mode.binds else 1.0))
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
        ledger.take_out(PROBE)
        stats = (await asyncio.to_thread(self._plant.stats))["models"]
        stats = {name: n for name, n in stats.items() if name in self._load.sent}
        return Outcome(
            kills=dict(Counter(self._victims)),
            tally=check(self._load, ledger, stats, limited=self._mode.binds),
            budgets=budgets,
            settled_after=settled,
            alone=_metric(self._plant, "ferryman_limits_alone_total"),
            reached=kept(self._load, ledger) if self._mode.binds else 0,
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

    def _kill_supervisor(self) -> None:
        self._load.may_be_refused = True
        self._plant.kill_supervisor()
        self._load.may_be_refused = False

    def _kill_database(self) -> None:
        self._plant.kill_database(self._draw)

    def _recovered(self) -> None:
        workers = self._mode.workers
        until(lambda: len(self._plant.pids("edge")) == workers, "all workers")
        until(lambda: self._plant.pids("control"), "the control plane")
        until(
            lambda: _metric(self._plant, "ferryman_limits_shared") == workers,
            "all workers at the server",
        )
        until(lambda: served(self._plant.address), "a call that is served, or refused by a limit")


def served(address: Address) -> bool:
    """Whether a call is answered, or refused by a limit: what is counted is known."""
    answer = asyncio.run(call(address, CHAT, SIMPLE))
    return answer.status == 200 or turned_away(answer)


def kept(load: Load, ledger: Ledger) -> int:
    """How many small budgets have refused calls. Raises AssertionError where one bears more than it
    has, or a call that it bears has cost more than that."""
    borne, spent = Counter[str](), Counter[str]()
    for row in ledger.rows:
        for key in json.loads(row["budgets"] or "[]"):
            if isinstance(key, str) and key.startswith("purse|"):
                borne[key] += row["charged_pico"]
                spent[key] += row["cost_pico"] or 0
    over = {key: sums for key, sums in (borne | spent).items() if sums > PURSE}
    assert not over, f"beyond {PURSE}: {over}"
    return len({ask.user for ask, answer in load.answers if answer.status == 402})


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), "a killed process's end")


def _metric(plant: Plant, name: str) -> int:
    try:
        lines = plant.metrics().splitlines()
    except (OSError, http.client.HTTPException):
        return -1
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{name} "))


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
            for identity in COUNTED[key.partition("|")[0]]:
                amount = tokens if identity.startswith("tokens") else picodollars
                sums[f"{identity} {key}"] += amount
    return {name: amount for name, amount in sums.items() if amount}


async def run(
    plant: Plant, server: Server, mode: Mode = SHARED, *, kills: int, seed: int, callers: int = 48
) -> Outcome:
    """Kill ``kills`` times at moments drawn from ``seed``. ``plant`` must be up."""
    return await Killer(plant, server, mode, kills, seed).run(callers)
