"""Records of a crowd that can't be written together, with a disk that takes a lone one."""

import asyncio
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import uvloop
from soak.client import Address, Answer, connect, request
from soak.disk import is_refused

from tests.gateway import KEY, Stack, asked
from tests.processes import until

CALLERS = 24
ROUNDS = 12
NARROW = """
import os
write = os.write
def narrow(fd, data):
    if len(data) > 700 and os.path.exists(os.environ["NARROW"]):
        if os.readlink(f"/proc/self/fd/{fd}").endswith(".fj"):
            with open(os.environ["NARROW"], "a") as told:
                told.write(".")
            raise OSError(28, "No space left on device")
    return write(fd, data)
os.write = narrow
"""
CONFIG = """\
server: { fsync_ms: MILLISECONDS, on_journal_failure: POLICY }
providers:
  lab:
    base_url: SIM/v1
    auth: none
    prices: { sim: { input: 1, output: 2 } }
    models: { sim: { max_output: 1000 } }
models:
  sim: lab/sim
limits:
  - { name: each, by: key, budget: { usd: 1000, per: month } }
"""


async def crowd(port: int) -> list[Answer]:
    """What each caller of a crowd is told, time and again."""
    address = Address("127.0.0.1", port, KEY)
    answers: list[Answer] = []

    async def caller(number: int) -> None:
        link = await connect(address)
        for _ in range(ROUNDS):
            body = json.dumps(asked("sim", stream=bool(number % 2), max_tokens=20)).encode()
            answers.append(await link.ask(request(address, "/v1/chat/completions", body)))
            assert not answers[-1].failure, "cut"
        link.close()

    await asyncio.gather(*[caller(number) for number in range(CALLERS)])
    return answers


def ledger(running: Stack) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = running.admin("GET", "/api/v1/calls?limit=1000").json()["data"]
    return rows


def worked(running: Stack) -> list[dict[str, Any]]:
    """Calls that the provider has worked for."""
    return [row for row in ledger(running)[:-1] if (row["tokens"] or {}).get("input")]


@pytest.mark.parametrize("milliseconds", [50, 0])
@pytest.mark.parametrize("policy", ["refuse", "serve"])
def test_each_of_a_crowd_hears_that_its_record_could_not_be_written_with_the_others(
    tmp_path: Path, policy: str, milliseconds: int
) -> None:
    (tmp_path / "sitecustomize.py").write_text(NARROW)
    narrow = tmp_path / "narrow"
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    config = CONFIG.replace("POLICY", policy).replace("MILLISECONDS", str(milliseconds))
    with Stack(tmp_path, config, PYTHONPATH=path, NARROW=str(narrow)).served() as running:
        assert running.chat("sim").status == 200
        running.forget()
        narrow.touch()
        answers = uvloop.run(crowd(running.port))
        assert len(narrow.read_text()) > 10, "hardly any were written together"
        narrow.unlink()
        assert running.chat("sim").status == 200
        whole = [each for each in answers if each.whole and each.status == 200]
        others = [each for each in answers if each not in whole]
        for each in others:
            is_refused(each)
        assert bool(others) == (policy == "refuse")
        made = running.stats()["requests"]
        until(lambda: len(worked(running)) == made, "each call that was made, in the ledger")
        rows = {row["request_id"]: row for row in ledger(running)}
        assert {rows[each.id]["error"] for each in whole} == {None}
        told = {rows[each.id]["error"] for each in others if each.id in rows}
        assert told == ({"gateway_journal_unavailable"} if others else set())
        spent = sum(Decimal(row["cost_usd"]) for row in rows.values())
        token = (running.data / "secrets" / "feed-token").read_text().strip()
        [budget] = running.get("/internal/limits", key=token).json()
        assert Decimal(budget["left"]) == 1000 - spent
