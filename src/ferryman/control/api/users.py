"""Users of the dashboard: who they are, what they may, and their passwords.

Nobody makes or changes one that may more than they do, nor one of another organisation or team.
"""

import time
from typing import Any, Final

from msgspec import UNSET, structs

from ferryman.client.documents import Page
from ferryman.client.identity import NewUser, Password, User, UserChange
from ferryman.control.admin import Admin
from ferryman.control.api.access import may_all
from ferryman.control.api.cursor import Pages
from ferryman.control.api.keys import owner_of
from ferryman.control.api.route import Route
from ferryman.control.api.tokens import check_texts, role_of
from ferryman.control.problem import ProblemError
from ferryman.control.when import rfc3339
from ferryman.log import log
from ferryman.store import leaving, users
from ferryman.store.tenants import UnknownTenantError
from ferryman.store.users import PERSON, SERVICE, TakenError, UserInfo

_TIMES: Final = ("created_at", "changed_at", "last_in_at")
_OWNERS: Final = ("organisation", "team")


def create_user(admin: Admin, body: NewUser) -> User:
    """Make a user. Without a password, they sign in by an identity provider or not at all.

    Who is no owner has one only if `identity.passwords` is `everyone`.
    """
    _check_name(body.name)
    check_texts(body, ("display", *_OWNERS))
    if body.kind == SERVICE and body.password is not None:
        raise ProblemError(400, "invalid_body", "password: a service never signs in.")
    role = role_of(admin, body.role)
    kept = None if body.password is None else _encoded(admin, body.password, body.name, role)
    now = int(time.time())
    made = UserInfo(
        id=users.new_id(), name=body.name.strip(), display=body.display or "", kind=body.kind,
        role=role,
        organisation=owner_of(admin.caller, "organisation", body.organisation or None) or None,
        team=owner_of(admin.caller, "team", body.team or None) or None,
        created_at=now, created_by=admin.caller.name, changed_at=now,
    )  # fmt: skip
    try:
        users.create(admin.engine, made, kept)
    except TakenError as error:
        raise ProblemError(409, "user_exists", str(error)) from None
    except UnknownTenantError as error:
        raise ProblemError(400, "invalid_body", str(error)) from None
    log("control", f"user {made.id} ({made.role}) created by {admin.caller.name}")
    return _shown(made)


def list_users(admin: Admin, pages: Pages) -> Page[User]:
    """All users, disabled ones too, oldest first."""
    found = users.page(
        admin.engine, limit=pages.more, within=admin.caller.within,
        after=pages.after(tuple[int, str]),
    )  # fmt: skip
    shown, more = pages.cut(found, lambda user: (user.created_at, user.id))
    return Page(data=[_shown(user) for user in shown], next=more)


def one_user(admin: Admin, user: str) -> User:
    """One user, by id or name."""
    return _shown(admin.user(user))


def change_user(admin: Admin, user: str, body: UserChange) -> User:
    """Change a user, by id or name. Sessions that are open follow at once.

    Whoever is disabled, moved to another organisation or team, or given a role that may less is
    signed out; the tokens that they made are revoked, and stay so. With whoever is disabled, the
    virtual keys end that have them as `user`.
    """
    was = _beneath(admin, user)
    given = {name: value for name, value in structs.asdict(body).items() if value is not UNSET}
    if "name" in given:
        given["name"] = given["name"].strip()
        _check_name(given["name"])
    check_texts(body, [name for name in ("display", *_OWNERS) if given.get(name)])
    if "display" in given:
        given["display"] = given["display"] or ""
    if "role" in given:
        role_of(admin, given["role"])
    for name in _OWNERS:
        if name in given:
            given[name] = owner_of(admin.caller, name, given[name] or "") or None
    changed = {name for name in given if getattr(was, name) != given[name]}
    roles = admin.gate.roles()
    less = roles.get(was.role, frozenset()) - roles.get(given.get("role", was.role), frozenset())
    out = bool(less or changed & {*_OWNERS})
    try:
        found = users.change(
            admin.engine, was.id, admin.caller.within, given, int(time.time()), out=out,
            also=leaving.changed(was, admin.caller.within),
        )  # fmt: skip
    except TakenError as error:
        raise ProblemError(409, "user_exists", str(error)) from None
    except UnknownTenantError as error:
        raise ProblemError(400, "invalid_body", str(error)) from None
    if changed:
        admin.desk.changed()
        log("control", f"user {was.id}: {', '.join(sorted(changed))} set by {admin.caller.name}")
    return _shown(found or admin.user(user))


