"""Real Ferryman processes for tests: on free ports, watched through what they say."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 60.0
"""Seconds to wait for what must come."""


class Process:
    """A child process whose output lines can be waited for."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.popen = subprocess.Popen(
            [sys.executable, "-P", "-m", *arguments],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            with self._news:
                self.lines.append(line.decode().rstrip("\n"))
                self._news.notify_all()

    def wait_for(self, pattern: str, count: int = 1) -> re.Match[str]:
        """The ``count``-th line so far that matches; fails with the output if none comes."""

        def found() -> list[re.Match[str]]:
            return [m for line in self.lines if (m := re.search(pattern, line))]

        with self._news:
            if not self._news.wait_for(lambda: len(found()) >= count, PATIENCE):
                self._tell_where()
                raise AssertionError(f"no line like {pattern!r} in:\n" + "\n".join(self.lines))
            return found()[count - 1]

    def _tell_where(self) -> None:
        """Make the process and its descendants die with their stacks (``faulthandler``)."""
        for pid in descendants(self.popen.pid):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGABRT)
        self._news.wait(2)

    def send(self, number: int) -> None:
        """Send a signal to the process alone."""
        os.kill(self.popen.pid, number)

    def wait(self) -> int:
        """Its exit code; fails if it doesn't end."""
        code = self.popen.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and return its exit code; nothing if it has ended."""
        if self.popen.poll() is None:
            self.send(number)
        return self.wait()

    def end(self) -> None:
        """Make sure that it and its children are gone (for fixtures)."""
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        self._reader.join(PATIENCE)
        if self.popen.stdout is not None:
            self.popen.stdout.close()


def environment(data: Path, **more: str) -> dict[str, str]:
    """The variables for a process with the data directory ``data`` on free ports; no keys."""
    ours = ("FERRYMAN_", "OPENAI_")
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ours) and not name.endswith("_API_KEY")
    }
    env |= {"FERRYMAN_DATA_DIR": str(data), "PYTHONFAULTHANDLER": "1"}
    env |= {"FERRYMAN_PORT": "0", "FERRYMAN_ADMIN_PORT": "0"}
    return env | more


class Reply:
    """An HTTP reply read to its end."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


def request(
    url: str,
    method: str = "GET",
    path: str = "/",
    *,
    token: str | None = None,
    body: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = PATIENCE,
) -> Reply:
    """One HTTP request on a connection of its own."""
    parts = urlsplit(url)
    link = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    sent = dict(headers or {})
    if token is not None:
        sent["authorization"] = f"Bearer {token}"
    try:
        link.request(method, path, body, sent)
        reply = link.getresponse()
        return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
    finally:
        link.close()


def until(condition: Any, what: str) -> Any:
    """Poll until ``condition()`` is true, and return what it gave; fails naming ``what``."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"never came: {what}")


def descendants(pid: int) -> list[int]:
    """``pid`` and all that it started, directly or not, children first."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(status.parent.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found[::-1]


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@contextlib.contextmanager
def shut_door() -> Iterator[int]:
    """A port of this machine where nobody picks up: its queue is full."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        filling = [socket.socket() for _ in range(3)]
        for link in filling:
            link.setblocking(False)
            link.connect_ex(deaf.getsockname())
        try:
            yield deaf.getsockname()[1]
        finally:
            for link in filling:
                link.close()
