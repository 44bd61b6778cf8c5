"""Several keys of one provider: each with its share, its limit and its health."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.gateway import Stack, asked, error_of, whole
from tests.processes import until
from tests.telemetry.test_metrics import read

CONFIG = """\
providers:
  shares: { base_url: POOL, keys: [env:A_KEY, { key: env:B_KEY, weight: 3 }, { key: env:C_KEY }] }
  narrow:
    base_url: POOL
    keys: [{ key: env:A_KEY, max_in_flight: 1 }, { key: env:B_KEY, max_in_flight: 2 }]
    queue: { wait: 20s }
  tight: { base_url: POOL, keys: [{ key: env:A_KEY, max_in_flight: 1 }, env:BROKE_KEY] }
  spare: { base_url: SIM/v1, auth: none }
models:
  spill: { targets: [tight/m, spare/sim] }
  again: { targets: ["spare/sim?429&retry-after=0.1", shares/failing], fallbacks: [spare/sim] }
"""
KEYS = {"A_KEY": "sk-a", "B_KEY": "sk-b", "C_KEY": "sk-c", "BROKE_KEY": "sk-broke"}
ANSWER = (
    b'{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)


class Pool(ThreadingHTTPServer):
    """A provider that notes with which keys it is asked, and how often at once."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.at_once: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.broke = "sk-broke"
        self.hold = threading.Event()
        """Set: answers come at once."""
        self.hold.set()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answer(BaseHTTPRequestHandler):
    server: Pool

    def do_POST(self) -> None:
        pool, key = self.server, self.headers["authorization"].removeprefix("Bearer ")
        body = self.rfile.read(int(self.headers["content-length"]))
        with pool.lock:
            pool.asked[key] += 1
            pool.at_once[key] += 1
            pool.most[key] = max(pool.most[key], pool.at_once[key])
        if b"slow" in body:
            time.sleep(0.1)
        pool.hold.wait(20)
        with pool.lock:
            pool.at_once[key] -= 1
        if b"failing" in body:
            self.wfile.write(whole(b"{}", status=b"500 Oh"))
        elif key == pool.broke:
            self.wfile.write(whole(b'{"error":{"message":"Pay"}}', status=b"402 Payment Required"))
        else:
            self.wfile.write(whole(ANSWER))

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool() as running:
        yield running
        running.shutdown()


@pytest.fixture(scope="module")
def stack(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    config = CONFIG.replace("POOL", f"http://127.0.0.1:{pool.server_port}/v1")
    folder: Path = tmp_path_factory.mktemp("pools")
    with Stack(folder, config, **KEYS).served() as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(pool: Pool) -> None:
    pool.asked.clear()
    pool.most.clear()


def test_calls_are_spread_by_the_weights_of_keys(stack: Stack, pool: Pool) -> None:
    for _ in range(20):
        assert stack.chat("shares/m").status == 200
    assert pool.asked == {"sk-a": 4, "sk-b": 12, "sk-c": 4}


def test_no_key_gets_more_calls_at_once_than_it_takes_and_all_are_answered(
    stack: Stack, pool: Pool
) -> None:
    with ThreadPoolExecutor(12) as callers:
        replies = list(callers.map(lambda _: stack.chat("narrow/slow"), range(12)))
    assert {reply.status for reply in replies} == {200}
    assert pool.most == {"sk-a": 1, "sk-b": 2}
    until(lambda: _metric(stack, "ferryman_limited_calls", provider="narrow") == 0, "an idle pool")


def test_a_model_that_is_asked_again_has_its_own_keys(stack: Stack) -> None:
    for _ in range(4):
        reply = stack.chat("again")
        assert reply.status == 200, "whichever of its three keys the other target was asked with"
        tried = [(each["provider"], each["error"]) for each in stack.row(reply)["tries"]]
        assert tried[-1] == ("spare", "")


def test_a_key_without_credit_is_told_and_its_share_goes_to_the_others(
    stack: Stack, pool: Pool
) -> None:
    pool.broke = "sk-c"
    try:
        for _ in range(20):
            assert stack.chat("shares/m").status == 200
    finally:
        pool.broke = "sk-broke"
    assert pool.asked["sk-c"] == 1, "it rests after its first refusal"
    assert 2.5 < pool.asked["sk-b"] / pool.asked["sk-a"] < 3.5
    assert stack.chat("shares/another").status == 200
    assert pool.asked["sk-c"] == 1, "it rests with all models"
    resting = read(stack.get("/metrics").body)["ferryman_key_resting_seconds"]
    [(labels, left)] = [each for each in resting.items() if ("provider", "shares") in each[0]]
    assert dict(labels)["key"] == "env:C_KEY"
    assert dict(labels)["because"] == "upstream_credit_exhausted"
    assert 0 < left <= 30
    [alert] = [line for line in stack.up.lines if "alert" in line and "env:C_KEY" in line]
    assert "upstream_credit_exhausted" in alert
    assert "sk-c" not in alert


def test_a_key_that_was_taken_out_comes_back_without_its_past(stack: Stack, pool: Pool) -> None:
    pool.broke = "sk-b"
    try:
        for _ in range(3):
            assert stack.chat("shares/m").status == 200
    finally:
        pool.broke = "sk-broke"
    assert pool.asked["sk-b"] == 1
    whole_file = stack.file.read_text()
    _reload(stack, whole_file.replace("{ key: env:B_KEY, weight: 3 }, ", ""), "without")
    _reload(stack, whole_file, "with-it")
    for _ in range(5):
        assert stack.chat("shares/m").status == 200
    assert pool.asked["sk-b"] > 1


def _reload(stack: Stack, text: str, mark: str) -> None:
    """Wait until it is served, which a model of this name shows."""
    stack.file.write_text(f"{text}  {mark}: spare/sim\n")
    stack.up.send(signal.SIGHUP)
    until(lambda: f'"{mark}"'.encode() in stack.get("/v1/models").body, "the new configuration")


def test_when_no_key_has_room_another_target_is_asked_or_the_call_refused(
    stack: Stack, pool: Pool
) -> None:
    for _ in range(2):
        assert stack.chat("tight/m").status == 200  # by now the one without credit rests
    pool.hold.clear()
    try:
        with ThreadPoolExecutor(1) as callers:
            holding = callers.submit(stack.chat, "tight/m")
            until(lambda: pool.at_once["sk-a"] == 1, "a call at work")
            elsewhere = stack.post(asked("spill"), headers={"x-ferryman-explain": "1"})
            refused = stack.chat("tight/m")
            pool.hold.set()
            assert holding.result().status == 200
    finally:
        pool.hold.set()
    assert elsewhere.header("x-ferryman-provider") == "spare"
    assert '"full": true' in (elsewhere.header("x-ferryman-explain") or "")
    assert (refused.status, error_of(refused)["code"]) == (503, "gateway_overloaded")
    assert "key of tight" in error_of(refused)["message"]
    assert refused.header("retry-after") == "1"
    assert stack.chat("tight/m").status == 200
    assert _metric(stack, "ferryman_shed_calls_total", provider="tight", reason="keys") == 1


def _metric(stack: Stack, family: str, **labels: str) -> float:
    return read(stack.get("/metrics").body)[family][tuple(labels.items())]
