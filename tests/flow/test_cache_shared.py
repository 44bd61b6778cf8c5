"""The cache and Idempotency-Keys of four gateways that share a real server; it comes and goes."""

import contextlib
import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.flow.test_cache import how
from tests.flow.test_sharing import ENV
from tests.gateway import KEY, Stack, asked
from tests.processes import Process, environment, request, until
from tests.simulator import wire
from tests.valkey import Server

CONFIG = """\
server: { state: "valkey://:{STATE_PASSWORD}@127.0.0.1:PORT/1" }
providers:
  lab:
    base_url: SIM/v1
    auth: none
    prices: { sim: { input: 1, output: 2 } }
cache: { ttl: 1h, store: valkey, max_answer: 20KB }
idempotency: { store: valkey, without_state: WITHOUT }
"""
CANARY = "canary in the mine"


def _address(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""


class Gateways:
    """A whole installation, with three more gateways, each with a data directory of its own."""

    def __init__(self, server: Server, folder: Path, without: str = "go_on") -> None:
        env = ENV | {"FERRYMAN_FEED_TOKEN": "feed-token-of-all-of-them"}
        config = CONFIG.replace("PORT", str(server.port)).replace("WITHOUT", without)
        self.stack = Stack(folder, config, **env).ready()
        url = (self.stack.data / "admin-url").read_text().strip()
        self.others: list[tuple[Process, Path]] = []
        for i in range(3):
            data = folder / f"gateway-{i}"
            mine = environment(data, FERRYMAN_CONTROL_URL=url, **env)
            self.others.append((Process(["ferryman.edge"], mine, folder), data))
        for process, _ in self.others:
            process.wait_for(r"gateway +ready$")
        self.ports = [self.stack.port]
        for _, data in self.others:
            found = until(partial(_address, data / "gateway-url"), "its address")
            self.ports.append(int(found.rpartition(":")[2]))

    def ask(
        self, which: int, body: Any, headers: dict[str, str] | None = None, key: str = KEY
    ) -> wire.Reply:
        """A chat call to one of the four."""
        sent = {"Authorization": f"Bearer {key}"} | (headers or {})
        port = self.ports[which % len(self.ports)]
        return wire.talk(port, wire.request("/v1/chat/completions", body, sent), 60)

    def crowd(self, number: int, body: Any, headers: dict[str, str]) -> list[wire.Reply]:
        """Replies to simultaneous calls that are spread over all."""
        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(lambda i: self.ask(i, body, headers), range(number)))

    def upstream(self) -> int:
        found: int = self.stack.stats()["requests"]
        return found

    def lines(self) -> list[str]:
        return [line for up, _ in [(self.stack.up, None), *self.others] for line in up.lines]

    def end(self) -> None:
        for process, _ in self.others:
            process.end()
        self.stack.end()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("state"), ENV["STATE_PASSWORD"])
    yield running
    running.end()


