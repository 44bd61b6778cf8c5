"""What must never be answered from the cache: halves, the answers of before, those of others."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.flow.test_cache import how
from tests.gateway import KEY, Stack, asked, events
from tests.processes import environment, until
from tests.simulator import wire

CONFIG = """\
providers:
  lab: { base_url: "SIM/v1", auth: none, prices: { sim: { input: 1, output: 2 } } }
  canned: { base_url: CANNED/v1, auth: none }
cache: { ttl: 1h, store: sqlite }
idempotency: { store: sqlite }
policies:
  - { name: mild, when: { metadata.task: mild }, set: { temperature: 0.1 } }
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("faults"), CONFIG).served() as running:
        yield running


@pytest.fixture(autouse=True)
def count_anew(stack: Stack) -> None:
    stack.forget()


def say(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


def chunk(delta: str, finish: str = "null") -> bytes:
    return (
        b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":'
        b'[{"index":0,"delta":{"content":"%b"},"finish_reason":%b}]}\n\n'
        % (delta.encode(), finish.encode())
    )


WHOLE = [chunk("The "), chunk("ferry "), chunk("leaves"), chunk("", '"stop"'), b"data: [DONE]\n\n"]


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("count", range(len(WHOLE) - 1))
def test_a_stream_that_its_provider_cut_is_not_kept(stack: Stack, count: int, ends: bool) -> None:
    text = f"cut after {count} {ends}"
    stack.canned.requests.clear()
    cut = events(*WHOLE[:count], end=ends)

    def breaks(link: socket.socket) -> bool:
        link.sendall(cut)
        return False

    stack.canned.answers[:] = [cut if ends else breaks] * 3
    first = stack.stream("canned/m", **say(text))
    assert b"[DONE]" not in first.body
    stack.canned.answers[:] = [events(*WHOLE)]
    asked_before = len(stack.canned.requests)
    again = stack.stream("canned/m", **say(text))
    assert how(again) == "miss"
    assert len(stack.canned.requests) == asked_before + 1
    assert again.body.count(b"data: ") == len(WHOLE)
    assert how(stack.stream("canned/m", **say(text))) == "hit"


@pytest.mark.parametrize("count", range(5))
def test_a_stream_that_its_caller_left_is_not_kept(stack: Stack, count: int) -> None:
    body = asked("lab/sim?tokens=5&tps=20", **say(f"left after {count}"), stream=True)
    sent = wire.request("/v1/chat/completions", body, {"Authorization": f"Bearer {KEY}"})
    with socket.create_connection(("127.0.0.1", stack.port)) as link:
        link.sendall(sent)
        got = b""
        until(lambda: stack.stats()["active"], "the call")
        while got.count(b"data: ") < count:
            got += link.recv(65536)
    until(lambda: b"ferryman_in_flight_calls 0" in stack.get("/metrics").body, "its end")
    again = stack.post(body)
    assert how(again) == "miss"
    assert again.body.endswith(b"data: [DONE]\n\n")
    assert how(stack.post(body)) == "hit"


def test_a_change_of_the_policy_or_the_provider_starts_empty(stack: Stack) -> None:
    mild = {"x-ferryman-metadata": '{"task": "mild"}'}

    def ask() -> list[str | None]:
        return [how(stack.chat("lab/sim", **say("a change"), headers=h)) for h in (mild, {})]

    def change(config: str) -> None:
        before = stack.get("/readyz").json()["snapshot"]
        stack.write(config)
        until(lambda: stack.get("/readyz").json()["snapshot"] != before, "the change")

    assert [ask(), ask()] == [["miss", "miss"], ["hit", "hit"]]
    change(CONFIG.replace("temperature: 0.1", "temperature: 0.2"))
    assert [ask(), ask()] == [["miss", "hit"], ["hit", "hit"]]
    moved = stack.sim_url.replace("127.0.0.1", "localhost")
    change(CONFIG.replace('"SIM/v1"', f'"{moved}/v1"'))
    assert [ask(), ask()] == [["miss", "miss"], ["hit", "hit"]]
    change(CONFIG)
    assert ask() == ["hit", "hit"]


def test_a_revoked_key_gets_no_hits(stack: Stack) -> None:
    made: str = stack.admin("POST", "/api/v1/keys", {"name": "gone"}).json()["key"]
    body = asked("lab/sim", **say("revoked"))
    until(lambda: stack.post(body, key=made).status == 200, "the new key")
    assert how(stack.post(body, key=made)) == "hit"
    stack.admin("DELETE", "/api/v1/keys/gone")
    until(lambda: stack.post(body, key=made).status == 401, "the end of the key")


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("cache-control", "max-age=-1", 400),
        ("cache-control", "max-age=99999999999999999999", 200),
        ("cache-control", "max-age", 400),
        ("cache-control", "no-transform, stale-if-error=x, ,=,", 200),
        ("x-ferryman-cache-ttl", "-5", 400),
        ("x-ferryman-cache-ttl", "1e9", 400),
        ("x-ferryman-cache-ttl", "99999999999", 200),
        ("x-ferryman-cache-namespace", "x" * 201, 400),
        ("x-ferryman-cache-namespace", "a\tb \xe9%00../'\"", 200),
    ],
)
def test_headers_that_try_something(stack: Stack, header: str, value: str, status: int) -> None:
    for _ in range(2):
        reply = stack.chat("lab/sim", **say("tricks"), headers={header: value})
        assert reply.status == status
        if status == 400:
            assert header in reply.json()["error"]["message"]


