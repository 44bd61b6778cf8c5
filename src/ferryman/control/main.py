"""The control plane's process: what starts in which order, and what happens when it ends."""

import contextlib
import fcntl
import gc
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from ferryman import lifeline
from ferryman.config.options import Options, OptionsError
from ferryman.config.version import Version
from ferryman.control import priority
from ferryman.control.configuration import Compiler, CompilerError, Configuration
from ferryman.log import log

LOCK_PATIENCE: Final = 15.0
"""Seconds to wait for a control plane of an earlier start that is still ending."""

POLITENESS: Final = 10
"""Nice steps below the data plane: what is done here can wait, and calls can't. Where both share a
core, that is a third more calls a second, and a third less delay in the slowest hundredth."""


class _Logs(logging.Handler):
    """Library and project loggers as our one-line format."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
        log("control", text)


def main() -> int:
    """Entry of ``python -m ferryman.control``. Returns the exit code: 78 = settings are wrong."""
    logging.basicConfig(handlers=[_Logs()], level=logging.WARNING)
    try:
        options = Options.from_env()
        os.umask(0o077)
        options.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _only_one(options.data_dir / "control.lock"):
            return _run(_located(options))
    except (OptionsError, _InUseError) as error:
        log("control", str(error))
    except (OSError, CompilerError) as error:
        log("control", f"can't start: {error}")
        return 1
    return lifeline.BAD_CONFIG


def _run(options: Options) -> int:
    lifeline.hold()
    priority.keep()
    os.nice(POLITENESS)
    configuration = Configuration(options, _last(options))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(_first_answer, configuration, str(options.config))
        # Half a second of imports, while the compiler works on another core.
        import uvloop

        gc.set_threshold(50_000, 20, 20)  # what ingestion makes has no cycles, and is soon gone
        from ferryman.control.service import Service
        from ferryman.store.db import DatabaseError, MigrationError, MovedError

        compiler = answer.result()
    if compiler is None and not lifeline.restarted():
        return lifeline.BAD_CONFIG
    try:
        service = Service(options, configuration)
        if compiler is not None:
            configuration.take(compiler.compiled())
        uvloop.run(service.run(_sockets(options)))
        return lifeline.TRY_AGAIN if service.moved else 0
    except MovedError as error:
        log("control", str(error))
        return lifeline.TRY_AGAIN  # it is being moved: where to is about to be written down
    except MigrationError as error:
        log("control", str(error))
        return 1  # a server may come back: the supervisor tries again
    except DatabaseError as error:
        log("control", str(error))
        return lifeline.BAD_CONFIG


def _located(options: Options) -> Options:
    """``options`` with the database that ``ferryman migrate`` has moved everything to."""
    place = options.paths.moved_to
    if options.database_url or not place.exists():
        return options
    return replace(options, database_url=place.read_text().strip())


def _last(options: Options) -> Version | None:
    """The latest version of the configuration. Raises ``OSError``, ``OptionsError``."""
    if not options.database_url:
        import sqlite3

        from ferryman.store import peek

        try:
            return peek.latest(options.paths.database)
        except sqlite3.Error as error:
            # Without it, what was changed elsewhere would be forgotten.
            raise OSError(f"can't read {options.paths.database}: {error}") from None
    from ferryman.store import versions
    from ferryman.store.db import DatabaseError, MigrationError, migrate, open_engine

    try:
        engine = open_engine(options.database_url)
        migrate(engine)
    except MigrationError as error:
        raise OSError(str(error)) from None  # a server may come back: the supervisor tries again
    except DatabaseError as error:
        raise OptionsError(str(error)) from None
    try:
        return versions.latest(engine)
    finally:
        engine.dispose()


def _first_answer(configuration: Configuration, file: str) -> Compiler | None:
    """Say what is wrong with the configuration. Returns what compiles it, if it can be used."""
    compiler = configuration.begin()
    checked = compiler.checked()
    for problem in checked.problems:
        sys.stderr.write(f"{problem}\n")
    if checked.errors and configuration.changed and not checked.closed:
        compiler.close()
        compiler = configuration.begin(alone=True)
        checked = compiler.checked()
        for problem in checked.errors:
            sys.stderr.write(f"{problem}\n")
        if not checked.errors:
            names = ", ".join(configuration.changed)
            log("control", f"what was changed elsewhere ({names}) does not fit the file any more, "
                "which holds alone; `ferryman config history` has what was in force")  # fmt: skip
    count = len(checked.errors)
    if count:
        compiler.close()
        said = f"has {count} error{'s' if count > 1 else ''}, which `ferryman check {file}` shows"
        said = "needs the vault, which can't be used" if checked.closed else said
        sys.stderr.write(f"ferryman: {file} {said}.\n")
    if not count or lifeline.restarted():
        lifeline.report("checked", workers=checked.workers)
    return None if count else compiler


def _sockets(options: Options) -> list[socket.socket]:
    """The admin listener: inherited, or bound here when nobody supervises us."""
    sockets = lifeline.listeners()
    if sockets:
        return sockets
    family = socket.AF_INET6 if ":" in options.admin_host else socket.AF_INET
    try:
        sock = socket.create_server(
            (options.admin_host, options.admin_port), family=family, backlog=1024
        )
    except OSError as error:
        raise OSError(
            f"{options.admin_host}:{options.admin_port} can't be listened on "
            f"({error.strerror or error}); choose another with --admin-host and --admin-port"
        ) from None
    sock.setblocking(False)
    return [sock]


class _InUseError(Exception):
    """Another control plane uses the data directory."""


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold ``path`` locked: two control planes on one data directory would serve two truths."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_PATIENCE
    told = False
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
                if time.monotonic() > deadline:
                    raise _InUseError(
                        f"Another control plane (process {holder}) uses the data directory "
                        f"{path.parent}. Stop it, or choose another with --data-dir."
                    ) from None
                if not told:
                    log("control", f"waiting for the control plane of process {holder} to end")
                    told = True
                time.sleep(0.1)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(fd)
