"""Providers that die, recover, or refuse a key, while calls keep coming: callers notice nothing."""

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ferryman.routing.health import STALE_SECONDS
from tests.gateway import Stack, error_of
from tests.processes import Process, request, until
from tests.simulator import wire

GOOD_KEY, REVOKED_KEY = "sk-good", "sk-revoked"

CONFIG = """\
providers:
  a: { base_url: "http://127.0.0.1:PORT-A/v1", auth: none }
  b: { base_url: "http://127.0.0.1:PORT-B/v1", auth: none }
  c: { base_url: "http://127.0.0.1:PORT-C/v1", auth: none }
  pool: { base_url: "http://127.0.0.1:PORT-C/v1", keys: [env:REVOKED_KEY, env:GOOD_KEY] }
  other: { base_url: SIM/v1, auth: none }
  lab: { base_url: SIM/v1, auth: none }
models:
  three: { targets: [a/sim, b/sim, c/sim], strategy: weighted }
  ordered: { targets: [a/sim, b/sim] }
  quick: { targets: ["a/sim?tokens=3", "b/sim?delay=200"], strategy: latency }
  pooled: { targets: [pool/sim, other/sim] }
  patient: { targets: ["lab/sim?429&retry-after=0.2"], fallbacks: [other/sim] }
  impatient: { targets: ["lab/sim?429&retry-after=60"], fallbacks: [other/sim] }
  lone: { targets: ["lab/sim?fail-first=1"], fallbacks: [other/sim] }
"""


class Ferry:
    """A gateway in front of simulators that can be ended and started again on their ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = dict(zip("abc", _free_ports(3), strict=True))
        self.sims: dict[str, Process] = {}
        config = CONFIG
        for name, port in self.ports.items():
            config = config.replace(f"PORT-{name.upper()}", str(port))
        self.stack = Stack(folder, config, GOOD_KEY=GOOD_KEY, REVOKED_KEY=REVOKED_KEY)
        for name in self.ports:
            self.start(name)
        self.stack.ready()

    def start(self, name: str) -> None:
        arguments = ["ferryman.simulator", "--port", str(self.ports[name])]
        if name == "c":
            arguments += ["--key", GOOD_KEY]
        self.sims[name] = Process(arguments, os.environ, self.folder)
        self.sims[name].wait_for(r"^simulator: ")

    def kill(self, name: str) -> None:
        self.sims[name].stop()

    def served(self, name: str) -> int:
        url = f"http://127.0.0.1:{self.ports[name]}"
        requests: int = request(url, path="/sim/stats").json()["requests"]
        return requests

    def calls(self, model: str, count: int, callers: int = 8) -> list[wire.Reply]:
        with ThreadPoolExecutor(callers) as pool:
            return list(pool.map(lambda _: self.stack.chat(model), range(count)))

    def end(self) -> None:
        self.stack.end()
        for sim in self.sims.values():
            sim.end()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def ferry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ferry]:
    running = Ferry(tmp_path_factory.mktemp("ferry"))
    try:
        yield running
        assert not running.stack.complaints()
    finally:
        running.end()


def providers(replies: list[wire.Reply]) -> Counter[str | None]:
    return Counter(reply.header("x-ferryman-provider") for reply in replies)


def attempts(replies: list[wire.Reply]) -> int:
    return sum(int(reply.header("x-ferryman-attempts") or 0) for reply in replies)


def test_a_revoked_key_is_passed_over_and_the_same_provider_asked_with_the_next(
    ferry: Ferry,
) -> None:
    replies = ferry.calls("pooled", 40, callers=1)
    assert {reply.status for reply in replies} == {200}
    assert providers(replies) == {"pool": 40}, "another provider was never needed"
    assert attempts(replies) == 41, "the revoked key was tried once"
    [twice] = [r for r in replies if r.header("x-ferryman-attempts") == "2"]
    tries = ferry.stack.row(twice)["tries"]
    assert [(t["provider"], t["error"]) for t in tries] == [
        ("pool", "upstream_auth_failed"), ("pool", "")]  # fmt: skip


def test_one_of_three_dies_under_load_and_comes_back(ferry: Ferry) -> None:
    """The killed one is `a`; `c` wants a key, which it doesn't get: it is as good as dead."""
    assert ferry.stack.chat("ordered").header("x-ferryman-provider") == "a"
    replies: list[wire.Reply] = []
    ending = threading.Event()

    def load() -> None:
        while not ending.is_set():
            replies.append(ferry.stack.chat("three"))

    callers = [threading.Thread(target=load) for _ in range(6)]
    for caller in callers:
        caller.start()
    until(lambda: len(replies) > 100, "calls")
    ferry.kill("a")
    killed = len(replies)
    until(lambda: len(replies) > killed + 300, "calls without it")
    assert providers(replies[killed + 150 :]).keys() == {"b"}
    ferry.start("a")
    back = time.monotonic()
    until(lambda: ferry.served("a") > 0, "a call to the one that is back")
    noticed = time.monotonic() - back
    until(lambda: providers(replies[-60:])["a"] > 10, "its share of the calls")
    ending.set()
    for caller in callers:
        caller.join()
    assert {reply.status for reply in replies} == {200}
    assert attempts(replies) < 1.2 * len(replies)
    assert noticed < 5


def test_latency_leaves_a_slow_one_alone(ferry: Ferry) -> None:
    replies = ferry.calls("quick", 100, callers=4)
    assert {reply.status for reply in replies} == {200}
    assert providers(replies)["b"] <= 5


def test_before_another_model_is_asked_a_short_wait_or_a_lone_failure_earns_one_more_try(
    ferry: Ferry,
) -> None:
    def tries(model: str) -> list[tuple[str, str]]:
        reply = ferry.stack.chat(model)
        assert reply.status == 200
        return [(t["provider"], t["error"]) for t in ferry.stack.row(reply)["tries"]]

    limited = ("lab", "upstream_rate_limited")
    assert tries("patient") == [limited, limited, ("other", "")]
    assert tries("impatient") == [limited, ("other", "")]
    assert tries("impatient") == [("other", "")], "it has to rest for a minute"
    assert tries("lone") == [("lab", "upstream_error"), ("lab", "")]


def test_when_all_are_down_callers_hear_it_at_once_and_nobody_is_hammered(ferry: Ferry) -> None:
    for name in ("a", "b"):
        ferry.kill(name)
    replies = ferry.calls("ordered", 400)
    assert {reply.status for reply in replies} == {502}
    assert error_of(replies[-1])["code"] == "upstream_unreachable"
    assert attempts(replies) <= 1.2 * len(replies)
    for name in ("a", "b"):
        ferry.start(name)
    until(lambda: ferry.stack.chat("ordered").status == 200, "the first good answer")
    assert ferry.stack.chat("ordered").status == 200


@pytest.mark.parametrize("name", ["a", "b"])
def test_who_is_back_serves_the_next_call_though_all_rest(ferry: Ferry, name: str) -> None:
    for dead in ("a", "b"):
        ferry.kill(dead)
    ferry.calls("ordered", 8)  # both rest, each for another while
    time.sleep(STALE_SECONDS)
    ferry.start(name)
    assert ferry.stack.chat("ordered").status == 200
    ferry.start("b" if name == "a" else "a")
