"""Limits and budgets that several gateways hold together, through a server that comes and goes."""

import asyncio
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.crowd import all_at_once, under_way
from tests.gateway import KEY, Stack, asked, error_of
from tests.processes import descendants, environment, until
from tests.simulator import wire
from tests.valkey import Server

WORKERS = 4
PRICES = "".join(
    f"      {name}: {{ input: 0, output: 0, request: 1 }}\n"
    for name in ("sim", "sim?delay=400", "sim?delay=60000")
)
CONFIG = f"""\
server: {{ state: STATE, workers: {WORKERS}, state_away: AWAY }}
providers:
  lab:
    base_url: SIM/v1
    auth: none
    max_in_flight: 2000
    prices:
{PRICES}      free: {{ input: 0, output: 0 }}
  sick:
    base_url: SIM/v1
    auth: none
    prices: {{ "sim?503": {{ input: 0, output: 0, request: 1 }} }}
  slow:
    base_url: CANNED/v1
    auth: none
    prices: {{ m: {{ input: 0, output: 100000, request: 1 }} }}
  small: {{ base_url: SIM/v1, auth: none, max_in_flight: 10, queue: {{ length: 200, wait: 60s }} }}
  pool:
    base_url: SIM/v1
    keys:
      - {{ key: env:LAB_KEY, max_in_flight: 3 }}
      - {{ key: env:SPARE_KEY, max_in_flight: 5 }}
  paced:
    base_url: SIM/v1
    auth: none
    requests: {{ most: 20, per: second, burst: 5 }}
    models: {{ "sim?delay=400&room=4": {{ max_in_flight: 4 }} }}
    queue: {{ length: 200, wait: 60s }}
models:
  second: {{ targets: ["sick/sim?503"], fallbacks: ["lab/sim?delay=60000"] }}
limits:
  - name: apart
    when: {{ metadata.case: kept }}
    by: provider
    budget: {{ usd: 99, per: month }}
  - {{ name: ten, when: {{ metadata.case: ten }}, budget: {{ usd: 10, per: month }} }}
  - {{ name: kept, when: {{ metadata.case: kept }}, budget: {{ usd: 10, per: month }} }}
  - {{ name: moved, when: {{ metadata.case: moved }}, budget: {{ usd: 30, per: month }} }}
  - name: beside
    when: {{ metadata.case: moved }}
    by: provider
    budget: {{ usd: 30, per: month }}
  - {{ name: rate, when: {{ metadata.case: rate }}, requests: {{ most: 20, per: week }} }}
  - {{ name: few, when: {{ metadata.case: few }}, parallel: 10 }}
  - name: pace
    when: {{ metadata.case: pace }}
    requests: {{ most: 5, per: second, burst: 10 }}
"""


def of(case: str) -> dict[str, str]:
    return {"x-ferryman-metadata": json.dumps({"case": case})}


def stack(server: Server, folder: Path) -> Stack:
    text = CONFIG.replace("STATE", f'"{server.url}"').replace("AWAY", "fail_closed")
    return Stack(folder, text, FERRYMAN_PEPPER=os.urandom(8).hex())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("state"))
    yield running
    running.end()


