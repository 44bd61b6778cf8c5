"""Kills writers and ingesters at random moments: ``killer.py DIRECTORY URL ROUNDS SEED``.

Runs as a process of its own, so that its children are forked from a small parent that has loaded
everything. A writer notes each call it has acknowledged in ``acked``, as a caller would.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from ferryman.control.ingest import Ingester
from ferryman.store import db
from ferryman.store.journal import JournalWriter
from ferryman.telemetry.record import CLOSED, OPENED
from tests.store import samples

HOLD = 777


def write(root: Path, name: str) -> None:
    """Journal calls, several open at a time, until killed."""
    encode = msgspec.msgpack.Encoder().encode
    writer = JournalWriter(root / "journal" / "plane", segment_bytes=8_000)
    acked = os.open(root / "acked", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    number, waiting = 0, []
    while True:
        call = samples.call(f"{name}_{number}")
        writer.append(OPENED, encode(samples.opened(call, HOLD)))
        waiting.append(call)
        if len(waiting) == 5:
            call = waiting.pop(number % 5)
            writer.append(CLOSED, encode(call))
            os.write(acked, call.id.encode() + b"\n")
        number += 1
        time.sleep(0.0005)


def ingest(root: Path, url: str) -> None:
    """Ingest in small steps until killed."""
    ingester = Ingester(db.open_engine(url), root / "journal")
    while True:
        if not ingester.run_once(max_bytes=3_000):
            time.sleep(0.001)


def forked(work: Callable[[], None]) -> int:
    """Process id of a child that does ``work``."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(1)  # work never ends by itself: this is a failure
    return pid


def killed(pid: int) -> None:
    """Kill the child; it must have lived until now."""
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), f"a child ended by itself: {status}"


def main() -> None:
    """Start and kill; the last writer and ingester are killed too."""
    root, url, rounds, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    draw = random.Random(seed)
    writers = 0
    writer = forked(lambda: write(root, "w0"))
    for _ in range(rounds):
        ingester = forked(lambda: ingest(root, url))
        time.sleep(0.05 + draw.random() * 0.15)
        killed(ingester)
        if draw.random() < 0.4:
            killed(writer)
            writers += 1
            name = f"w{writers}"
            writer = forked(lambda name=name: write(root, name))  # type: ignore[misc]
    killed(writer)


if __name__ == "__main__":
    main()
