"""Who is it, and may they: the one place that answers this for the admin API.

Every route names the permission that it takes. The admin token has all of them and belongs to
nobody; scoped tokens have a role's, and may belong to an organisation or a team: then only routes
that mind it are open, and these show and change nothing of others (docs/identity.md).
"""

import asyncio
import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import Struct
from sqlalchemy import Engine

from ferryman.config import role_grammar
from ferryman.config.role_grammar import ENTER
from ferryman.config.seal import derive_for
from ferryman.control.problem import ProblemError
from ferryman.meter import keys as secrets
from ferryman.store import tokens
from ferryman.store.dimensions import NONE, Within
from ferryman.store.users import UserInfo

PERMISSIONS: Final = frozenset(role_grammar.PERMISSIONS)
"""All that a route may ask for."""
_READS: Final = frozenset(each for each in PERMISSIONS if each.endswith(".read"))
_VIEWS: Final = frozenset((
    "alerts.read", "api.read", "cache.read", "calls.read", "feedback.read", "limits.read",
    "metrics.read", "models.read", "prices.read", "tenants.read", "usage.read",
))  # fmt: skip
ROLES: Final[dict[str, frozenset[str]]] = {
    "owner": PERMISSIONS,
    "admin": PERMISSIONS - {ENTER},
    "billing": frozenset((
        "api.read", "keys.read", "limits.read", "models.read", "prices.read", "tenants.read",
        "usage.read",
    )),
    "developer": _VIEWS | {"config.read", "keys.read", "keys.write", "requests.explain"},
    "viewer": _VIEWS,
    "auditor": _READS - {"content.read"},
    "provisioner": frozenset(("api.read", "scim.write")),
}  # fmt: skip
"""Role → its permissions. Prompts are for owners and admins, unless a role of your own says so."""
TOKEN: Final = "fma-"  # noqa: S105
"""What scoped tokens begin with."""
USED_EVERY: Final = 60
"""Seconds between two notes of when a token was last used."""
Headers = Iterable[tuple[bytes, bytes]]
CALLER: Final = "ferryman.caller"
"""Where a request's scope has the caller."""


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks, what they may, and to whom they belong (None = to nobody)."""

    name: str
    permissions: frozenset[str]
    role: str = ""
    organisation: str | None = None
    team: str | None = None

    @property
    def within(self) -> Within:
        """What calls and keys have to be like to be theirs; nothing = all are."""
        return within(self.organisation, self.team)


OWNER: Final = Caller(name="admin", permissions=PERMISSIONS, role="owner")
"""Who holds the admin token, or came into the dashboard by it or by a link."""


def within(organisation: str | None, team: str | None) -> Within:
    """What is theirs. A team without an organisation is the team of those that have none."""
    found = {"organisation": organisation or NONE} if organisation or team else {}
    return found | ({"team": team} if team else {})


class Gate:
    """Knows callers by what they send along."""

    def __init__(
        self,
        engine: Engine,
        admin_token: str,
        pepper: str,
        custom: Callable[[], Mapping[str, tuple[str, ...]]] = dict,
    ) -> None:
        """``custom``: the roles of the configuration in force, by name."""
        self._engine = engine
        self._admin_token = admin_token.encode()
        self._pepper = derive_for(pepper, "admin tokens")
        self._custom = custom

    def roles(self) -> dict[str, frozenset[str]]:
        """All roles by name; those that are built in can't be replaced."""
        return {name: frozenset(may) for name, may in self._custom().items()} | ROLES

    def mint(self) -> tuple[str, bytes]:
        """A new scoped token, and what is kept of it."""
        token = TOKEN + secrets.mint().removeprefix(secrets.PREFIX)
        return token, self._digest(token)

    async def admit(self, headers: Headers, permission: str | None = None) -> Caller:
        """The caller, who may do what takes ``permission`` (None: it is enough to be known).

        Raises :class:`ProblemError`: 401 with the same words whatever is wrong with a token, 403.
        """
        sent = bearer(headers)
        caller = OWNER if hmac.compare_digest(sent, self._admin_token) else None
        token = sent.decode("latin-1")
        # A token that nobody can have made costs no look into the database.
        rest = token.removeprefix(TOKEN)
        if (
            caller is None
            and token.startswith(TOKEN)
            and secrets.well_formed(secrets.PREFIX + rest)
        ):
            caller = await asyncio.to_thread(self._holder, token)
        if caller is None:
            raise _unknown("admin token")
        if permission is not None:
            may(caller, permission)
        return caller

    def _holder(self, token: str) -> Caller | None:
        now = int(time.time())
        found = tokens.find(self._engine, self._digest(token))
        if found is None or found.revoked_at is not None:
            return None
        if found.expires_at is not None and found.expires_at <= now:
            return None
        if (found.last_used_at or 0) + USED_EVERY <= now:
            tokens.used(self._engine, found.id, now)
        # A role that the configuration has no more gives nothing, not even what it used to.
        return Caller(
            name=found.id, permissions=self.roles().get(found.role, frozenset()), role=found.role,
            organisation=found.organisation, team=found.team,
        )  # fmt: skip

    def caller_of(self, user: UserInfo) -> Caller:
        """A user of the dashboard, with what their role may as of now."""
        return Caller(
            name=user.id, permissions=self.roles().get(user.role, frozenset()), role=user.role,
            organisation=user.organisation, team=user.team,
        )  # fmt: skip

    def _digest(self, token: str) -> bytes:
        return secrets.digest(self._pepper, token.encode())


def may(caller: Caller, permission: str) -> None:
    """Raise :class:`ProblemError` (403) unless the caller has the permission."""
    if permission not in caller.permissions:
        raise ProblemError(403, "forbidden", f"{caller.name} lacks the permission {permission}.")


def may_all(caller: Caller, permissions: frozenset[str], role: str) -> None:
    """Raise :class:`ProblemError` (403) where ``role`` may what the caller may not."""
    beyond = sorted(permissions - caller.permissions)
    if beyond:
        detail = f"role: {role} may {beyond[0]}, and {caller.name} may not."
        raise ProblemError(403, "forbidden", detail)


def theirs(caller: Caller, where: Mapping[str, str]) -> dict[str, str]:
    """What calls must be like to be asked for and the caller's. Raises :class:`ProblemError` (403)
    where another's are asked for."""
    found = dict(where)
    for name, value in caller.within.items():
        if found.setdefault(name, value) != value:
            detail = f"{name}={found[name]!r}: {caller.name} belongs to another one."
            raise ProblemError(403, "forbidden", detail)
    return found


def bearer(headers: Headers) -> bytes:
    """What stands behind ``Bearer``, or nothing."""
    given = [value for field, value in headers if field == b"authorization"]
    scheme, _, sent = (given[0] if len(given) == 1 else b"").partition(b" ")
    return sent.strip() if scheme.lower() == b"bearer" else b""


def check_token(headers: Headers, token: bytes, name: str) -> None:
    """Raise :class:`ProblemError` (401) unless ``token`` came along."""
    if not hmac.compare_digest(bearer(headers), token):
        raise _unknown(name)


def _unknown(name: str) -> ProblemError:
    detail = f"The {name} is missing, or is another one."
    fix = f"Send `Authorization: Bearer` with the {name} (`secrets/` in the data directory)."
    return ProblemError(401, "unauthorized", detail, fix=fix)
