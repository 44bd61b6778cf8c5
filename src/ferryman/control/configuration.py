"""The configuration in force: the file, watched, and what was changed elsewhere, as versions."""

import contextlib
import os
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
from ferryman.config.problem import Problem
from ferryman.config.version import FILE, SENT, Overlay, Version
from ferryman.control import priority
from ferryman.control.orders import LENGTH, Checked, Compiled, Order
from ferryman.log import log

POLL: Final = 0.2
"""Seconds between looks at the file, and for which it has to rest before it is read;"""
RESTLESS: Final = 2.0
"""once it has been changing for so long,"""
STILL: Final = 0.02
"""this is enough."""
PATIENCE: Final = 120.0
"""Seconds after which a compiler that hasn't ended is killed."""
Stamp = tuple[int, int, int] | None
"""(modification time in ns, inode, size) of the file; None = it isn't there."""
Answer = TypeVar("Answer", bound=Struct)


class CompilerError(Exception):
    """The compiler ended without an answer; what it said stands on standard error."""


class Compiler:
    """One run of ``control/compiling.py``, in a process that ends with it.

    So the control plane starts while the file is compiled on another core, and never holds the
    catalogue, the price list and the YAML parser in its memory.
    """

    @staticmethod
    def _started() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "ferryman.control.compiling"],
            env={k: v for k, v in os.environ.items() if k not in lifeline.VARIABLES},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for the control plane
        )

    def __init__(self, order: Order) -> None:
        self._process = priority.as_at_first(self._started)
        self._timer = threading.Timer(PATIENCE, self._process.kill)
        self._timer.daemon = True
        self._timer.start()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(msgspec.msgpack.encode(order))

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


class ChangeError(Exception):
    """A change was refused; ``checked`` says why, or nothing: then there is no such entry."""

    def __init__(self, checked: Checked) -> None:
        super().__init__("the change was refused")
        self.checked = checked


