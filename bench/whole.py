"""Section "whole answers": one fixed reply, 64 connections and 1; CPU, rate, latency."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import nginx, whole_load
from bench.gateways import Direct, Gateway, Running, request_body
from bench.procs import LOAD_CORE, BenchError, Proc, cpu_seconds, http, rss_mb, say, tree


@dataclass(frozen=True)
class Plan:
    """How long to measure. Seconds."""

    rounds: int
    warm: float
    busy: float
    """With 64 connections."""
    single: float
    """With 1 connection."""


QUICK = Plan(rounds=2, warm=1, busy=3, single=2)
FULL = Plan(rounds=5, warm=2, busy=6, single=4)
MANY_REQUESTS, LONGEST = 2000, 20
"""A slow gateway is measured until it has answered so many requests, or for so many seconds."""
QUIET = 0.02
"""CPU seconds in half a second of waiting below which a control plane counts as idle."""


@dataclass(frozen=True)
class Turn:
    """One gateway's numbers of one round; microseconds, requests a second, shares of a core."""

    rps_64: float
    p50_64: float
    p99_64: float
    rps_1: float
    p50_1: float
    p99_1: float
    data_us: float
    """CPU of the processes on the path of a request, per request, at 64 connections."""
    control_us: float
    """CPU of the gateway's other processes until they have caught up, per request."""
    gateway_busy: float
    load_busy: float
    """Share of the load core used by generator and upstream at 64 connections."""
    upstream_us: float
    rss_mb: float
    """Resident memory of the processes on the path of a request, after the load."""
    ready_s: float


def check(running: Running) -> None:
    """One call by hand: refuse to measure a gateway that answers with errors."""
    status, body = http(
        running.url, body=request_body(running.model), headers=running.headers, timeout=30
    )
    if status != 200 or b"back again" not in body:
        raise BenchError(f"{running.name} answers {status}: {body[:300]!r}")


def settle(control: Sequence[int], limit: float = 30) -> None:
    """Wait until the gateway's background work is done."""
    deadline = time.monotonic() + limit
    while control and time.monotonic() < deadline:
        before = cpu_seconds(control)
        time.sleep(0.5)
        if cpu_seconds(control) - before <= QUIET:
            return


def warm_up(load: Callable[[int, float], whole_load.Load], seconds: float) -> float:
    """Load with 64 connections until the rate has stopped to grow: some compile as they run.

    Returns the best rate in requests per second. The windows grow too, so that a slow gateway can
    answer all 64 within one: what it does for callers that have left is lost.
    """
    best = 0.0
    for number in range(8):
        rate = load(64, seconds * (1 + number)).rps
        if best and rate < best * 1.1:
            break
        best = max(best, rate)
    return best


def start(running: Running, plan: Plan, work: Path) -> float:
    """Check and warm up; returns its rate in requests per second."""
    check(running)
    rate = warm_up(lambda many, seconds: _load(running, many, seconds, work), plan.warm)
    if not rate:
        raise BenchError(f"{running.name}: no answer at all under load")
    return rate


def turn(running: Running, upstream: Proc, plan: Plan, work: Path, rate: float) -> Turn:
    """Load with 64 connections and with 1; ``rate`` is that of :func:`start`."""
    slowly = min(MANY_REQUESTS / rate, LONGEST)
    data, control = running.pids()
    settle(control)
    before = cpu_seconds(data), cpu_seconds(control), cpu_seconds(tree(upstream.pid))
    busy = _measured(running, 64, max(plan.busy, slowly), work)
    used, behind = cpu_seconds(data) - before[0], cpu_seconds(tree(upstream.pid)) - before[2]
    settle(control)
    control_used = cpu_seconds(control) - before[1]
    _load(running, 1, min(plan.warm, 1), work)
    single = _measured(running, 1, plan.single, work)
    return Turn(
        rps_64=busy.rps,
        p50_64=busy.p50_us,
        p99_64=busy.p99_us,
        rps_1=single.rps,
        p50_1=single.p50_us,
        p99_1=single.p99_us,
        data_us=used / busy.requests * 1e6,
        control_us=control_used / busy.requests * 1e6,
        gateway_busy=used / busy.seconds,
        load_busy=(busy.cpu + behind) / busy.seconds,
        upstream_us=behind / busy.requests * 1e6,
        rss_mb=rss_mb(data),
        ready_s=running.ready_s,
    )


def _load(running: Running, connections: int, seconds: float, work: Path) -> whole_load.Load:
    body = request_body(running.model)
    found = whole_load.run(
        running.url, body, running.headers, connections=connections, seconds=seconds, work=work
    )
    if found.refused or found.failed:
        raise BenchError(f"{running.name}: {found.refused} refused, {found.failed} failed calls")
    return found


def _measured(running: Running, connections: int, seconds: float, work: Path) -> whole_load.Load:
    found = _load(running, connections, seconds, work)
    if not found.requests:
        raise BenchError(f"{running.name}: no answer within {seconds:g} s under load")
    return found


def measure(
    gateways: Sequence[Gateway], plan: Plan, work: Path
) -> dict[str, list[dict[str, float]]]:
    """All gateways, round by round (A B C A B C …); one that fails is said and left out."""
    found: dict[str, list[dict[str, float]]] = {}
    failed: set[str] = set()
    upstream, port = nginx.start_upstream(work, LOAD_CORE)
    try:
        for number in range(plan.rounds):
            for gateway in gateways:
                if gateway.name in failed:
                    continue
                place = work / f"whole-{number}-{gateway.name}"
                place.mkdir()
                try:
                    with gateway.start(place, port, streams=False) as running:
                        rate = start(running, plan, place)
                        numbers = turn(running, upstream, plan, place, rate)
                except BenchError as error:
                    failed.add(gateway.name)
                    say(f"{gateway.name}: left out: {error}")
                    continue
                found.setdefault(gateway.name, []).append(asdict(numbers))
                say(line(number, gateway.name, numbers))
    finally:
        upstream.stop()
    return {name: rounds for name, rounds in found.items() if name not in failed}


def line(number: int, name: str, t: Turn) -> str:
    """For the terminal."""
    cpu = f"{t.data_us:8.1f} µs" if name != Direct.name else f"({t.upstream_us:5.1f} µs)"
    control = f" +{t.control_us:.1f}" if t.control_us > 0.05 else ""
    warning = "  LOAD CORE SATURATED" if t.load_busy > 0.85 and name != Direct.name else ""
    return (
        f"whole   round {number + 1}  {name:10} {cpu}{control} a request  {t.rps_64:8.0f} rps  "
        f"p50/p99 {t.p50_64:.0f}/{t.p99_64:.0f} µs at 64, {t.p50_1:.0f}/{t.p99_1:.0f} µs at 1  "
        f"load core {t.load_busy:.0%}{warning}"
    )
