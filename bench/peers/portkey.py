"""Portkey's gateway from npm, headless (without its console)."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.gateways import PATH, Running, launched
from bench.peers import Peer, run
from bench.procs import free_port, http


class Portkey(Peer):
    """In TypeScript, on Node.js."""

    name = "portkey"
    what = "npm gateway, headless; target chosen by headers; no key check, no usage records"
    package = "@portkey-ai/gateway"

    @property
    def program(self) -> Path:
        return self.home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"

    def absent(self) -> str:
        return super().absent() if shutil.which("node") else "Node.js is not installed"

    def version(self) -> str:
        package = json.loads((self.program.parent.parent / "package.json").read_text())
        return str(package["version"])

    def install(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        manifest = {
            "private": True,
            "dependencies": {self.package: "latest"},
            # with later ones of these its streams fail ("TypeError: immutable")
            "overrides": {"@hono/node-server": "1.13.8"},
        }
        (self.home / "package.json").write_text(json.dumps(manifest))
        run(["npm", "install", "--no-fund", "--no-audit"], cwd=self.home)

    @contextlib.contextmanager
    def start(self, work: Path, upstream: int, *, streams: bool) -> Iterator[Running]:
        port = free_port()
        argv = ["node", str(self.program), f"--port={port}", "--headless"]
        url = f"http://127.0.0.1:{port}"
        headers = {
            "authorization": "Bearer sk-upstream",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1",
        }
        ready = lambda: http(url + "/")[0] == 200  # noqa: E731
        env = {"NODE_ENV": "production"}
        with launched(self.name, argv, work, ready=ready, env=env) as (proc, seconds):
            yield Running(self.name, url + PATH, "bench-1", proc, headers, seconds)
