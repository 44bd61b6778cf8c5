"""A control plane on its own, as a real process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from ferryman.config.feed import Feed
from tests.processes import Process, Reply, environment, request


class Control:
    """A running ``python -m ferryman.control``."""

    def __init__(self, data: Path, **env: str) -> None:
        self.data = data
        self.process = Process(["ferryman.control"], environment(data, **env), data.parent)
        self.url = ""

    def ready(self) -> "Control":
        """Wait until it serves."""
        self.url = self.process.wait_for(r"ready at (\S+)")[1]
        return self

    def secret(self, name: str) -> str:
        return (self.data / "secrets" / name).read_text().strip()

    def admin(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> Reply:
        """A request to the admin API, by default with the right token."""
        token = self.secret("admin-token") if token is None else token
        headers = {"content-type": "application/json"}
        encoded = None if body is None else msgspec.json.encode(body)
        return request(self.url, method, path, token=token, body=encoded, headers=headers)

    def request(self, path: str) -> Reply:
        """A GET without a token."""
        return request(self.url, path=path)

    def feed(self, snapshot: str = "", keys: int = 0, wait: float = 0) -> Feed:
        path = f"/internal/feed?snapshot={snapshot}&keys={keys}&wait={wait}"
        reply = request(self.url, "GET", path, token=self.secret("feed-token"))
        assert reply.status == 200, reply.body
        return msgspec.msgpack.decode(reply.body, type=Feed)

    def settled(self) -> tuple[str, int]:
        """(snapshot version, key sequence) as they are now."""
        feed = self.feed()
        version: str = msgspec.msgpack.decode(feed.snapshot)["version"]
        return version, feed.keys_seq


Start = Callable[..., Control]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start control planes on one data directory; ended after the test."""
    running: list[Control] = []

    def begin(**env: str) -> Control:
        control = Control(tmp_path / "data", **env)
        running.append(control)
        return control

    yield begin
    for control in running:
        control.process.end()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """A ready control plane for tests that leave it as it was."""
    control = Control(tmp_path_factory.mktemp("shared") / "data").ready()
    yield control
    control.process.end()


@pytest.fixture
def control(start: Start) -> Control:
    """A ready control plane."""
    return start().ready()
