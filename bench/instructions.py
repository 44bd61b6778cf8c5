"""Section "instructions": what a call takes of the data plane's code, counted by valgrind.

Times move with the machine, and with whatever else runs on it; the number of instructions hardly
does. So parts, and versions, can be told apart that are closer to each other than times are. What
the kernel does is not in it.
"""

import contextlib
import http.client
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import nginx
from bench.gateways import Running, request_body
from bench.parts import PARTS
from bench.procs import LOAD_CORE, BenchError, Proc, free_port, say, wait_until
from bench.procs import http as ask
from bench.whole import settle

CALLS, FIRST = 600, 300
"""Those that are counted, and those before: by then all that is remembered of calls is there."""
PATIENCE = 600.0


def absent() -> str:
    """Why it can't be counted here; empty = it can."""
    return "" if shutil.which("callgrind_control") else "valgrind is not installed"


def measure(work: Path) -> dict[str, dict[str, float]]:
    """By part (``parts.py``): instructions a call, at one connection."""
    found: dict[str, dict[str, float]] = {}
    upstream, port = nginx.start_upstream(work, LOAD_CORE)
    try:
        for part in PARTS:
            if part.absent():
                continue
            place = work / f"instructions-{part.name}"
            place.mkdir()
            with part.start(place, port, streams=False) as running:
                found[part.name] = {"instructions": _counted(running, place)}
            say(f"instructions {part.name:10} {found[part.name]['instructions']:9,.0f} a call")
    finally:
        upstream.stop()
    return found


def _counted(running: Running, place: Path) -> float:
    """Of a second data plane beside the one that runs."""
    port, out = free_port(), place / "counted"
    words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    env = {**running.env, "FERRYMAN_PORT": str(port), "FERRYMAN_PLANE": "counted"}
    argv = [*words, sys.executable, "-P", "-m", "ferryman.edge"]
    proc = Proc(argv, core=LOAD_CORE, log=place / "counted-log", env=env)
    try:
        url = f"http://127.0.0.1:{port}/readyz"
        wait_until(lambda: _is_ready(url), proc, "valgrind", seconds=PATIENCE)
        _call(running, port, FIRST)
        settle(running.pids()[1])
        _control("--zero", proc)
        begun = time.monotonic()
        _call(running, port, CALLS)
        took = time.monotonic() - begun
        busy = _dumped(proc, out, 1)
        time.sleep(took)  # what it does by the clock, it does then, too
        return (busy - _dumped(proc, out, 2)) / CALLS
    finally:
        proc.stop(PATIENCE)


def _is_ready(url: str) -> bool:
    with contextlib.suppress(OSError):
        return ask(url, timeout=30)[0] == 200
    return False


def _call(running: Running, port: int, times: int) -> None:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    body, headers = request_body(running.model), running.headers
    for _ in range(times):
        link.request("POST", running.path, body, headers)
        reply = link.getresponse()
        if (said := reply.read()) and reply.status != 200:
            raise BenchError(f"{running.name} answers {reply.status}: {said[:200]!r}")
    link.close()


def _control(order: str, proc: Proc) -> None:
    words: Sequence[str] = ["callgrind_control", order, str(proc.pid)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)


def _dumped(proc: Proc, out: Path, number: int) -> int:
    """Instructions since the last time; the ``number``-th time."""
    _control("--dump", proc)
    file = Path(f"{out}.{number}")
    wait_until(lambda: _sum(file) is not None, proc, "valgrind's file", seconds=PATIENCE)
    return _sum(file) or 0


def _sum(file: Path) -> int | None:
    """What is in it, once it is there whole."""
    found = (
        re.search(r"^summary: (\d+)$", file.read_text(), re.MULTILINE) if file.exists() else None
    )
    return int(found[1]) if found else None
