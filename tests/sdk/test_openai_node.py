"""The official `openai` package for Node, unchanged, against a whole Ferryman.

``node/check.mjs`` does the calls and judges what came; here it is installed, run, and read.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.gateway import KEY, Stack
from tests.processes import environment

HERE = Path(__file__).parent / "node"
SCRIPT, MANIFEST = HERE / "check.mjs", HERE / "package.json"
PATIENCE = 100
"""Seconds for the installation, and for all checks; a test may take 120."""

CHECKS = re.findall(r"^  async (\w+)\(\) \{$", SCRIPT.read_text("utf-8"), re.MULTILINE)

missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(
    bool(missing), reason=f"not installed here: {', '.join(missing)} (Node 20 or later)"
)


def finished(command: list[str], folder: Path, env: dict[str, str]) -> str:
    """What a command printed; fails with all of its output if it failed."""
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of ``package.json``; kept in pytest's cache between runs."""
    cache = getattr(request.config, "cache", None)
    base = cache.mkdir("sdk-node") if cache else tmp_path_factory.mktemp("sdk-node")
    wanted = MANIFEST.read_bytes()
    folder, stamp = base / "installed", base / "installed" / "complete"
    if not stamp.exists() or stamp.read_bytes() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "package.json").write_bytes(wanted)
        quiet = ["--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
        finished(["npm", "install", *quiet], folder, dict(os.environ))
        stamp.write_bytes(wanted)
    return folder


@pytest.fixture(scope="module")
def lines(installed: Path, stack: Stack) -> dict[str, dict[str, Any]]:
    """What the script said of each check."""
    copy = installed / SCRIPT.name  # Node looks for packages beside the script
    shutil.copyfile(SCRIPT, copy)
    proxies = {"HTTP_PROXY": "", "HTTPS_PROXY": "", "NODE_USE_ENV_PROXY": ""}
    env = environment(stack.data, ENDPOINT=stack.endpoint, KEY=KEY, SIM=stack.sim_url, **proxies)
    said = [json.loads(line) for line in finished(["node", copy.name], installed, env).splitlines()]
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
