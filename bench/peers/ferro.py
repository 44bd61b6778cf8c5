"""Ferro Labs' gateway (``ferrogw``): a Go program in a Python wheel."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bench.gateways import PATH, Running, launched
from bench.peers import PythonPeer
from bench.procs import free_port, http

KEY = "fgw_0123456789abcdef0123456789abcdef"
CONFIG = """\
strategy:
  mode: single
targets:
  - virtual_key: openai
aliases:
  bench-1: gpt-4o-mini
"""


class Ferro(PythonPeer):
    """In Go."""

    name = "ferro"
    what = "`ferrogw serve`, master key, stores in memory, one Go processor"
    package = "ferrogw"

    @property
    def program(self) -> Path:
        return self.home / "bin" / "ferrogw"

    def version(self) -> str:
        return self.pip_version("ferrogw")

    @contextlib.contextmanager
    def start(self, work: Path, upstream: int, *, streams: bool) -> Iterator[Running]:
        work.mkdir(parents=True, exist_ok=True)
        port = free_port()
        (work / "config.yaml").write_text(CONFIG)
        env = {
            "GATEWAY_CONFIG": "config.yaml",
            "PORT": str(port),
            "HOST": "127.0.0.1",
            "MASTER_KEY": KEY,
            "OPENAI_API_KEY": "sk-upstream",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream}/v1",
            "LOG_LEVEL": "error",
            "FERRO_MODEL_CATALOG_TIMEOUT": "0",
            "RATE_LIMIT_RPS": "0",
            "GOMAXPROCS": "1",
        }
        url = f"http://127.0.0.1:{port}"
        ready = lambda: http(url + "/readyz")[0] == 200  # noqa: E731
        argv = [str(self.program), "serve"]
        with launched(self.name, argv, work, ready=ready, env=env) as (proc, seconds):
            headers = {"authorization": f"Bearer {KEY}"}
            yield Running(self.name, url + PATH, "gpt-4o-mini", proc, headers, seconds)
