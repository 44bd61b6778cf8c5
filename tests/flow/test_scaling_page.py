"""docs/scaling.md: its example is run."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.test_docs import answers, needs_curl, typed
from tests.gateway import Stack
from tests.test_readme import blocks
from tests.valkey import Server

PAGE = "docs/scaling.md"


@pytest.fixture
def paged(tmp_path: Path) -> Iterator[Stack]:
    [config] = blocks("yaml", PAGE)
    server = Server(tmp_path)
    server.client()
    config = config.replace("127.0.0.1:6379", f"127.0.0.1:{server.port}")
    try:
        with Stack(tmp_path, config.replace("http://127.0.0.1:8090", "SIM")).served() as running:
            running.up.wait_for("limits are shared through", 2)
            yield running
    finally:
        server.end()


@needs_curl
def test_the_example(paged: Stack, tmp_path: Path) -> None:
    [command] = blocks("sh", PAGE)
    [shown] = blocks("text", PAGE)
    command = command.replace("http://127.0.0.1:8080", paged.url)
    shell = f"METRICS={paged.metrics_token}\n{command}"
    said = typed(paged, ["sh", "-ec", shell], tmp_path)
    assert answers(re.sub(r"\s+", " ", shown), re.sub(r"\s+", " ", said))
