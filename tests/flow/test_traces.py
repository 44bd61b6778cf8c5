"""What the record of a call tells: when each attempt did what, and which calls belong together."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.flow.test_costs_page import finding
from tests.gateway import KEY, LAB_KEY, Canned, Stack, whole
from tests.http1.certs import Authority
from tests.processes import until

CONFIG = """\
providers:
  lab:
    base_url: SIM/v1
    key: env:LAB_KEY
    prices: { "sim?tokens=40&tps=200": { input: 1, output: 2 }, sim: { input: 1, output: 2 } }
  claude: { format: anthropic_messages, base_url: SIM/v1, auth: none }
  pool: { base_url: SIM/v1, keys: [env:LAB_KEY, env:SPARE_KEY] }
  narrow: { base_url: SIM/v1, auth: none, max_in_flight: 1 }
  canned: { base_url: CANNED/v1, auth: none }
  dead: { base_url: "http://127.0.0.1:1/v1", auth: none }
  sealed: { base_url: SEALED/v1, auth: none }
tls: { ca_files: [AUTHORITY] }
models:
  cheapest: { targets: [spareless/sim, lab/sim], strategy: cost }
  busy: { targets: [canned/m, lab/sim] }
  down: { targets: [dead/sim, lab/sim] }
""".replace("spareless", "pool")
AGENT = "shop-assistant/1.4 (linux; x86_64) " + "padding " * 20


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Canned, Path]]:
    """A provider that is reached by TLS only, and its authority's certificate."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    canned = Canned(authority.server("127.0.0.1"))
    yield canned, authority.file
    canned.end()


@pytest.fixture(scope="module")
def traced(
    tmp_path_factory: pytest.TempPathFactory, sealed: tuple[Canned, Path]
) -> Iterator[Stack]:
    config = CONFIG.replace("SEALED", sealed[0].url).replace("AUTHORITY", str(sealed[1]))
    with Stack(tmp_path_factory.mktemp("traces"), config).served() as running:
        yield running


def whole_call(stack: Stack, ident: str) -> dict[str, Any]:
    """What the API tells of a call, found by any of its ids."""
    found = until(
        lambda: (reply := stack.admin("GET", f"/api/v1/calls/{ident}")).status == 200 and reply,
        f"the call {ident}",
    )
    told: dict[str, Any] = found.json()
    return told


def in_order(attempt: dict[str, Any], *names: str) -> bool:
    times = [attempt[name] for name in names]
    return all(time is not None and time >= 0 for time in times) and times == sorted(times)


def test_each_time_of_an_attempt_is_in_its_place(traced: Stack) -> None:
    stream = traced.stream("lab/sim?tokens=40&tps=200", headers={"user-agent": AGENT})
    row = whole_call(traced, stream.header("x-ferryman-request-id") or "")
    [attempt] = row["tries"]
    assert (attempt["connection"], attempt["key"]) == ("new", "env:LAB_KEY")
    assert in_order(attempt, "start_us", "sent_us", "first_byte_us", "first_token_us",
                    "last_token_us", "end_us"), attempt  # fmt: skip
    dial = attempt["dial"]
    assert attempt["start_us"] <= dial["resolved_us"] <= dial["connected_us"] <= attempt["sent_us"]
    assert dial["secured_us"] == -1
    assert attempt["end_us"] - attempt["first_token_us"] > 100_000, "39 tokens, 200 a second"
    assert 100 < row["tokens_per_second"] < 300
    assert row["client"] == AGENT[:80].strip()
    assert [line["what"] for line in row["cost"]["lines"]] == ["input", "output"]
    again = traced.stream("lab/sim?tokens=40&tps=200")
    [attempt] = whole_call(traced, again.header("x-ferryman-request-id") or "")["tries"]
    assert (attempt["connection"], attempt["dial"]) == ("kept", None)
    assert attempt["sent_us"] == attempt["start_us"]
    once = traced.chat("lab/sim")
    [attempt] = whole_call(traced, once.header("x-ferryman-request-id") or "")["tries"]
    assert in_order(attempt, "start_us", "sent_us", "first_byte_us", "end_us")
    assert (attempt["first_token_us"], attempt["last_token_us"]) == (None, None)
    assert LAB_KEY not in json.dumps([row, attempt])


