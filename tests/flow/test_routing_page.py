"""docs/routing.md: its configuration routes as its table says, and its example explains."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flow.test_docs import needs_curl, typed
from tests.flow.test_explain import typed as ferryman_says
from tests.gateway import KEY, LAB_KEY, Stack
from tests.processes import environment
from tests.test_readme import blocks

PAGE = "docs/routing.md"


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    config, *more = blocks("yaml", PAGE)
    more.sort(key=lambda each: each.startswith("server:"))  # a section of its own
    for each in more:
        if each.startswith("providers:"):
            config = config.replace("providers:\n", each, 1)
        else:
            config += each.removeprefix("models:\n")
    folder = tmp_path_factory.mktemp("routing")
    stack = Stack(folder, config.replace("http://127.0.0.1:8090", "SIM"), BIG_LAB_KEY="sk-big")
    with stack.served() as running:
        yield running


def asked(stack: Stack, model: str, times: int) -> Counter[str | None]:
    replies = [stack.chat(model) for _ in range(times)]
    assert {reply.status for reply in replies} == {200}
    return Counter(reply.header("x-ferryman-provider") for reply in replies)


def test_each_strategy_does_what_the_table_says(routed: Stack) -> None:
    assert asked(routed, "as-written", 5) == {"near": 5}
    assert asked(routed, "cheapest", 5) == {"far": 5}
    assert 25 < asked(routed, "shared", 60)["near"] < 58
    calm = asked(routed, "calmest", 40)
    assert min(calm["near"], calm["far"]) > 5, "nobody is at work: by chance"
    assert asked(routed, "quickest", 12)["near"] <= 1, "once, to measure it"
    assert asked(routed, "fluent", 12)["near"] <= 1, "once, to measure it"
    page = routed.get("/v1/models/fluent/endpoints").json()["data"]["endpoints"]
    near, far = [each["live"]["tokens_per_second"] for each in page]
    assert 20 < near < 250, "two hundred, as it is told to"
    assert far > near
    page = routed.get("/v1/models/as-written/endpoints").json()["data"]["endpoints"]
    assert page[0]["live"]["tokens_per_second"] is None, "nobody goes by it"
    room = asked(routed, "roomiest", 40)
    assert min(room["near"], room["far"]) > 5, "neither says what is left: by chance"
    cheap = asked(routed, "cheap", 60)
    assert cheap["far"] > 45, "at a quarter of the price sixteen times as often, or so"


def test_a_session_has_one_target_and_a_canary_its_share(routed: Stack) -> None:
    found: Counter[str | None] = Counter()
    for i in range(60):
        headers = {"x-ferryman-session": f"s{i}"}
        first, second = [routed.chat("canary", headers=headers) for _ in range(2)]
        assert first.header("x-ferryman-provider") == second.header("x-ferryman-provider")
        found[first.header("x-ferryman-provider")] += 1
    assert found["near"] > 45
    assert found["far"] < 13


def test_groups_are_chosen_as_a_whole_and_priorities_in_turn(routed: Stack) -> None:
    grouped = asked(routed, "grouped", 80)
    assert 4 < grouped["near"] < 40, "a quarter, though they are two of three"
    reply = routed.chat("reserved")
    assert reply.header("x-ferryman-provider") == "far"
    assert reply.header("x-ferryman-attempts") in ("3", "1"), "the cheaper one waits for its turn"


def test_affinity_holds_a_session_at_its_target(routed: Stack) -> None:
    headers = {"x-ferryman-explain": "1", "x-ferryman-session": "talk"}
    first = routed.chat("assistant", headers=headers)
    provider = first.header("x-ferryman-provider")
    assert explained(first.header("x-ferryman-explain"))["affinity"] == {"by": "session"}
    for _ in range(8):
        reply = routed.chat("assistant", headers=headers)
        assert reply.header("x-ferryman-provider") == provider
    said = explained(reply.header("x-ferryman-explain"))["affinity"]
    assert said == {"by": "session", "last": f"{provider}/sim?cached=40", "held": True}


def test_answers_that_are_none_are_asked_of_others(routed: Stack) -> None:
    assert asked(routed, "careful", 2) == {"far": 2}
    assert asked(routed, "stubborn", 2) == {"far": 2}


def test_the_quicker_of_two_answers(routed: Stack) -> None:
    reply = routed.chat("prompt")
    assert reply.header("x-ferryman-provider") == "far"
    tries = routed.row(reply)["tries"]
    assert [each["error"] for each in tries] == ["superseded", ""]
    assert (routed.row(reply)["unknown_cost"], tries[0]["unknown_cost"]) == (1, True)
    assert routed.row(reply)["cost_usd"] == tries[1]["cost_usd"] != "0"
    assert asked(routed, "steady", 2) == {"near": 2}


def test_a_stream_is_rescued_and_says_so(routed: Stack) -> None:
    reply = routed.stream("sturdy")
    assert reply.said == "The ferry leaves the bank at dawn, crosses the slow green river,"
    assert b": ferryman: far goes on\n\n" in reply.body
    assert reply.data[-1] == "[DONE]"


def test_keys_are_used_by_their_weights(routed: Stack) -> None:
    used: Counter[str] = Counter()
    for _ in range(8):
        assert routed.chat("pooled/sim").status == 200
        used[routed.last_headers()["authorization"]] += 1
    assert used == {f"Bearer {LAB_KEY}": 2, "Bearer sk-big": 6}


def explained(header: str | None) -> dict[str, Any]:
    assert header
    found: dict[str, Any] = json.loads(header)
    return found


def test_a_call_explains_itself(routed: Stack) -> None:
    reply = routed.chat("as-written", headers={"x-ferryman-explain": "1"})
    said = explained(reply.header("x-ferryman-explain"))
    assert said["considered"] == [
        {"target": f"{provider}/sim", "role": "target"} for provider in ("near", "far")
    ]
    [tried] = said["attempts"]
    assert (tried["target"], tried["status"], tried["error"]) == ("near/sim", 200, "")
    assert 0 <= tried["start_ms"] <= tried["end_ms"]
    assert routed.chat("as-written").header("x-ferryman-explain") is None


@needs_curl
def test_the_example_tells_of_its_failures_and_then_of_rests(routed: Stack, tmp_path: Path) -> None:
    command, *_ = blocks("sh", PAGE)
    command = command.replace("http://127.0.0.1:8080/v1", routed.endpoint)
    env = environment(tmp_path, FERRYMAN_KEY=KEY)

    def run() -> dict[str, Any]:
        done = subprocess.run(
            ["sh", "-ec", command], env=env, capture_output=True, text=True, timeout=60
        )
        return explained(done.stdout.partition(": ")[2])

    errors = [tried["error"] for tried in run()["attempts"]]
    assert errors == ["upstream_error", "upstream_error", ""], "a lone one gets one more chance"
    for _ in range(9):
        said = run()
        if "because" in said["considered"][-1]:
            break
    first, last = said["considered"]
    assert (first["target"], first["role"]) == ("far/sim", "fallback")
    assert (last["target"], last["because"]) == ("near/sim?500", "upstream_error")
    assert 0 < last["rests_seconds"] <= 4


def test_the_plan_is_shown_before_a_call(routed: Stack) -> None:
    _, command, _ = blocks("sh", PAGE)
    ferryman, *arguments = command.split()
    assert ferryman == "ferryman"
    drawn = ferryman_says(routed, *arguments)
    assert "Served by  with-a-fallback, strategy ordered" in drawn
    assert "far/sim" in drawn
    said = json.loads(ferryman_says(routed, *arguments, "--json"))
    assert {row["target"] for row in said["targets"]} == {"near/sim?500", "far/sim"}


@needs_curl
def test_live_health_is_shown(routed: Stack, tmp_path: Path) -> None:
    *_, command = blocks("sh", PAGE)
    said = typed(
        routed, ["sh", "-ec", command.replace("http://127.0.0.1:8080", routed.url)], tmp_path
    )
    first, second = json.loads(said)["data"]["endpoints"]
    assert (first["model_name"], second["role"]) == ("sim?500", "fallback")
    assert {"status", "uptime_last_30m", "latency_last_30m", "live"} <= set(first)
