"""docs/cache.md: its example does what the page shows."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferryman.catalog.cache_headers import CACHE_HEADERS
from tests import tree
from tests.flow.test_docs import needs_curl, typed
from tests.gateway import Stack
from tests.test_readme import blocks

PAGE = "docs/cache.md"


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    [config] = blocks("yaml", PAGE)
    folder = tmp_path_factory.mktemp("cache-page")
    with Stack(folder, config.replace("http://127.0.0.1:8090", "SIM")).served() as running:
        yield running


@needs_curl
def test_the_second_time_costs_nothing(cached: Stack, tmp_path: Path) -> None:
    [command], [shown] = blocks("sh", PAGE), blocks("text", PAGE)
    command = f"cd {tmp_path}\n" + command.replace("http://127.0.0.1:8080/v1", cached.endpoint)
    said = typed(cached, ["sh", "-ec", command], tmp_path).replace("\r", "")
    assert re.sub(r"age: \d+", "age: 0", said) == shown


def test_all_headers_of_the_page_are_known() -> None:
    text = (tree.ROOT / PAGE).read_text("utf-8")
    [page] = re.findall(r"## What callers can say\n(.*?)\n## ", text, re.DOTALL)
    for name in CACHE_HEADERS:
        *_, last = name.decode().partition("-cache")
        assert name.decode() in page or f"`{last}`" in page, name
