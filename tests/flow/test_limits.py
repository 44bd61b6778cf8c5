"""Limits and budgets on the request path: real calls, real kills, nothing passes twice."""

import asyncio
import json
import os
import re
import resource
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.flow.crowd import all_at_once, under_way
from tests.gateway import KEY, Stack, asked, error_of
from tests.processes import descendants, until
from tests.simulator import wire

CONFIG = """\
providers:
  lab:
    base_url: SIM/v1
    auth: none
    prices:
      sim: { input: 0, output: 0, request: 1 }
      sim?delay=400: { input: 0, output: 0, request: 1 }
      sim?delay=60000: { input: 0, output: 0, request: 1 }
      sim?close: { input: 0, output: 0, request: 1 }
      sim?delay=70001: { input: 0, output: 0, request: 1 }
      sim?delay=70002: { input: 0, output: 0, request: 1 }
      sim?delay=70003: { input: 0, output: 0, request: 1 }
      sim?delay=70004: { input: 0, output: 0, request: 2 }
      sim?delay=70005: { input: 0, output: 100000, request: 1 }
      dear: { input: 0, output: 200000 }
      free: { input: 0, output: 0 }
      tokens: { input: 1, output: 2 }
      said: { input: 0, output: 0, character: 1000000 }
      searching: { input: 0, output: 0, search: 1 }
      gone: [{ input: 1, output: 2, until: 2026-01-01 }]
    models: { tokens: { max_output: 1000 } }
  slow: { base_url: CANNED/v1, auth: none, prices: { m: { input: 0, output: 100000, request: 1 } } }
  claude: { base_url: SIM/v1, format: anthropic_messages, key: sk, prices: { sim: PRICE } }
models:
  priced-or-not: { targets: ["lab/sim?tokens=4", lab/sim] }
  a-name: lab/sim
  stuck: { targets: ["lab/sim?delay=70001"], fallbacks: ["lab/sim?delay=70002", lab/sim] }
  mired: { targets: ["lab/sim?delay=70003"], fallbacks: ["lab/sim?delay=70004", lab/sim] }
  lost: { targets: ["lab/sim?delay=70005"], fallbacks: [lab/dear] }
limits:
  - { name: doubt, when: { metadata.case: doubt }, budget: { usd: 4, per: month } }
  - { name: less, when: { metadata.case: less }, budget: { usd: 2.5, per: month } }
  - { name: ten, when: { metadata.case: ten }, budget: { usd: 10, per: month } }
  - { name: kept, when: { metadata.case: kept }, budget: { usd: 10, per: month } }
  - { name: moved, when: { metadata.case: moved }, budget: { usd: 10, per: month } }
  - { name: rate, when: { metadata.case: rate }, requests: { most: 3, per: day } }
  - { name: few, when: { metadata.case: few }, parallel: 10 }
  - { name: pace, when: { metadata.case: pace }, requests: { most: 5, per: second, burst: 10 } }
  - name: person
    when: { metadata.case: person }
    by: [metadata.person, model]
    budget: { usd: 1, per: month, zone: Asia/Kolkata }
    status: 429
  - { name: small, when: { metadata.case: small }, budget: { usd: 0.0005, per: month } }
  - { name: counted, when: { metadata.case: counted }, budget: { tokens: 400, per: month } }
  - { name: spoken, when: { metadata.case: spoken }, budget: { usd: 10, per: month } }
  - { name: searched, when: { metadata.case: searched }, budget: { usd: 5, per: month } }
  - { name: soft, when: { metadata.case: soft }, budget: { usd: 1, per: month, soft: true } }
  - { name: flow, when: { metadata.case: flow }, tokens: { most: 1000, per: month } }
policies:
  - { when: { metadata.case: { in: [doubt, less] } }, timeouts: { first_byte: 300ms } }
  - { name: night, when: { metadata.case: policy }, budget: { usd: 2, per: month } }
""".replace("PRICE", "{ input: 0, output: 0, request: 1 }")


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("limits"), CONFIG).served() as running:
        yield running


MOVED = "usd: 20, per: day, rolling: true } }\n  - { name: rate"


def of(case: str, **more: str) -> dict[str, str]:
    return {"x-ferryman-metadata": json.dumps({"case": case, **more})}


