"""docs/embeddings-and-rerank.md: every example is run as it stands, but for the address."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway import KEY, Stack
from tests.processes import environment
from tests.test_readme import blocks

PAGE = "docs/embeddings-and-rerank.md"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation without a configuration but for the simulator's address."""
    with Stack(
        tmp_path_factory.mktemp("tasks"), "providers: { simulator: { base_url: SIM/v1 } }\n"
    ).served() as running:
        yield running


@pytest.mark.parametrize(
    ("number", "said"), [(0, "2 256"), (1, "2 256"), (2, "2 256"), (3, "1 0.991")]
)
def test_the_examples_print_what_they_should(
    plain: Stack, tmp_path: Path, number: int, said: str
) -> None:
    code = blocks("python", PAGE)
    assert len(code) == 4
    script = tmp_path / "example.py"
    script.write_text(f"KEY = {KEY!r}\n" + code[number].replace("http://127.0.0.1:8080", plain.url))
    done = subprocess.run(
        [sys.executable, str(script)], env=environment(tmp_path), capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == said
