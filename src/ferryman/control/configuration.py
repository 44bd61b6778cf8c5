"""The configuration file, watched: each good version becomes a snapshot, a bad one a report."""

import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from ferryman import lifeline
from ferryman.config.options import Options
from ferryman.log import log

POLL: Final = 0.5
"""Seconds between looks at the file."""
PATIENCE: Final = 120.0
"""Seconds after which a compiler that hasn't ended is killed."""
LENGTH: Final = struct.Struct("<I")
"""Before each answer of the compiler: its bytes."""
Stamp = tuple[int, int, int] | None
"""(modification time in ns, inode, size) of the file; None = it isn't there."""
Answer = TypeVar("Answer", bound=Struct)


class CompilerError(Exception):
    """The compiler ended without an answer; what it said stands on standard error."""


class Checked(Struct, frozen=True):
    """The compiler's first answer: what there is to say about the file, as lines for people."""

    problems: tuple[str, ...]
    """All of them, in the order of the file."""
    errors: tuple[str, ...]
    """Those that forbid its use."""


class Compiled(Struct, frozen=True, kw_only=True):
    """Its second answer: a snapshot, and what the control plane itself wants to know of it."""

    version: str
    snapshot: bytes
    """msgpack of a :class:`~ferryman.config.snapshot.Snapshot`."""
    drain_seconds: float
    providers: tuple[str, ...]
    """Names of the providers that are active with this environment."""
    example: str
    """A model name that works here, for people to try; empty when no provider is active."""


class Compiler:
    """One run of ``control/compiling.py``, in a process that ends with it.

    So the control plane starts while the file is compiled on another core, and never holds the
    catalogue, the price list and the YAML parser in its memory.
    """

    def __init__(self) -> None:
        env = {k: v for k, v in os.environ.items() if k not in lifeline.VARIABLES}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ferryman.control.compiling"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for the control plane
        )
        self._timer = threading.Timer(PATIENCE, self._process.kill)
        self._timer.daemon = True
        self._timer.start()

    def checked(self) -> Checked:
        """The first answer. Raises :class:`CompilerError`."""
        return self._read(Checked)

    def compiled(self) -> Compiled:
        """The second answer, which comes only if there are no errors; then the process ends."""
        answer = self._read(Compiled)
        self.close()
        return answer

    def close(self) -> None:
        """End the process, if it hasn't ended."""
        self._timer.cancel()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.wait()

    def _read(self, kind: type[Answer]) -> Answer:
        out = self._process.stdout
        assert out is not None
        head = out.read(LENGTH.size)
        body = out.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else b""
        try:
            return msgspec.msgpack.decode(body, type=kind)
        except msgspec.DecodeError:
            self.close()
            code = self._process.returncode
            raise CompilerError(f"compiling the configuration failed (exit code {code})") from None


class Configuration:
    """The last good version, and the watch over the file. ``reload`` may run on any thread."""

    def __init__(self, options: Options) -> None:
        self._path = options.config
        self._lock = threading.Lock()
        self._seen: Stamp = None
        self.compiled: Compiled | None = None
        """The last good one."""

    def begin(self) -> Compiler:
        """Start compiling the file as it is now."""
        self._seen = self._stamp()
        return Compiler()

    def reload(self, publish: Callable[[str, bytes], bool]) -> list[str]:
        """Compile the file and ``publish`` (version, snapshot); a bad file leaves all as it was.

        Returns what is wrong with it. Raises :class:`CompilerError`.
        """
        with self._lock:
            began = time.monotonic()
            compiler = self.begin()
            checked = compiler.checked()
            for problem in checked.problems:
                log("control", problem)
            if checked.errors:
                compiler.close()
                count = f"{len(checked.errors)} error{'s' if len(checked.errors) > 1 else ''}"
                kept = "the last good one stays in force" if self.compiled else "there is no other"
                log("control", f"configuration {self._path} not used: {count}; {kept}")
                return list(checked.errors)
            found = self.compiled = compiler.compiled()
            new = "" if publish(found.version, found.snapshot) else ", as before"
            took = time.monotonic() - began
            log("control", f"configuration {found.version[:12]}{new} ({took:.1f} s)")
            return []

    def watch_once(self, last: Stamp) -> tuple[Stamp, bool]:
        """Look at the file: (its stamp, whether to load it now).

        It has to be different from what was loaded, and the same as at the ``last`` look: an
        editor that is writing gets the time to finish.
        """
        now = self._stamp()
        return now, now != self._seen and now == last

    def _stamp(self) -> Stamp:
        if self._path is None:
            return None
        try:
            found = Path(self._path).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size
