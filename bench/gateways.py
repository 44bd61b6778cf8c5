"""What can be measured: the direct way, nginx, Ferryman, peers; each started fresh for its turn."""

import contextlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench import nginx
from bench.procs import GATEWAY_CORE, Proc, command_line, free_port, http, tree, wait_until

ROOT = Path(__file__).resolve().parent.parent
KEY = "fm-benchmark-key-of-32-characters"
PATH = "/v1/chat/completions"


def cache_dir() -> Path:
    """Where peers are installed, outside of the repository."""
    given = os.environ.get("FERRYMAN_BENCH_CACHE")
    return Path(given) if given else Path("~/.cache/ferryman-bench").expanduser()


@dataclass
class Running:
    """A gateway that answers."""

    name: str
    url: str
    """Of chat completions."""
    model: str
    proc: Proc | None = None
    credentials: dict[str, str] = field(default_factory=dict)
    """Headers that this gateway wants besides the content type."""
    ready_s: float = 0.0
    """Seconds from its start until it said that it is ready."""
    is_control: Callable[[list[str]], bool] = lambda argv: False
    """Whether a process with this command line is not on the path of a request."""
    facts: dict[str, object] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    """Variables that it was started with."""

    @property
    def path(self) -> str:
        """The URL's path and query."""
        return "/" + self.url.split("/", 3)[3]

    @property
    def headers(self) -> dict[str, str]:
        return {"content-type": "application/json"} | self.credentials

    def pids(self) -> tuple[list[int], list[int]]:
        """Processes on the path of requests, and the others of the same gateway."""
        if self.proc is None:
            return [], []
        data: list[int] = []
        control: list[int] = []
        for pid in tree(self.proc.pid):
            (control if self.is_control(command_line(pid)) else data).append(pid)
        return data, control


class Gateway(Protocol):
    """One row of the tables."""

    name: str
    what: str
    """How it is set up here, for the report."""

    def absent(self) -> str:
        """Why it cannot be measured on this machine; empty when it can."""

    def version(self) -> str: ...

    def start(
        self, work: Path, upstream: int, *, streams: bool
    ) -> contextlib.AbstractContextManager[Running]:
        """Run it in front of the OpenAI-format upstream at port ``upstream`` of loopback."""


@contextlib.contextmanager
def launched(
    name: str,
    argv: list[str],
    work: Path,
    *,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    seconds: float = 90,
) -> Iterator[tuple[Proc, float]]:
    """A gateway process on the gateway core, from ready to killed."""
    work.mkdir(parents=True, exist_ok=True)
    proc = Proc(argv, core=GATEWAY_CORE, log=work / "log", env=env, cwd=cwd or work)
    try:
        yield proc, wait_until(ready, proc, name, seconds=seconds)
    finally:
        proc.stop()


class Direct:
    """No gateway: what the load generator and the upstream cost by themselves."""

    name = "direct"
    what = "load generator straight to the upstream, both on the load core"

    def absent(self) -> str:
        return ""

    def version(self) -> str:
        return ""

    @contextlib.contextmanager
    def start(self, work: Path, upstream: int, *, streams: bool) -> Iterator[Running]:
        yield Running(self.name, f"http://127.0.0.1:{upstream}{PATH}", "bench-1")


class Nginx:
    """The yardstick: a reverse proxy in C that does nothing but pass bytes."""

    name = "nginx"
    what = "plain reverse proxy, one process, keep-alive pool, access log off"

    def absent(self) -> str:
        return "" if nginx.binary() else "nginx is not installed (apt-get install nginx-light)"

    def version(self) -> str:
        return nginx.version()

    @contextlib.contextmanager
    def start(self, work: Path, upstream: int, *, streams: bool) -> Iterator[Running]:
        proc, port = nginx.start_proxy(work, upstream, GATEWAY_CORE, buffering=not streams)
        try:
            yield Running(self.name, f"http://127.0.0.1:{port}{PATH}", "bench-1", proc)
        finally:
            proc.stop()


