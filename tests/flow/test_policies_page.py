"""docs/policies.md: its example is run, but for the address, and no fact is missing."""

import re
from collections.abc import Iterator

import pytest

from ferryman.config import conditions
from tests import tree
from tests.flow.test_docs import needs_curl, typed
from tests.gateway import Stack, asked
from tests.test_readme import blocks

PAGE = "docs/policies.md"


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    [config] = blocks("yaml", PAGE)
    config = "providers: { simulator: { base_url: SIM/v1 } }\n" + config
    with Stack(tmp_path_factory.mktemp("page"), config).served() as running:
        yield running


@needs_curl
def test_the_example(ruled: Stack, tmp_path_factory: pytest.TempPathFactory) -> None:
    [command] = blocks("sh", PAGE)
    [shown] = blocks("text", PAGE)
    command = command.replace("http://127.0.0.1:8080", ruled.url)
    said = typed(ruled, ["sh", "-ec", command], tmp_path_factory.mktemp("typed"))
    assert said.split() == shown.split()


def test_the_other_policies_of_the_example(ruled: Stack) -> None:
    reply = ruled.chat("fast", metadata={"task": "agent"})
    assert (reply.status, reply.header("x-ferryman-policy")) == (200, "agents")
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    refused = ruled.post({**asked("fast"), "messages": [{"role": "user", "content": [image]}]})
    assert (refused.status, refused.header("x-ferryman-policy")) == (403, "no-images")


def test_every_fact_and_operator_has_its_row() -> None:
    page = (tree.ROOT / PAGE).read_text("utf-8")
    rows = set(re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| ([^|]*) \|", page, re.MULTILINE))))
    for fact in set(conditions.KNOWN) - {"all", "any", "not"}:
        assert fact in rows, fact
    for operator in {name for _, names in conditions.FACTS.values() for name in names}:
        assert operator in rows, operator
    for ability in conditions.ABILITIES:
        assert f"`{ability}`" in page
