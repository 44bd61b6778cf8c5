"""One installation of several hosts: two data planes with names and folders of their own, a control
plane, PostgreSQL and Valkey; all of which are killed under load.

What limits let pass is bounded for both together, a revoked key is refused by both at once, one
serves while the other is dead, and nothing is lost or counted twice.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from functools import partial

from msgspec import Struct
from tests.processes import PATIENCE, Process, Reply, request, until
from tests.valkey import Server

from soak.client import Address, Answer, call
from soak.counting import Mode, equal, kept, mix_of, served
from soak.mix import CHAT, SIMPLE, Load, Tally, check, turned_away
from soak.plant import PROBE, Plant

MODE = Mode(workers=2, away="fail_closed", binds=True)
VICTIMS = {"host": 4, "control": 2, "database": 2, "valkey": 1, "wiped": 1}
SOON = 1.0
"""Seconds within which all must refuse a revoked key."""
STRANGER = b"without a valid key"
"""Said (429) to who asks often with a key that is none, in place of 401."""


class Outcome(Struct, kw_only=True):
    """What a run has shown."""

    kills: dict[str, int]
    tally: Tally
    by_host: dict[str, int]
    """Calls in the ledger."""
    budgets: int
    """Counters of budgets compared."""
    reached: int
    """Small budgets that have refused calls; none has borne more than it had."""
    revoked: list[float]
    """Seconds from the answer of the admin API until the last host refused the key."""


class Host:
    """A data plane, with a folder of its own; ``journal/`` is where the control plane reads."""

    def __init__(self, plant: Plant, name: str, secrets: dict[str, str]) -> None:
        self.name = name
        self.port = 0
        self._plant = plant
        self._folder = plant.work / name
        self._folder.mkdir()
        (self._folder / "journal").symlink_to(plant.data / "journal")
        own = ("FERRYMAN_CONFIG", "FERRYMAN_DATABASE_URL", "FERRYMAN_ADMIN_PORT")
        self._env = {n: v for n, v in plant.env.items() if n not in own} | secrets
        self._env["FERRYMAN_DATA_DIR"] = str(self._folder)
        self.process = self.start()

    def start(self) -> Process:
        """Start it, on the port that it had before, and wait until it is ready."""
        url = (self._plant.data / "admin-url").read_text().strip()
        where = self._folder / "gateway-url"
        where.unlink(missing_ok=True)
        words = ["ferryman", "gateway", "--plane", self.name, "--control-url", url]
        self.process = Process([*words, "--port", str(self.port)], self._env, self._folder)
        self._plant.others.append(self.process)
        self.process.wait_for(rf"{self.name} +ready$")
        until(lambda: where.exists() and where.read_text().endswith("\n"), "a host's address")
        self.port = int(where.read_text().rpartition(":")[2])
        return self.process

    def kill(self) -> None:
        """``kill -9``."""
        self.process.popen.kill()
        self.process.wait()

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port, self._plant.key)

    def shares(self) -> bool:
        """Whether it counts limits with the others."""
        token = (self._folder / "secrets" / "metrics-token").read_text().strip()
        try:
            page = request(f"http://127.0.0.1:{self.port}", "GET", "/metrics", token=token)
        except OSError:
            return False
        return b"ferryman_limits_shared 1" in page.body.splitlines()


class Hosts:
    """Two hosts and what they share. ``plant`` is not to be started."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self._admin_port = "0"
        self.start_control()
        folder = plant.data / "secrets"
        secrets = {
            f"FERRYMAN_{name.upper().replace('-', '_')}": (folder / name).read_text().strip()
            for name in ("pepper", "feed-token")
        }
        self.all = [Host(plant, name, secrets) for name in ("east", "west")]

    def start_control(self) -> None:
        """Start the control plane, where it was before."""
        process = self.plant.start("control", FERRYMAN_ADMIN_PORT=self._admin_port)
        url = process.wait_for(r"control +ready at (\S+)$")[1]
        self._admin_port = url.rpartition(":")[2]


