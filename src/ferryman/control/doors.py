"""Who may look at the dashboard: links that work once, and the sessions they open.

Standard library only, for a link is made at the start. What is kept of a link or a session is its
SHA-256: who reads the file can't come in with it.
"""

import contextlib
import hmac
import json
import os
import secrets
import time
from hashlib import sha256
from pathlib import Path
from typing import Final

LINK_SECONDS: Final = 3600
"""How long a link works, unless it is used before."""
SESSION_SECONDS: Final = 7 * 86_400
MOST_LINKS: Final = 100
"""Links that wait to be used; the oldest one gives way."""
MOST_SESSIONS: Final = 1000


class Doors:
    """Opens sessions. They outlive a restart, in ``file``; links don't."""

    def __init__(self, file: Path, admin_token: str) -> None:
        self._file = file
        self._admin_token = admin_token.encode()
        self._links: dict[str, float] = {}
        self._sessions: dict[str, float] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError):
            kept = json.loads(file.read_text()).items()
            self._sessions = {str(name): float(ends) for name, ends in kept}

    def link(self) -> str:
        """A token that opens one session."""
        token = secrets.token_urlsafe(24)
        while len(self._links) >= MOST_LINKS:
            del self._links[next(iter(self._links))]
        self._links[_mark(token)] = time.time() + LINK_SECONDS
        return token

    def enter(self, token: str) -> str | None:
        """A new session for a link's token, which is used up then, or for the admin token."""
        ends = self._links.pop(_mark(token), 0.0)
        if ends < time.time() and not hmac.compare_digest(token.encode(), self._admin_token):
            return None
        session = secrets.token_urlsafe(24)
        now = time.time()
        kept = [(name, ends) for name, ends in self._sessions.items() if ends > now]
        self._sessions = dict(kept[-MOST_SESSIONS + 1 :])
        self._sessions[_mark(session)] = now + SESSION_SECONDS
        self._keep()
        return session

    def knows(self, session: str) -> bool:
        """Whether a session is open."""
        return bool(session) and self._sessions.get(_mark(session), 0.0) > time.time()

    def open(self) -> int:
        """How many sessions are open."""
        now = time.time()
        return sum(ends > now for ends in tuple(self._sessions.values()))

    def leave_others(self, session: str) -> None:
        """Close all sessions but this one, and let no link work that was made before."""
        mark = _mark(session)
        self._sessions = {n: ends for n, ends in self._sessions.items() if n == mark}
        self._links.clear()
        self._keep()

    def leave(self, session: str) -> None:
        """Close a session."""
        if self._sessions.pop(_mark(session), None) is not None:
            self._keep()

    def proof(self, session: str) -> str:
        """What a change has to bring along: a page of another origin can't know it."""
        return hmac.new(self._admin_token, b"change\0" + session.encode(), "sha256").hexdigest()

    def _keep(self) -> None:
        draft = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump(self._sessions, file)
        draft.replace(self._file)


def name_of(session: str) -> str:
    """What a session may be called: it can't be used."""
    return _mark(session)[:8]


def _mark(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
