"""What the control plane asks of a compiler (``control/compiling.py``), and its two answers."""

import struct
from typing import Final

from msgspec import Struct

from ferryman.config.model import Grant, Logs, Retention
from ferryman.config.problem import ERROR, Problem
from ferryman.config.version import Overlay

LENGTH: Final = struct.Struct("<I")
"""Before each answer of the compiler: its bytes."""

FILE, TEXT, ENTRY, PATCH, REMOVE, RESET = "file", "text", "entry", "patch", "remove", "reset"


class Order(Struct, frozen=True, kw_only=True):
    """What to compile: the file under ``overlay``, after a change."""

    kind: str = FILE
    """``file`` reads the file again. The others leave it as it was (``file``) and change what holds
    over it: to the configuration ``body``, one ``unit`` to ``body``, by a merge patch, to nothing,
    or everything back to the file."""
    file: bytes | None = None
    overlay: Overlay = {}
    before: str = ""
    """The text in force, to tell what is different."""
    unit: str = ""
    """``models/fast``"""
    body: bytes = b""
    version: int = 0
    """The number that the change will have."""
    by: str = ""


class Checked(Struct, frozen=True, kw_only=True):
    """The compiler's first answer: what there is to say about the configuration."""

    problems: tuple[Problem, ...] = ()
    """All of them, in the order of the file."""
    workers: int = 1
    """Gateways that it wants on this machine."""
    missing: bool = False
    """True: the unit to be patched or removed isn't there."""
    closed: bool = False
    """True: an error is that the vault can't be used, which says nothing of the configuration."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Those that forbid its use."""
        return tuple(problem for problem in self.problems if problem.severity == ERROR)

    @property
    def bad(self) -> bool:
        """Whether there is no second answer."""
        return self.missing or bool(self.errors)


class Compiled(Struct, frozen=True, kw_only=True):
    """Its second answer: a snapshot, and what the control plane itself wants to know of it."""

    version: str
    snapshot: bytes
    """msgpack of a :class:`~ferryman.config.snapshot.Snapshot`."""
    drain_seconds: float
    retention: Retention
    """How long the ledger keeps what."""
    logs: Logs
    roles: dict[str, tuple[str, ...]]
    """Of tokens of the admin API."""
    groups: dict[str, Grant]
    """What groups of a directory give."""
    passwords: bool
    """Whether all users may have a password, not owners alone."""
    providers: tuple[str, ...]
    """Names of the providers that are active with this environment."""
    example: str
    """A model name that works here, for people to try; empty when no provider is active."""
    unpriced: tuple[str, ...]
    """Targets of active providers that the configuration names, and that have no price."""
    file: bytes | None
    """The file that it was made of."""
    text: str
    """All of it as YAML, literal keys sealed."""
    overlay: Overlay
    """What differs from the file."""
    lost: tuple[str, ...]
    """Entries that the file has changed since they were changed elsewhere: the file's hold."""
    changes: tuple[str, ...]
    """What differs from the text in force before."""
    uses: tuple[tuple[str, str], ...] = ()
    """Secrets, and where each is sent (``config/uses.py``)."""
    issuers: bytes = b""
    """Whose tokens are let in, in some form: to tell whether that is different."""
    entrance: bytes = b""
    """The same of how people sign in, and what groups give;"""
    entered: tuple[str, ...] = ()
    """and the roles that they have by it."""
    written: bytes = b"{}"
    """JSON of the sections that say where calls go and what they may take (``units.PLAN``)."""