class _Run:
    def __init__(self, hosts: Hosts, server: Server, kills: int, seed: int) -> None:
        self._hosts, self._plant, self._server = hosts, hosts.plant, server
        self._draw = random.Random(seed)
        first = sorted(VICTIMS)
        self._draw.shuffle(first)
        weights = list(VICTIMS.values())
        self._victims = [*first, *self._draw.choices([*VICTIMS], weights, k=kills)][:kills]
        mix = mix_of(seed, MODE)
        self._loads = [
            Load(partial(getattr, host, "address"), mix, pause=0.1) for host in hosts.all
        ]
        for load in self._loads:
            load.may_be_refused = True
        self._revoked: list[float] = []

    async def run(self, callers: int) -> Outcome:
        await asyncio.to_thread(self._recovered)
        for load in self._loads:
            load.start(callers)
        for number, victim in enumerate(self._victims):
            await self._revocation(f"k{number}")
            await asyncio.sleep(self._draw.uniform(0.05, 1.0))
            await getattr(self, f"_kill_{victim}")()
            await asyncio.to_thread(self._recovered)
        load, other = self._loads
        await asyncio.gather(load.stop(), other.stop())
        load.answers += other.answers
        load.sent += other.sent
        budgets = await asyncio.to_thread(equal, self._plant, self._server)
        ledger = await asyncio.to_thread(self._plant.ledger)
        ledger.take_out(PROBE)
        stats = (await asyncio.to_thread(self._plant.stats))["models"]
        stats = {name: n for name, n in stats.items() if name in load.sent}
        return Outcome(
            kills=dict(Counter(self._victims)),
            tally=check(load, ledger, stats, limited=True),
            by_host=dict(Counter(row["plane"] for row in ledger.rows)),
            budgets=budgets,
            reached=kept(load, ledger),
            revoked=self._revoked,
        )

    async def _kill_host(self) -> None:
        dead, other = self._draw.sample(self._hosts.all, 2)
        await asyncio.to_thread(dead.kill)
        for _ in range(5):
            assert await asyncio.to_thread(served, other.address), f"{other.name} does not serve"
        await asyncio.to_thread(dead.start)

    async def _kill_control(self) -> None:
        await asyncio.to_thread(self._plant.kill, "control")
        for host in self._hosts.all:
            assert await asyncio.to_thread(served, host.address), f"{host.name} does not serve"
        await asyncio.to_thread(self._hosts.start_control)

    async def _kill_database(self) -> None:
        await asyncio.to_thread(self._plant.kill_database, self._draw)

    async def _kill_valkey(self) -> None:
        await asyncio.to_thread(self._server.end)
        await asyncio.to_thread(self._server.start)

    async def _kill_wiped(self) -> None:
        await asyncio.to_thread(self._server.wipe)

    async def _call(self, address: Address) -> Answer:
        return await asyncio.wait_for(call(address, CHAT, SIMPLE), PATIENCE)

    def _recovered(self) -> None:
        hosts = self._hosts.all
        until(lambda: all(host.shares() for host in hosts), "hosts that share limits")
        until(lambda: all(served(host.address) for host in hosts), "hosts that serve")

        def ready() -> bool:
            with contextlib.suppress(OSError):
                return self._plant.admin("GET", "/readyz").status == 200
            return False

        until(ready, "the control plane")

    async def _revocation(self, name: str) -> None:
        """Make a key, and take it back: how long until nobody lets it in."""
        made = await self._admin("POST", "/api/v1/keys", {"name": name})
        assert made.status == 201, made.body
        secret = made.json()["key"]
        hosts = [Address("127.0.0.1", host.port, secret) for host in self._hosts.all]
        await asyncio.gather(*[self._seen(host, known=True) for host in hosts])
        gone = await self._admin("DELETE", f"/api/v1/keys/{made.json()['id']}")
        assert gone.status == 200, gone.body
        began = time.monotonic()
        await asyncio.gather(*[self._seen(host, known=False) for host in hosts])
        self._revoked.append(time.monotonic() - began)

    async def _admin(self, method: str, path: str, body: object = None) -> Reply:
        """Ask again where the database could not be used: a process of it may just have died."""
        deadline = time.monotonic() + PATIENCE
        while True:
            said = await asyncio.to_thread(self._plant.admin, method, path, body)
            if said.status != 503 or time.monotonic() > deadline:
                return said
            await asyncio.sleep(0.1)

    async def _seen(self, address: Address, *, known: bool) -> None:
        """Ask until the key is let in, whatever limits say; or until it is not."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = await self._call(address)
            let_in = answer.status == 200 or turned_away(answer)
            shut_out = answer.status == 401 or STRANGER in answer.body
            if let_in if known else shut_out:
                return
            assert time.monotonic() < deadline, f"the key gets {answer.status}: {answer.body!r}"
            await asyncio.sleep(0.02)


async def run(hosts: Hosts, server: Server, *, kills: int, seed: int, callers: int = 12) -> Outcome:
    """Kill ``kills`` times at moments drawn from ``seed``; ``callers`` are those at each host."""
    return await _Run(hosts, server, kills, seed).run(callers)
