"""docs/api.md: its examples are run, and its table has every route."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferryman.control.api.route import describe
from ferryman.control.api.serve import ROUTES
from ferryman.control.problem import FIXES
from tests import tree
from tests.flow.test_docs import needs_curl, typed
from tests.gateway import Stack
from tests.processes import environment
from tests.test_readme import blocks

PAGE = "docs/api.md"


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("page"), "{}\n").served() as running:
        yield running


def test_the_table_has_every_route() -> None:
    text = (tree.ROOT / PAGE).read_text("utf-8")
    rows = re.findall(r"^\| `([A-Z]+) (\S+)` \| `(\S+)` \| (.*) \|$", text, re.MULTILINE)
    assert rows == [(r.method, r.path, r.permission, describe(r)[0]) for r in ROUTES]


def test_every_code_that_is_raised_has_a_fix() -> None:
    files = [path for path in tree.python(tree.SRC / "control") if path.name != "problem.py"]
    whole = "\n".join(path.read_text("utf-8") for path in files)
    assert set(re.findall(r"ProblemError\(\s*[\w.]+,\s*\"(\w+)\"", whole)) <= set(FIXES)
    assert not [code for code in FIXES if f'"{code}"' not in whole], "nobody raises these"
    shown = json.loads(blocks("json", PAGE)[0])
    assert shown["fix"] == FIXES[shown["code"]]


@needs_curl
def test_the_requests(paged: Stack, tmp_path: Path) -> None:
    [command] = blocks("sh", PAGE)
    command = f"FERRYMAN_DATA_DIR={paged.data}\n{command}"
    first, second = (typed(paged, ["sh", "-ec", command], tmp_path) for _ in range(2))
    [made, used], [again, _] = (list(_documents(said)) for said in (first, second))
    assert (made["name"], made["team"], made["state"]) == ("web shop", "sales", "active")
    assert again == made
    assert used["by"] == ["team"]


def _documents(said: str) -> Iterator[dict[str, object]]:
    decoder, at = json.JSONDecoder(), 0
    while at < len(said.rstrip()):
        found, at = decoder.raw_decode(said, at)
        yield found


def test_the_client(paged: Stack) -> None:
    [code] = blocks("python", PAGE)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(paged.data), capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    old, new, refused = done.stdout.splitlines()
    assert "active" in old and "active" in new
    assert refused == "404 key_not_found"