def test_of_a_thousand_calls_at_once_ten_pass_a_budget_for_ten(limited: Stack) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    limited.forget()
    found = asyncio.run(all_at_once(limited, 1000, "lab/sim?delay=400", of("ten")))
    assert Counter(found) == {200: 10, 402: 990}
    assert limited.stats()["requests"] == 10
    late = limited.chat("lab/sim", headers=of("ten"))
    assert (late.status, error_of(late)["code"]) == (402, "budget_exceeded")
    assert late.header("x-ferryman-budget-left-usd") == "0"
    assert late.header("x-should-retry") == "false"
    assert re.search(r"'ten' is 10 USD per month: 0 USD are left", error_of(late)["message"])
    free = limited.chat("lab/free", headers=of("ten"))
    assert free.status == 200


def test_calls_at_once_are_bounded_and_places_come_back(limited: Stack) -> None:
    found = asyncio.run(all_at_once(limited, 1000, "lab/sim?delay=60000", of("few"), stay=10))
    assert Counter(found) == {429: 990}
    until(lambda: limited.stats()["active"] == 0, "the end of those whose callers hung up")
    for _ in range(12):  # also after failures
        assert limited.chat("lab/sim?close", headers=of("few")).status == 502
    again = asyncio.run(all_at_once(limited, 20, "lab/sim?delay=400", of("few")))
    assert Counter(again) == {200: 10, 429: 10}


def test_of_a_thousand_calls_at_once_no_more_pass_a_rate_than_its_burst_and_what_has_flowed_off(
    limited: Stack,
) -> None:
    began = time.monotonic()
    found = Counter(asyncio.run(all_at_once(limited, 1000, "lab/sim", of("pace"))))
    assert found.keys() == {200, 429}
    assert 10 <= found[200] <= 10 + 5 * (time.monotonic() - began)


def test_what_is_left_of_a_rate_and_when_to_come_back(limited: Stack) -> None:
    left = []
    for _ in range(3):
        reply = limited.chat("lab/sim", headers=of("rate"))
        left.append(reply.header("x-ratelimit-remaining-requests"))
        assert reply.header("x-ratelimit-limit-requests") == "3"
    assert left == ["2", "1", "0"]
    refused = limited.chat("lab/sim", headers=of("rate"))
    assert (refused.status, error_of(refused)["code"]) == (429, "rate_limit_exceeded")
    assert 28_000 < int(refused.header("retry-after") or 0) <= 28_800
    assert limited.row(refused)["error"] == "rate_limit_exceeded"


def test_each_value_has_a_budget_of_its_own_and_one_model_is_one_by_any_name(
    limited: Stack,
) -> None:
    def status(person: str | None, model: str) -> int:
        more = {} if person is None else {"person": person}
        return limited.chat(model, headers=of("person", **more)).status

    assert [status("ada", "lab/sim"), status("ada", "lab/sim")] == [200, 429]
    assert status("ada", "a-name") == 200
    assert status("bob", "lab/sim") == 200
    assert [status(None, "lab/sim"), status(None, "lab/sim")] == [200, 429]


def test_what_was_held_and_not_spent_is_free_again(limited: Stack) -> None:
    """Each may cost up to 0.0004 USD, and costs a tenth of that."""
    for _ in range(3):
        assert limited.chat("lab/tokens", headers=of("small"), max_tokens=100).status == 200
    refused = limited.chat("lab/tokens", headers=of("small"))
    assert refused.status == 402, "without a limit of its own it may say 1000 tokens"
    stream = limited.stream("lab/tokens", headers=of("small"), max_tokens=10)
    assert stream.status == 200
    assert stream.header("x-ferryman-budget-left-usd")
    several = limited.chat("lab/tokens", headers=of("small"), max_tokens=100, n=3)
    assert several.status == 402, "three answers may cost three times as much"


def test_tokens_are_counted_without_a_price(limited: Stack) -> None:
    first = limited.chat("lab/sim?tokens=3", headers=of("counted"), max_tokens=50)
    assert first.status == 200
    assert 200 < int(first.header("x-ferryman-budget-left-tokens") or 0) < 300
    second = limited.chat("lab/sim?tokens=3", headers=of("counted"), max_tokens=50)
    assert int(second.header("x-ferryman-budget-left-tokens") or 0) > 150, "it used less"
    unknown = limited.chat("lab/sim?tokens=3", headers=of("counted"))
    assert (unknown.status, error_of(unknown)["code"]) == (400, "no_price_under_budget")
    assert "max_tokens" in error_of(unknown)["message"]


