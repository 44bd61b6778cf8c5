"""Providers that take too long, under limits short enough to wait for."""

from collections.abc import Iterator

import pytest

from tests.gateway import Stack, asked, error_of
from tests.processes import shut_door, until

CONFIG = """\
providers:
  lab: { base_url: SIM/v1, auth: none }
  spare: { base_url: SIM/v1, auth: none }
DEAF
models:
  late: { targets: [lab/sim-hang, spare/sim] }
  deaf-first: { targets: [deaf-4/sim, spare/sim] }
  deaf-first-again: { targets: [deaf-5/sim, spare/sim] }
  quiet-first: { targets: ["lab/sim-stall?at=0", spare/sim] }
  many: { targets: [lab/sim-hang, lab/sim-hang+chunked, lab/sim-hang+crlf, lab/sim-hang+split,
    lab/sim-hang+bytes, lab/sim-hang+bom, lab/sim-hang+cr, lab/sim-hang+blank] }
  patience: { targets: [lab/sim?delay=400, spare/sim] }
policies:
  - { name: short, when: { metadata.short: true }, timeouts: { connect: 200ms } }
timeouts: { connect: 600ms, first_byte: 900ms, idle: 900ms, total: 2500ms }
"""
DEAF = '  deaf-{}: {{ base_url: "http://127.0.0.1:{}/v1", auth: none }}'
"""One for each test: who could not be reached rests, and the next call would notice."""


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A Ferryman with little patience, and a provider whose door is shut: its queue is full."""
    with shut_door() as port:
        deaf = "\n".join(DEAF.format(i, port) for i in range(6))
        config = CONFIG.replace("DEAF", deaf)
        with Stack(tmp_path_factory.mktemp("hasty"), config).served() as running:
            yield running


@pytest.mark.parametrize(
    ("word", "streamed", "says"),
    [
        ("hang", False, "first-byte"),
        ("delay=30000", True, "first-byte"),
        ("stall?at=0", True, "first-byte"),
        ("drip=60", False, "total time"),
        ("keep-alive=200&ttft=30000", True, "first-byte"),
    ],
)
def test_a_provider_that_keeps_silent(hasty: Stack, word: str, streamed: bool, says: str) -> None:
    hasty.forget()
    reply = hasty.chat(f"lab/sim-{word}", stream=streamed)
    error = error_of(reply)
    assert (reply.status, error["code"]) == (504, "upstream_timeout")
    assert says in error["message"]
    row = hasty.row(reply)
    assert (row["status"], row["error"], row["cost_usd"]) == (504, "upstream_timeout", None)
    until(lambda: hasty.stats()["cancelled"] == 1, "the end of the provider's work")
    assert hasty.chat("lab/sim").status == 200


@pytest.mark.parametrize(
    ("word", "says"), [("stall?at=2", "no data for"), ("tps=5&tokens=500", "total time")]
)
def test_a_stream_that_falls_silent(hasty: Stack, word: str, says: str) -> None:
    reply = hasty.stream(f"lab/sim-{word}")
    assert reply.status == 200
    assert reply.said.startswith("The ferry")
    error = reply.data[-1]["error"]
    assert error["code"] == "upstream_timeout"
    assert says in error["message"]
    assert b"[DONE]" not in reply.body
    assert reply.complete
    row = hasty.row(reply)
    assert (row["status"], row["error"], row["cost_usd"]) == (200, "upstream_timeout", None)


def test_a_provider_that_does_not_pick_up(hasty: Stack) -> None:
    reply = hasty.chat("deaf-0/sim")
    assert (reply.status, error_of(reply)["code"]) == (502, "upstream_unreachable")
    assert "no connection within 0.6 s" in error_of(reply)["message"]


@pytest.mark.parametrize(
    ("model", "given", "status", "says"),
    [
        ("deaf-1/sim", "connect=0.2", 502, "no connection within 0.2 s"),
        ("deaf-1/sim", "connect=50", 502, "no connection within 0.6 s"),
        ("deaf-2/sim", "total=0.3", 504, "total time"),
        ("lab/sim-delay=600", "connect=1, first_byte=0.2", 504, "first-byte"),
        ("lab/sim-stall?at-byte=9", "idle=0.2,total=2", 504, "no data for"),
    ],
)
def test_callers_set_each_time(
    hasty: Stack, model: str, given: str, status: int, says: str
) -> None:
    reply = hasty.chat(model, headers={"x-ferryman-timeout": given})
    assert reply.status == status
    assert says in error_of(reply)["message"]


def test_a_policy_sets_the_time_to_connect(hasty: Stack) -> None:
    reply = hasty.chat("deaf-3/sim", metadata={"short": True})
    assert "no connection within 0.2 s" in error_of(reply)["message"]


def test_no_target_rests_for_the_patience_of_a_caller(hasty: Stack) -> None:
    for _ in range(7):
        reply = hasty.chat("patience", headers={"x-ferryman-timeout": "first_byte=0.05"})
        assert reply.header("x-ferryman-attempts") == "2", "both were asked"
    assert hasty.chat("patience").header("x-ferryman-provider") == "lab"


@pytest.mark.parametrize(
    ("model", "streamed"),
    [
        ("late", False),
        ("late", True),
        ("deaf-first", False),
        ("deaf-first-again", True),
        ("quiet-first", False),
        ("quiet-first", True),
    ],
)
def test_another_target_is_asked(hasty: Stack, model: str, streamed: bool) -> None:
    reply = hasty.chat(model, stream=streamed)
    assert reply.status == 200
    assert reply.header("x-ferryman-provider") == "spare"
    assert reply.header("x-ferryman-attempts") == "2"


def test_the_total_time_is_for_all_attempts_together(hasty: Stack) -> None:
    reply = hasty.chat("many")
    assert (reply.status, error_of(reply)["code"]) == (504, "upstream_timeout")
    tries = hasty.row(reply)["tries"]
    assert 2 <= len(tries) < 8
    assert all(one["error"] == "upstream_timeout" for one in tries)


@pytest.mark.parametrize(
    "word", ["delay=100", "ttft=200", "tps=40", "keep-alive=50&ttft=300", "stall=200"]
)
def test_what_is_slow_but_within_the_limits_is_whole(hasty: Stack, word: str) -> None:
    reply = hasty.stream(f"lab/sim?{word}&tokens=5")
    assert reply.data[-1] == "[DONE]"
    assert reply.said == "The ferry leaves the bank"
    assert hasty.post(asked(f"lab/sim?{word}&tokens=5")).status == 200
