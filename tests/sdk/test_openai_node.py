"""The official `openai` package for Node, unchanged, against a whole Ferryman.

``node/check.mjs`` does the calls and judges what came; here it is installed, run, and read.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.gateway import KEY, Stack
from tests.npm import finished, installed, needs_node
from tests.processes import environment

HERE = Path(__file__).parent / "node"
SCRIPT, MANIFEST = HERE / "check.mjs", HERE / "package.json"
CHECKS = re.findall(r"^  async (\w+)\(\) \{$", SCRIPT.read_text("utf-8"), re.MULTILINE)

pytestmark = needs_node


@pytest.fixture(scope="module")
def packages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``node_modules`` as ``package.json`` wants them."""
    return installed(MANIFEST, request, tmp_path_factory)


@pytest.fixture(scope="module")
def lines(
    packages: Path, stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What the script said of each check."""
    folder = tmp_path_factory.mktemp("check")
    (folder / "node_modules").symlink_to(packages)  # Node looks for packages beside the script
    shutil.copy(SCRIPT, folder)
    proxies = {"HTTP_PROXY": "", "HTTPS_PROXY": "", "NODE_USE_ENV_PROXY": ""}
    env = environment(stack.data, ENDPOINT=stack.endpoint, KEY=KEY, SIM=stack.sim_url, **proxies)
    said = [json.loads(line) for line in finished(["node", SCRIPT.name], folder, env).splitlines()]
    return {line["check"]: line for line in said}


def test_packages_are_pinned_exactly() -> None:
    pins = json.loads(MANIFEST.read_text())["dependencies"]
    assert "openai" in pins
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pins.values())


def test_every_check_ran(lines: dict[str, dict[str, Any]]) -> None:
    assert len(CHECKS) >= 20, "are the checks found in the script?"
    assert list(lines) == CHECKS


@pytest.mark.parametrize("check", CHECKS)
def test_node(lines: dict[str, dict[str, Any]], check: str) -> None:
    assert lines[check]["ok"], lines[check]["error"]


def test_calls_are_in_the_ledger(lines: dict[str, dict[str, Any]], stack: Stack) -> None:
    row = stack.row(lines["chat"]["facts"]["request_id"])
    assert (row["status"], row["model"], row["provider"]) == (200, "quick", "lab")
    assert float(row["cost_usd"]) > 0
    left = stack.row(lines["cancelled_stream"]["facts"]["left"])
    assert (left["status"], left["error"]) == (499, "client_closed_request")
