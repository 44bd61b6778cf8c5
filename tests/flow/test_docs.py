"""docs/calls.md: every example is run as it stands, and every code is in its table.

Only the address is replaced, since a test may not claim port 8080.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferryman.ir.errors import ErrorKind
from tests import tree
from tests.gateway import KEY, Stack
from tests.processes import environment
from tests.test_readme import blocks

PAGE = "docs/calls.md"
needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not on this machine")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation without a configuration but for the simulator's address."""
    with Stack(
        tmp_path_factory.mktemp("docs"), "providers: { simulator: { base_url: SIM/v1 } }\n"
    ).served() as running:
        yield running


def typed(stack: Stack, command: list[str], folder: Path) -> str:
    """What a command prints in a shell with the key in its environment."""
    env = environment(folder, FERRYMAN_KEY=KEY)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answers(shown: str, got: str) -> bool:
    """Whether ``got`` is what the page shows, where ``…`` stands for anything."""
    pattern = re.escape(shown.strip()).replace("…", '[^"]+')
    return re.fullmatch(pattern, got.strip()) is not None


@needs_curl
@pytest.mark.parametrize("number", range(5))
def test_curl_examples(plain: Stack, tmp_path: Path, number: int) -> None:
    commands = [block for block in blocks("sh", PAGE) if block.startswith("curl")]
    assert len(commands) == 5
    command = commands[number].replace("http://127.0.0.1:8080/v1", plain.endpoint)
    said = typed(plain, ["sh", "-ec", command], tmp_path)
    cut, unknown = blocks("json", PAGE)
    if number == 0:
        assert json.loads(said)["choices"][0]["message"]["content"].startswith("The ferry")
    elif number == 1:
        assert json.loads(said)["id"] == "simulator/sim"
    elif number == 2:
        last = json.loads(said.strip().splitlines()[-1].removeprefix("data: "))
        assert answers(cut, json.dumps(last))
    elif number == 3:
        [shown] = blocks("text", PAGE)
        assert answers(shown, said)
    else:
        assert answers(unknown, json.dumps(json.loads(said)))


def test_python_examples(plain: Stack, tmp_path: Path) -> None:
    first, *others = blocks("python", PAGE)
    assert len(others) == 2
    script = tmp_path / "example.py"
    code = "\n".join([f"KEY = {KEY!r}", first, *others])
    script.write_text(code.replace("http://127.0.0.1:8080/v1", plain.endpoint))
    said = typed(plain, [sys.executable, str(script)], tmp_path)
    assert said.count("The ferry leaves the bank at dawn") == 3
    assert re.search(r"^req_\w+ simulator$", said, re.MULTILINE)
    assert said.rstrip().endswith("broken off: upstream_stream_truncated")


def test_every_code_is_in_the_tables() -> None:
    text = (tree.ROOT / PAGE).read_text("utf-8")
    told = re.findall(r"^\| `([a-z_]+)` \| \d", text, re.MULTILINE)
    assert len(told) == len(set(told))
    refusals = set()
    for path in tree.python(tree.SRC / "http1"):
        refusals |= set(re.findall(r'Refusal\(\s*\d+,\s*"(\w+)"', path.read_text("utf-8")))
    assert {"malformed_http", "body_too_large"} <= refusals, "is the pattern still right?"
    assert set(told) == set(ErrorKind) | refusals


def test_every_header_is_told() -> None:
    text = (tree.ROOT / PAGE).read_text("utf-8")
    elsewhere = {"client", "config", "control", "webhooks.py"}  # no headers of calls there
    paths = [p for p in tree.python(tree.SRC) if not elsewhere & set(p.parts)]
    source = "\n".join(p.read_text("utf-8") for p in paths)
    ours = set(re.findall(r"\bx-ferryman-[a-z-]+", source))
    assert {"x-ferryman-summary", "x-ferryman-cost-usd"} <= ours
    assert not [name for name in ours if f"`{name}" not in text]
