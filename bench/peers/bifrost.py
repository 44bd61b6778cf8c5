"""Bifrost: its npm package is a downloader, so it is measured only where its binary already is."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.gateways import PATH, Running, launched
from bench.peers import Peer
from bench.procs import free_port, http


class Bifrost(Peer):
    """In Go."""

    name = "bifrost"
    what = "`bifrost-http`, one Go processor, no log store, no key check"

    @property
    def program(self) -> Path:
        return Path(os.environ.get("BENCH_BIFROST") or self.home / "bifrost-http")

    def absent(self) -> str:
        if self.program.exists():
            return ""
        return (
            "its npm package fetches a binary from the vendor's own server when it first runs; "
            "put that binary's path into BENCH_BIFROST"
        )

    def version(self) -> str:
        out = subprocess.run([str(self.program), "-version"], capture_output=True, text=True)
        return (out.stdout or out.stderr).strip().splitlines()[-1] if out.returncode == 0 else ""

    @contextlib.contextmanager
    def start(self, work: Path, upstream: int, *, streams: bool) -> Iterator[Running]:
        work.mkdir(parents=True, exist_ok=True)
        port = free_port()
        key = {"value": "sk-upstream", "models": ["bench-1"], "weight": 1.0}
        network = {"base_url": f"http://127.0.0.1:{upstream}"}
        config = {
            "client": {"enable_logging": False},
            "providers": {"openai": {"keys": [key], "network_config": network}},
        }
        (work / "config.json").write_text(json.dumps(config))
        argv = [str(self.program), "-app-dir", str(work), "-host", "127.0.0.1", "-port", str(port)]
        url = f"http://127.0.0.1:{port}"
        ready = lambda: http(url + "/health")[0] == 200  # noqa: E731
        with launched(self.name, argv, work, ready=ready, env={"GOMAXPROCS": "1"}) as (
            proc,
            seconds,
        ):
            yield Running(self.name, url + PATH, "openai/bench-1", proc, {}, seconds)