def set_password(admin: Admin, user: str, body: Password) -> User:
    """Give a user another password, by id or name, and end their sessions.

    Without one (null), they can't sign in by a password any more. Who is no owner has one only if
    `identity.passwords` is `everyone`.
    """
    was = _beneath(admin, user)
    if was.kind != PERSON and body.password is not None:
        raise ProblemError(400, "invalid_body", "password: a service never signs in.")
    kept = None if body.password is None else _encoded(admin, body.password, was.name, was.role)
    found = users.set_password(
        admin.engine, was.id, admin.caller.within, kept, int(time.time())
    )  # fmt: skip
    log("control", f"user {was.id}: password set by {admin.caller.name}")
    return _shown(found or admin.user(user))


def remove_user(admin: Admin, user: str) -> User:
    """Remove a user for good, by id or name; their sessions, tokens and virtual keys end."""
    was, now, within = _beneath(admin, user), int(time.time()), admin.caller.within
    users.remove(admin.engine, was.id, within, now, leaving.removed(now, within))
    admin.desk.changed()
    log("control", f"user {was.id} removed by {admin.caller.name}")
    return _shown(was)


def _beneath(admin: Admin, user: str) -> UserInfo:
    """One whom the caller may change: they would else act as somebody who may more, or lock them
    out. Raises :class:`ProblemError` (403, 404)."""
    found = admin.user(user)
    may_all(admin.caller, admin.gate.roles().get(found.role, frozenset()), found.role)
    return found


def _encoded(admin: Admin, password: str, name: str, role: str) -> str:
    if not admin.configuration.password_for(role):
        detail = f"password: owners alone have one, and the role of {name} is {role}."
        raise ProblemError(400, "passwords_for_owners", detail)
    from ferryman.control import passwords  # here: few installations have users

    try:
        passwords.check(password, name)
    except passwords.WeakPasswordError as error:
        raise ProblemError(400, "weak_password", f"password: {error}") from None
    return passwords.encoded(password)


def _check_name(name: str) -> None:
    name = name.strip()
    fine = 0 < len(name) <= users.LONGEST and name.isprintable() and " " not in name
    if not fine or name.startswith("usr_"):
        detail = f"name: give 1 to {users.LONGEST} printable characters without spaces, such as an "
        raise ProblemError(400, "invalid_body", detail + "e-mail address; not one with usr_ first.")


def _shown(user: UserInfo) -> User:
    times = {name: getattr(user, name) for name in _TIMES}
    said = {name: None if at is None else rfc3339(at) for name, at in times.items()}
    return User(**(structs.asdict(user) | said))


_EXAMPLE: Final[dict[str, Any]] = {
    "name": "anna@example.com", "role": "developer", "team": "sales",
}  # fmt: skip
_ONE: Final = "/users/{user}"
ROUTES: Final = (
    Route("POST", "/users", "users.write", create_user, status=201, errors=(409,),
          example=_EXAMPLE, tenants=True),
    Route("GET", "/users", "users.read", list_users, tenants=True),
    Route("GET", _ONE, "users.read", one_user, errors=(404,), tenants=True),
    Route("PATCH", _ONE, "users.write", change_user, errors=(404, 409),
          example={"active": False}, tenants=True),
    Route("PUT", _ONE + "/password", "users.write", set_password, errors=(404,),
          example={"password": "correct horse battery"}, tenants=True),
    Route("DELETE", _ONE, "users.write", remove_user, errors=(404,), tenants=True),
)  # fmt: skip
