"""What a plain call goes through is all on the list of what is compiled: a function that is not
costs as much as ten that are."""

import http.client
import json
import os
import re
import signal
from pathlib import Path

import pytest

from ferryman.http1 import drive
from tests.gateway import KEY, Stack, asked
from tests.tree import ROOT, SRC

CONFIG = """\
providers:
  lab:
    base_url: SIM/v1
    auth: none
    prices: { sim: { input: 1, output: 2 } }
    models: { sim: { max_output: 1000 } }
limits:
  - { name: each, by: key, requests: 100000/minute, tokens: 7000000/minute,
      budget: { usd: 1000, per: month } }
"""
WATCH = """\
import atexit, json, os, signal, sys
called, turn, last = {}, 0, {}
def note(frame, event, _):
    global turn
    module = frame.f_globals.get("__name__", "")
    if event != "call" or not module.startswith("ferryman."):
        return
    turn += frame.f_code.co_name == "data_received"
    outer = frame
    while outer is not None and outer.f_code.co_name != "data_received":
        outer = outer.f_back
    if outer is not None:
        name = f"{module}:{frame.f_code.co_qualname}"
        called[name] = called.get(name, 0) + (last.get(name) != turn)
        last[name] = turn
def tell():
    sys.setprofile(None)
    with open(os.environ["CALLED"], "w") as file:
        json.dump(called, file)
if "ferryman.edge" in sys.orig_argv:
    atexit.register(tell)
    signal.signal(signal.SIGUSR1, lambda *_: sys.setprofile(note))
"""
CALLS = 60


@pytest.mark.skipif(not str(drive.__file__).endswith(".py"), reason="compiled, calls are not seen")
def test_all_that_a_plain_call_goes_through_is_compiled(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    stack = Stack(tmp_path, CONFIG, PYTHONPATH=path, CALLED=str(tmp_path / "called"))
    with stack.served():
        os.kill(stack.process(b"ferryman.edge"), signal.SIGUSR1)
        link = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=60)
        body, headers = json.dumps(asked("lab/sim")), {"Authorization": f"Bearer {KEY}"}
        for _ in range(CALLS):
            link.request("POST", "/v1/chat/completions", body, headers)
            reply = link.getresponse()
            assert reply.read()
            assert reply.status == 200
        link.close()
        assert stack.up.stop() == 0
    found = {
        name
        for name, count in json.loads((tmp_path / "called").read_text()).items()
        if count >= CALLS * 0.9
    }
    hot = set(re.findall(r'^    "(.+\.py)",$', (ROOT / "setup.py").read_text(), re.MULTILINE))
    assert {name for name in hot if not (SRC / name).is_file()} == set()
    cold = {
        name
        for name in found
        if name.partition(":")[0].removeprefix("ferryman.").replace(".", "/") + ".py" not in hot
    }
    assert cold == set()
    assert "ferryman.flow.limiting:reserve" in found  # it did look
