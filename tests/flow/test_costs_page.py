"""docs/costs.md: its configuration, its call and what it prints; costs by key and service tier."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import tree
from tests.flow.test_docs import needs_curl
from tests.gateway import KEY, Stack
from tests.processes import environment, until
from tests.test_readme import blocks

PAGE = "docs/costs.md"
FERRYMAN = f"{sys.executable} -m ferryman"


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    [config] = blocks("yaml", PAGE)
    config = config.replace("http://127.0.0.1:8090", "SIM") + "  bare: lab/unheard-of\n"
    config = config.replace(
        "  openai:",
        "  canned: { base_url: CANNED/v1, auth: none, prices: { m: { input: 2, output: 4, "
        "search: 0.01, services: { flex: 50% } } } }\n  openai:",
    ).replace("models:\n", "models:\n  tiers: canned/m\n")
    with Stack(tmp_path_factory.mktemp("costs"), config).served() as running:
        yield running


def rows(text: str) -> list[list[str]]:
    """A table's cells, whatever the price is called."""
    lines = [re.sub(r"price [0-9a-f]{16}", "price ID", line) for line in text.splitlines()]
    return [line.split() for line in lines if not line.startswith("─")]


def finding(stack: Stack, **more: str) -> dict[str, str]:
    """The environment of somebody who knows the data directory only."""
    env = environment(stack.data, **more)
    return {name: value for name, value in env.items() if name != "FERRYMAN_ADMIN_PORT"}


def ferryman(stack: Stack, *command: str) -> str:
    done = subprocess.run(
        [*FERRYMAN.split(), *command],
        env=finding(stack),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def cost_of(stack: Stack, request_id: str) -> dict[str, Any]:
    """What a call's cost is made of."""
    found: dict[str, Any] = json.loads(ferryman(stack, "prices", "show", request_id, "--json"))
    return found


@needs_curl
def test_the_call_of_the_page_is_explained_as_it_says(priced: Stack, tmp_path: Path) -> None:
    [command] = blocks("sh", PAGE)
    command = command.replace("http://127.0.0.1:8080/v1", priced.endpoint)
    command = command.replace("ferryman prices", f"{FERRYMAN} prices")
    env = finding(priced, FERRYMAN_KEY=KEY)
    done = subprocess.run(
        ["sh", "-ec", command], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    table = re.search(r"^```\n(What .*?)^```", (tree.ROOT / PAGE).read_text(), re.S | re.M)
    assert table
    assert rows(done.stdout)[1:] == rows(table[1])


def test_a_service_tier_and_searches_are_priced_and_the_record_keeps_its_price(
    priced: Stack,
) -> None:
    body = {
        "id": "r", "object": "response", "status": "completed", "model": "m", "created_at": 1,
        "service_tier": "flex",
        "output": [{"type": "web_search_call", "id": "w", "action": {"type": "search"}}],
        "usage": {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100},
    }  # fmt: skip
    data = json.dumps(body).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    priced.canned.answers.append(head % len(data) + data)
    reply = priced.post({"model": "tiers", "input": "Hi"}, "/v1/responses")
    assert reply.status == 200
    assert reply.header("x-ferryman-cost-usd") == "0.0112"
    found = cost_of(priced, str(reply.header("x-ferryman-request-id")))
    assert [(line["what"], line["count"], line["usd"]) for line in found["lines"]] == [
        ("input", 1000, "0.001"), ("output", 100, "0.0002"), ("search", 1, "0.01"),
    ]  # fmt: skip
    assert found["cost_usd"] == "0.0112"

    priced.write(priced.file.read_text().replace("input: 2, output: 4", "input: 20, output: 40"))
    until(lambda: "input 20" in ferryman(priced, "prices", "show", "tiers"), "the new price")
    assert cost_of(priced, found["request_id"]) == found
    again = json.loads(ferryman(priced, "prices", "recost", "--json"))["data"]
    assert {row["difference_usd"] for row in again if row["provider"] == "lab"} == {"0"}
    [row] = [row for row in again if row["provider"] == "canned"]
    assert (row["billed_usd"], row["recost_usd"], row["difference_usd"]) == (
        "0.0112", "0.022", "0.0108",
    )  # fmt: skip
    changed = json.loads(ferryman(priced, "prices", "diff", "--json"))
    [row] = changed  # the page's key pays 20 % less, as it did
    assert row["changes"] == {
        "input": ["2", "20"], "output": ["4", "40"],
        "flex: input": ["1", "10"], "flex: output": ["2", "20"],
    }  # fmt: skip
    assert row["price"] == found["price"]


def test_models_without_a_price_are_listed(priced: Stack) -> None:
    reply = priced.chat("bare")
    assert reply.header("x-ferryman-cost-usd") is None
    rows = json.loads(ferryman(priced, "prices", "unpriced", "--json"))
    assert rows == [{"provider": "lab", "model": "unheard-of", "calls": 1, "configured": True}]
    assert any("have no price" in line and "lab/unheard-of" in line for line in priced.up.lines)


def test_what_models_cost_is_shown(priced: Stack) -> None:
    said = ferryman(priced, "prices", "show", "openai/gpt-4.1")
    assert "until 2026-10-12: input 1.7, cache_read 0.425, output 6.8, search 0.0085" in said
    assert "batch: input 0.85" in said
    done = subprocess.run(
        [*FERRYMAN.split(), "prices", "show", "nobodys"], env=finding(priced),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "No model is called 'nobodys'" in done.stderr
