"""Why a call went where it went: in its record, and before it is made."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway import Stack, asked
from tests.processes import environment, until

CONFIG = """\
providers:
  near: { base_url: SIM/v1, auth: none, prices: { sim: { input: 3, output: 9 } } }
  far: { base_url: SIM/v1, auth: none, prices: { sim: { input: 1, output: 2 } } }
  claude: { format: anthropic_messages, base_url: SIM/v1, auth: none }
policies:
  - { name: night, when: { header.x-shift: night }, use: far/sim }
  - { name: no-dice, when: { metadata.task: { in: [dice, cards] } }, forbid: No games. }
  - name: calm
    when: { any: [{ tags: calm }, { body.temperature: { gt: 1 } }] }
    set: { temperature: 1 }
models:
  alone: near/sim
  uneven: { targets: ["near/sim?delay=1500", far/sim] }
  pair: { targets: [near/sim, far/sim] }
  shaky: { targets: ["near/sim?503&retry-after=29", far/sim], fallbacks: [near/sim] }
  metered: { targets: ["near/sim?503&retry-after=28", far/sim] }
  mixed: { targets: [claude/claude-test, far/sim], strategy: cost }
  grows: { targets: [openai/gpt-4, openai/gpt-4o-mini] }
"""
ENV = {"OPENAI_API_KEY": "sk-test", "FERRYMAN_OPENAI_BASE_URL": "SIM/v1"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("explain"), CONFIG, **ENV)
    try:
        yield running.ready()
        assert not running.complaints()
    finally:
        running.end()


def typed(stack: Stack, *arguments: str, code: int = 0, stdin: str = "", **env: str) -> str:
    """What ``ferryman`` prints with these arguments, both its outputs."""
    known = environment(stack.data, **env)
    del known["FERRYMAN_PORT"], known["FERRYMAN_ADMIN_PORT"]  # it is to find them itself
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ferryman", *arguments],
        env=known, input=stdin, capture_output=True, text=True, timeout=60,
        cwd=stack.data.parent,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_plain_call_has_nothing_to_explain(stack: Stack) -> None:
    assert stack.row(stack.chat("alone"))["considered"] == []


def test_the_record_says_who_came_into_question_and_who_rested(stack: Stack) -> None:
    stack.row(stack.chat("pair"))
    first = stack.row(stack.chat("shaky"))
    assert first["considered"] == [
        {"target": "near/sim?503&retry-after=29", "role": "target"},
        {"target": "far/sim", "role": "target"},
        {"target": "near/sim", "role": "fallback"},
    ]
    assert [each["error"] for each in first["tries"]] == ["upstream_overloaded", ""]
    second = stack.row(stack.chat("shaky"))
    *_, last = second["considered"]
    assert (last["target"], last["because"]) == (
        "near/sim?503&retry-after=29",
        "upstream_overloaded",
    )
    assert 0 < last["rests_seconds"] <= 29
    [tried] = second["tries"]
    assert 0 <= tried["start_us"] < tried["first_byte_us"] <= tried["end_us"]


def test_what_does_not_fit_is_left_out_with_its_reason(stack: Stack) -> None:
    long = [{"role": "user", "content": "The river is wide. " * 3000}]
    reply = stack.post({"model": "grows", "messages": long}, headers={"x-ferryman-explain": "1"})
    assert reply.status == 200
    considered = json.loads(reply.header("x-ferryman-explain") or "")["considered"]
    assert considered == stack.row(reply)["considered"]
    assert considered == [
        {"target": "openai/gpt-4", "left_out": "context_length_exceeded"},
        {"target": "openai/gpt-4o-mini", "role": "target"},
    ]


def test_trace_draws_a_call(stack: Stack) -> None:
    row = stack.row(stack.chat("shaky"))
    drawn = typed(stack, "trace", row["request_id"])
    for text in (
        row["request_id"],
        "shaky  →  far/sim",
        "rested for",
        "near/sim?503&retry-after=29",
        "200 good",
    ):
        assert text in drawn
    assert "█" in drawn
    assert "No call has the id" in typed(stack, "trace", "req_nobody", code=1)


def explained(stack: Stack, *arguments: str, stdin: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(typed(stack, "explain", "--json", *arguments, stdin=stdin))
    return found


def test_explain_shows_the_plan_and_calls_nobody(stack: Stack) -> None:
    stack.row(stack.chat("shaky"))
    stack.forget()
    said = explained(stack, "--model", "shaky")
    assert said["policy"] is None
    assert (said["served_by"], said["strategy"]) == ("shaky", "ordered")
    order = [(row["target"], row["role"], row["state"]) for row in said["targets"]]
    assert order[:2] == [("far/sim", "target", "well"), ("near/sim", "fallback", "well")]
    last = said["targets"][-1]
    assert last["target"] == "near/sim?503&retry-after=29"
    assert last["because"] == "upstream_overloaded"
    assert 0 < last["rests_seconds"] <= 29
    first = said["targets"][0]
    assert first["expected_cost_usd"].startswith("0.00")
    assert first["expected_seconds"] > 0
    assert (first["fits"], first["translated"], first["in_flight"]) == (True, False, 0)
    assert stack.stats()["requests"] == 0


def test_explain_says_why_policies_match_or_not(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    fields = asked("pair", temperature=1.5, metadata={"task": "chat"})
    file.write_text(json.dumps(fields))
    said = explained(stack, str(file))
    assert said["policy"] == "calm"
    assert said["altered"] == ["temperature=1 (policy)"]
    assert [(each["name"], each["matches"], each["because"]) for each in said["policies"]] == [
        ("night", False, 'header.x-shift is missing; wanted: "night"'),
        ("no-dice", False, 'metadata.task is "chat"; wanted: one of "dice", "cards"'),
        ("calm", True, ""),
    ]
    said = explained(stack, "-", "-H", "x-shift: night", stdin=json.dumps(fields))
    assert (said["policy"], said["served_by"]) == ("night", "far/sim")
    assert said["policies"][1]["because"] == "not looked at: night matches before it"
    said = explained(stack, "--model", "pair", "-H", 'x-ferryman-metadata: {"task": "dice"}')
    assert said["refused"]["code"] == "forbidden_by_policy"
    assert said["refused"]["message"] == "No games."


def test_explain_checks_windows_and_translations(stack: Stack, tmp_path: Path) -> None:
    long = {"messages": [{"role": "user", "content": "The river is wide. " * 3000}]}
    said = explained(stack, "-", "--model", "grows", stdin=json.dumps(long))
    narrow, wide = said["targets"]
    assert (narrow["fits"], narrow["unfit"]["code"]) == (False, "context_length_exceeded")
    assert wide["fits"]
    assert narrow["context"] < wide["input_tokens"] < wide["context"]
    odd = asked("mixed", logit_bias={"50256": -100}, seed=4)
    said = explained(stack, "-", stdin=json.dumps(odd))
    known, unknown = said["targets"]
    assert (known["target"], known["translated"]) == ("far/sim", False), "unknown prices come last"
    assert (unknown["format"], unknown["translated"]) == ("anthropic_messages", True)
    assert {"logit_bias", "seed"} <= set(unknown["dropped"])
    odd = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    said = explained(stack, "-", "--model", "alone", stdin=json.dumps(odd))
    assert (said["endpoint"], said["targets"][0]["translated"]) == ("generate_content", True)


def test_explain_draws_what_json_says(stack: Stack) -> None:
    drawn = typed(stack, "explain", "--model", "mixed", "-H", "x-ferryman-tags: calm")
    for text in ("strategy cost", "calm", "matches", "far/sim", "claude/claude-test", "translated"):
        assert text in drawn


def test_explain_says_what_is_wrong(stack: Stack, tmp_path: Path) -> None:
    def failure(*arguments: str, stdin: str = "") -> str:
        return typed(stack, "explain", *arguments, stdin=stdin, code=1)

    assert "is not JSON" in failure("-", stdin="{")
    assert "JSON object" in failure("-", stdin="[]")
    assert "name: value" in failure("--model", "pair", "-H", "oops")
    assert "Can't read" in failure(str(tmp_path / "none.json"))
    assert "ferryman up" in failure("--model", "pair", "--gateway-url", "http://127.0.0.1:1")
    assert "No calls go to" in failure("--model", "pair", "--path", "/v1/nowhere")
    wrong = explained(stack, "--model", "nobody")
    assert wrong["refused"]["code"] == "model_not_found"
    assert explained(stack, "-", stdin='{"model": 3}')["refused"]["status"] == 400


def test_explaining_takes_the_token_of_the_planes_and_no_callers_key(stack: Stack) -> None:
    body = {"request": asked("pair")}
    assert stack.post(body, "/internal/explain").status == 401
    assert stack.post(body, "/internal/explain", key=None).status == 401
    token = (stack.data / "secrets" / "feed-token").read_text().strip()
    assert stack.post(body, "/internal/explain", key=token).status == 200
    assert stack.post({"nothing": 1}, "/internal/explain", key=token).status == 400
    assert stack.post(b"{", "/internal/explain", key=token).status == 400


def test_endpoints_show_live_health(stack: Stack) -> None:
    stack.row(stack.chat("shaky"))
    stack.row(stack.chat("shaky"))
    found = stack.get("/v1/models/shaky/endpoints").json()["data"]
    assert (found["id"], found["strategy"]) == ("shaky", "ordered")
    resting, well, fallback = found["endpoints"]
    assert (resting["status"], resting["live"]["state"]) == (-3, "rests")
    assert resting["live"]["because"] == "upstream_overloaded"
    assert resting["uptime_last_30m"] == 0
    assert (well["provider_name"], well["model_name"], well["status"]) == ("far", "sim", 0)
    assert well["uptime_last_30m"] == 100
    assert well["latency_last_30m"] > 0
    assert well["live"]["attempts_last_30m"] >= 2
    assert well["pricing"] == {
        "prompt": "0.000001", "completion": "0.000002", "request": "0",
        "input_cache_read": "0.000001", "input_cache_write": "0.000001",
        "internal_reasoning": "0.000002",
    }  # fmt: skip
    assert fallback["role"] == "fallback"
    [one] = stack.get("/v1/models/far%2Fsim/endpoints").json()["data"]["endpoints"]
    assert one["name"] == "far | sim"
    assert stack.get("/v1/models/nobody/endpoints").status == 404
    assert stack.get("/v1/models/shaky/endpoints", key=None).status == 401


def test_metrics_show_live_health_of_named_targets_only(stack: Stack) -> None:
    def page() -> str:
        return stack.get("/metrics").body.decode()

    stack.row(stack.chat("metered"))
    stack.chat("near/sim-404+tokens=77")
    labels = '{provider="near",model="sim?503&retry-after=28"}'
    until(lambda: f"ferryman_target_state{labels} 3" in page(), "the target rests")
    assert f"ferryman_target_rests_total{labels} 1" in page()
    assert 'ferryman_target_state{provider="far",model="sim"} 0' in page()
    assert "tokens=77" not in page()


def test_a_target_far_slower_than_its_sibling_gets_few_calls(stack: Stack) -> None:
    first = stack.row(stack.chat("uneven"))
    assert first["target"] == "sim?delay=1500"
    stack.row(stack.chat("far/sim"))
    said = explained(stack, "--model", "uneven")
    states = {row["target"]: (row["state"], row["share"]) for row in said["targets"]}
    assert states == {"far/sim": ("well", 1.0), "near/sim?delay=1500": ("slow", 0.05)}
    served = [stack.chat("uneven").header("x-ferryman-provider") for _ in range(20)]
    assert served.count("near") <= 6
