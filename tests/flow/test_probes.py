"""Active probes: resting targets are asked beside calls, within their price, and accounted."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway import SPARE_KEY, Stack, whole
from tests.processes import until

CONFIG = """\
providers:
  canned:
    base_url: CANNED/v1
    auth: none
    probe: { every: 1s, usd_per_day: 0.001 }
    prices: { m: { input: 1, output: 2 }, dear: { input: 1, output: 1000 } }
  frugal:
    base_url: CANNED/v1
    auth: none
    probe: { every: 1s, usd_per_day: 0.001 }
    prices: { m: { input: 1, output: 2 } }
  pooled:
    base_url: CANNED/v1
    keys: [env:LAB_KEY, env:SPARE_KEY]
    probe: { every: 1s }
    prices: { m: { input: 1, output: 2 } }
  plain: { base_url: SIM/v1, auth: none, prices: { sim: { input: 1, output: 2 } } }
models:
  healing: { targets: [canned/m, plain/sim] }
  pooled: { targets: [pooled/m, plain/sim] }
  dear: { targets: [canned/dear, plain/sim] }
  broke: { targets: [frugal/m, plain/sim] }
  unpriced: { targets: [canned/unknown, plain/sim] }
  unprobed: { targets: ["plain/sim?503&tokens=9", plain/sim] }
"""
BUSY = whole(b'{"error": {"message": "busy"}}', b"retry-after: 29", status=b"503 Busy")
BROKE = whole(b'{"error": {"message": "pay"}}', status=b"402 Payment Required")
GOOD = whole(
    b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}}], '
    b'"usage": {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}}'
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("probes")
    (folder / "data").mkdir(mode=0o700)
    spent = {"day": int(time.time() // 86_400), "picodollars": {"frugal": 10**9}}
    (folder / "data" / "probes.json").write_text(json.dumps(spent))
    running = Stack(folder, CONFIG)
    try:
        yield running.ready()
        assert not running.complaints()
    finally:
        running.end()


def _state(stack: Stack, model: str) -> str:
    page = stack.get(f"/v1/models/{model}/endpoints").json()
    found: str = page["data"]["endpoints"][0]["live"]["state"]
    return found


def _probes(stack: Stack) -> list[dict[str, Any]]:
    page: dict[str, Any] = stack.admin("GET", "/api/v1/calls?limit=1000").json()
    return [row for row in page["data"] if row["key_id"] == "probe"]


def test_a_resting_target_is_probed_until_it_is_well(stack: Stack) -> None:
    stack.canned.answers += [BUSY, BUSY, GOOD]
    assert stack.chat("healing").header("x-ferryman-provider") == "plain"
    until(lambda: _state(stack, "healing") in ("coming back", "well"), "the good probe")
    assert len(stack.canned.requests) == 3, "no call of a user had to find out"
    body = stack.canned.requests[-1][1]
    assert b'"max_tokens":16' in body
    good, bad = until(lambda: len(_probes(stack)) == 2 and _probes(stack), "both records")
    assert (bad["error"], bad["cost_usd"]) == ("upstream_overloaded", "0")
    assert (good["status"], good["cost_usd"], good["model"]) == (200, "0.000012", "canned/m")
    kept = stack.data / "probes.json"
    until(lambda: json.loads(kept.read_bytes())["picodollars"]["canned"] == 12 * 10**6, "the sum")


def test_what_was_spent_before_the_start_counts(stack: Stack) -> None:
    stack.canned.answers += [BUSY]
    stack.chat("broke")
    stack.up.wait_for("frugal is not probed any more today: usd_per_day is used up")
    assert not stack.canned.answers


def test_probes_pass_over_keys_that_are_out_of_use(stack: Stack) -> None:
    stack.canned.answers += [BROKE, BUSY, GOOD]
    assert stack.chat("pooled").header("x-ferryman-provider") == "plain"
    until(lambda: _state(stack, "pooled") in ("coming back", "well"), "the good probe")
    keys = [SPARE_KEY.encode() in data for _, data in stack.canned.requests[-3:]]
    assert keys == [False, True, True]


def test_what_has_no_price_or_costs_too_much_is_not_probed(stack: Stack) -> None:
    stack.canned.answers += [BUSY, BUSY]
    stack.chat("dear")
    stack.chat("unpriced")
    stack.up.wait_for("canned is not probed any more today: usd_per_day is used up")
    stack.up.wait_for("canned/unknown has no price, so it is not probed")
    assert not stack.canned.answers, "both were asked once, by the calls"


def test_other_providers_are_not_probed(stack: Stack) -> None:
    stack.chat("unprobed")
    assert {row["provider"] for row in _probes(stack)} == {"canned", "pooled"}
