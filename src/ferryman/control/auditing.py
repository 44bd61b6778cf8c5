"""The audit log at the rim: who asks, what is refused, where the log's lines and its head go."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ferryman.client.audit import AuditEntry
from ferryman.config.model import Retention
from ferryman.control.when import rfc3339
from ferryman.log import log
from ferryman.store import audit
from ferryman.store.audit import Act, Entry, Mark, TamperedError, Who
from ferryman.store.db import DatabaseError

MOST_REFUSALS: Final = 60
"""That are written down within a minute, of strangers and of others each; more are counted."""
STRANGER: Final = "unknown"
"""Who has shown no token or session."""
TRIED: Final = "ferryman.tried"
"""Where a request's scope has the id of the user who signs in, or as whom somebody tries to."""
KEEP_EVERY: Final = 600.0
"""Seconds between two looks at what is old enough to go."""
_DAY: Final = 86_400


def who(scope: Any, actor: str) -> Who:
    """Who sent a request, as far as its connection and headers say."""
    headers = dict(scope["headers"])
    client = headers.get(b"x-ferryman-client") or headers.get(b"user-agent", b"")
    address = scope.get("client") or ("",)
    return Who(actor=actor, address=address[0], client=client.decode("latin-1"))


def act_of(
    method: str, path: str, status: int, named: str = "", *, bound: bool = False
) -> Act | None:
    """What a reply of the admin listener is to the log: a refusal, a sign-in; None = nothing.

    ``named``: the user who signs in, or as whom somebody tried to. ``bound``: whoever asks belongs
    to an organisation or a team, and what is not there may be another's.
    """
    entrance = {("POST", "/enter"): "session.begin", ("POST", "/leave"): "session.end",
                ("GET", "/signon/callback"): "session.begin"}  # fmt: skip
    action = entrance.get((method, path), "")
    if status in (401, 403) or (bound and status == 404):
        refused = {"status": status}
        return Act(
            action=action or "access",
            target=named or f"{method} {path}",
            outcome="refused",
            after=refused,
        )
    done = 200 if method == "GET" else 303
    return Act(action=action, target=named) if action and status == done else None


def note(engine: Engine, action: str, path: str, query: Mapping[str, str]) -> None:
    """Write down what changes nothing else: an export, a try; with what was asked for."""
    audit.record(engine, Act(action=action, target=path, after=dict(query) or None))


class Book:
    """Writes down who was let in and who was not: of the latter so many a minute."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._since = 0.0
        self._taken = {True: 0, False: 0}
        """Of strangers, who could else hide what others try, and of these."""
        self._unwritten = 0

    def room(self) -> bool:
        """Whether another refusal is to be written down; it is counted if not."""
        now = time.monotonic()
        if now - self._since >= 60:
            self._since, self._taken = now, {True: 0, False: 0}
        stranger = audit.WHO.get().actor == STRANGER
        self._taken[stranger] += 1
        if self._taken[stranger] > MOST_REFUSALS:
            self._unwritten += 1
            return False
        return True

    def write(self, act: Act) -> None:
        """Write it down, by whoever asks now. Blocks. A database that fails keeps nobody out: who
        could look is needed then, and can change nothing; our own log says what is missing."""
        try:
            audit.record(self._engine, act)
        except (SQLAlchemyError, DatabaseError) as error:
            who = audit.WHO.get()
            log("control", f"audit log: {act.action} {act.outcome} from {who.address} is not in it "
                f"({type(error).__name__})")  # fmt: skip

    def step(self) -> None:
        """Write down how many there were beyond the bound, once their minute has passed."""
        if self._unwritten and time.monotonic() - self._since >= 60:
            count, self._unwritten = self._unwritten, 0
            self.write(Act(action="access", outcome="refused", after={"unwritten": count}))


class Tail:
    """Follows the log: keeps its head in a file, hands its lines on, lets go of what is old.

    The file is a witness: where the log does not go on from what it names, it stays as it is.
    """

    def __init__(
        self,
        engine: Engine,
        key: bytes,
        file: Path,
        tell: Callable[[Sequence[bytes]], None],
        kept: Callable[[], Retention | None],
    ) -> None:
        self._engine, self._key, self._file, self._tell, self._kept = engine, key, file, tell, kept
        self._mark, self._due, self._failure = Mark(), 0.0, ""
        try:
            self._mark = mark_in(file) or Mark()
        except msgspec.DecodeError as error:
            log("control", f"audit log: {file} can't be read ({error}); it is made anew")

    def step(self) -> None:
        """Do a little. Never raises: what fails is said once, and tried again."""
        try:
            self._follow()
            self._trim()
        except (SQLAlchemyError, OSError, TamperedError) as error:
            failure = str(error).partition("\n")[0]
            if failure != self._failure:
                log("control", f"audit log: {failure}; `ferryman audit verify` says more")
            self._failure = failure
        else:
            self._failure = ""

    def _follow(self) -> None:
        if audit.head(self._engine) == self._mark:
            return
        while entries := audit.after(self._engine, self._mark):
            self._tell([msgspec.json.encode(line_of(entry)) for entry in entries])
            self._mark = Mark(entries[-1].seq, entries[-1].mac)
            write_mark(self._file, self._mark)

    def _trim(self) -> None:
        kept = self._kept()
        if kept is None or not kept.audit or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + KEEP_EVERY
        audit.trim(self._engine, self._key, int(time.time() - kept.audit) // _DAY * _DAY * 10**6)


def mark_in(file: Path) -> Mark | None:
    """The head in a file; None = no file. Raises ``msgspec.DecodeError`` if it holds no head."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Mark)
    except FileNotFoundError:
        return None


def write_mark(file: Path, mark: Mark) -> None:
    """Replace the head in a file."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.encode(mark) + b"\n")
    draft.replace(file)


def line_of(entry: Entry) -> AuditEntry:
    """An entry for the API and for sinks; those have calls, too: ``event`` tells them."""
    return AuditEntry(
        time=rfc3339(entry.at_us / 1e6), seq=entry.seq, actor=entry.actor, address=entry.address,
        client=entry.client, action=entry.action, target=entry.target, outcome=entry.outcome,
        before=decoded(entry.before), after=decoded(entry.after), mac=entry.mac,
    )  # fmt: skip


def decoded(text: str) -> Any:
    """``before`` or ``after``; a text that is no JSON (somebody wrote it) stands for itself."""
    try:
        return msgspec.json.decode(text) if text else None
    except msgspec.DecodeError:
        return text
