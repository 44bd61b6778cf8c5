"""Absurd usage is not believed, budgets of nothing say so, and a full disk is loud."""

import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway import Stack, error_of
from tests.processes import descendants, until
from tests.telemetry.test_metrics import read

CONFIG = """\
server: { on_journal_failure: serve }
providers:
  lab: { base_url: SIM/v1, auth: none, prices: { sim: { input: 1, output: 2 } } }
  canned: { base_url: CANNED/v1, auth: none, prices: { m: { input: 1, output: 2, search: 0.01 } } }
limits:
  - { name: nothing, when: { metadata.case: nothing }, budget: { usd: 0, per: day } }
  - { name: no-token, when: { metadata.case: no-token }, budget: { tokens: 0, per: day } }
  - { name: some, when: { metadata.case: some }, budget: { usd: 1, per: month } }
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("odd"), CONFIG).served() as running:
        yield running


def of(case: str) -> dict[str, str]:
    return {"x-ferryman-metadata": json.dumps({"case": case})}


def answer(**usage: int | dict[str, int]) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    said = {"id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [choice], "usage": usage}  # fmt: skip
    body = json.dumps(said).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body), body,
    )  # fmt: skip


@pytest.mark.parametrize(("given", "made"), [(5, 10**9), (10**11, 1), (-5, 10), (10**30, 1)])
def test_usage_that_can_not_be_is_unknown_and_the_hold_counts(
    odd: Stack, given: int, made: int
) -> None:
    odd.canned.answers.append(answer(prompt_tokens=given, completion_tokens=made))
    reply = odd.chat("canned/m", headers=of("some"), max_tokens=1000)
    assert reply.status == 200
    row = odd.row(reply)
    assert (row["cost_usd"], row["unknown_cost"], row["tokens"]) == (None, 1, None)
    token = (odd.data / "secrets" / "feed-token").read_text().strip()
    rows = odd.get("/internal/limits", key=token).json()
    [left] = [float(each["left"]) for each in rows if each["key"] == "some"]
    assert 0.98 < left < 1, "each bears what was held for it, and no fortune"


def test_pieces_that_can_not_be_are_unknown(odd: Stack) -> None:
    searched = {"web_search_requests": 10**9}
    said = answer(prompt_tokens=5, completion_tokens=5, server_tool_use=searched)
    odd.canned.answers.append(said)
    row = odd.row(odd.chat("canned/m", headers=of("some"), max_tokens=1000))
    assert (row["cost_usd"], row["unknown_cost"], row["tokens"]) == (None, 1, None)
    odd.up.wait_for(r"canned says that it has used .*'searches': 1000000000")


def test_absurd_usage_is_told_loudly(odd: Stack) -> None:
    odd.canned.answers.append(answer(prompt_tokens=5, completion_tokens=10**9))
    odd.chat("canned/m")
    odd.up.wait_for(r"alert: req_\S+: canned says that it has used .*1000000000.*, which can't be")
    page = read(odd.get("/metrics").body)
    assert page["ferryman_odd_usage_total"][("provider", "canned"),] >= 1


@pytest.mark.parametrize("case", ["nothing", "no-token"])
def test_budgets_of_nothing_say_so(odd: Stack, case: str) -> None:
    refused = odd.chat("lab/sim", headers=of(case), max_tokens=5)
    assert (refused.status, error_of(refused)["code"]) == (402, "budget_exceeded")
    assert "no call passes that" in error_of(refused)["message"]
    assert refused.header("x-should-retry") == "false"
    assert refused.header("retry-after") is None


def test_a_journal_that_can_not_be_written_lets_calls_pass_where_that_is_wanted(
    odd: Stack,
) -> None:
    [pid] = [
        pid
        for pid in descendants(odd.up.popen.pid)
        if b"ferryman.edge" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    old = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, old[1]))
    try:
        replies = [odd.chat("lab/sim", max_tokens=3) for _ in range(4)]
        assert [reply.status for reply in replies] == [200] * 4
        assert odd.stream("lab/sim", max_tokens=3).status == 200
        odd.up.wait_for(r"alert: Cannot append to .* Calls are served all the same")
        page = read(odd.get("/metrics").body)
        assert page["ferryman_journal_failing"][()] == 1
        assert page["ferryman_owed_records"][()] >= 4
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, old)
    odd.up.wait_for(r"the journal can be written again")
    for reply in replies:
        assert odd.row(reply)["state"] == "closed"
    until(lambda: read(odd.get("/metrics").body)["ferryman_owed_records"][()] == 0, "all written")
