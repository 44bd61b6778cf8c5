"""The database refuses the writes of one table after the other while calls are served.

No call waits or fails for it, and all of them are in the ledger afterwards, once. The admin API
answers clearly: a key is made or revoked, or nothing has happened; and the control plane lives on.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator

import psycopg
import sqlalchemy as sa
from msgspec import Struct
from tests.processes import PATIENCE

from ferryman.store import schema
from soak.client import Address, call
from soak.mix import CHAT, KINDS, SIMPLE, Load, Mix, check
from soak.plant import PROBE, Plant

TABLES = tuple(schema.metadata.tables)
LONG = 1.5
"""Seconds for which a table refuses, if nobody has met it by then: some are not written to here."""
CALLS = 20
"""Calls that are answered while it does, at least."""
GOOD = {name: KINDS[name] for name in ("whole", "late", "stream", "paced")}
REFUSES = """
CREATE OR REPLACE FUNCTION soak_refuses() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'refused by the soak' USING ERRCODE = 'disk_full'; END $$
"""


@contextlib.contextmanager
def refusing(url: str, table: str) -> Iterator[None]:
    """Let the database refuse whatever is written to ``table``, as if it had no room."""
    if url.startswith("sqlite"):
        path = str(sa.make_url(url).database)
        with contextlib.closing(sqlite3.connect(path, PATIENCE, isolation_level=None)) as link:
            for what in ("INSERT", "UPDATE", "DELETE"):  # what they read is not there
                link.execute(
                    f"CREATE TRIGGER soak_{what} BEFORE {what} ON {table} "
                    "BEGIN SELECT * FROM refused_by_the_soak; END"
                )
            try:
                yield
            finally:
                for what in ("INSERT", "UPDATE", "DELETE"):
                    link.execute(f"DROP TRIGGER soak_{what}")
        return
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(REFUSES)
        server.execute(
            f"CREATE TRIGGER soak BEFORE INSERT OR UPDATE OR DELETE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION soak_refuses()"
        )
        try:
            yield
        finally:
            server.execute(f"DROP TRIGGER soak ON {table}")


class Outcome(Struct, kw_only=True):
    """What a run has shown."""

    met: list[str]
    """Tables at which ingestion or the admin API was refused."""
    calls: int
    """Calls answered, each with 200, and in the ledger once."""
    meanwhile: int
    """Of these, while a table refused."""
    keys: int
    """Keys whose making or revoking was refused, and of which nothing was done."""


class _Run:
    def __init__(self, plant: Plant, seed: int) -> None:
        self._plant = plant
        self._load = Load(lambda: plant.address, Mix(seed, kinds=GOOD), pause=0.05)
        self._good: dict[str, str] = {}
        """Keys that must be let in, by name;"""
        self._gone: dict[str, str] = {}
        """and those that must not."""
        self._undone = 0
        self._meanwhile = 0

    async def run(self, tables: Iterable[str], callers: int) -> Outcome:
        plant, load = self._plant, self._load
        control = plant.pid("control")
        before = (await asyncio.to_thread(plant.ledger)).by_id.keys()
        asked = Counter((await asyncio.to_thread(plant.stats))["models"])
        load.start(callers)
        met = [table for table in tables if await self._refused(table)]
        await load.stop()
        assert plant.pids("control") == [control], "the control plane did not live on"
        assert not load.refused, f"{load.refused} callers were refused"
        bad = [answer for _, answer in load.answers if not answer.whole or answer.status != 200]
        assert not bad, f"{len(bad)} calls failed, such as {bad[0]}"
        await self._check_keys()
        ledger = await asyncio.to_thread(plant.ledger)
        stats = Counter((await asyncio.to_thread(plant.stats))["models"]) - asked
        ledger.take_out(PROBE)
        ledger.rows = [row for row in ledger.rows if row["request_id"] not in before]
        check(load, ledger, {name: n for name, n in stats.items() if name in load.sent})
        return Outcome(
            met=met, calls=len(load.answers), meanwhile=self._meanwhile, keys=self._undone
        )

    async def _refused(self, table: str) -> bool:
        """Whether somebody has met the refusal."""
        await self._make(f"{table}-goes")
        assert f"{table}-goes" in self._good, f"no key can be made before {table} is refused"
        before, undone = len(self._load.answers), self._undone
        met = False
        with refusing(self._plant.database, table):
            await self._make(f"{table}-stays")
            await self._revoke(f"{table}-goes")
            ends = time.monotonic() + LONG
            while len(self._load.answers) < before + CALLS or not (met or time.monotonic() > ends):
                met = met or self._undone > undone or not await self._ready()
                await asyncio.sleep(0.05)
        self._meanwhile += len(self._load.answers) - before
        deadline = time.monotonic() + PATIENCE
        while not await self._ready():
            assert time.monotonic() < deadline, f"the ledger takes nothing in after {table}"
            await asyncio.sleep(0.05)
        return met

    async def _ready(self) -> bool:
        reply = await asyncio.to_thread(self._plant.admin, "GET", "/readyz")
        return reply.status == 200

    async def _make(self, name: str) -> None:
        reply = await asyncio.to_thread(self._plant.admin, "POST", "/api/v1/keys", {"name": name})
        if reply.status == 201:
            self._good[name] = reply.json()["key"]
            return
        assert (reply.status, reply.json()["code"]) == (503, "database_failed"), reply.body
        names = await asyncio.to_thread(self._names)
        assert name not in names, f"{name} was refused, and is there"
        self._undone += 1

    async def _revoke(self, name: str) -> None:
        path = f"/api/v1/keys/{name}"
        reply = await asyncio.to_thread(self._plant.admin, "DELETE", path)
        if reply.status == 200:
            self._gone[name] = self._good.pop(name)
            return
        assert (reply.status, reply.json()["code"]) == (503, "database_failed"), reply.body
        found = await asyncio.to_thread(self._plant.admin, "GET", path)
        assert found.json()["revoked_at"] is None, f"{name} was not to be revoked, and is"
        self._undone += 1

    def _names(self) -> set[str]:
        reply = self._plant.admin("GET", "/api/v1/keys?limit=200")
        return {key["name"] for key in reply.json()["data"]}

    async def _check_keys(self) -> None:
        """Each is let in, or is not, as the admin API had said."""
        wanted = [(name, secret, 200) for name, secret in self._good.items()]
        wanted += [(name, secret, 401) for name, secret in self._gone.items()]
        deadline = time.monotonic() + PATIENCE
        for name, secret, status in wanted:
            address = Address("127.0.0.1", self._plant.port, secret)
            while (found := await call(address, CHAT, SIMPLE)).status != status:
                assert time.monotonic() < deadline, f"{name} gets {found.status}, not {status}"
                await asyncio.sleep(0.1)


async def run(
    plant: Plant, *, seed: int, tables: Iterable[str] = TABLES, callers: int = 8
) -> Outcome:
    """Refuse the writes of one of ``tables`` after the other. ``plant`` must be up."""
    return await _Run(plant, seed).run(tables, callers)
