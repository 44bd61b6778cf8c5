"""A supervised child: pipes, sockets, endings and pauses, with real processes."""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterator

import pytest

from ferryman.cli.child import SETTLED, Child
from ferryman.cli.listen import bind_tcp


@pytest.fixture
def alive() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for fd in (read, write):
        with contextlib.suppress(OSError):
            os.close(fd)


def _python(code: str) -> Child:
    return Child("test", [sys.executable, "-c", code], os.environ)


def _wait(child: Child) -> str:
    assert child.process is not None
    child.process.wait(20)
    how = child.reap()
    assert how is not None
    return how


def _reports(child: Child) -> list[str]:
    """Everything the child says until it closes its pipe."""
    events: list[str] = []
    while True:
        assert select.select([child.reports], [], [], 20)[0], "the child says nothing"
        more, ended = child.read_reports()
        events += more
        if ended:
            return events


def test_a_child_gets_its_sockets_and_reports_facts(alive: tuple[int, int]) -> None:
    sockets = bind_tcp("127.0.0.1", 0, "--port")
    port = sockets[0].getsockname()[1]
    code = (
        "from ferryman import lifeline\n"
        "lifeline.report('checked')\n"
        "[sock] = lifeline.listeners()\n"
        "lifeline.report('ready', port=sock.getsockname()[1])\n"
    )
    child = Child("test", [sys.executable, "-c", code], os.environ, sockets)
    child.start(alive[0])
    assert _reports(child) == ["checked", "ready"]
    assert child.ready
    assert child.facts == {"port": port}
    assert _wait(child) == "exit code 0"
    assert not child.ready
    assert child.was_ready
    assert child.reap() is None, "an ending is told once"
    child.close_reports()
    sockets[0].close()


def test_noise_on_the_report_pipe_is_ignored(alive: tuple[int, int]) -> None:
    child = _python(
        "import os; fd = int(os.environ['FERRYMAN_REPORT_FD'])\n"
        'os.write(fd, b\'no json\\n[1]\\n{"event": "re\'); os.write(fd, b\'ady"}\\n{"event"\')'
    )
    child.start(alive[0])
    assert _reports(child) == ["ready"]
    _wait(child)
    child.close_reports()


def test_a_child_notices_that_its_supervisor_died(alive: tuple[int, int]) -> None:
    child = _python(
        "import signal\n"
        "from ferryman import lifeline\n"
        "lifeline.hold(); lifeline.report('ready')\n"
        "while True: signal.pause()\n"
    )
    child.start(alive[0])
    assert select.select([child.reports], [], [], 20)[0]
    os.close(alive[1])  # what the kernel does when the supervisor is killed
    assert _wait(child) == "killed by SIGTERM"
    child.close_reports()


def test_how_it_ended(alive: tuple[int, int]) -> None:
    child = _python("import sys; sys.exit(3)")
    child.start(alive[0])
    assert _wait(child) == "exit code 3"
    child.close_reports()
    child = _python("import signal; signal.pause()")
    child.start(alive[0])
    child.send(signal.SIGKILL)
    assert _wait(child) == "killed by SIGKILL"
    child.send(signal.SIGTERM)  # to nobody: no error
    child.close_reports()


def test_pauses_between_restarts_double_up_to_a_limit_and_start_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr("ferryman.cli.child.time.monotonic", lambda: now[0])
    child = _python("")
    child._started = now[0]
    pauses = [child.schedule() for _ in range(8)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert child.restart_at == 1005.0
    now[0] += SETTLED
    assert child.schedule() == 0.1