def test_how_long_tls_took_is_told(traced: Stack, sealed: tuple[Canned, Path]) -> None:
    sealed[0].answers += [whole(b'{"id": "x", "choices": []}')] * 2
    tried = []
    for _ in range(2):
        reply = traced.chat("sealed/m")
        assert reply.status == 200
        tried += whole_call(traced, reply.header("x-ferryman-request-id") or "")["tries"]
    first, kept = tried
    dial = first["dial"]
    assert dial["resolved_us"] <= dial["connected_us"] < dial["secured_us"] <= first["sent_us"]
    assert (kept["connection"], kept["dial"]) == ("kept", None)


def test_a_stream_that_breaks_off_says_when_it_last_said_something(traced: Stack) -> None:
    cut = traced.stream("lab/sim-cut?at=6&tokens=12")
    [attempt] = whole_call(traced, cut.header("x-ferryman-request-id") or "")["tries"]
    assert attempt["error"] == "upstream_stream_truncated"
    assert in_order(attempt, "first_token_us", "last_token_us", "end_us")


def test_what_failed_says_how_and_when_to_come_back(traced: Stack) -> None:
    limited = b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'
    traced.canned.answers.append(
        whole(limited, b"retry-after: 7", b"x-request-id: req-given-up", status=b"429 Too Many")
    )
    row = whole_call(traced, traced.chat("busy").header("x-ferryman-request-id") or "")
    failed, good = row["tries"]
    assert (failed["error"], failed["retry_after_ms"]) == ("upstream_rate_limited", 7000)
    assert (failed["upstream_id"], good["retry_after_ms"]) == ("req-given-up", None)
    assert [each["target"] for each in row["considered"]] == ["canned/m", "lab/sim"]
    assert whole_call(traced, "req-given-up") == row, "also the ids of attempts that failed"
    row = whole_call(traced, traced.chat("down").header("x-ferryman-request-id") or "")
    dead = row["tries"][0]
    assert (dead["error"], dead["sent_us"], dead["connection"]) == (
        "upstream_unreachable", None, None,
    )  # fmt: skip
    assert dead["dial"]["resolved_us"] >= 0 > dead["dial"]["connected_us"]


def test_why_one_came_first_and_which_key_it_was(traced: Stack) -> None:
    row = whole_call(traced, traced.chat("cheapest").header("x-ferryman-request-id") or "")
    assert row["strategy"] == "cost"
    assert [each["target"] for each in row["considered"]] == ["lab/sim", "pool/sim"]
    assert row["considered"][0]["measure"] > 0, "dollars"
    keys = {
        whole_call(traced, traced.chat("pool/sim").header("x-ferryman-request-id") or "")["tries"][
            0
        ]["key"]
        for _ in range(2)
    }
    assert keys == {"env:LAB_KEY", "env:SPARE_KEY"}


