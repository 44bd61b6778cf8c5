"""The ``ferryman`` command: a short way in for the commands that serve, typer for everything else.

Typer and what it brings take a quarter of a second to load. Starting the gateway doesn't wait for
that: plain ``--flag value`` pairs are read here. What is not as plain as that, or wrong, goes to
typer, which explains it.
"""

import contextlib
import os
import sys
from collections.abc import Collection, Sequence
from typing import Final, NoReturn

from ferryman.config.options import Options, OptionsError, variable

SERVE: Final = {
    "up": "ferryman.cli.supervisor",
    "gateway": "ferryman.edge",
    "control": "ferryman.control",
}
"""Command → module that serves."""
SWITCHES: Final = frozenset(("strict", "local_model"))
_CALLS: Final = {
    "host",
    "port",
    "uds",
    "tls_cert",
    "tls_key",
    "region",
    "data_policy",
    "drain",
    "plane",
}
_CONTROL: Final = {
    "admin_host", "admin_port", "admin_names", "data_dir", "config", "database_url", "strict",
}  # fmt: skip
FLAGS: Final = {
    "up": _CALLS | _CONTROL | {"local_model", "workers"},
    "gateway": _CALLS | {"data_dir", "control_url", "admin_host", "admin_port"},
    "control": _CONTROL,
}
"""Command → names of its flags. Not ``key``: flags show in ``ps``, its place is the environment."""


def main() -> int:
    """Entry point of the ``ferryman`` script. Returns the exit code."""
    try:
        return _command()
    finally:
        _let_go_of_output()


def _let_go_of_output() -> None:
    """What nobody reads any more is dropped: Python would exit with 120 for it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)


def _command() -> int:
    command, *arguments = sys.argv[1:] or [""]
    if command == "simulator":
        become("ferryman.simulator", *arguments)
    if command in SERVE:
        given = plain_flags(arguments, FLAGS[command])
        if given is not None:
            try:
                Options.from_env(os.environ | given)
            except OptionsError:
                pass
            else:
                os.environ.update(given)
                if command != "up":
                    become(SERVE[command])
                from ferryman.cli.supervisor import main as supervise

                return supervise()
    from ferryman.cli.commands import run

    return run()


def plain_flags(arguments: Sequence[str], known: Collection[str]) -> dict[str, str] | None:
    """``["--port", "9000"]`` → ``{"FERRYMAN_PORT": "9000"}``; None if it isn't as plain as that."""
    given = {}
    rest = list(arguments)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        name = flag[2:].replace("-", "_")
        if not flag.startswith("--") or "_" in flag or name not in known:
            return None
        if name in SWITCHES:
            if equals:
                return None
            value = "1"
        elif not equals:
            if not rest or rest[0].startswith("-"):
                return None
            value = rest.pop(0)
        if not value:
            return None
        given[variable(name)] = value
    return given


def become(module: str, *arguments: str) -> NoReturn:
    """Run ``python -m module`` in place of this process: what it has loaded doesn't stay."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606


if __name__ == "__main__":
    sys.exit(main())
