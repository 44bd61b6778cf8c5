"""Thresholds of budgets reach the webhook: once, signed, and again until they arrive."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway import Stack
from tests.processes import until
from tests.receivers import Hook

CONFIG = """\
providers:
  lab: { base_url: SIM/v1, auth: none, prices: { sim: { input: 0, output: 0, request: 1 } } }
alerts:
  channels: { ops: { webhook: "HOOK/budgets?a=1", secret: env:HOOK_SECRET, private: true } }
limits:
  - name: people
    when: { metadata.who: { exists: true } }
    by: metadata.who
    budget: [
      { usd: 4, per: month, notify: [50, 100], zone: Asia/Tokyo },
      { usd: 1, per: day, soft: true, rolling: true },
      { tokens: 100000000, per: week },
    ]
"""


def told(hook: Hook) -> list[tuple[str, int, str]]:
    """Key, per cent and period of each threshold."""
    found = [json.loads(body)["facts"] for _, _, body in hook.got]
    return sorted((each["key"], int(each["percent"]), each["per"]) for each in found)


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.server.shutdown()


def test_each_threshold_is_told_once_signed_and_until_it_arrives(
    tmp_path: Path, hook: Hook
) -> None:
    config = CONFIG.replace("HOOK", hook.url, 1)
    hook.refuse = 2
    with Stack(tmp_path, config, HOOK_SECRET="s3cret").served() as stack:

        def call(who: str) -> int:
            return stack.chat(
                "lab/sim", headers={"x-ferryman-metadata": f'{{"who": "{who}"}}'}
            ).status

        assert [call("ada"), call("ada"), call("bob|x")] == [200, 200, 200]
        first = [
            ("people|ada", 50, "month"), ("people|ada", 100, "day"), ("people|bob%7Cx", 100, "day"),
        ]  # fmt: skip
        until(lambda: told(hook) == sorted(first), "what has been refused comes again")
        for path, headers, body in hook.got:
            assert path == "/budgets?a=1"
            stamp, _, signed = headers["x-ferryman-signature"].partition(",v1=")
            unix = stamp.removeprefix("t=")
            right = hmac.new(b"s3cret", unix.encode() + b"." + body, hashlib.sha256).hexdigest()
            assert signed == right
        said_all = [json.loads(body) for _, _, body in hook.got]
        assert {(each["type"], each["on"]) for each in said_all} == {("alert.opened", "budget")}
        said = next(each["facts"] for each in said_all if each["facts"]["percent"] == "50")
        assert (said["spent"], said["budget"], said["soft"]) == ("2", "4", "false")
        assert said["period_start"].endswith("T15:00:00Z"), "a month begins earlier in Tokyo"
        stack.restart()
        assert [call("ada"), call("ada"), call("ada")] == [200, 200, 402]
        until(lambda: len(hook.got) > 3, "the next threshold")
        assert told(hook) == sorted([*first, ("people|ada", 100, "month")])
