"""Processes of the benchmark: started on a chosen core, measured through /proc, always killed."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

GATEWAY_CORE = 0
LOAD_CORE = 1
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class BenchError(Exception):
    """The benchmark cannot go on; the message says what happened and what to do."""


def one_core() -> bool:
    """True when gateway and load must share a core: CPU figures hold, rates are too low."""
    return len(os.sched_getaffinity(0)) < 2


def cpus() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def raise_limits() -> None:
    """Let this process and its children open as many files as the hard limit allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Proc:
    """A child in its own process group, pinned to one core, its output kept in a file."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        core: int | None,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        cores = cpus()
        self.log = log
        self.argv = list(argv)
        pin = {cores[min(core, len(cores) - 1)]} if core is not None else set(cores)
        with log.open("ab") as out:
            self.started = time.monotonic()
            self.popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(os.environ) | dict(env or {}),
                cwd=cwd,
                start_new_session=True,
                preexec_fn=lambda: _child_setup(pin),
            )
        self.pid = self.popen.pid

    def alive(self) -> bool:
        return self.popen.poll() is None

    def stop(self, grace: float = 5.0) -> None:
        """SIGTERM, wait, then SIGKILL for the group and every descendant."""
        family = tree(self.pid)
        if self.alive():
            _signal([self.pid], signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(grace)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        _signal([p for p in family if p != self.pid], signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(5)

    def tail(self, lines: int = 15) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _child_setup(pin: set[int]) -> None:
    os.sched_setaffinity(0, pin)
    # die with the benchmark, even if it is killed with -9 (Linux: PR_SET_PDEATHSIG = 1)
    with contextlib.suppress(OSError):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def tree(pid: int) -> list[int]:
    """``pid`` and all its living descendants."""
    found = [pid]
    for p in found:
        for children in Path(f"/proc/{p}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found.extend(int(c) for c in children.read_text().split())
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system seconds that ``pids`` have used so far (dead threads included)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICK


def rss_mb(pids: Sequence[int]) -> float:
    """Resident memory of ``pids`` in MB (10⁶ bytes), shared pages counted in each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return total / 1e6


def command_line(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    return []


def http(
    url: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10,
) -> tuple[int, bytes]:
    """One request over a fresh connection; status 0 when nothing answers."""
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as reply:
            return int(reply.status), bytes(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError as error:
        return 0, str(error).encode()


def wait_until(
    ready: Callable[[], bool], proc: Proc, what: str, *, seconds: float, every: float = 0.01
) -> float:
    """Seconds from the start of ``proc`` until ``ready()``. Raises :class:`BenchError`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not proc.alive():
            raise BenchError(f"{what} ended with code {proc.popen.returncode}:\n{proc.tail()}")
        if ready():
            return time.monotonic() - proc.started
        time.sleep(every)
    raise BenchError(f"{what} was not ready within {seconds:.0f} s:\n{proc.tail()}")


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A temporary directory of this run, removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="ferryman-bench-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def on_signals_exit() -> None:
    """Turn SIGTERM and SIGHUP into SystemExit, so that every ``finally`` kills its processes."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
