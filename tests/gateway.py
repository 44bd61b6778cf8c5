"""A whole installation in front of a provider that fails on demand, for tests of the request path.

``stack`` (in ``conftest.py``) is one for the whole session: a simulator, and ``ferryman up`` with
``CONFIG``, on free ports, as real processes. The provider ``lab`` and its twin ``spare`` are the
simulator; model names say how it behaves, see docs/simulator.md. The provider ``canned`` sends the
bytes that a test gives it.
"""

import contextlib
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.processes import Process, Reply, descendants, environment, request, until
from tests.simulator import wire

KEY = "key-of-the-shared-test-stack"
LAB_KEY, SPARE_KEY = "sk-lab-0123456789", "sk-spare-0123456789"

CONFIG = """\
providers:
  lab:
    base_url: SIM/v1
    key: env:LAB_KEY
    headers: { X-Team: ferry }
    prices:
      sim: { input: 1, output: 2 }
      sim?cached=1&reasoning=2: { input: 1, output: 2, cache_read: 0.25, reasoning: 4 }
  spare: { base_url: SIM/v1, key: env:SPARE_KEY, auth: header:x-spare-key }
  chatty: { base_url: SIM/v1, auth: none, endpoints: [chat.completions] }
  silent: { base_url: SIM/v1, auth: none, quirks: [no_stream_options] }
  canned: { base_url: CANNED/v1, auth: none }
  dead: { base_url: "http://127.0.0.1:1/v1", auth: none }
  asleep: { base_url: SIM/v1, key: env:A_VARIABLE_NOBODY_SETS }
models:
  quick: lab/sim
  two: { targets: [dead/sim, lab/sim] }
  canned-or-spare: { targets: [canned/m, spare/sim] }
  lab-then-spare: { targets: [lab/sim, spare/sim] }
  plan-b: { targets: [lab/sim-503], fallbacks: [spare/sim] }
  dreaming: { targets: [asleep/sim] }
  shares: { targets: [lab/sim, spare/sim], strategy: weighted, weights: { lab/sim: 3 } }
  nearest: { targets: [dead/sim, spare/sim, lab/sim?delay=900], strategy: latency }
ROUTES
policies:
  - when: { metadata.task: summarise, metadata.tier: 2 }
    use: spare/sim
"""

BARE = {"MISTRAL_API_KEY": "sk-bare", "FERRYMAN_MISTRAL_BASE_URL": "SIM/v1"}
"""Makes a provider of the catalogue active, which is the simulator too."""

RETRYABLE = (
    "401", "402", "403", "404", "408", "429", "500", "502", "503", "504", "529", "quota", "html",
    "html-200", "empty", "bad-json", "close", "reset", "bad-status", "redirect",
)  # fmt: skip
"""Words of the simulator after which another target is asked: the route ``first-WORD`` has one."""
ROUTES = "\n".join(
    f"  first-{word}: {{ targets: [lab/sim-{word}+tokens=3, spare/sim] }}\n"
    f"  second-{word}: {{ targets: [lab/sim?{word}&tokens=3, spare/sim] }}"
    for word in RETRYABLE
)


class Canned:
    """An upstream on loopback that answers with bytes from ``answers``, one after the other.

    An answer is bytes, or a function that is given the socket and returns whether to keep it.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[int, bytes]] = []
        """Number of the connection, and the request's bytes."""
        self.answers: list[bytes | Callable[[socket.socket], bool]] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._tls = tls
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(link, self.connections), daemon=True).start()

    def _serve(self, link: socket.socket, number: int) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError), contextlib.ExitStack() as held:
            held.enter_context(link)
            if self._tls is not None:
                link = held.enter_context(self._tls.wrap_socket(link, server_side=True))
            keep = True
            while keep and (request := _read_request(link)):
                self.requests.append((number, request))
                answer = self.answers.pop(0)
                if isinstance(answer, bytes):
                    link.sendall(answer)
                else:
                    keep = answer(link)

    def end(self) -> None:
        self._listener.close()


