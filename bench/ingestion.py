"""Section "ingestion": how fast the control plane takes journals into SQLite and PostgreSQL.

A call is two records: ``opened`` and ``closed``. The journal is made first, as a data plane makes
it; then one ingester, the code of the control plane, takes it in, with every sync that it does.
"""

import contextlib
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from tests.store import postgres

from bench.procs import cpu_seconds, say, tree
from ferryman.control.ingest import Ingester
from ferryman.ir.usage import Usage
from ferryman.store import db, intake
from ferryman.store.journal import JournalWriter
from ferryman.telemetry.record import CLOSED, OPENED, Attempt, Closed, Opened

CALLS = 200_000
QUICK = 40_000
ROUNDS = 3
OPEN = 64
"""Calls at work at the same time."""
KEYS, MODELS = 200, 12
GAP_US = 1000
"""Between the beginnings of two calls: 1,000 calls a second."""


def measure(*, quick: bool) -> dict[str, list[dict[str, float]]]:
    """Database → for each round the records taken in per second, and µs of CPU for a record: of the
    ingester, and of the database's own processes.
    """
    found: dict[str, list[dict[str, float]]] = {"sqlite": [], "postgresql": []}
    calls = QUICK if quick else CALLS
    with _place() as place, _place() as scratch, postgres.server(scratch, durable=True) as server:
        fill(place / "full" / "gateway", calls)
        for number in range(1 if quick else ROUNDS):
            for name, rounds in found.items():
                url = f"sqlite:///{place}/{number}.db" if name == "sqlite" else _empty(server)
                journal = place / "journal"
                shutil.copytree(place / "full", journal)
                pids = _server(scratch) if name == "postgresql" else []
                rounds.append(_drain(url, journal, calls, pids))
                shutil.rmtree(journal)
                last = rounds[-1]
                say(
                    f"ingestion  round {number + 1}  {name:10}  {last['records']:7,.0f} records/s  "
                    f"CPU {last['cpu_us']:.1f} µs a record, database {last['server_us']:.1f} µs"
                )
    return found


def fill(directory: Path, calls: int, *, seed: int = 1) -> None:
    """Journal ``calls`` calls, each with both of its records, in ``directory``, a data plane's."""
    draw = random.Random(seed)
    pack = msgspec.msgpack.Encoder().encode
    writer = JournalWriter(directory)
    under_way: list[bytes] = []
    # Strictly ascending, as request ids and times of a data plane are.
    stem, at_us = f"req_{draw.getrandbits(84):021x}", time.time_ns() // 1000 - calls * GAP_US
    for number in range(calls):
        name, at = f"{stem}{number + (1 << 32):x}", at_us + number * GAP_US
        key, model = f"key_{draw.randrange(KEYS):012d}", draw.randrange(MODELS)
        target, asked = f"model-{model}-2026-08-01", f"model-{model}"
        head = (name, at, key, "chat.completions", asked, "lab", target)
        writer.append(OPENED, pack(Opened(*head, hold=4_200_000)))
        tries = (Attempt("lab", target, 200, "", 21, 400_000, 1_500_000),)
        usage = Usage(input=draw.randrange(5000), cache_read=512, output=draw.randrange(900))
        closed = Closed(
            name, at, 1_500_000, *head[2:], True, 200, usage=usage, cost=draw.randrange(10**10),
            attempts=tries, first_token_us=400_000, overhead_us=61, price="3f9c1b7a2d40",
        )  # fmt: skip
        under_way.append(pack(closed))
        if len(under_way) == OPEN:
            writer.append(CLOSED, under_way.pop(draw.randrange(OPEN)))
    for record in under_way:
        writer.append(CLOSED, record)
    writer.close()


def _drain(url: str, journal: Path, calls: int, pids: list[int]) -> dict[str, float]:
    engine = db.open_engine(url)
    db.migrate(engine)
    ingester = Ingester(engine, journal)
    before = cpu_seconds(pids)
    begun, cpu = time.perf_counter(), time.process_time()
    rows = ingester.drain()
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    pids = sorted({*pids, *tree(pids[0])}) if pids else []
    server = cpu_seconds(pids) - before
    ingester.close()
    assert rows == calls, f"{rows} of {calls} calls"
    assert not intake.counts(engine), intake.counts(engine)
    engine.dispose()
    records = 2 * calls
    return {
        "records": records / seconds,
        "cpu_us": cpu / records * 1e6,
        "server_us": server / records * 1e6,
    }


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="fm-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _server(scratch: Path) -> list[int]:
    return tree(int((scratch / "data" / "postmaster.pid").read_text().split()[0]))


def _empty(server: str) -> str:
    """URL of a new database there."""
    import psycopg

    name = f"round_{time.monotonic_ns()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.replace("@/postgres?", f"@/{name}?")
