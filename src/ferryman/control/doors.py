"""Who may look at the dashboard: links that work once, names with passwords, and sessions.

What is kept of a link or a session is its SHA-256: who reads the database can't come in with it.
A link, and the admin token, open an owner's session; a name with a password one that may what its
user may, as of the moment of each request.
"""

import asyncio
import contextlib
import hmac
import secrets
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from msgspec import Struct
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ferryman.control.api.access import OWNER, Caller, Gate
from ferryman.control.pauses import Pauses
from ferryman.control.problem import ProblemError
from ferryman.log import log
from ferryman.meter.strikes import place_of
from ferryman.store import sessions, users
from ferryman.store.names import folded
from ferryman.store.sessions import Session
from ferryman.store.users import PERSON, UserInfo

LINK_SECONDS: Final = 3600
"""How long a link works, unless it is used before."""
SESSION_SECONDS: Final = 7 * 86_400
"""How long a session lasts, if it is used: ``sessions.IDLE_SECONDS`` ends it before."""
SEEN_EVERY: Final = 60
"""Seconds between two notes of when a session was last used."""
MOST_LINKS: Final = 100
"""Links that wait to be used; the oldest one gives way."""
FREE: Final = 5
LONGEST_PAUSE: Final = 300
"""Wrong passwords of one user that cost nothing, and the longest pause after more, in seconds."""
FREE_PLACE: Final = 20
LONGEST_PLACE_PAUSE: Final = 60
"""Of one address, behind which there may be many people; wrong tokens count as well."""
AT_ONCE: Final = 2
"""Passwords that are checked at the same time: each takes a processor and 19 MiB."""


class Inside(Struct, frozen=True, kw_only=True):
    """An open session. ``caller`` is the one whose it is."""

    session: str
    caller: Caller
    user: UserInfo | None = None
    """None = the owner by link or token."""

    @property
    def actor(self) -> str:
        """Who that is to the audit log."""
        return f"session {name_of(self.session)}" if self.user is None else self.user.id


class Doors:
    """Opens sessions. They outlive a restart, in the database; links don't.

    What asks the database blocks; :meth:`sign_in` doesn't.
    """

    def __init__(
        self, engine: Engine, admin_token: str, gate: Gate, password_for: Callable[[str], bool]
    ) -> None:
        """``password_for``: whether users with this role may have a password."""
        self._engine, self._gate, self._password_for = engine, gate, password_for
        self._admin_token = admin_token.encode()
        self._links: dict[str, float] = {}
        self._users = Pauses(FREE, LONGEST_PAUSE)
        self._places = Pauses(FREE_PLACE, LONGEST_PLACE_PAUSE)
        self._checking = asyncio.Semaphore(AT_ONCE)

    def link(self) -> str:
        """A token that opens one session."""
        token = secrets.token_urlsafe(24)
        while len(self._links) >= MOST_LINKS:
            del self._links[next(iter(self._links))]
        self._links[_mark(token)] = time.time() + LINK_SECONDS
        return token

    def enter(self, token: str, address: str, instead: str = "") -> Inside | None:
        """A new session for a link's token, which is used up then, or for the admin token.

        It takes the place of the session ``instead``. A right token is listened to whatever came
        from its address before. Raises :class:`ProblemError` (429) for a wrong one too many.
        """
        ends = self._links.pop(_mark(token), 0.0)
        if ends < time.time() and not hmac.compare_digest(token.encode(), self._admin_token):
            self._wait(self._places, place_of(address))
            self._places.note(place_of(address), time.monotonic())
            return None
        return self._begin(None, address, instead)

    async def sign_in(
        self, name: str, password: str, address: str, instead: str = ""
    ) -> tuple[UserInfo | None, Inside | None]:
        """Whose name it is, if anybody's; and a new session, if the password is theirs.

        Takes as long whoever it is, and raises :class:`ProblemError` (429) alike for names that
        nobody has: while a pause lasts, no password is looked at.
        """
        known, place = folded(name)[: users.LONGEST], place_of(address)
        self._wait(self._users, known)
        self._wait(self._places, place)
        now = time.monotonic()
        # Noted before it is known: attempts at the same moment would else be one.
        self._users.note(known, now)
        self._places.note(place, now)
        async with self._checking:
            user, good = await asyncio.to_thread(self._check, name, password)
        if user is None or not good:
            return user, None
        self._users.forget(known)
        self._places.take_back(place)
        return user, await asyncio.to_thread(self.open_for, user, address, instead)

    def open_for(self, user: UserInfo, address: str, instead: str = "") -> Inside | None:
        """A new session for a user who has shown who they are; None if they are not active."""
        return self._begin(user, address, instead)

    def inside(self, session: str) -> Inside | None:
        """The session, if it is open, and what its user may right now."""
        now = int(time.time())
        found = sessions.find(self._engine, _mark(session), now) if session else None
        if found is None:
            return None
        kept, user = found
        if kept.seen_at + SEEN_EVERY <= now:
            with contextlib.suppress(SQLAlchemyError):  # it need not be, to let somebody look
                sessions.seen(self._engine, kept.mark, now)
        caller = OWNER if user is None else self._gate.caller_of(user)
        return Inside(session=session, caller=caller, user=user)

    def open(self) -> int:
        """How many sessions are open."""
        return sessions.count(self._engine, int(time.time()))

    def leave_others(self, session: str) -> None:
        """Close all sessions but this one, and let no link work that was made before."""
        self._links.clear()
        sessions.end_others(self._engine, _mark(session))

    def leave(self, session: str) -> None:
        """Close a session."""
        sessions.end(self._engine, _mark(session))

    def proof(self, session: str) -> str:
        """What a change has to bring along: a page of another origin can't know it."""
        return hmac.new(self._admin_token, b"change\0" + session.encode(), "sha256").hexdigest()

    def _begin(self, user: UserInfo | None, address: str, instead: str) -> Inside | None:
        session, now = secrets.token_urlsafe(24), int(time.time())
        row = Session(
            mark=_mark(session), user_id=None if user is None else user.id, created_at=now,
            ends_at=now + SESSION_SECONDS, seen_at=now, address=address,
        )  # fmt: skip
        sessions.begin(self._engine, row, _mark(instead) if instead else "")
        return self.inside(session)

    def _check(self, name: str, password: str) -> tuple[UserInfo | None, bool]:
        from ferryman.control import passwords  # here: few installations have users

        found = users.password_of(self._engine, name)
        user, kept = found or (None, None)
        good = passwords.fits(password[: passwords.MOST + 1], kept)
        if not good or user is None or not user.active or user.kind != PERSON:
            return user, False
        allowed = self._password_for(user.role)
        if not allowed:
            log("control", f"user {user.id} is not let in: passwords are for owners")
        return user, allowed

    def _wait(self, pauses: Pauses, name: str) -> None:
        """Raises :class:`ProblemError` (429) while a pause lasts."""
        rest = pauses.rest(name, time.monotonic())
        if rest:
            detail = f"Too many attempts were wrong. Wait {rest} seconds, then try again."
            raise ProblemError(429, "too_many_attempts", detail)


def name_of(session: str) -> str:
    """What a session may be called: it can't be used."""
    return _mark(session)[:8]


def _mark(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