def _read_request(link: socket.socket) -> bytes:
    """One request with a content-length; empty when the connection ends."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = link.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += link.recv(65536)
    return head + b"\r\n\r\n" + body


class Stack:
    """A simulator and a Ferryman in front of it. Use ``ready`` once both are started."""

    def __init__(self, folder: Path, config: str = CONFIG, *flags: str, **env: str) -> None:
        self.data = folder / "data"
        self.file = folder / "ferryman.yaml"
        self.sim = Process(["ferryman.simulator", "--port", "0"], os.environ, folder)
        self.canned = Canned()
        self.sim_url = self.sim.wait_for(r"^simulator: (http://\S+)/v1$")[1]
        self.write(config)
        variables = environment(
            self.data, FERRYMAN_CONFIG=str(self.file), FERRYMAN_KEY=KEY,
            LAB_KEY=LAB_KEY, SPARE_KEY=SPARE_KEY, **BARE,
        )  # fmt: skip
        variables = {n: v.replace("SIM", self.sim_url) for n, v in (variables | env).items()}
        self._variables, self._flags = variables, flags
        self.up = self.launch(variables, flags)
        self.endpoint = ""
        """Base URL for callers, with ``/v1``."""

    def launch(self, env: dict[str, str], flags: tuple[str, ...]) -> Process:
        """Start what serves the calls."""
        return Process(["ferryman", "up", *flags], env, self.data.parent)

    def restart(self) -> None:
        """End what serves the calls, and start it anew."""
        assert self.up.stop() == 0
        self.up = self.launch(self._variables, self._flags)
        self.ready()

    def write(self, config: str) -> None:
        """Write the configuration file; ``SIM`` is the simulator's URL."""
        for name, text in (("ROUTES", ROUTES), ("SIM", self.sim_url), ("CANNED", self.canned.url)):
            config = config.replace(name, text)
        self.file.write_text(config)

    def ready(self) -> "Stack":
        """Wait until it serves."""
        self.endpoint = self.up.wait_for(r"^ready: Ferryman \S+ serves (\S+)$")[1]
        return self

    @contextlib.contextmanager
    def served(self) -> Iterator["Stack"]:
        """Ready, then ended (for fixtures); by then nothing may have been complained of."""
        try:
            yield self.ready()
            assert not self.complaints()
        finally:
            self.end()

    def end(self) -> None:
        """End both processes."""
        self.up.end()
        self.sim.end()
        self.canned.end()

    def complaints(self) -> list[str]:
        """Log lines that no test should cause."""
        signs = ("internal error", "Traceback", " ended (")
        return [line for line in self.up.lines if any(sign in line for sign in signs)]

    # -- calls

    @property
    def url(self) -> str:
        """Base URL without ``/v1``."""
        return self.endpoint.removesuffix("/v1")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def post(
        self,
        fields: Any,
        path: str = "/v1/chat/completions",
        *,
        key: str | None = KEY,
        headers: Mapping[str, str] | None = None,
        patience: float = 30,
    ) -> wire.Reply:
        """A POST on a connection of its own; ``fields`` are JSON, or bytes as they are."""
        sent = {} if key is None else {"Authorization": f"Bearer {key}"}
        return wire.talk(
            self.port, wire.request(path, fields, sent | dict(headers or {})), patience
        )

    def chat(
        self, model: str, *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> wire.Reply:
        """A chat request."""
        return self.post(asked(model, **fields), headers=headers)

    def stream(
        self, model: str, *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> wire.Reply:
        """A streamed chat request."""
        return self.post(asked(model, stream=True, **fields), headers=headers)

    def process(self, module: bytes) -> int:
        """The id of the process that runs a module, as it was started."""
        [found] = [
            pid
            for pid in descendants(self.up.popen.pid)
            if module in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        ]
        return found

    @property
    def metrics_token(self) -> str:
        return (self.data / "secrets" / "metrics-token").read_text().strip()

    def get(self, path: str, key: str | None = KEY) -> Reply:
        """A GET; of metrics, with their token in place of the key."""
        if path == "/metrics" and key == KEY:
            key = self.metrics_token
        return request(self.url, "GET", path, token=key)

    # -- what others saw

    def last(self) -> dict[str, Any]:
        """The last request that reached the simulator."""
        found: dict[str, Any] = request(self.sim_url, path="/sim/last").json()
        return found

    def last_headers(self) -> dict[str, str]:
        """Its headers, names in lower case."""
        return {name.lower(): value for name, value in self.last()["headers"]}

    def last_body(self) -> bytes:
        """Its exact body."""
        return request(self.sim_url, path="/sim/last/body").body

    def stats(self) -> dict[str, Any]:
        """The simulator's counts."""
        found: dict[str, Any] = request(self.sim_url, path="/sim/stats").json()
        return found

    def forget(self) -> None:
        """Let the simulator count anew."""
        request(self.sim_url, "POST", "/sim/reset", body=b"")

    def admin(self, method: str, path: str, body: object = None) -> Reply:
        """A request to the admin API."""
        url = (self.data / "admin-url").read_text().strip()
        token = (self.data / "secrets" / "admin-token").read_text().strip()
        encoded = None if body is None else json.dumps(body)
        sent = {"content-type": "application/json"}
        return request(url, method, path, token=token, body=encoded, headers=sent)

    def row(self, call: wire.Reply | str) -> dict[str, Any]:
        """The ledger's row of a call, by its reply or its request id."""
        ident = call if isinstance(call, str) else call.header("x-ferryman-request-id")
        path = f"/api/v1/calls?request_id={ident}"
        rows = until(lambda: self.admin("GET", path).json()["data"], f"the row of {ident}")
        [row] = rows
        found: dict[str, Any] = row
        return found


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """An HTTP reply with a length."""
    lines = [b"HTTP/1.1 " + status, b"content-type: application/json", *headers]
    return b"\r\n".join([*lines, b"content-length: %d" % len(body)]) + b"\r\n\r\n" + body


def events(*pieces: bytes, end: bool = True) -> bytes:
    """A chunked event stream; without ``end`` it breaks off after the pieces."""
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + body + (b"0\r\n\r\n" if end else b"")


def asked(model: str, **fields: Any) -> dict[str, Any]:
    """The body of a chat request."""
    messages = [{"role": "user", "content": "Good morning, dear ferry"}]
    return {"model": model, "messages": messages, **fields}


def error_of(reply: wire.Reply | Reply) -> dict[str, Any]:
    """The error in the OpenAI shape; fails if the reply is not of that shape."""
    body = reply.json()
    assert isinstance(body, dict), body
    error = body["error"]
    assert isinstance(error["message"], str), error
    assert isinstance(error["type"], str), error
    assert error["code"], error
    found: dict[str, Any] = error
    return found