def test_speech_is_held_and_counted_by_the_character(limited: Stack) -> None:
    body = {"model": "lab/said", "voice": "alloy", "input": "12345678"}
    first = limited.post(body, "/v1/audio/speech", headers=of("spoken"))
    assert first.status == 200
    row = limited.row(first)
    assert row["cost_usd"] == "8"
    late = limited.post({**body, "input": "123"}, "/v1/audio/speech", headers=of("spoken"))
    assert (late.status, error_of(late)["code"]) == (402, "budget_exceeded")
    assert "up to 3 USD" in error_of(late)["message"]


def test_searches_are_held_as_far_as_the_request_says(limited: Stack) -> None:
    plain = limited.chat("lab/searching", headers=of("searched"), max_tokens=5)
    assert plain.status == 200
    asked_for = limited.chat(
        "lab/searching", headers=of("searched"), max_tokens=5, web_search_options={}
    )
    assert (asked_for.status, error_of(asked_for)["code"]) == (402, "budget_exceeded")
    assert "up to 10 USD" in error_of(asked_for)["message"]


def test_in_a_gap_between_prices_costs_are_unknown_and_refused_under_a_budget(
    limited: Stack,
) -> None:
    free = limited.chat("lab/gone", max_tokens=5)
    assert (free.status, free.header("x-ferryman-cost-usd")) == (200, None)
    bound = limited.chat("lab/gone", headers=of("small"), max_tokens=5)
    assert (bound.status, error_of(bound)["code"]) == (400, "no_price_under_budget")


def test_a_model_without_a_price_is_passed_over_or_refused(limited: Stack) -> None:
    reply = limited.chat("priced-or-not", headers=of("soft"))
    assert (reply.status, reply.header("x-ferryman-model")) == (200, "sim")
    refused = limited.chat("lab/sim?tokens=4", headers=of("soft"))
    assert (refused.status, error_of(refused)["code"]) == (400, "no_price_under_budget")
    assert "providers.lab.prices" in error_of(refused)["message"]


def test_a_soft_budget_tells_and_lets_pass(limited: Stack) -> None:
    replies = [limited.chat("lab/sim", headers=of("soft")) for _ in range(3)]
    assert {reply.status for reply in replies} == {200}
    assert replies[-1].header("x-ferryman-over-budget") == "soft"
    limited.up.wait_for("the soft budget soft of 1 USD")
    told = [line for line in limited.up.lines if "the soft budget soft of 1 USD" in line]
    assert len(told) == 1
    metrics = limited.get("/metrics").body.decode()
    assert re.search(r'ferryman_over_budget_total\{limit="soft"\} [1-9]', metrics)


def test_a_rate_of_tokens_is_put_right_when_a_call_ends(limited: Stack) -> None:
    """Each may answer with 400 tokens: without that, the third would not pass."""
    for _ in range(5):
        reply = limited.chat("lab/sim?tokens=5", headers=of("flow"), max_tokens=400)
        assert reply.status == 200
    refused = limited.chat("lab/sim", headers=of("flow"), max_tokens=2000)
    assert (refused.status, refused.header("retry-after")) == (429, None)
    assert "more than it ever lets pass" in error_of(refused)["message"]


def test_attempts_that_may_have_to_be_paid_for_all_count(limited: Stack) -> None:
    """Two time out after they were sent, at providers that work on: they may charge for it."""
    first = limited.chat("stuck", headers=of("doubt"))
    assert (first.status, first.header("x-ferryman-attempts")) == (200, "3")
    row = limited.row(first)
    assert (row["cost_usd"], row["unknown_cost"]) == ("1", 2)
    left = limited.chat("lab/free", headers=of("doubt"))
    assert left.header("x-ferryman-budget-left-usd") == "1"


def test_no_further_target_is_asked_than_a_budget_has_room_for(limited: Stack) -> None:
    limited.forget()
    reply = limited.chat("mired", headers=of("less"))
    assert reply.status == 200, "who would cost too much is passed over"
    assert limited.stats()["requests"] == 2
    left = limited.chat("lab/free", headers=of("less")).header("x-ferryman-budget-left-usd")
    assert left == "0.5"


def test_a_policys_budget(limited: Stack) -> None:
    found = [limited.chat("lab/sim", headers=of("policy")).status for _ in range(3)]
    assert found == [200, 200, 402]