class StaleError(Exception):
    """A change was meant for another version than the one in force, which is ``number``."""

    def __init__(self, number: int) -> None:
        super().__init__(f"version {number} is in force")
        self.number = number


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of a change."""

    number: int
    """The version in force now."""
    applied: bool
    """False: nothing is different, or this was a trial."""
    compiled: Compiled
    warnings: tuple[Problem, ...]


class Configuration:
    """What is in force, and the watch over the file. ``reload``, ``change``: on any thread."""

    def __init__(self, options: Options, last: Version | None = None) -> None:
        """``last`` is the latest version in the database."""
        self._path = options.config
        self._lock = threading.Lock()
        self._seen: Stamp = None
        self._changing_since: float | None = None
        self.compiled: Compiled | None = None
        """What is in force: the last good one."""
        self.number = last.number if last else 0
        """Its version in the database."""
        self._text = last.text if last else ""
        self._overlay: Overlay = last.overlay if last else {}
        self.publish: Callable[[str, bytes], bool] = lambda _version, _snapshot: True
        """Hands (version, snapshot) to the data planes; False when it is no different."""
        self.added: Callable[[Compiled], Compiled] = lambda found: found
        """Adds what holds beside the configuration: limits that were set for tenants."""
        self._bare: Compiled | None = None
        self._enforcing = threading.Lock()
        self.keep: Callable[[Version, int | None], Version] = lambda version, _after: version
        """Writes a version into the database, if the latest there is the given number."""

    def begin(self, *, alone: bool = False) -> Compiler:
        """Start compiling the file as it is now, and what holds over it unless ``alone``."""
        self._seen = self._stamp()
        return Compiler(Order(overlay={} if alone else self._overlay, before=self._text))

    @property
    def changed(self) -> tuple[str, ...]:
        """The entries that were changed elsewhere than in the file."""
        return tuple(self._overlay)

    def password_for(self, role: str) -> bool:
        """Whether users with this role may have a password: owners may, whatever is in force."""
        return role == "owner" or (self.compiled is not None and self.compiled.passwords)

    def take(self, found: Compiled) -> bool:
        """Put what the file says into force. Returns whether the data planes get anything new."""
        if found.text != self._text or found.overlay != self._overlay or not self.number:
            version = self._version(found, FILE, "")
            try:
                self.number = self.keep(version, None).number
            except Exception as error:
                # A full disk is no reason to serve from an old file.
                log("control", f"the version is not kept ({type(error).__name__}: {error})")
        for name in found.lost:
            old = self._overlay[name]
            log(
                "control",
                f"{name}: changed in the file, which holds from now on; what {old.by} made of it "
                f"in version {old.version} does not (`ferryman config history`)",
            )
        if found.overlay:
            names = ", ".join(f"{n} (version {c.version})" for n, c in found.overlay.items())
            log("control", f"changed elsewhere, and in force over the file: {names}")
        return self._enforce(found)

    def _version(self, found: Compiled, by: str, note: str) -> Version:
        return Version(
            number=self.number + 1,
            at=int(time.time()),
            by=by,
            note=note,
            changes=found.changes,
            snapshot=found.version,
            text=found.text,
            overlay=found.overlay,
        )

    def _enforce(self, found: Compiled) -> bool:
        with self._enforcing:
            self._bare, self._text, self._overlay = found, found.text, found.overlay
            self.compiled = whole = self.added(found)
            return self.publish(whole.version, whole.snapshot)

    def renew(self) -> None:
        """Put into force what is added now; waits for no compiler."""
        with self._enforcing:
            if self._bare is not None:
                self.compiled = whole = self.added(self._bare)
                self.publish(whole.version, whole.snapshot)

    def reload(self) -> list[str]:
        """Compile the file and publish it; a bad file leaves all as it was.

        Returns what is wrong with it. Raises :class:`CompilerError`.
        """
        with self._lock:
            began = time.monotonic()
            compiler = self.begin()
            checked = compiler.checked()
            for problem in checked.problems:
                log("control", str(problem))
            if checked.bad:
                compiler.close()
                count = f"{len(checked.errors)} error{'s' if len(checked.errors) > 1 else ''}"
                kept = "the last good one stays in force" if self.compiled else "there is no other"
                log("control", f"configuration {self._path} not used: {count}; {kept}")
                return [str(problem) for problem in checked.errors]
            found = compiler.compiled()
            new = "" if self.take(found) else ", as before"
            took = time.monotonic() - began
            log("control", f"configuration {found.version[:12]}{new} ({took:.1f} s)")
            if found.unpriced:
                some = ", ".join(found.unpriced[:5]) + (", …" if len(found.unpriced) > 5 else "")
                log(
                    "control",
                    f"{len(found.unpriced)} models of the configuration have no price, and their "
                    f"calls no known cost: {some} (`ferryman prices unpriced` lists them)",
                )
            return []

    def change(
        self,
        kind: str,
        *,
        unit: str = "",
        body: bytes = b"",
        by: str,
        note: str,
        expected: int | None,
        trial: bool,
        allow: Callable[[Compiled, Compiled], None],
    ) -> Outcome:
        """Change what is in force (see ``Order.kind``), all or nothing; a ``trial`` only checks.

        ``allow`` gets what is in force and what would be, and raises where that may not be.
        Raises :class:`StaleError` when version ``expected`` (if given) is not in force,
        :class:`ChangeError`, :class:`CompilerError`, and what ``keep`` raises: then nothing is
        different. The version is in the database before any data plane hears of it.
        """
        with self._lock:
            base = self.compiled
            if expected not in (None, self.number) or base is None:
                raise StaleError(self.number)
            compiler = Compiler(
                Order(
                    kind=kind,
                    file=base.file,
                    overlay=self._overlay,
                    before=self._text,
                    unit=unit,
                    body=body,
                    version=self.number + 1,
                    by=by,
                )
            )
            checked = compiler.checked()
            if checked.bad:
                compiler.close()
                raise ChangeError(checked)
            found = compiler.compiled()
            allow(base, found)
            applied = not trial and bool(found.changes or found.overlay != self._overlay)
            if applied:
                self.number = self.keep(self._version(found, by, note), self.number).number
                self._enforce(found)
                said = ", ".join(found.changes) or "nothing but where it stands"
                log("control", f"configuration version {self.number} by {by}: {said}")
            # What is odd elsewhere was said when it was applied.
            warnings = tuple(problem for problem in checked.problems if problem.file == SENT)
            return Outcome(number=self.number, applied=applied, compiled=found, warnings=warnings)

    @property
    def pause(self) -> float:
        """Seconds until the next look at the file."""
        since = self._changing_since
        return STILL if since is not None and time.monotonic() - since > RESTLESS else POLL

    def watch_once(self, last: Stamp) -> tuple[Stamp, bool]:
        """Look at the file: (its stamp, whether to load it now).

        It has to be different from what was loaded, and the same as at the ``last`` look: an
        editor that is writing gets the time to finish. One that never does gets less of it.
        """
        now = self._stamp()
        load = now != self._seen and now == last
        if load or now == self._seen:
            self._changing_since = None
        elif self._changing_since is None:
            self._changing_since = time.monotonic()
        return now, load

    def _stamp(self) -> Stamp:
        if self._path is None:
            return None
        try:
            found = Path(self._path).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size
