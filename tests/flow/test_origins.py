"""Keys go to the origin they were given for, calls to addresses that were allowed."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.gateway import Stack, error_of
from tests.processes import until

ANSWER = json.dumps({
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}).encode()  # fmt: skip


class Origin:
    """A provider that notes which keys it is sent, and redirects to ``to`` where there is one."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.to = ""
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                origin.keys.add(self.headers.get("authorization", ""))
                self.send_response(307 if origin.to else 200)
                if origin.to:
                    self.send_header("location", origin.to)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(ANSWER)))
                self.end_headers()
                self.wfile.write(ANSWER)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def origins() -> Iterator[tuple[Origin, Origin]]:
    pair = Origin(), Origin()
    yield pair
    for each in pair:
        each.server.shutdown()


def config(origin: Origin, key: str) -> str:
    return f'providers: {{ own: {{ base_url: "{origin.url}", key: env:{key} }} }}\n'


def test_a_changed_base_url_never_gets_the_old_hosts_key(
    tmp_path: Path, origins: tuple[Origin, Origin]
) -> None:
    """Also not while calls are under way, on kept connections, or with heads made before."""
    one, two = origins
    keys = {"LAB_KEY": "key-of-one", "SPARE_KEY": "key-of-two"}
    with Stack(tmp_path, config(one, "LAB_KEY"), **keys).served() as stack:
        ended, statuses = threading.Event(), set()

        def call() -> None:
            while not ended.is_set():
                statuses.add(stack.chat("own/m").status)

        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        for turn in range(3):
            now, key = (two, "SPARE_KEY") if turn % 2 == 0 else (one, "LAB_KEY")
            now.keys.clear()
            stack.write(config(now, key))
            until(lambda now=now: now.keys, "a call to the new origin")
        ended.set()
        for caller in callers:
            caller.join()
        assert (one.keys, two.keys) == ({"Bearer key-of-one"}, {"Bearer key-of-two"})
        assert statuses == {200}


def test_a_redirect_is_not_followed_and_no_key_goes_along(
    tmp_path: Path, origins: tuple[Origin, Origin]
) -> None:
    one, two = origins
    one.to = two.url.removesuffix("/v1") + "/v1/chat/completions"
    with Stack(tmp_path, config(one, "LAB_KEY")).served() as stack:
        reply = stack.chat("own/m")
        assert reply.status >= 400
        assert reply.header("location") is None
        assert one.keys and not two.keys


def test_a_name_that_leads_to_this_machine_is_asked_only_if_that_is_allowed(tmp_path: Path) -> None:
    page = """\
providers:
  lured: { base_url: "NAMED/v1", auth: none, private: false }
  open: { base_url: "NAMED/v1", auth: none, private: true }
  usual: { base_url: "NAMED/v1", auth: none }
models:
  lured: { targets: [lured/sim], fallbacks: [open/sim] }
"""
    anywhere = page.replace("NAMED", "SIM").replace("private: false", "private: true")
    with Stack(tmp_path, anywhere).served() as stack:
        stack.write(page.replace("NAMED", stack.sim_url.replace("127.0.0.1", "localhost")))
        until(lambda: stack.chat("lured/sim").status == 502, "the new configuration")
        stack.forget()
        reply = stack.chat("lured")
        assert (reply.status, reply.header("x-ferryman-provider")) == (200, "open")
        assert stack.stats()["requests"] == 1, "it was not connected to"
        failed = stack.chat("lured/sim")
        [tried] = stack.row(failed)["tries"]
        assert (tried["provider"], tried["error"]) == ("lured", "upstream_unreachable")
        told = error_of(failed)["message"]
        assert "localhost leads to an address that it may not lead to" in told
        assert stack.chat("usual/sim").header("x-ferryman-provider") == "usual", "as it says so"
