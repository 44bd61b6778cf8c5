"""``python -m bench.soak``: mixed load on Ferryman for a long while; its memory must come to rest.

Whole answers, streams, tools, embeddings, errors of every kind, cut and stalled streams, callers
that leave, wrong keys and unknown models, in front of the simulator. Prints resident memory now and
then; exit code 1 when the data plane's grew after the warm-up.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from bench.gateways import ROOT, Ferryman, Running, ferryman_yaml
from bench.procs import (
    LOAD_CORE,
    BenchError,
    Proc,
    free_port,
    http,
    on_signals_exit,
    raise_limits,
    rss_mb,
    say,
    scratch,
    wait_until,
)

GROWTH = 0.10
"""Share by which memory may differ between the second quarter of the time and the last."""

WHOLE = (
    "sim",
    "sim?tokens=500",
    "sim-unicode",
    "sim-gzip",
    "sim-chunked",
    "sim-tools",
    "sim?cached=9",
)
STREAMS = (
    "sim",
    "sim?tokens=300",
    "sim?tokens=20&tps=200",
    "sim-comments",
    "sim-bytes",
    "sim-split",
)
FAULTS = (
    "sim-429", "sim-503", "sim-quota", "sim-context", "sim-html", "sim-bad-json", "sim-empty",
    "sim-reset", "sim-close", "sim-cut", "sim-reset-mid", "sim-long-length", "sim-bad-chunk",
    "sim-error-event", "sim-no-done", "sim-bad-status", "sim-huge-headers", "sim-503?fail=50",
)  # fmt: skip


class Soak:
    """The load: workers that each make one call after the other, of random kinds."""

    def __init__(self, running: Running, seed: int) -> None:
        parts = urlsplit(running.url)
        self.address = parts.hostname or "", parts.port or 0
        self.key = running.credentials["authorization"]
        self.dice = random.Random(seed)
        self.calls = 0
        self.statuses: dict[str, int] = {}
        self.stop = False

    def call(self) -> tuple[bytes, bool]:
        """A random request, and whether its caller leaves early."""
        dice, key, path = self.dice, self.key, "/v1/chat/completions"
        kind = dice.random()
        words = " ".join(["river"] * dice.choice((3, 30, 300, 3000)))
        fields: dict[str, object] = {"messages": [{"role": "user", "content": words}]}
        leave = False
        if kind < 0.4:
            fields["model"] = "lab/" + dice.choice(WHOLE)
        elif kind < 0.7:
            fields |= {"model": "lab/" + dice.choice(STREAMS), "stream": True}
            leave = dice.random() < 0.1
        elif kind < 0.9:
            fields |= {"model": "lab/" + dice.choice(FAULTS), "stream": dice.random() < 0.5}
        elif kind < 0.93:
            fields |= {"model": "lab/sim-stall", "stream": True}
            leave = True
        elif kind < 0.96:
            path, fields = "/v1/embeddings", {"model": "lab/sim", "input": words}
        elif kind < 0.98:
            fields["model"] = f"nowhere/{dice.randrange(10**9)}"
        else:
            key, fields["model"] = f"Bearer fm-wrong{dice.randrange(10**9)}", "lab/sim"
        body = json.dumps(fields).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: soak\r\nauthorization: {key}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        return f"{head}connection: close\r\n\r\n".encode() + body, leave

    async def worker(self) -> None:
        """Call after call until told to stop."""
        while not self.stop:
            request, leave = self.call()
            try:
                async with asyncio.timeout(60):
                    status = await self.one(request, leave)
            except (OSError, TimeoutError) as error:
                status = type(error).__name__
            self.calls += 1
            self.statuses[status] = self.statuses.get(status, 0) + 1

    async def one(self, request: bytes, leave: bool) -> str:
        """One call over a connection of its own; returns its status."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(request)
            first = await reader.readline()
            if leave:
                writer.transport.abort()
            else:
                while await reader.read(65536):
                    pass
            return first[9:12].decode() or "none"
        finally:
            writer.close()


async def run(running: Running, seconds: float, workers: int, seed: int) -> list[float]:
    """Load for ``seconds``; returns the data plane's memory in MB, sampled all the while."""
    soak = Soak(running, seed)
    tasks = [asyncio.create_task(soak.worker()) for _ in range(workers)]
    began, samples = time.monotonic(), []
    every = max(0.5, seconds / 200)
    while (passed := time.monotonic() - began) < seconds:
        await asyncio.sleep(every)
        if running.proc is None or not running.proc.alive():
            raise BenchError("Ferryman ended under load")
        samples.append(rss_mb(running.pids()[0]))
        if len(samples) % 20 == 0:
            say(f"soak    {passed:6.0f} s  {soak.calls:8} calls  data plane {samples[-1]:.1f} MB")
    soak.stop = True
    await asyncio.gather(*tasks)
    say(f"soak    statuses: {dict(sorted(soak.statuses.items()))}")
    return samples


def simulator(work: Path) -> tuple[Proc, int]:
    """The provider behind Ferryman; returns its process and port."""
    port = free_port()
    argv = [sys.executable, "-P", "-m", "ferryman.simulator", "--port", str(port)]
    proc = Proc(argv, core=LOAD_CORE, log=work / "simulator.log", cwd=ROOT)
    url = f"http://127.0.0.1:{port}/healthz"
    wait_until(lambda: http(url)[0] == 200, proc, "the simulator", seconds=10)
    return proc, port


def main() -> int:
    """Returns the exit code: 0 memory at rest, 1 it grew, or Ferryman failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--workers", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    on_signals_exit()
    raise_limits()
    try:
        with scratch() as work:
            upstream, port = simulator(work)
            try:
                config = work / "ferryman.yaml"
                config.write_text(ferryman_yaml(port))
                with Ferryman().up(work, config, work / "data") as running:
                    samples = asyncio.run(run(running, args.seconds, args.workers, args.seed))
            finally:
                upstream.stop()
    except (BenchError, KeyboardInterrupt) as error:
        say(f"soak: {error or 'stopped'}")
        return 1
    quarter = max(1, len(samples) // 4)
    before, after = median(samples[quarter : 2 * quarter]), median(samples[-quarter:])
    growth = after / before - 1
    verdict = "at rest" if growth <= GROWTH else "GROWING"
    say(f"soak    data plane {before:.1f} MB, at the end {after:.1f} MB ({growth:+.1%}): {verdict}")
    return 0 if growth <= GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
