"""docs/limits.md: its example is run, and its command shows how it stands then."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.config.catalogue import loaded
from tests.flow.test_docs import answers, needs_curl, typed
from tests.gateway import Stack
from tests.processes import environment
from tests.test_readme import blocks

PAGE = "docs/limits.md"


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    config = blocks("yaml", PAGE)[0]
    folder = tmp_path_factory.mktemp("page")
    with Stack(folder, config.replace("http://127.0.0.1:8090", "SIM")).served() as running:
        yield running


def test_every_configuration_on_the_page_is_a_good_one(tmp_path: Path) -> None:
    for config in blocks("yaml", PAGE)[1:]:
        assert not loaded(tmp_path, config).errors


@needs_curl
def test_the_example(paged: Stack, tmp_path_factory: pytest.TempPathFactory) -> None:
    [command] = blocks("sh", PAGE)
    [shown] = blocks("text", PAGE)
    command = command.replace("http://127.0.0.1:8080", paged.url)
    said = typed(paged, ["sh", "-ec", command], tmp_path_factory.mktemp("typed"))
    assert answers(re.sub(r"\s+", " ", shown), re.sub(r"\s+", " ", said))
    env = environment(paged.data)
    del env["FERRYMAN_ADMIN_PORT"]  # it is to find it itself
    told = subprocess.run(
        [sys.executable, "-m", "ferryman", "limits", "--json"],
        env=env, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    rows = {(row["key"], row["measure"], row["per"]): row for row in json.loads(told.stdout)}
    assert rows["research|ada", "usd", "day"]["most"] == "0.001"
    assert 0.0009 < float(rows["research|ada", "usd", "day"]["left"]) < 0.001
    assert any(key.startswith("each-key|key_") and of == "requests" for key, of, _ in rows)