class Ferryman:
    """Both planes as ``ferryman up`` runs them, everything on; all of it on the gateway core."""

    name = "ferryman"
    what = (
        "`ferryman up`: key check, limits and a budget, journal, usage, price, ledger and metrics "
        "on; both planes"
    )
    limits = True
    """Whether calls are held to limits."""

    def absent(self) -> str:
        missing = [p for p in ("edge", "control") if not (self.room(p) / "__main__.py").exists()]
        return f"src/ferryman/{missing[0]}/__main__.py is missing" if missing else ""

    @staticmethod
    def room(name: str) -> Path:
        return ROOT / "src" / "ferryman" / name

    def version(self) -> str:
        import ferryman

        # mypyc puts its modules beside the sources, where they win
        compiled = any((ROOT / "src" / "ferryman").rglob("*.so"))
        form = "compiled" if compiled else "interpreted"
        return f"{ferryman.__version__} (Python {platform.python_version()}, {form})"

    @contextlib.contextmanager
    def start(
        self, work: Path, upstream: int, *, streams: bool, speaks: str = "openai_chat"
    ) -> Iterator[Running]:
        work.mkdir(parents=True, exist_ok=True)
        config = work / "ferryman.yaml"
        config.write_text(ferryman_yaml(upstream, speaks, limits=self.limits))
        with self.up(work, config, work / "data") as running:
            yield running

    @contextlib.contextmanager
    def up(self, work: Path, config: Path, data: Path) -> Iterator[Running]:
        """``ferryman up`` on free ports, with a configuration file and a data directory."""
        port, admin = free_port(), free_port()
        env = {
            "FERRYMAN_KEY": KEY,
            "FERRYMAN_PORT": str(port),
            "FERRYMAN_ADMIN_PORT": str(admin),
            "FERRYMAN_DATA_DIR": str(data),
            "FERRYMAN_CONFIG": str(config),
            "FERRYMAN_DRAIN": "1",
            "BENCH_UPSTREAM_KEY": "sk-upstream",
        }
        argv = [sys.executable, "-P", "-m", "ferryman.cli.supervisor"]
        url = f"http://127.0.0.1:{port}"
        ready = lambda: http(url + "/readyz")[0] == 200  # noqa: E731
        with launched(self.name, argv, work, ready=ready, env=env) as (proc, seconds):
            yield Running(
                self.name,
                url + PATH,
                "lab/bench-1",
                proc,
                {"authorization": f"Bearer {KEY}"},
                seconds,
                lambda argv: "ferryman.edge" not in argv,
                {"admin": f"http://127.0.0.1:{admin}"},
                env,
            )


def ferryman_yaml(upstream: int, speaks: str = "openai_chat", *, limits: bool = True) -> str:
    """One provider of a format at the upstream, its model priced, so that every call is costed.

    ``limits`` of each key are so high that no call is refused.
    """
    provider = (
        "providers:\n"
        "  lab:\n"
        f"    format: {speaks}\n"
        f"    base_url: http://127.0.0.1:{upstream}/v1\n"
        "    keys: [env:BENCH_UPSTREAM_KEY]\n"
        "    prices: { bench-1: { input: 0.15, output: 0.60 } }\n"
        "    models: { bench-1: { max_output: 4096 } }\n"
    )
    held = (
        "limits:\n"
        "  - name: each-key\n"
        "    by: key\n"
        "    requests: 100000000/minute\n"
        "    tokens: 100000000000/minute\n"
        "    budget: { usd: 1000000, per: month }\n"
    )
    return provider + held if limits else provider


def everything() -> list[Gateway]:
    """All rows, the yardsticks first."""
    from bench import peers

    return [Direct(), Nginx(), Ferryman(), *peers.everyone()]


def request_body(model: str, *, size: int = 250, stream: bool = False) -> bytes:
    """A chat request of exactly ``size`` bytes."""
    words = "Please tell me in one short sentence what a ferryman does all day long on the river. "

    def body(text: str) -> bytes:
        fields: dict[str, object] = {
            "model": model,
            "messages": [{"role": "user", "content": text}],
            "temperature": 0.2,
        }
        if stream:
            fields["stream"] = True
        return json.dumps(fields, separators=(",", ":")).encode()

    room = size - len(body(""))
    return body((words * 4)[:room])
