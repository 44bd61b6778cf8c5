"""Scripts: replies told exactly, a step for each call, and faults that come and go."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.processes import request as ask
from tests.processes import until
from tests.simulator.conftest import Sim
from tests.simulator.wire import Reply, chat, message, request, stream, talk
from tests.test_readme import blocks

PAGE = "docs/simulator.md"
Start = Callable[..., Sim]


def faults(sim: Sim, scripts: Any) -> Any:
    return sim.post("/sim/faults", json.dumps(scripts).encode())


def statuses(at: Sim, model: str, count: int, **fields: Any) -> list[int]:
    return [chat(at.port, model, **fields).status for _ in range(count)]


def test_a_reply_is_told_exactly(sim: Sim) -> None:
    script = {"status": 529, "headers": {"X-Odd": 1, "content-type": "text/x"}, "body": {"a": "é"}}
    reply = chat(sim.port, "sim", sim=script)
    assert (reply.status, reply.header("x-odd"), reply.complete) == (529, "1", True)
    assert (reply.header("content-type"), reply.json()) == ("text/x", {"a": "é"})
    reply = stream(sim.port, "sim", sim={"body": "\n\n\ndata: x\n\n", "cut": True, "at-byte": 5})
    assert (reply.status, reply.body, reply.complete) == (200, b"\n\n\nda", False)
    plain = stream(sim.port, "sim", sim={"headers": {"content-type": "text/plain"}})
    assert (plain.header("content-type"), plain.data[-1]) == ("text/plain", "[DONE]")


def test_a_script_has_a_step_for_each_call_of_each_model(sim: Sim) -> None:
    steps = ["503", {"status": 418}, ""]
    assert statuses(sim, "one", 4, sim=steps) == [503, 418, 200, 200]
    assert statuses(sim, "two", 2, sim=steps) == [503, 418]
    sim.post("/sim/reset")
    assert statuses(sim, "one", 1, sim=steps) == [503]
    header = {"x-sim": '["close", "tokens=1", "tokens=2"]'}
    asked = request("/v1/chat/completions", {"model": "sim", "stream": True}, header)
    assert [talk(sim.port, asked).said for _ in range(4)] == ["", "The", "The ferry", "The ferry"]


def test_faults_come_and_go_while_it_runs(sim: Sim) -> None:
    assert faults(sim, {"gpt-*-mini": "529", "gpt-5-mini": ["404", ""]}).keys() == {
        "gpt-*-mini", "gpt-5-mini"}  # fmt: skip
    assert statuses(sim, "gpt-5-mini", 2) == [404, 200], "its own name goes first"
    assert statuses(sim, "gpt-4-mini", 2, sim="tokens=3") == [529, 529]
    assert statuses(sim, "gpt-4.mini", 1) == [200]
    assert message(sim.port, "gpt-4-mini").json()["error"]["type"] == "overloaded_error"
    assert faults(sim, {"gpt-*-mini": None}) == {"gpt-5-mini": ["404", ""]}
    assert statuses(sim, "gpt-4-mini", 1) == [200]
    faults(sim, {"gpt-5-mini": ["404", ""]})
    assert statuses(sim, "gpt-5-mini", 2) == [404, 200], "set again, it begins again"
    assert sim.get("/sim/faults") == {"gpt-5-mini": ["404", ""]}
    assert ask(sim.url, "DELETE", "/sim/faults").json() == {}
    assert statuses(sim, "gpt-5-mini", 1) == [200]


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/sim/faults", '{"a": "oops"}', "`a`: the simulator does not know the word `oops`"),
        ("/sim/faults", '{"a": []}', "`a`: a script without steps"),
        ("/sim/faults", '{"a": ["", 7]}', '`a`: it has to be a text like "tokens=5,cut"'),
        ("/sim/faults", '{"a": {"headers": "x"}}', "`headers` has to be an object"),
        ("/sim/faults", "[]", "faults have to be an object"),
        ("/sim/faults", "{", "the body is no JSON"),
        ("/sim/door", "ajar", "as in `closed=2`"),
        ("/sim/door", "closed=-1", "as in `closed=2`"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(sim: Sim, path: str, body: str, says: str) -> None:
    reply = ask(sim.url, "POST", path, body=body)
    assert reply.status == 400
    assert says in reply.json()["error"]["message"]
    assert statuses(sim, "a", 1) == [200], "and nothing of it holds"
    header = request("/v1/chat/completions", {"model": "sim"}, {"x-sim": "[oops"})
    assert "no JSON" in talk(sim.port, header).json()["error"]["message"]


def knock(sim: Sim) -> Reply | str:
    """A short call, or how it failed."""
    try:
        return chat(sim.port, "sim", patience=0.3)
    except (OSError, TimeoutError) as error:
        return type(error).__name__


@pytest.mark.parametrize(
    ("how", "seen"), [("closed", "ConnectionRefusedError"), ("deaf", "TimeoutError")]
)
def test_the_port_can_be_shut_for_a_while(start: Start, how: str, seen: str) -> None:
    sim = start()
    assert sim.post("/sim/door", f"{how}=2".encode()) == {how: 2}
    until(lambda: knock(sim) == seen, "the shut door")
    until(lambda: isinstance(knock(sim), Reply), "the open door")
    assert statuses(sim, "sim", 3) == [200] * 3


def test_faults_from_a_file(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    file.write_text('{"*": ["503", "504", ""]}')
    assert statuses(start("--faults", str(file)), "any", 3) == [503, 504, 200]
    file.write_text('{"*": "oops"}')
    command = [sys.executable, "-m", "ferryman.simulator", "--port", "0", "--faults", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "--faults: `*`: the simulator does not know the word `oops`" in done.stderr


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not on this machine")
def test_the_examples_do_what_the_page_says(start: Start) -> None:
    sim = start()
    commands = [block for block in blocks("sh", PAGE) if "curl" in block]
    said = []
    for command in commands:
        command = command.replace("http://127.0.0.1:8090", sim.url)
        done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
        time.sleep(0.1)  # a port that is being shut
    hello, exact, steps, put, shut = said
    assert "The ferry leaves the bank" in hello
    assert "HTTP/1.1 429 Too Many Requests\n" in exact.replace("\r", "")
    assert "retry-after: 7" in exact
    assert '"code":"slow_down"' in exact
    assert steps.split() == ["503", "429", "200", "200"]
    assert put.endswith('{"claude":["cut,at=3",""]}')
    assert json.loads(shut) == {"closed": 2}
    assert knock(sim) == "ConnectionRefusedError"
    until(lambda: isinstance(knock(sim), Reply), "the open door")
