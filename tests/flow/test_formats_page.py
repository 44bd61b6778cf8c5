"""docs/formats.md: every example is run as it stands, but for the address."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.test_docs import answers, needs_curl, typed
from tests.gateway import KEY, Stack
from tests.processes import environment
from tests.test_readme import blocks

PAGE = "docs/formats.md"
ADDRESS = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation without a configuration but for the simulator's address."""
    with Stack(
        tmp_path_factory.mktemp("formats"), "providers: { simulator: { base_url: SIM/v1 } }\n"
    ).served() as running:
        yield running


@pytest.mark.parametrize("number", range(2))
def test_python_examples(plain: Stack, tmp_path: Path, number: int) -> None:
    code = blocks("python", PAGE)
    assert len(code) == 2
    script = tmp_path / "example.py"
    script.write_text(f"KEY = {KEY!r}\n" + code[number].replace(ADDRESS, plain.url))
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The ferry leaves the bank at dawn")


@needs_curl
def test_the_refusal(plain: Stack, tmp_path: Path) -> None:
    [command] = blocks("sh", PAGE)
    [shown] = blocks("json", PAGE)
    said = typed(plain, ["sh", "-ec", command.replace(ADDRESS, plain.url)], tmp_path)
    assert answers(shown, json.dumps(json.loads(said), separators=(",", ":")))
