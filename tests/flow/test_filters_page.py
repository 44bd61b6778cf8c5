"""docs/filters.md: its examples are run, but for the address, and no key is missing."""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ferryman.config import filter_grammar
from tests import tree
from tests.flow.test_docs import needs_curl, typed
from tests.gateway import Stack
from tests.test_readme import blocks

PAGE = "docs/filters.md"


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    [config] = blocks("yaml", PAGE)
    running = Stack(tmp_path_factory.mktemp("page"), config.replace("http://127.0.0.1:8090", "SIM"))
    try:
        yield running.ready()
        assert not running.complaints()
    finally:
        running.end()


def run(stack: Stack, number: int, folder: pytest.TempPathFactory) -> dict[str, str]:
    """The reply headers that an example prints."""
    command = blocks("sh", PAGE)[number].replace("http://127.0.0.1:8080", stack.url)
    said = typed(stack, ["sh", "-ec", command], folder.mktemp("typed"))
    return dict(line.split(": ", 1) for line in said.splitlines())


@needs_curl
def test_a_policys_filter_is_explained_as_shown(
    paged: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    said = run(paged, 0, tmp_path_factory)
    assert said["x-ferryman-provider"] == "near"
    [shown] = re.findall(r'^`(\{"target".*\})`\.$', (tree.ROOT / PAGE).read_text(), re.MULTILINE)
    considered: list[dict[str, Any]] = json.loads(said["x-ferryman-explain"])["considered"]
    assert json.loads(shown) in considered


@needs_curl
def test_the_header_takes_names(paged: Stack, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert run(paged, 1, tmp_path_factory) == {"x-ferryman-provider": "far"}


def test_openais_sdk_sends_the_object(
    paged: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    [script] = blocks("python", PAGE)
    script = script.replace("http://127.0.0.1:8080", paged.url)
    said = typed(paged, [sys.executable, "-c", script], tmp_path_factory.mktemp("typed"))
    assert said.split() == ["far"]


def test_an_image_goes_where_the_page_says(paged: Stack) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    reply = paged.chat(
        "any",
        messages=[{"role": "user", "content": [image]}],
        headers={"x-ferryman-explain": "1"},
    )
    said = json.loads(reply.header("x-ferryman-explain") or "")["considered"]
    left = {row["target"] for row in said if "left_out" not in row}
    assert left == {"near/sim", "cellar/sim"}


def test_the_refusal_is_the_one_shown(paged: Stack) -> None:
    [shown] = blocks("json", PAGE)
    reply = paged.chat("european", provider={"only": ["far"]})
    assert reply.status == 400
    said, expected = json.loads(reply.body), json.loads(shown)
    expected["error"]["request_id"] = said["error"]["request_id"]
    assert said == expected


def test_every_key_has_its_row() -> None:
    page = (tree.ROOT / PAGE).read_text("utf-8")
    rows = set(re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| ([^|]*) \|", page, re.MULTILINE))))
    assert {key.name for key in filter_grammar.FILTER.keys} <= rows