def test_official_sdks_understand_refusals(limited: Stack) -> None:
    message: Any = {"role": "user", "content": "Hi"}
    headers = of("person", person="sdk")
    client = openai.OpenAI(base_url=limited.endpoint, api_key=KEY, max_retries=2)
    chat = client.chat.completions
    chat.create(model="lab/sim", messages=[message], extra_headers=headers)
    with pytest.raises(openai.RateLimitError) as refused:
        chat.create(model="lab/sim", messages=[message], extra_headers=headers)
    assert refused.value.code == "budget_exceeded"
    other = anthropic.Anthropic(base_url=limited.url, api_key=KEY, max_retries=2)
    with pytest.raises(anthropic.RateLimitError) as told:
        other.messages.create(
            model="lab/sim",
            max_tokens=9,
            messages=[message],
            extra_headers=headers,
        )
    assert told.value.body["error"]["code"] == "budget_exceeded"  # type: ignore[index]


def test_the_file_changes_a_limit_and_what_was_spent_stays(limited: Stack) -> None:
    more = CONFIG.replace("usd: 2, per: month", "usd: 4, per: month")
    limited.write(more.replace("most: 3, per: day", "most: 3, per: second"))
    until(lambda: limited.chat("lab/sim", headers=of("policy")).status == 200, "the new limit")
    left = limited.chat("lab/sim", headers=of("policy"))
    assert (left.status, left.header("x-ferryman-budget-left-usd")) == (200, "0")


def test_a_call_under_way_counts_in_a_budget_whose_period_changes(limited: Stack) -> None:
    def left() -> str | None:
        return limited.chat("lab/free", headers=of("moved")).header("x-ferryman-budget-left-usd")

    assert limited.chat("lab/sim", headers=of("moved")).status == 200
    with under_way(limited, of("moved")) as ends:
        until(lambda: left() == "7", "one that ended, and one that may cost two")
        limited.write(CONFIG.replace("usd: 10, per: month } }\n  - { name: rate", MOVED))
        until(lambda: left() == "17", "both of them in the new budget")
        assert ends().status == 200
    assert left() == "17.5"


def test_a_killed_gateway_knows_what_was_spent(limited: Stack) -> None:
    """Three calls that ended, and one under way that counts with what was held."""
    for _ in range(3):
        assert limited.chat("lab/sim", headers=of("kept")).status == 200

    async def die() -> None:
        lost = await asyncio.open_connection("127.0.0.1", limited.port)
        body = asked("lost", max_tokens=10, n=3)
        key = {"Authorization": f"Bearer {KEY}"}
        lost[1].write(wire.request("/v1/chat/completions", body, key))
        there = lambda: b"70005" in limited.last_body()  # noqa: E731
        await asyncio.to_thread(until, there, "the call without a budget")
        reader, writer = await asyncio.open_connection("127.0.0.1", limited.port)
        key = {"Authorization": f"Bearer {KEY}"} | of("kept")
        writer.write(wire.request("/v1/chat/completions", asked("lab/sim?delay=60000"), key))
        await writer.drain()
        limited_left = "left by the call under way"
        await asyncio.to_thread(
            until,
            lambda: (
                limited.chat("lab/free", headers=of("kept")).header("x-ferryman-budget-left-usd")
                == "6"
            ),
            limited_left,
        )
        os.kill(_gateway(limited), signal.SIGKILL)
        assert await reader.read() == b""
        writer.close()
        lost[1].close()

    asyncio.run(die())
    limited.up.wait_for("gateway is ready again")
    limited.up.lines[:] = [line for line in limited.up.lines if "gateway ended (" not in line]

    def left() -> str | None:
        try:
            return limited.chat("lab/free", headers=of("kept")).header("x-ferryman-budget-left-usd")
        except (OSError, AssertionError):
            return None

    until(lambda: left() == "6", "the budget as the ledger has it")
    [row] = limited.admin("GET", "/api/v1/calls?status=lost&model=lost").json()["data"]
    assert row["cost_usd"] == "6", "three answers of ten tokens, from the dearer of its targets"
    passed = [limited.chat("lab/sim", headers=of("kept")).status for _ in range(8)]
    assert Counter(passed) == {200: 6, 402: 2}


def _gateway(stack: Stack) -> int:
    for pid in descendants(stack.up.popen.pid):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"gateway" in words or any(b"ferryman.edge" in word for word in words):
            return pid
    raise AssertionError("no gateway is running")
