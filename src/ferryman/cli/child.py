"""One supervised child process: how to start it, and when to start it again."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Final

from ferryman import lifeline

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
SETTLED: Final = 10.0
"""Seconds a child has to live for its next crash to count as its first."""


class Child:
    """A process that should be running. All times are of ``time.monotonic``, in seconds."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.env = dict(env)
        self.sockets = list(sockets)
        self.process: subprocess.Popen[bytes] | None = None
        self.reports: int = -1
        """Read end of the running process's report pipe; -1 when there is none."""
        self.facts: dict[str, object] = {}
        """Everything it has reported, latest value by name."""
        self.ready = False
        """Has reported ``ready`` in its present life."""
        self.was_ready = False
        self.restart_at: float | None = None
        self._pause = FIRST_PAUSE
        self._started = 0.0
        self._partial = b""

    @property
    def running(self) -> bool:
        return self.process is not None

    def start(self, lifeline_fd: int) -> None:
        """Start the process in a group of its own, so that Ctrl-C reaches only the supervisor."""
        reports, theirs = os.pipe()
        try:
            fds = [sock.fileno() for sock in self.sockets]
            env = self.env | {lifeline.LIFELINE: str(lifeline_fd), lifeline.REPORT: str(theirs)}
            if self.was_ready:
                env[lifeline.RESTARTED] = "1"
            if fds:
                env[lifeline.LISTEN] = ",".join(map(str, fds))
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                self.argv,
                env=env,
                stdin=subprocess.DEVNULL,
                pass_fds=[*fds, lifeline_fd, theirs],
                process_group=0,
            )
        except OSError:
            os.close(reports)
            raise
        finally:
            os.close(theirs)
        os.set_blocking(reports, False)
        self.reports = reports
        self.ready = False
        self.restart_at = None
        self._partial = b""
        self._started = time.monotonic()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if there is a process to send it to."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def reap(self) -> str | None:
        """How the process ended (``exit code 1``), once after it has; None while it runs."""
        if self.process is None or self.process.poll() is None:
            return None
        code = self.process.returncode
        self.process = None
        self.ready = False
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"

    def schedule(self) -> float:
        """Plan the restart of an ended process. Returns the pause until then in seconds."""
        now = time.monotonic()
        if now - self._started >= SETTLED:
            self._pause = FIRST_PAUSE
        pause = self._pause
        self._pause = min(pause * 2, LONGEST_PAUSE)
        self.restart_at = now + pause
        return pause

    def read_reports(self) -> tuple[list[str], bool]:
        """Take in what the child has reported since.

        Returns the events' names in order, and whether the pipe has ended.
        """
        data, ended = b"", False
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.reports, 65536):
                data += piece
            ended = True
        *lines, self._partial = (self._partial + data).split(b"\n")
        events = []
        for line in lines:
            with contextlib.suppress(ValueError):
                facts = json.loads(line)
                if isinstance(facts, dict):
                    events.append(str(facts.pop("event", "")))
                    self.facts.update(facts)
        if "ready" in events:
            self.ready = self.was_ready = True
        return events, ended

    def close_reports(self) -> None:
        if self.reports >= 0:
            os.close(self.reports)
            self.reports = -1
