"""A simulator process for the tests of this folder."""

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Process


class Sim:
    """A running ``python -m ferryman.simulator``."""

    def __init__(self, cwd: Path, *flags: str) -> None:
        arguments = ["ferryman.simulator", "--port", "0", *flags]
        self.process = Process(arguments, os.environ, cwd)
        self.port = int(self.process.wait_for(r"^simulator: http://\S+:(\d+)/v1$")[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> Any:
        """JSON of a GET."""
        with urllib.request.urlopen(self.url + path) as reply:
            return json.load(reply)

    def post(self, path: str, body: bytes = b"") -> Any:
        """JSON of a POST."""
        with urllib.request.urlopen(self.url + path, data=body) as reply:
            return json.load(reply)


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sim]:
    """One simulator without flags for a module."""
    running = Sim(tmp_path_factory.mktemp("sim"))
    yield running
    running.process.end()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Sim]]:
    """Start simulators with flags."""
    running: list[Sim] = []

    def begin(*flags: str) -> Sim:
        running.append(Sim(tmp_path, *flags))
        return running[-1]

    yield begin
    for one in running:
        one.process.end()