@pytest.fixture(scope="module")
def four(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    gateways = Gateways(server, tmp_path_factory.mktemp("four"))
    try:
        yield gateways
        assert not gateways.stack.complaints()
        assert not any("Traceback" in line for line in gateways.lines())
    finally:
        gateways.end()


@pytest.fixture(autouse=True)
def count_anew(four: Gateways) -> None:
    four.stack.forget()


def say(text: str, model: str = "lab/sim", **fields: Any) -> dict[str, Any]:
    return asked(model, messages=[{"role": "user", "content": text}], **fields)


def found_elsewhere(replies: list[wire.Reply]) -> bool:
    """Whether the first alone had to ask. A caller has its last byte before the server has the
    answer: who asks in between waits for it, and is told so ("coalesced")."""
    first, *others = [how(reply) for reply in replies]
    return first == "miss" and {"hit", "coalesced"} >= set(others) and others[-1] == "hit"


def test_what_one_has_all_have(four: Gateways, server: Server) -> None:
    replies = [four.ask(i, say(CANARY)) for i in range(4)]
    assert found_elsewhere(replies)
    assert len({reply.body for reply in replies}) == 1
    assert found_elsewhere([four.ask(i, say(CANARY, stream=True)) for i in range(4)])
    assert four.upstream() == 2
    client = server.client(1)
    names = client.keys("ferryman:*:cache:*")
    assert len([name for name in names if not name.endswith(b":lease")]) == 2
    for name in names:
        assert 0 < client.pttl(name) <= 3_600_000
    dump = b"".join(name + client.get(name) for name in client.keys("*"))
    text = replies[0].json()["choices"][0]["message"]["content"]
    assert CANARY.encode() not in dump
    assert text.encode() not in dump
    assert b"lab" not in dump


def test_short_times_are_the_servers(four: Gateways) -> None:
    short = {"x-ferryman-cache-ttl": "1"}
    assert how(four.ask(0, say("short"), short)) == "miss"
    until(lambda: how(four.ask(1, say("short"), short)) == "miss", "an end")


def test_a_crowd_at_all_of_them_is_one_call(four: Gateways) -> None:
    replies = four.crowd(40, say("a crowd", "lab/sim?tokens=9&tps=20", stream=True), {})
    assert Counter(map(how, replies))["miss"] == 1
    assert len({reply.body for reply in replies}) == 1
    assert four.upstream() == 1


def test_a_hundred_calls_with_one_key_are_one_call(four: Gateways) -> None:
    headers = {"idempotency-key": "order-1", "cache-control": "no-store"}
    replies = four.crowd(100, say("pay", "lab/sim?delay=700"), headers)
    assert {reply.status for reply in replies} == {200}
    assert Counter(r.header("idempotent-replayed") for r in replies) == {None: 1, "true": 99}
    assert len({reply.body for reply in replies}) == 1
    assert four.upstream() == 1
    other = four.ask(3, say("pay more"), headers)
    assert (other.status, other.json()["error"]["code"]) == (422, "idempotency_conflict")


def test_another_body_is_refused_while_the_first_is_under_way(four: Gateways) -> None:
    headers = {"idempotency-key": "order-2", "cache-control": "no-store"}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(four.ask, 0, say("pay", "lab/sim?delay=900"), headers)
        until(lambda: four.stack.stats()["active"], "the first call")
        assert four.ask(1, say("pay more"), headers).status == 422
        assert first.result().status == 200


def test_answers_for_one_caller_alone_hold_up_nobody(four: Gateways) -> None:
    body = say("large", "lab/sim?tokens=9000&delay=500")
    began = time.monotonic()
    replies = four.crowd(8, body, {})
    assert {how(reply) for reply in replies} == {"miss"}
    assert time.monotonic() - began < 8, "not one after the other"
    key = {"idempotency-key": "order-3", "cache-control": "no-store"}
    four.stack.forget()
    large = say("large", "lab/sim?tokens=9000")
    assert [four.ask(i, large, key).status for i in range(4)] == [200, 409, 409, 409]
    assert four.upstream() == 1


def test_when_the_first_fails_another_gateway_asks(four: Gateways) -> None:
    faults = json.dumps({"flaky": ["503,delay=500", "delay=300"]})
    request(four.stack.sim_url, "POST", "/sim/faults", body=faults)
    key = {"idempotency-key": "order-4", "cache-control": "no-store"}
    replies = four.crowd(12, say("flaky", "lab/flaky"), key)
    request(four.stack.sim_url, "DELETE", "/sim/faults")
    assert Counter(reply.status for reply in replies) == {200: 11, 503: 1}
    assert four.upstream() == 2


def test_each_key_has_its_own(four: Gateways) -> None:
    made: str = four.stack.admin("POST", "/api/v1/keys", {"name": "other"}).json()["key"]
    sent = say("mine alone")
    assert how(four.ask(0, sent)) == "miss"
    until(lambda: four.ask(1, sent, key=made).status == 200, "the new key")
    four.stack.forget()
    assert how(four.ask(2, sent)) == "hit"
    four.stack.admin("DELETE", "/api/v1/keys/other")
    until(lambda: four.ask(3, sent, key=made).status == 401, "no hits for a revoked key")
    assert four.upstream() == 0


def test_an_order_to_clear_reaches_all_of_them(four: Gateways, server: Server) -> None:
    made: str = four.stack.admin("POST", "/api/v1/keys", {"name": "cleared"}).json()["key"]
    until(lambda: four.ask(3, say("known?"), key=made).status == 200, "the new key")
    ours = {"x-ferryman-cache-namespace": "Kai \xe9/*?[a]"}
    calls: dict[str, tuple[str, dict[str, str], str]] = {
        "key": ("lab/sim", {}, made),
        "model": ("lab/sim?tokens=3", {}, KEY),
        "namespace": ("lab/sim", ours, KEY),
    }

    def ask(which: int) -> dict[str, str | None]:
        return {
            name: how(four.ask(which, say("to be cleared", model), headers, key))
            for name, (model, headers, key) in calls.items()
        }

    def clear(**chosen: str) -> None:
        query = "&".join(f"{name}={quote(value)}" for name, value in chosen.items())
        reply = four.stack.admin("DELETE", f"/api/v1/cache?{query}")
        assert reply.status == 202, reply.body

    ask(0)
    assert set(ask(1).values()) == {"hit"}
    orders: list[dict[str, str]] = [
        {"key": "cleared"},
        {"model": "lab/sim?tokens=3"},
        {"namespace": "Kai \xe9/*?[a]"},
        {"key": "cleared", "model": "lab/sim"},
    ]
    for chosen in orders:
        clear(**chosen)
        gone = next(iter(chosen))
        until(lambda gone=gone: ask(1)[gone] == "miss", f"the end of {chosen}")
        rest = {name: said for name, said in ask(2).items() if name != gone}
        assert set(rest.values()) == {"hit"}, "the rest is there"
    clear(key="cleared", namespace="elsewhere")
    clear()
    client = server.client(1)
    until(lambda: not _answers(client, set()), "an empty cache")
    assert set(ask(3).values()) == {"miss"}
    assert four.stack.admin("DELETE", "/api/v1/cache?key=nobody").status == 404


def test_what_others_write_there_is_a_miss(four: Gateways, server: Server) -> None:
    client = server.client(1)

    def turned(name: bytes) -> None:
        client.set(name, client.get(name)[:-1] + b"x", keepttl=True)

    def a_list(name: bytes) -> None:
        client.delete(name)
        client.rpush(name, "a", "b")

    spoilers: list[Callable[[bytes], object]] = [
        lambda name: client.set(name, b"nonsense", keepttl=True),
        lambda name: client.set(name, b"x" * 1_000_000),
        turned,
        a_list,
    ]
    for i, spoil in enumerate(spoilers):
        before = set(client.keys())
        sent = say(f"spoilt {i}")
        assert how(four.ask(0, sent)) == "miss"
        for name in until(partial(_written, client, before), "the answer"):
            spoil(name)
        assert how(four.ask(1, sent)) == "miss"
        until(lambda sent=sent: how(four.ask(2, sent)) == "hit", "the new answer")
    told = [line for line in four.lines() if "FERRYMAN_PEPPER" in line]
    assert 1 <= len(told) <= 4, "each says so once"


def _answers(client: Any, before: set[bytes]) -> set[bytes]:
    found = set(client.keys("ferryman:*:cache:*")) - before
    return {name for name in found if not name.endswith((b":lease", b":look"))}


def _written(client: Any, before: set[bytes]) -> set[bytes]:
    """The same once nobody writes them any more: a lease ends after its answer is there."""
    leased = any(name.endswith(b":lease") for name in set(client.keys()) - before)
    return set() if leased else _answers(client, before)


def test_without_the_server_calls_go_on(four: Gateways, server: Server) -> None:
    headers = {"idempotency-key": "order-6", "cache-control": "no-store"}
    server.end()
    try:
        began = time.monotonic()
        assert {how(four.ask(i, say("gone"))) for i in range(8)} == {"miss"}
        assert time.monotonic() - began < 8, "nobody waits long"
        replies = four.crowd(16, say("gone", "lab/sim?delay=400"), headers)
        assert Counter(r.header("idempotent-replayed") for r in replies) == {None: 4, "true": 12}
    finally:
        server.start()
    told = [line for line in four.lines() if "answers are not shared" in line]
    assert len(told) <= 8, "each shelf once"
    assert "sesame" not in "\n".join(four.lines())
    until(
        lambda: [how(four.ask(i, say("back"))) for i in range(4)][1:] == ["hit"] * 3, "its return"
    )


def test_where_it_must_not_be_called_twice_it_is_refused(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = Server(tmp_path, ENV["STATE_PASSWORD"])
    stack = None
    with contextlib.ExitStack() as undo:
        undo.callback(own.end)
        config = CONFIG.replace("PORT", str(own.port)).replace("WITHOUT", "refuse")
        stack = Stack(tmp_path_factory.mktemp("strict"), config, **ENV)
        undo.callback(stack.end)
        stack.ready()
        key = {"idempotency-key": "order-1", "cache-control": "no-store"}
        first = stack.chat("lab/sim", headers=key)
        assert first.status == 200
        own.end()
        again = stack.chat("lab/sim", headers=key)
        assert again.header("idempotent-replayed") == "true", "it is known here"
        refused = stack.chat("lab/sim", headers={"idempotency-key": "order-2"})
        assert (refused.status, refused.header("retry-after")) == (503, "1")
        assert "Idempotency-Key" in refused.json()["error"]["message"]
        assert stack.chat("lab/sim").status == 200, "others go on"
        own.start()
        until(lambda: stack.chat("lab/sim", headers={"idempotency-key": "order-3"}).status == 200,
              "its return")  # fmt: skip


def test_a_gateway_that_dies_holds_up_the_others_for_its_lease_only(four: Gateways) -> None:
    headers = {"idempotency-key": "order-5", "cache-control": "no-store"}
    body = say("dying", "lab/dying")
    faults = json.dumps({"dying": ["delay=30000", ""]})
    request(four.stack.sim_url, "POST", "/sim/faults", body=faults)
    process, _ = four.others[0]
    with socket.create_connection(("127.0.0.1", four.ports[1])) as link:
        sent = {"Authorization": f"Bearer {KEY}"} | headers
        link.sendall(wire.request("/v1/chat/completions", body, sent))
        until(lambda: four.stack.stats()["active"], "its call")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(four.ask, 2, body, headers)
            os.kill(process.popen.pid, signal.SIGKILL)
            reply = waiting.result()
    request(four.stack.sim_url, "DELETE", "/sim/faults")
    assert reply.status == 200
    assert reply.header("idempotent-replayed") is None
    assert four.ask(3, body, headers).body == reply.body
    assert four.upstream() == 2