def test_nothing_lies_there_in_the_clear(stack: Stack) -> None:
    named = {"idempotency-key": "canary-key", "x-ferryman-cache-namespace": "canary-name"}
    reply = stack.chat("lab/sim", **say("a canary in the mine"), headers=named)
    assert how(stack.chat("lab/sim", **say("another"))) == "miss", "it is written after that"
    text = reply.json()["choices"][0]["message"]["content"]
    files = [*stack.data.glob("cache.db*"), *stack.data.glob("idempotency.db*")]
    assert {path.name for path in files} >= {"cache.db", "idempotency.db"}
    data = b"".join(path.read_bytes() for path in files)
    for secret in ("canary", text, "lab/sim", reply.json()["id"]):
        assert secret.encode() not in data


def test_the_command_shows_and_clears(stack: Stack) -> None:
    def ferryman(*words: str) -> subprocess.CompletedProcess[str]:
        env = environment(stack.data)
        del env["FERRYMAN_ADMIN_PORT"]
        command = [sys.executable, "-m", "ferryman", "cache", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    named = {"x-ferryman-cache-namespace": "nightly"}
    for headers in ({}, named):
        stack.chat("lab/sim", **say("shown"), headers=headers)
        assert how(stack.chat("lab/sim", **say("shown"), headers=headers)) == "hit"
    said = ferryman().stdout
    assert re.search(r"Cache +sqlite +\d+ +\d+\.\d", said), said
    assert re.search(r"\d+ hit, \d+ miss", said)
    assert re.search(r"Saved since then: \$0\.\d+", said)
    assert '"answers"' in ferryman("--json").stdout
    cleared = ferryman("clear", "--namespace", "nightly").stdout
    assert cleared == "Cleared: answers of namespace nightly.\n"
    began = time.monotonic()
    until(lambda: how(stack.chat("lab/sim", **say("shown"), headers=named)) == "miss", "the order")
    assert time.monotonic() - began < 5
    assert how(stack.chat("lab/sim", **say("shown"))) == "hit"
    stack.restart()
    assert how(stack.chat("lab/sim", **say("shown"), headers=named)) == "hit", "an order holds once"
    assert ferryman("clear").stdout == "Cleared: all answers.\n"
    until(lambda: how(stack.chat("lab/sim", **say("shown"))) == "miss", "the order")
    wrong = ferryman("clear", "--key", "nobody")
    assert (wrong.returncode, "No key has the id or name 'nobody'" in wrong.stderr) == (1, True)


def test_an_order_is_heard_after_the_gateway_was_down(stack: Stack) -> None:
    assert how(stack.chat("lab/sim", **say("down"))) == "miss"
    key = {"idempotency-key": "kept-through-it"}
    paid = stack.chat("lab/sim", **say("down, too"), headers=key)
    assert stack.admin("DELETE", "/api/v1/cache").status == 202
    stack.restart()
    until(lambda: how(stack.chat("lab/sim", **say("down"))) == "miss", "the order")
    again = stack.chat("lab/sim", **say("down, too"), headers=key)
    assert again.header("idempotent-replayed") == "true", "those are no cache"
    assert again.body == paid.body
