"""A whole installation of real processes: simulator, ``ferryman up``, and what one may do to it."""

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from tests.processes import PATIENCE, Process, Reply, alive, environment, request, until
from tests.store import postgres

from ferryman.store import db, intake, schema
from soak.client import Address

PAGE = os.sysconf("SC_PAGE_SIZE")
PLANES = ("control", "edge")
PROVIDER = "lab"
PRICES = {"input": 1, "cache_read": 0.25, "output": 2, "reasoning": 3}
"""USD per million tokens, which makes them micro-USD a token."""
PRICED = ("one", "two", "three")
"""Models with these prices."""
FLAT = "flat"
"""A model that asks nothing for its input: a call of it costs no more than was held."""
PROBE = "probe"
"""One for calls beside the load."""
RATES = dict.fromkeys(PRICED, PRICES) | dict.fromkeys(
    (FLAT, PROBE), PRICES | {"input": 0, "cache_read": 0}
)
"""Models and their prices; all others have none."""


class Plant:
    """A simulator and an installation that knows it as the provider ``lab``.

    ``settings`` is more YAML for the configuration file, ``database`` the URL of a database.
    """

    def __init__(self, work: Path, settings: str = "", database: str = "") -> None:
        self.work = work
        self.data = work / "data"
        self.database = database or f"sqlite:///{self.data / 'ferryman.db'}"
        self.env = environment(self.data)
        if database:
            self.env["FERRYMAN_DATABASE_URL"] = database
        self.simulator = self._simulator(0)
        self.upstream = self.simulator.wait_for(r"^simulator: (http://\S+)/v1$")[1]
        rows = "".join(f"      {name}: {json.dumps(each)}\n" for name, each in RATES.items())
        self.config = work / "ferryman.yaml"
        self.config.write_text(
            f"providers:\n  {PROVIDER}:\n    format: openai_chat\n    auth: none\n"
            f'    base_url: "{self.upstream}/v1"\n    prices:\n{rows}{settings}'
        )
        self.env["FERRYMAN_CONFIG"] = str(self.config)
        self.supervisor: Process | None = None
        self.others: list[Process] = []
        """Processes started apart from the supervisor."""
        self.port = 0
        self.output: list[str] = []
        """What supervisors that are gone have said."""

    def _simulator(self, port: int) -> Process:
        return Process(["ferryman.simulator", "--port", str(port)], self.env, self.work)

    # -- starting and ending

    def up(self) -> "Plant":
        """Start both planes, on the port they had before, and wait until they serve."""
        if self.supervisor is not None:
            self.output += self.supervisor.lines
            # Planes whose supervisor was killed have yet to notice, and to let go of the port.
            until(lambda: not self._listening(), "the end of the old listener")
        env = self.env | {"FERRYMAN_PORT": str(self.port)}
        self.supervisor = Process(["ferryman", "up"], env, self.work)
        found = self.supervisor.wait_for(r"^ready: Ferryman \S+ serves http://[^:]+:(\d+)")
        self.port = int(found[1])
        return self

    def _listening(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(PATIENCE)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self, plane: str, **env: str) -> Process:
        """Start one plane (``control``, ``edge``) without a supervisor."""
        process = Process([f"ferryman.{plane}"], self.env | env, self.work)
        self.others.append(process)
        return process

    def restart_simulator(self) -> None:
        """Start it again on the address it had."""
        port = self.upstream.rpartition(":")[2]
        self.simulator = self._simulator(int(port))
        self.simulator.wait_for("^simulator: ")

    def close(self) -> None:
        """End everything that belongs to this installation."""
        for process in (self.supervisor, *self.others, self.simulator):
            if process is not None:
                process.end()
        for plane in PLANES:
            for pid in self.pids(plane):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        until(lambda: not any(map(self.pids, PLANES)), "the end of the planes")

    def move_database(self, folder: Path) -> None:
        """Keep the ledger in a file in ``folder`` instead."""
        self.database = self.env["FERRYMAN_DATABASE_URL"] = f"sqlite:///{folder / 'ledger.db'}"

    # -- processes

    def pids(self, plane: str) -> list[int]:
        """Living processes of a plane of this installation, orphans too."""
        mine = f"FERRYMAN_DATA_DIR={self.data}".encode()
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"ferryman.{plane}".encode() not in (place / "cmdline").read_bytes().split(
                    b"\0"
                ):
                    continue
                if mine in (place / "environ").read_bytes().split(b"\0"):
                    found.append(int(place.name))
        return [pid for pid in found if alive(pid)]

    def pid(self, plane: str) -> int:
        """The process of a plane, once there is exactly one."""
        return int(until(lambda: len(p := self.pids(plane)) == 1 and p[0], f"one {plane} process"))

    def kill(self, plane: str) -> None:
        """``kill -9``; returns when it is dead."""
        for pid in self.pids(plane):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: not alive(pid), "a killed process's end")

    def kill_supervisor(self) -> None:
        """``kill -9``: the planes notice, end in good order, and a new one takes its place."""
        assert self.supervisor is not None
        self.supervisor.popen.kill()
        self.supervisor.wait()
        self.up()

    def kill_database(self, draw: random.Random) -> None:
        """``kill -9`` of one of PostgreSQL's processes: its server ends all others and recovers."""
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'ferryman'"
        # It may still recover from the last one; and processes come and go.
        with contextlib.suppress(psycopg.OperationalError, ProcessLookupError):
            with psycopg.connect(self.database) as connection:
                pids = [pid for (pid,) in connection.execute(query)]
            if pids:
                os.kill(draw.choice(pids), signal.SIGKILL)

    def said(self, pattern: str) -> int:
        """How many lines of the supervisor so far hold ``pattern``."""
        assert self.supervisor is not None
        return sum(pattern in line for line in self.supervisor.lines)

    # -- talking

    @property
    def key(self) -> str:
        """The first virtual key."""
        return (self.data / "first-key").read_text().strip()

    @property
    def address(self) -> Address:
        """Of the data plane, with the first key."""
        return Address("127.0.0.1", self.port, self.key)

    def admin(self, method: str, path: str, body: object = None) -> Reply:
        """One call of the admin API."""
        url = (self.data / "admin-url").read_text().strip()
        token = (self.data / "secrets" / "admin-token").read_text().strip()
        encoded = None if body is None else json.dumps(body)
        headers = {"content-type": "application/json"}
        return request(url, method, path, token=token, body=encoded, headers=headers)

    def stats(self) -> dict[str, Any]:
        """What the simulator has counted."""
        found: dict[str, Any] = request(self.upstream, "GET", "/sim/stats").json()
        return found

    async def busy_with(self, count: int) -> None:
        """Wait until the simulator is playing so many replies."""
        for _ in range(int(PATIENCE * 50)):
            if (await asyncio.to_thread(self.stats))["active"] >= count:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"never came: {count} replies under way")

    def metrics(self) -> str:
        """The data plane's page of metrics."""
        token = (self.data / "secrets" / "metrics-token").read_text().strip()
        url = f"http://127.0.0.1:{self.port}"
        return request(url, "GET", "/metrics", token=token).body.decode()

    # -- the ledger

    def ledger(self) -> "Ledger":
        """The ledger's rows, after everything journaled before now is in."""
        until(lambda: self.admin("GET", "/api/v1/usage").status == 200, "an answer on usage")
        return Ledger(self.database)

    def segments(self) -> list[Path]:
        """Journal files of the data plane."""
        return sorted((self.data / "journal" / "gateway").glob("*.fj"))


