"""Section "streams": 1,000 open streams at 50 tokens a second, then 5,000 slow ones."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.gateways import ROOT, Gateway, Running, request_body
from bench.procs import (
    LOAD_CORE,
    BenchError,
    Proc,
    cpu_seconds,
    cpus,
    free_port,
    http,
    rss_mb,
    say,
    tree,
    wait_until,
)
from bench.stream_load import says_end


@dataclass(frozen=True)
class Plan:
    """How many streams of which speed, and how long. Seconds."""

    rounds: int
    streams: int
    rate: float
    tokens: int
    ramp: float
    warm: float
    seconds: float


QUICK = Plan(rounds=1, streams=1000, rate=50, tokens=200, ramp=4, warm=1, seconds=6)
FULL = Plan(rounds=3, streams=1000, rate=50, tokens=200, ramp=4, warm=3, seconds=12)
MANY = Plan(rounds=1, streams=5000, rate=4, tokens=100, ramp=10, warm=2, seconds=25)

Sample = dict[str, float]


def start_upstream(plan: Plan, work: Path, speaks: str = "openai_chat") -> tuple[Proc, int]:
    """The streaming upstream for ``plan`` in a format; returns its process and port."""
    port = free_port()
    argv = [sys.executable, "-m", "bench.stream_upstream", "--port", str(port)]
    argv += ["--rate", str(plan.rate), "--tokens", str(plan.tokens), "--format", speaks]
    proc = Proc(argv, core=LOAD_CORE, log=work / "stream-upstream.log", cwd=ROOT)
    url = f"http://127.0.0.1:{port}/"
    try:
        wait_until(lambda: _listens(url), proc, "the streaming upstream", seconds=10)
    except BaseException:
        proc.stop()
        raise
    return proc, port


def _listens(url: str) -> bool:
    import socket

    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=1).close()
    except OSError:
        return False
    return True


def turn(running: Running, upstream: Proc, plan: Plan, body: bytes = b"") -> Sample:
    """Run the load and sample the gateway's CPU at the edges of the measured window.

    ``body`` is the request; a chat request by default.
    """
    body = body or request_body(running.model, stream=True)
    status, answer = http(running.url, body=body, headers=running.headers, timeout=60)
    if status != 200 or not says_end(answer):
        raise BenchError(f"{running.name} answers {status}: {answer[:300]!r}")
    parts = urlsplit(running.url)
    argv = [sys.executable, "-m", "bench.stream_load", "--port", str(parts.port)]
    argv += ["--path", running.path, "--body", body.decode(), "--connections", str(plan.streams)]
    for option in ("rate", "tokens", "ramp", "warm", "seconds"):
        argv += [f"--{option}", str(getattr(plan, option))]
    for name, value in running.headers.items():
        argv += ["--header", f"{name}: {value}"]
    cores = cpus()
    prefix = ["taskset", "-c", str(cores[min(LOAD_CORE, len(cores) - 1)])]
    popen = subprocess.Popen(
        [*prefix, *argv], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        return _sample(running, upstream, popen)
    finally:
        popen.kill()
        popen.wait()


def _sample(running: Running, upstream: Proc, popen: "subprocess.Popen[str]") -> Sample:
    assert popen.stdout is not None
    assert popen.stderr is not None
    edges = []
    for expected in ("start", "end"):
        line = popen.stdout.readline().strip()
        if line != expected:
            raise BenchError(f"the load generator failed: {line} {popen.stderr.read()[-2000:]}")
        data, control = running.pids()
        edges.append(
            (
                cpu_seconds(data),
                cpu_seconds(control),
                cpu_seconds(tree(upstream.pid)),
                cpu_seconds(tree(popen.pid)),
            )
        )
    found = json.loads(popen.stdout.readline())
    chunks = found["chunks"]
    if not chunks:
        raise BenchError(f"{running.name}: no chunk arrived ({found['refused']})")
    used = [after - before for before, after in zip(*edges, strict=True)]
    return {
        "chunk_us": used[0] / chunks * 1e6,
        "control_us": used[1] / chunks * 1e6,
        # above 1, chunks ran together on the way, which makes each look cheaper than it is
        "chunks_per_read": chunks / max(1, found["pieces"]),
        "chunks_per_s": chunks / found["seconds"],
        "gateway_busy": used[0] / found["seconds"],
        "load_busy": (used[2] + used[3]) / found["seconds"],
        "delay_p50": found["delay"]["p50_us"],
        "delay_p99": found["delay"]["p99_us"],
        "ttft_p50": found["ttft"]["p50_us"],
        "ttft_p99": found["ttft"]["p99_us"],
        "open": found["most_open"],
        "finished": found["finished"],
        "cut": found["cut"],
        "stalled": found["stalled"],
        "refused": sum(found["refused"].values()),
        "rss_mb": rss_mb(running.pids()[0]),
    }


def measure(
    gateways: Sequence[Gateway], plan: Plan, work: Path, label: str
) -> dict[str, list[Sample]]:
    """All gateways, round by round; one that fails is said and left out."""
    found: dict[str, list[Sample]] = {}
    failed: set[str] = set()
    upstream, port = start_upstream(plan, work)
    try:
        for number in range(plan.rounds):
            for gateway in gateways:
                if gateway.name in failed:
                    continue
                place = work / f"{label}-{number}-{gateway.name}"
                place.mkdir()
                try:
                    with gateway.start(place, port, streams=True) as running:
                        sample = turn(running, upstream, plan)
                except BenchError as error:
                    failed.add(gateway.name)
                    say(f"{gateway.name}: left out: {error}")
                    continue
                found.setdefault(gateway.name, []).append(sample)
                say(_line(label, number, gateway.name, sample))
    finally:
        upstream.stop()
    return {name: rounds for name, rounds in found.items() if name not in failed}


def _line(label: str, number: int, name: str, s: Sample) -> str:
    trouble = "".join(f"  {s[k]:.0f} {k}" for k in ("cut", "stalled", "refused") if s[k])
    return (
        f"{label:7} round {number + 1}  {name:10} {s['chunk_us']:8.1f} µs a chunk  "
        f"{s['chunks_per_s']:7.0f} chunks/s, {s['chunks_per_read']:.2f} a read  "
        f"delay p50/p99 {s['delay_p50']:.0f}/{s['delay_p99']:.0f} µs  "
        f"first token {s['ttft_p50']:.0f}/{s['ttft_p99']:.0f} µs  load core {s['load_busy']:.0%}  "
        f"{s['rss_mb']:.0f} MB{trouble}"
    )