def test_a_wait_for_a_place_is_told_apart(traced: Stack) -> None:
    replies = []
    calls = [
        threading.Thread(target=lambda: replies.append(traced.chat("narrow/sim?delay=300")))
        for _ in range(2)
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    rows = [whole_call(traced, r.header("x-ferryman-request-id") or "") for r in replies]
    first, second = sorted(
        (row["tries"][0] for row in rows), key=lambda each: each["queued_us"] or 0
    )
    assert first["queued_us"] is None
    assert 0 < second["queued_us"] <= second["start_us"]


def test_official_sdks_find_their_calls_by_the_ids_they_have(traced: Stack) -> None:
    client = openai.OpenAI(base_url=traced.endpoint, api_key=KEY)
    chat = client.chat.completions.create(
        model="lab/sim", messages=[{"role": "user", "content": "Hi"}]
    )
    assert chat._request_id
    row = whole_call(traced, chat._request_id)
    assert (row["upstream_id"], row["client"]) == (
        chat._request_id,
        f"OpenAI/Python {openai.__version__}",
    )
    claude = anthropic.Anthropic(base_url=traced.url, api_key=KEY)
    message = claude.messages.create(
        model="claude/sim", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
    )
    assert message._request_id
    row = whole_call(traced, message._request_id)
    assert (row["endpoint"], row["tries"][0]["upstream_id"]) == ("messages", message._request_id)


def test_ids_that_are_none_or_several(traced: Stack) -> None:
    reply = traced.admin("GET", "/api/v1/calls/req_never")
    assert (reply.status, reply.json()["code"]) == (404, "call_not_found")
    same = whole(b'{"id": "x", "choices": []}', b"x-request-id: the-same")
    traced.canned.answers += [same, same]
    rows = [traced.row(traced.chat("canned/m")) for _ in range(2)]
    reply = traced.admin("GET", "/api/v1/calls/the-same")
    assert (reply.status, reply.json()["code"]) == (409, "ambiguous_id")
    assert reply.json()["calls"] == [each["request_id"] for each in reversed(rows)]
    long = b"y" * 5000
    traced.canned.answers.append(whole(b'{"id": "x", "choices": []}', b"request-id: " + long))
    row = traced.row(traced.chat("canned/m"))
    assert row["upstream_id"] == long.decode()[:128]


def a_run(stack: Stack, run: str) -> list[str]:
    """A call that causes two, one of which causes a third that fails. Returns their ids."""
    found: list[str] = []
    for model, parent in (("lab/sim", -1), ("lab/sim", 0), ("lab/sim", 0), ("lab/sim-500", 1)):
        headers = {"x-ferryman-run-id": run} if run else {}
        if parent >= 0:
            headers["x-ferryman-parent-id"] = found[parent]
        found.append(stack.chat(model, headers=headers).header("x-ferryman-request-id") or "")
    return found


@pytest.mark.parametrize("run", ["nightly/7", ""])
def test_calls_that_belong_together_are_one_tree(traced: Stack, run: str) -> None:
    first, left, right, failed = a_run(traced, run)
    name = "nightly%2F7" if run else failed
    found = until(
        lambda: (said := traced.admin("GET", f"/api/v1/runs/{name}").json())["calls"] == 4 and said,
        "the run",
    )
    shape = [(each["request_id"], each["depth"]) for each in found["data"]]
    assert shape == [(first, 0), (left, 1), (failed, 2), (right, 1)]
    assert found["run"] == (run or None)
    assert (found["errors"], found["truncated"]) == (1, False)
    costs = [traced.row(each)["cost_usd"] for each in (first, left, right)]
    assert float(found["cost_usd"]) == pytest.approx(sum(float(cost) for cost in costs))
    assert found["data"][1]["below"]["calls"] == 2
    assert found["data"][3]["below"] is None
    by_member = traced.admin("GET", f"/api/v1/runs/{right}").json()
    assert by_member == found, "any call of it leads there"


def ferryman(stack: Stack, *command: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ferryman", *command], env=finding(stack), cwd=Path.cwd(),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def test_the_terminal_shows_a_call_and_a_run(traced: Stack) -> None:
    traced.canned.answers.append(whole(b"{}", b"retry-after: 3", status=b"503 Away"))
    ident = traced.chat("busy").header("x-ferryman-request-id") or ""
    whole_call(traced, ident)
    text = ferryman(traced, "trace", ident)
    assert "\x1b[" not in text, "no colours in a pipe"
    for words in ("1. canned/m  503 upstream_overloaded", "asked again after 3.0 s", "2. lab/sim",
                  "key env:LAB_KEY", "waiting for the first byte", "What it cost"):  # fmt: skip
        assert words in text, text
    assert json.loads(ferryman(traced, "trace", ident, "--json"))["request_id"] == ident
    ids = a_run(traced, "shown")
    whole_call(traced, ids[-1])
    text = ferryman(traced, "trace", "--run", "shown")
    assert "4, 1 failed" in text and f"└ {ids[1]}" in text and f"  └ {ids[3]}" in text, text
    assert len(json.loads(ferryman(traced, "trace", "--run", "shown", "--json"))["data"]) == 4
    assert "No call has the id" in ferryman(traced, "trace", "nothing", code=1)
    assert "give an ID" in ferryman(traced, "trace", code=2)
