"""A whole installation as ``ferryman up`` runs it, with a provider that waits when told to."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.processes import PATIENCE, Process, Reply, alive, environment, request, until


class Provider:
    """An upstream on loopback: answers at once, and the model ``slow`` when ``release`` is set."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.waiting = threading.Semaphore(0)
        """Counts calls that have reached the provider and wait."""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if body["model"] == "slow":
                    provider.waiting.release()
                    provider.release.wait(PATIENCE)
                answer = {
                    "id": "chatcmpl-1",
                    "object": "chat.completion",
                    "model": body["model"],
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": "stop",
                            "message": {"role": "assistant", "content": "ok"},
                        }
                    ],
                    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
                }
                encoded = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_request(self, code: object = "-", size: object = "-") -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


class Up:
    """A running ``ferryman up``."""

    def __init__(self, data: Path, arguments: tuple[str, ...], **env: str) -> None:
        self.data = data
        variables = environment(data, **env)
        self.env = variables
        self.process = Process(["ferryman", "up", *arguments], variables, data.parent)
        self.endpoint = ""

    def ready(self) -> "Up":
        """Wait for the banner."""
        self.endpoint = self.process.wait_for(r"^ready: Ferryman \S+ serves (\S+)$")[1]
        return self

    @property
    def key(self) -> str:
        return (self.data / "first-key").read_text().strip()

    def chat(self, model: str = "lab/small", key: str | None = None) -> Reply:
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]})
        headers = {"content-type": "application/json"}
        base = self.endpoint.removesuffix("/v1")
        path = "/v1/chat/completions"
        return request(base, "POST", path, token=key or self.key, body=body, headers=headers)

    def admin(self, method: str, path: str, body: object = None) -> Reply:
        url = (self.data / "admin-url").read_text().strip()
        token = (self.data / "secrets" / "admin-token").read_text().strip()
        encoded = None if body is None else json.dumps(body)
        headers = {"content-type": "application/json"}
        return request(url, method, path, token=token, body=encoded, headers=headers)

    def calls(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = self.admin("GET", "/api/v1/calls?limit=1000").json()[
            "data"
        ]
        return found

    def plane(self, name: str) -> int:
        """Process id of a plane (``control`` or ``edge``), once it runs."""
        return int(until(lambda: self._find(f"ferryman.{name}"), f"a process of {name}"))

    def _find(self, module: str) -> int:
        parent = str(self.process.popen.pid)
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = status.read_text().rpartition(")")[2].split()
                words = (status.parent / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if fields[1] == parent and fields[0] != "Z" and module.encode() in words:
                return int(status.parent.name)
        return 0


Start = Callable[..., Up]


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider on loopback."""
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def start(tmp_path: Path, provider: Provider) -> Iterator[Start]:
    """Start installations on one data directory, with ``provider`` as ``lab``; ended afterwards."""
    config = tmp_path / "ferryman.yaml"
    config.write_text(
        "providers:\n"
        f'  lab: {{ format: openai_chat, base_url: "{provider.url}", auth: none,\n'
        "          prices: { small: { input: 1, output: 2 } } }\n"
    )
    running: list[Up] = []

    def begin(*arguments: str, **env: str) -> Up:
        up = Up(tmp_path / "data", arguments, **{"FERRYMAN_CONFIG": str(config)} | env)
        running.append(up)
        return up

    yield begin
    for up in running:
        pids = [up._find(f"ferryman.{name}") for name in ("control", "edge")]
        up.process.end()
        until(lambda pids=pids: not any(map(alive, filter(None, pids))), "the end of the planes")


@pytest.fixture
def up(start: Start) -> Up:
    """A ready installation."""
    return start().ready()
