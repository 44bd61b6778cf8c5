"""Scoped tokens of the admin API, and the roles that they have."""

import time
from collections.abc import Iterable
from typing import Any, Final

from msgspec import structs

from ferryman.client.documents import Items, Page
from ferryman.client.identity import MadeToken, Me, NewToken, Role, Token
from ferryman.control.admin import Admin
from ferryman.control.api.access import ROLES, may_all
from ferryman.control.api.cursor import Pages
from ferryman.control.api.keys import expiry, owner_of
from ferryman.control.api.route import Route
from ferryman.control.problem import ProblemError
from ferryman.control.rows import state_of
from ferryman.control.when import rfc3339
from ferryman.log import log
from ferryman.meter.keys import hint
from ferryman.store import tokens
from ferryman.store.dimensions import NONE
from ferryman.store.keys import LONGEST, MAX_EXPIRY
from ferryman.store.tenants import UnknownTenantError
from ferryman.store.tokens import TokenInfo

DAYS: Final = 90
"""After which a token ends of which nothing else is said."""
_TIMES: Final = ("created_at", "expires_at", "revoked_at", "last_used_at")


def create_token(admin: Admin, body: NewToken) -> MadeToken:
    """Make a token. It is in this answer, and nowhere else.

    It can't be given more than its maker has: neither permissions, nor what belongs to others. One
    that is made for a user belongs where the user does, where nothing else is said.
    """
    role = role_of(admin, body.role)
    now = int(time.time())
    ends = expiry(body.expires_in, body.expires_at) or now + DAYS * 86_400
    _check(body, ends, now)
    user = admin.user(body.user) if body.user else None
    organisation, team = (
        owner_of(admin.caller, name, getattr(body, name) or None) or getattr(user, name, None)
        for name in ("organisation", "team")
    )
    secret, digest = admin.gate.mint()
    made = TokenInfo(
        id=tokens.new_id(), name=body.name, hint=hint(secret), role=role, created_at=now,
        created_by=admin.caller.name, expires_at=ends, user_id=None if user is None else user.id,
        organisation=organisation, team=team,
    )  # fmt: skip
    try:
        tokens.create(admin.engine, made, digest)
    except UnknownTenantError as error:
        raise ProblemError(400, "invalid_body", str(error)) from None
    except tokens.GoneError as error:
        raise ProblemError(409, "user_disabled", str(error)) from None
    log("control", f"token {made.id} ({role}) created by {admin.caller.name}")
    return MadeToken(**structs.asdict(_shown(made)), token=secret)


def list_tokens(admin: Admin, pages: Pages) -> Page[Token]:
    """All tokens, those that have ended too, oldest first."""
    found = tokens.page(
        admin.engine, limit=pages.more, within=admin.caller.within,
        after=pages.after(tuple[int, str]),
    )  # fmt: skip
    shown, more = pages.cut(found, lambda token: (token.created_at, token.id))
    return Page(data=[_shown(token) for token in shown], next=more)


def revoke_token(admin: Admin, token: str) -> Token:
    """Revoke a token for good, by id. Again is no error."""
    found = tokens.revoke(admin.engine, token, admin.caller.within, int(time.time()))
    if found is None:
        raise ProblemError(404, "token_not_found", f"There is no token with the id {token!r}.")
    log("control", f"token {found.id} revoked by {admin.caller.name}")
    return _shown(found)


def list_roles(admin: Admin) -> Items[Role]:
    """Roles that a token can have: those that are built in, and the configuration's."""
    return Items(
        data=[
            Role(name=name, built_in=name in ROLES, permissions=tuple(sorted(permissions)))
            for name, permissions in admin.gate.roles().items()
        ]
    )


def me(admin: Admin) -> Me:
    """Who asks, and what they may."""
    it = admin.caller
    return Me(
        name=it.name, role=it.role, organisation=it.organisation, team=it.team,
        permissions=tuple(sorted(it.permissions)),
    )  # fmt: skip


def role_of(admin: Admin, name: str) -> str:
    """The role of that name, to be given away.

    Raises :class:`ProblemError`: there is none, or it may what the caller may not.
    """
    roles = admin.gate.roles()
    if name not in roles:
        fix = f"Give one of {', '.join(roles)}."
        raise ProblemError(400, "invalid_body", f"role: there is none called {name!r}.", fix=fix)
    may_all(admin.caller, roles[name], name)
    return name


def _check(body: NewToken, ends: int, now: int) -> None:
    check_texts(body, ("name", "organisation", "team"))
    if not now < ends <= MAX_EXPIRY:
        raise ProblemError(400, "invalid_body", "The end must lie ahead, before the year 2106.")


def check_texts(body: object, names: Iterable[str]) -> None:
    """Raise :class:`ProblemError` (400) unless all that is said by these names can be kept."""
    for name in names:
        said = getattr(body, name)
        if said is None:
            continue
        if not said.strip() or len(said) > LONGEST or not said.isprintable() or said == NONE:
            detail = f"{name}: give 1 to {LONGEST} printable characters, other than `{NONE}` alone."
            raise ProblemError(400, "invalid_body", detail)


def _shown(token: TokenInfo) -> Token:
    times = {name: getattr(token, name) for name in _TIMES}
    said = {name: None if at is None else rfc3339(at) for name, at in times.items()}
    state = state_of(token.expires_at, token.revoked_at, time.time())
    return Token(state=state, **(structs.asdict(token) | said))


_EXAMPLE: Final[dict[str, Any]] = {
    "name": "sales reports", "role": "viewer", "team": "sales", "expires_in": "30d",
}  # fmt: skip
ROUTES: Final = (
    Route("POST", "/tokens", "tokens.write", create_token, status=201,
          errors=(404, 409), example=_EXAMPLE, tenants=True),
    Route("GET", "/tokens", "tokens.read", list_tokens, tenants=True),
    Route("DELETE", "/tokens/{token}", "tokens.write", revoke_token, errors=(404,), tenants=True),
    Route("GET", "/roles", "api.read", list_roles, tenants=True),
    Route("GET", "/me", "api.read", me, tenants=True),
)  # fmt: skip
