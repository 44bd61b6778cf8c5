"""Rates of shared accounts at providers: who has no room is passed over, or waited for."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.gateway import Stack, error_of
from tests.processes import request as ask
from tests.processes import until
from tests.valkey import Server

CONFIG = """\
providers:
  narrow: { base_url: SIM/v1, auth: none, requests: { most: 2, per: day } }
  tokens: { base_url: SIM/v1, auth: none, tokens: { most: 5000, per: day } }
  wide: { base_url: SIM/v1, auth: none }
  pool:
    base_url: SIM/v1
    keys:
      - { key: env:LAB_KEY, requests: { most: 1, per: day } }
      - { key: env:SPARE_KEY, requests: { most: 2, per: day } }
  picky:
    base_url: SIM/v1
    auth: none
    models:
      sim: { requests: { most: 1, per: hour } }
      "sim?delay=600": { max_in_flight: 1 }
  paced:
    base_url: SIM/v1
    auth: none
    requests: { most: 5, per: second, burst: 1 }
    queue: { length: 6, wait: 5s }
  brief:
    base_url: SIM/v1
    auth: none
    requests: { most: 1, per: hour }
    queue: { wait: 300ms }
  big: { base_url: SIM/v1, auth: none, tokens: { most: 100, per: hour } }
  paid: { base_url: SIM/v1, auth: none, prices: PRICE }
  dear: { base_url: SIM/v1, auth: none, prices: PRICE }
  racer: { base_url: SIM/v1, auth: none, requests: { most: 1, per: day } }
models:
  two: { targets: [narrow/sim, wide/sim] }
  hopeless: { targets: [brief/sim, narrow/sim] }
  spread: { targets: ["paid/sim?503", dear/sim] }
  hedged: { targets: ["wide/sim?delay=700", racer/sim], hedge: 100ms }
limits:
  - name: spent
    when: { metadata.case: spent }
    by: provider
    budget: { usd: 2, per: month }
  - { name: often, when: { metadata.case: often }, by: [provider, key], requests: 2/day }
""".replace(
    "PRICE",
    '{ sim: { input: 0, output: 0, request: 1 }, "sim?503": { input: 0, output: 0, request: 1 } }',
)


@pytest.fixture(scope="module", params=["in memory", "at a server"])
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("accounts")
    if request.param == "in memory":
        with Stack(folder, CONFIG).served() as running:
            yield running
        return
    server = Server(folder)
    try:
        text = f'server: {{ state: "{server.url}", state_away: fail_closed }}\n{CONFIG}'
        with Stack(folder, text).served() as running:
            running.up.wait_for("limits are shared through")
            yield running
    finally:
        server.end()


def providers(stack: Stack, model: str, count: int, headers: dict[str, str] | None = None) -> str:
    """Who served so many calls, or the status of those that nobody did."""
    replies = [stack.chat(model, headers=headers) for _ in range(count)]
    return " ".join(r.header("x-ferryman-provider") or str(r.status) for r in replies)


def test_an_account_without_room_is_passed_over_and_alone_it_says_when_to_come_back(
    shared: Stack,
) -> None:
    assert providers(shared, "two", 3) == "narrow narrow wide"
    refused = shared.chat("narrow/sim")
    assert (refused.status, error_of(refused)["code"]) == (429, "rate_limit_exceeded")
    assert 43_000 < int(refused.header("retry-after") or 0) <= 43_200
    assert refused.header("x-should-retry") == "false"
    assert "account-narrow" in error_of(refused)["message"]
    considered = shared.row(shared.chat("two"))["considered"]
    assert {each["target"]: each.get("full", False) for each in considered} == {
        "narrow/sim": True, "wide/sim": False,
    }  # fmt: skip


def test_tokens_are_put_right_when_a_call_ends_and_one_that_is_too_big_waits_for_all_of_it(
    shared: Stack,
) -> None:
    # Held at 4,000 tokens each, used a few: more calls fit than their holds.
    assert [shared.chat("tokens/sim", max_tokens=4000).status for _ in range(4)] == [200] * 4
    assert [shared.chat("big/sim", max_tokens=4000).status for _ in range(2)] == [200, 429]


def test_every_key_of_a_pool_has_its_own_and_is_used_as_long_as_it_has_room(
    shared: Stack,
) -> None:
    seen = Counter[str]()
    for _ in range(3):
        assert shared.chat("pool/sim").status == 200
        seen[shared.last_headers()["authorization"]] += 1
    assert sorted(seen.values()) == [1, 2]
    assert shared.chat("pool/sim").status == 429


def test_models_have_their_own(shared: Stack) -> None:
    assert [shared.chat("picky/sim").status for _ in range(2)] == [200, 429]
    assert shared.chat("picky/sim?tokens=2").status == 200
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda _: shared.chat("picky/sim?delay=600").status, range(3)))
    assert sorted(found) == [200, 429, 429]
    assert shared.chat("picky/sim?delay=600").status == 200


def test_calls_wait_in_line_where_there_is_a_queue_and_none_comes_too_early(
    shared: Stack,
) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(6) as threads:
        replies = list(threads.map(lambda _: shared.chat("paced/sim"), range(6)))
    assert [reply.status for reply in replies] == [200] * 6
    assert time.monotonic() - began > 0.95, "one at once, then five in a second"
    assert max(int(r.header("x-ferryman-queued-ms") or 0) for r in replies) > 900


def test_who_has_waited_in_vain_or_finds_the_line_full_is_told(shared: Stack) -> None:
    assert shared.chat("brief/sim").status == 200
    refused = shared.chat("hopeless")
    assert refused.status == 429
    assert 3000 < int(refused.header("retry-after") or 0) <= 3600, "the account that is free first"
    with ThreadPoolExecutor(20) as threads:
        found = Counter(threads.map(lambda _: shared.chat("paced/sim").status, range(20)))
    assert found[429] >= 10


def test_a_rival_takes_room_too_and_without_it_there_is_no_race(shared: Stack) -> None:
    assert providers(shared, "hedged", 2) == "racer wide"


def test_limits_by_provider_are_taken_at_the_attempt_and_outlast_a_restart(shared: Stack) -> None:
    said = {"x-ferryman-metadata": '{"case": "often"}'}
    assert providers(shared, "wide/sim", 3, said) == "wide wide 429"
    assert providers(shared, "spread", 1, said) == "dear"
    spent = {"x-ferryman-metadata": '{"case": "spent"}'}
    assert providers(shared, "spread", 2, spent) == "dear dear"
    assert providers(shared, "dear/sim", 1, spent) == "402"
    # What failed was refused, and so cost nothing: the budget of the first is whole.
    assert providers(shared, "paid/sim", 1, spent) == "paid"

    def left() -> dict[str, str]:
        token = (shared.data / "secrets" / "feed-token").read_text().strip()
        rows = ask(shared.url, path="/internal/limits", token=token).json()
        return {row["key"]: row["left"] for row in rows if row["key"].startswith("spent|")}

    assert left() == {"spent|paid": "1", "spent|dear": "0"}
    shared.restart()
    until(lambda: left() == {"spent|paid": "1", "spent|dear": "0"}, "the ledger has told")
    assert providers(shared, "dear/sim", 1, spent) == "402"
