"""Why a call went where it went: in its record, and before it is made."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway import KEY, Stack
from tests.processes import environment

CONFIG = """\
providers:
  near: { base_url: SIM/v1, auth: none, prices: { sim: { input: 3, output: 9 } } }
  far: { base_url: SIM/v1, auth: none, prices: { sim: { input: 1, output: 2 } } }
models:
  alone: near/sim
  pair: { targets: [near/sim, far/sim] }
  shaky: { targets: ["near/sim?503", far/sim], fallbacks: [near/sim] }
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
        {"target": "near/sim?503", "role": "target"},
        {"target": "far/sim", "role": "target"},
        {"target": "near/sim", "role": "fallback"},
    ]
    assert [each["error"] for each in first["tries"]] == ["upstream_overloaded", ""]
    second = stack.row(stack.chat("shaky"))
    *_, last = second["considered"]
    assert (last["target"], last["because"]) == ("near/sim?503", "upstream_overloaded")
    assert 0 < last["rests_seconds"] <= 4
    [tried] = second["tries"]
    assert 0 <= tried["start_us"] < tried["first_byte_us"] <= tried["end_us"]


def test_what_does_not_fit_is_left_out_with_its_reason(stack: Stack) -> None:
    long = [{"role": "user", "content": "The river is wide. " * 3000}]
    reply = stack.post({"model": "grows", "messages": long}, headers={"x-ferryman-explain": "1"})
    assert reply.status == 200
    considered = json.loads(reply.header("x-ferryman-explain") or "")["considered"]
    assert considered == stack.row(reply)["considered"]
    assert considered == [
        {"target": "openai/gpt-4", "role": "target", "left_out": "context_length_exceeded"},
        {"target": "openai/gpt-4o-mini", "role": "target"},
    ]


def test_calls_show_draws_a_call(stack: Stack) -> None:
    row = stack.row(stack.chat("shaky"))
    drawn = typed(stack, "calls", "show", row["request_id"])
    for text in (row["request_id"], "shaky  →  far/sim", "rested for", "near/sim?503", "200 good"):
        assert text in drawn
    assert drawn.count("█") + drawn.count("·") == 24
    assert "ferryman calls" in typed(stack, "calls", "show", "req_nobody", code=1)