@pytest.fixture(scope="module")
def shared(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    with stack(server, tmp_path_factory.mktemp("shared")).served() as running:
        running.up.wait_for("limits are shared through", WORKERS)
        yield running


def gateways(stack: Stack) -> list[int]:
    """Processes of the data planes."""
    found = []
    for pid in descendants(stack.up.popen.pid):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        found += [pid] if b"ferryman.edge" in words else []
    return sorted(found)


def all_share(stack: Stack) -> None:
    """Wait until every worker counts at the server."""
    line = f"ferryman_limits_shared {WORKERS}"

    def share() -> bool:
        try:
            return line in stack.get("/metrics").body.decode().splitlines()
        except OSError:
            return False

    until(share, "all workers at the server")


def left(stack: Stack, case: str) -> str | None:
    try:
        return stack.chat("lab/free", headers=of(case)).header("x-ferryman-budget-left-usd")
    except (OSError, AssertionError):
        return None


def test_of_a_thousand_calls_at_once_at_four_gateways_ten_pass_a_budget_for_ten(
    shared: Stack,
) -> None:
    assert len(gateways(shared)) == WORKERS
    shared.forget()
    found = asyncio.run(all_at_once(shared, 1000, "lab/sim?delay=400", of("ten")))
    assert Counter(found) == {200: 10, 402: 990}, shared.up.lines
    assert shared.stats()["requests"] == 10
    late = shared.chat("lab/sim", headers=of("ten"))
    assert (late.status, error_of(late)["code"]) == (402, "budget_exceeded")
    assert late.header("x-ferryman-budget-left-usd") == "0"
    planes = {row["plane"] for row in shared.admin("GET", "/api/v1/calls?limit=200").json()["data"]}
    assert len(planes) > 1, "one gateway took all of the calls: that proves little"


def test_calls_at_once_are_bounded_together_and_places_come_back(shared: Stack) -> None:
    found = asyncio.run(all_at_once(shared, 1000, "lab/sim?delay=60000", of("few"), stay=10))
    assert Counter(found) == {429: 990}

    def again() -> Counter[int]:
        return Counter(asyncio.run(all_at_once(shared, 60, "lab/sim?delay=400", of("few"))))

    until(lambda: again() == {200: 10, 429: 50}, "the places of those whose callers hung up")


def test_of_a_thousand_calls_at_once_no_more_pass_a_rate_than_its_burst_and_what_has_flowed_off(
    shared: Stack,
) -> None:
    began = time.monotonic()
    found = Counter(asyncio.run(all_at_once(shared, 1000, "lab/sim", of("pace"))))
    assert found.keys() == {200, 429}
    assert 10 <= found[200] <= 10 + 5 * (time.monotonic() - began)


def test_a_rate_is_one_for_all(shared: Stack) -> None:
    found = asyncio.run(all_at_once(shared, 60, "lab/sim", of("rate")))
    assert Counter(found) == {200: 20, 429: 40}
    refused = shared.chat("lab/sim", headers=of("rate"))
    assert refused.header("x-ratelimit-remaining-requests") == "0"
    assert 30_000 < int(refused.header("retry-after") or 0) <= 30_240


def test_calls_at_once_at_a_provider_are_those_of_all_gateways(shared: Stack) -> None:
    """The simulator refuses whoever comes while so many are at work."""
    found = asyncio.run(all_at_once(shared, 100, "small/sim?delay=100&room=10", {}))
    assert Counter(found) == {200: 100}
    found = asyncio.run(all_at_once(shared, 24, "pool/sim?delay=200&room=8", {}))
    assert Counter(found) == {200: 24}
    found = asyncio.run(all_at_once(shared, 12, "paced/sim?delay=400&room=4", {}))
    assert Counter(found) == {200: 12}


def test_rates_of_an_account_are_kept_by_all_gateways_together(shared: Stack) -> None:
    began = time.monotonic()
    found = asyncio.run(all_at_once(shared, 35, "paced/sim", {}))
    assert Counter(found) == {200: 35}
    assert 5 + 20 * (time.monotonic() - began) >= 35


def test_metrics_and_limits_are_those_of_all_workers(shared: Stack) -> None:
    for _ in range(2):
        page = shared.get("/metrics").body.decode()
        refused = re.search(
            r'^ferryman_limit_refusals_total\{limit="ten",measure="usd"\} (\d+)$', page, re.M
        )
        assert refused is not None
        assert int(refused[1]) == 991
        assert f"ferryman_limits_shared {WORKERS}" in page.splitlines()
        assert page.count("# TYPE ferryman_limits_shared") == 1
    env = environment(shared.data)
    del env["FERRYMAN_ADMIN_PORT"]  # it is to find it itself
    told = subprocess.run(
        [sys.executable, "-m", "ferryman", "limits", "--json"],
        env=env, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    rows = {(row["key"], row["measure"]): row for row in json.loads(told.stdout)}
    assert rows["ten", "usd"]["left"] == "0"
    assert rows["rate", "requests"]["left"] == 0


def test_a_revoked_key_is_refused_by_all_within_a_second(shared: Stack) -> None:
    made = shared.admin("POST", "/api/v1/keys", {"name": "goes"}).json()["key"]

    def statuses() -> set[int]:
        """Of enough connections to meet every worker."""
        return {shared.post(asked("lab/free"), key=made).status for _ in range(16)}

    until(lambda: statuses() == {200}, "the key at every worker")
    assert shared.admin("DELETE", "/api/v1/keys/goes").status == 200
    began = time.monotonic()
    until(lambda: statuses() == {401}, "its end at every worker")
    assert time.monotonic() - began < 3, "a second, and slack for a slow machine"


def by_provider(server: Server, limit: str = "apart") -> dict[str, int]:
    """Dollars that the budgets of providers have borne, as the server counts."""
    client = server.client()
    found: Counter[str] = Counter()
    [generation] = client.scan_iter(match="ferryman:*:limits:generation")
    now = client.get(generation).decode().partition(":")[0]
    for name in client.scan_iter(match=f"*:limits:{now}:b:*{limit}|*", count=1000):
        dollars = sum(int(amount) for amount in client.hvals(name)) // 10**12
        found[name.decode().rpartition("|")[2]] += dollars
    return {provider: dollars for provider, dollars in found.items() if dollars}


def test_a_call_under_way_counts_in_budgets_whose_zone_changes(
    shared: Stack, server: Server
) -> None:
    """In those that its attempts are counted in, too, and whichever gateway serves it."""
    config = CONFIG.replace("STATE", f'"{server.url}"').replace("AWAY", "fail_closed")
    changed = config.replace("usd: 30, per: month", "usd: 40, per: month, zone: Asia/Tokyo")
    assert shared.chat("lab/sim", headers=of("moved")).status == 200
    with under_way(shared, of("moved")) as ends:
        until(lambda: left(shared, "moved") == "27", "one that ended, and one that may cost two")
        assert by_provider(server, "beside") == {"lab": 1, "slow": 2}
        shared.write(changed)
        until(lambda: {left(shared, "moved") for _ in range(9)} == {"37"}, "both, anew, at all")
        until(lambda: by_provider(server, "Tokyo*beside") == {"lab": 1, "slow": 2}, "both attempts")
        assert ends().status == 200
    until(lambda: left(shared, "moved") == "37.5", "what it has cost")
    until(lambda: by_provider(server, "Tokyo*beside") == {"lab": 1, "slow": 1}, "of its attempt")
    assert shared.chat("lab/sim", headers=of("moved")).status == 200
    shared.write(config)
    until(lambda: {left(shared, "moved") for _ in range(9)} == {"26.5"}, "this one, too, when back")


def test_what_a_killed_gateway_held_is_settled_as_the_ledger_has_it(
    shared: Stack, server: Server
) -> None:
    """One call that ended, and one under way that counts with what was held. Who is asked second
    is not in the ledger before a call ends: the budgets by provider follow it."""
    assert shared.chat("lab/sim", headers=of("kept")).status == 200
    assert by_provider(server) == {"lab": 1}

    async def die() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", shared.port)
        key = {"Authorization": f"Bearer {KEY}"} | of("kept")
        writer.write(wire.request("/v1/chat/completions", asked("second"), key))
        await writer.drain()
        await asyncio.to_thread(until, lambda: left(shared, "kept") == "8", "the call under way")
        await asyncio.to_thread(until, lambda: by_provider(server) == {"lab": 2}, "its attempt")
        for pid in gateways(shared):
            os.kill(pid, signal.SIGKILL)
        assert await reader.read() == b""
        writer.close()

    asyncio.run(die())
    shared.up.wait_for("settled 1 calls of a gateway that died")
    shared.up.lines[:] = [line for line in shared.up.lines if " ended (" not in line]
    all_share(shared)
    until(lambda: left(shared, "kept") == "8", "the budget as the ledger has it")
    assert by_provider(server) == {"lab": 1, "sick": 1}


def test_a_server_that_lost_everything_is_told_by_the_ledger(shared: Stack, server: Server) -> None:
    server.wipe()
    shared.up.wait_for("no shared limits", WORKERS)
    all_share(shared)
    until(lambda: left(shared, "kept") == "8", "the budget as the ledger has it")
    assert by_provider(server) == {"lab": 1, "sick": 1}
    found = asyncio.run(all_at_once(shared, 40, "lab/sim", of("kept")))
    assert Counter(found) == {200: 8, 402: 32}
    until(lambda: by_provider(server) == {"lab": 9, "sick": 1}, "what they have cost")
    client = server.client()

    def held() -> bool:
        return any(any(client.scan_iter(match=f"*:limits:*:{kind}:*")) for kind in "hp")

    until(lambda: not held(), "nothing that is held any more")


def test_what_happens_without_the_server_is_said_and_does_not_take_long(
    shared: Stack, server: Server
) -> None:
    """A server that does not answer any more is the worst: nobody hangs up."""

    def all_go(away: str, status: int) -> None:
        """Wait until calls under a budget that is used up end so, at enough connections to meet
        every gateway."""
        shared.write(CONFIG.replace("STATE", f'"{server.url}"').replace("AWAY", away))

        def ends() -> set[int]:
            return {shared.chat("lab/sim", headers=of("kept")).status for _ in range(12)}

        until(lambda: ends() == {status}, f"{away}: {status} from all")

    os.kill(server.popen.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert shared.chat("lab/free", headers=of("kept")).status == 503
        assert time.monotonic() - began < 3, "half a second, and slack for a slow machine"
        all_go("fail_closed", 503)
        refused = shared.chat("lab/free", headers=of("kept"))
        assert (error_of(refused)["code"], refused.header("retry-after")) == (
            "gateway_not_ready", "1",
        )  # fmt: skip
        assert "server.state_away" in error_of(refused)["message"]
        all_go("local", 402)  # each goes on from what it knows
        all_go("fail_open", 200)
        page = shared.get("/metrics").body.decode()
        assert "ferryman_limits_shared 0" in page.splitlines()
    finally:
        os.kill(server.popen.pid, signal.SIGCONT)
    all_share(shared)
    all_go("local", 402)
    told = [line for line in shared.up.lines if "no shared limits (no answer within" in line]
    assert 1 <= len(told) <= 3 * WORKERS, "once for each way to go on, not for each call"


def test_a_worker_that_is_asked_to_end_is_started_again_and_no_call_fails(shared: Stack) -> None:
    before = gateways(shared)
    os.kill(before[0], signal.SIGTERM)
    for _ in range(20):
        assert shared.chat("lab/free").status == 200
    until(lambda: len(gateways(shared)) == WORKERS and gateways(shared) != before, "another")
    shared.up.lines[:] = [line for line in shared.up.lines if " ended (" not in line]


def test_workers_with_limits_need_a_server(tmp_path: Path) -> None:
    text = CONFIG.replace("state: STATE, ", "").replace("AWAY", "local")
    refused = Stack(tmp_path, text)
    try:
        assert refused.up.wait() == 1
        assert any("4 workers would each hold this" in line for line in refused.up.lines)
    finally:
        refused.end()