class Ledger:
    """A picture of the database's tables. ``url`` is the database's."""

    def __init__(self, url: str) -> None:
        engine = db.open_engine(url)
        with db.reading(engine) as connection:
            self.rows = [_row(row) for row in connection.execute(sa.select(schema.calls))]
            self.by_id = {row["request_id"]: row for row in self.rows}
            self.open = [_row(row) for row in connection.execute(sa.select(schema.open_calls))]
        self.meta = intake.counts(engine)
        engine.dispose()

    def take_out(self, model: str) -> list[dict[str, Any]]:
        """Rows of calls to ``model``, which are not among the others any more."""
        name = f"{PROVIDER}/{model}"
        found = [row for row in self.rows if row["model"] == name]
        self.rows = [row for row in self.rows if row["model"] != name]
        return found

    @property
    def lost(self) -> list[dict[str, Any]]:
        """Rows of calls that never closed."""
        return [row for row in self.rows if row["state"] == "lost"]


def _row(row: sa.Row[Any]) -> dict[str, Any]:
    """With whole numbers where PostgreSQL has decimals."""
    return {
        name: int(value) if isinstance(value, Decimal) else value
        for name, value in row._mapping.items()
    }


@contextlib.contextmanager
def plant(settings: str = "", database: str = "") -> Iterator[Plant]:
    """An installation in a directory of its own, not started yet; gone afterwards.

    ``database`` is the URL of its database, where that is not a file of its own.
    """
    work = Path(tempfile.mkdtemp(prefix="ferryman-soak-"))
    made = Plant(work, settings, database)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """URL of a server of its own, with all its syncs."""
    scratch = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        with postgres.server(scratch, durable=True) as url:
            yield url
    finally:
        shutil.rmtree(scratch)


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def descriptors(pid: int) -> int:
    """Open files of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
