"""A child process's side of its three ties to ``ferryman up``. Standard library only.

``FERRYMAN_LIFELINE_FD``: read end of a pipe that nobody writes to; its end = the supervisor died.
``FERRYMAN_REPORT_FD``: write end of a pipe on which the child says how it stands, a JSON line each.
``FERRYMAN_LISTEN_FDS``: listening sockets bound by the supervisor, as numbers with commas between.

``FERRYMAN_RESTARTED``: set when this process takes the place of one that was ready before.

Each is optional: a plane that runs on its own has none of them, and every function here copes.
"""

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Final

LIFELINE: Final = "FERRYMAN_LIFELINE_FD"
REPORT: Final = "FERRYMAN_REPORT_FD"
LISTEN: Final = "FERRYMAN_LISTEN_FDS"
RESTARTED: Final = "FERRYMAN_RESTARTED"

VARIABLES: Final = (LIFELINE, REPORT, LISTEN, RESTARTED)

BAD_CONFIG: Final = 78
"""Exit code (``EX_CONFIG``) of a child whose settings are wrong: starting again won't help."""

TRY_AGAIN: Final = 75
"""Exit code (``EX_TEMPFAIL``) of a child that can't start now but may soon."""


def hold(lost: Callable[[], None] | None = None) -> bool:
    """Call ``lost`` (default: send SIGTERM to ourselves) once the supervisor is dead.

    One daemon thread blocked in ``read``: it costs nothing and works while the event loop is busy.
    ``lost`` runs on that thread. Returns False when nobody supervises this process.
    """
    fd = _number(LIFELINE)
    if fd is None:
        return False
    act = lost or _terminate
    os.set_inheritable(fd, False)

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(fd, 64):
                pass
        act()

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
    return True


def report(event: str, **facts: object) -> None:
    """Tell the supervisor ``event`` (``ready``, ``checked``, ``draining``) and its ``facts``.

    ``facts`` must be JSON values, and no secrets but those that work once. Does nothing without a
    supervisor, or a dead one.
    """
    fd = _number(REPORT)
    if fd is None:
        return
    with contextlib.suppress(OSError):
        os.set_inheritable(fd, False)
        os.write(fd, json.dumps({"event": event, **facts}).encode() + b"\n")


def listeners(env: Mapping[str, str] = os.environ) -> list[socket.socket]:
    """The inherited listening sockets, non-blocking; empty when there are none.

    Raises :class:`OSError` when a number in the variable is no open socket.
    """
    found = []
    for text in env.get(LISTEN, "").split(","):
        if text.strip():
            sock = socket.socket(fileno=int(text))
            sock.set_inheritable(False)
            sock.setblocking(False)
            found.append(sock)
    return found


def restarted() -> bool:
    """Whether an earlier process in this one's place was ready before it ended.

    Then a bad configuration is no reason not to start: the other plane serves on from the last.
    """
    return bool(os.environ.get(RESTARTED))


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _number(name: str) -> int | None:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else None
