"""The page Users & tokens: who may come in, as what; and programs with tokens of the admin API."""

import time
from collections import defaultdict
from typing import Any, Final

from ferryman.client.identity import NewToken, NewUser, Password, UserChange
from ferryman.control.api import tokens, users
from ferryman.control.api.cursor import Pages, key_of
from ferryman.control.dashboard.desk import Asked, Desk, Page
from ferryman.control.problem import ProblemError
from ferryman.store.users import SERVICE

LISTED: Final = 100
"""Users on a page."""
MOST_TOKENS: Final = 1000
EXPIRIES: Final = (("30d", "30 days"), ("90d", "90 days"), ("1y", "1 year"), ("1d", "1 day"))


def page(desk: Desk, asked: Asked) -> Page:
    """All users, and tokens; those that work first."""
    return _listed(desk, asked.query.get("cursor", ""))


def create(desk: Desk, asked: Asked) -> Page:
    """Make a user."""
    form = asked.form
    new = NewUser(
        name=form.get("name", "").strip(), role=form.get("role", ""),
        display=_text(form, "display"),
        organisation=_text(form, "organisation"), team=_text(form, "team"),
        password=form.get("password") or None,
        kind=SERVICE if form.get("service") == "1" else "person",
    )  # fmt: skip
    try:
        made = users.create_user(desk.admin, new)
    except ProblemError as error:
        return _listed(desk, problem=error, said=form)
    return _listed(desk, done=f"{made.name} is a user now.")


def change(desk: Desk, asked: Asked) -> Page:
    """Give one another role or place, shut one out, let one in again, or remove one."""
    form = asked.form
    name, what = form.get("user", ""), form.get("do", "")
    try:
        if what == "remove":
            done = f"{users.remove_user(desk.admin, name).name} is removed."
        elif what in ("disable", "enable"):
            body = UserChange(active=what == "enable")
            found = users.change_user(desk.admin, name, body)
            done = f"{found.name} {'may come in again' if found.active else 'is shut out'}."
        else:
            body = UserChange(role=form.get("role", ""))
            if "organisation" in form or "team" in form or not asked.caller.within:
                body.organisation, body.team = _text(form, "organisation"), _text(form, "team")
            done = f"{users.change_user(desk.admin, name, body).name} is changed."
    except ProblemError as error:
        return _listed(desk, problem=error)
    return _listed(desk, done=done)


def password(desk: Desk, asked: Asked) -> Page:
    """Give one another password."""
    body = Password(password=asked.form.get("password") or None)
    try:
        found = users.set_password(desk.admin, asked.form.get("user", ""), body)
    except ProblemError as error:
        return _listed(desk, problem=error)
    said = "another password now" if body.password else "no password any more"
    return _listed(desk, done=f"{found.name} has {said}.")


def make_token(desk: Desk, asked: Asked) -> Page:
    """Make a token and show it: this answer is the only place where it ever stands."""
    form = asked.form
    new = NewToken(name=form.get("name", "").strip(), role=form.get("role", ""),
                   expires_in=form.get("expires") or None)  # fmt: skip
    try:
        made = tokens.create_token(desk.admin, new)
    except ProblemError as error:
        return _listed(desk, problem=error)
    return _listed(desk, secret=made.token, done=f"The token {made.name} is made")


def revoke_token(desk: Desk, asked: Asked) -> Page:
    """Shut a token out for good."""
    try:
        gone = tokens.revoke_token(desk.admin, asked.form.get("token", ""))
    except ProblemError as error:
        return _listed(desk, problem=error)
    return _listed(desk, done=f"The token {gone.name} is revoked.")


def _listed(
    desk: Desk, cursor: str = "", *, done: str = "", secret: str = "",
    problem: ProblemError | None = None, said: dict[str, str] | None = None,
) -> Page:  # fmt: skip
    admin = desk.admin
    key = key_of(admin.admin_token)
    question = b"users" + repr(sorted(admin.caller.within.items())).encode()
    found = users.list_users(
        admin, Pages(limit=LISTED, cursor=cursor, key=key, question=question)
    )  # fmt: skip
    held = []
    if "tokens.read" in admin.caller.permissions:
        pages = Pages(limit=MOST_TOKENS, cursor="", key=key, question=b"tokens")
        held = list(reversed(tokens.list_tokens(admin, pages).data))
    roles = admin.gate.roles()
    mine = [name for name, may in roles.items() if may <= admin.caller.permissions]
    values: dict[str, Any] = {
        "users": found.data, "more": found.next, "older": bool(cursor), "roles": mine,
        "keyed": {name for name in roles if desk.configuration.password_for(name)},
        "known": roles, "bound": bool(admin.caller.within), "me": admin.caller.name,
        "beneath": {u.id for u in found.data
                    if roles.get(u.role, frozenset()) <= admin.caller.permissions},
        "working": [each for each in held if each.state == "active"],
        "ended": [each for each in held if each.state != "active"],
        "names": defaultdict(str, {u.id: u.name for u in found.data}),
        "expiries": EXPIRIES, "now": time.time(),
        "secret": secret, "done": done, "problem": "" if problem is None else problem.detail,
        "said": defaultdict(str, said or {}),
    }  # fmt: skip
    return Page(template="people.html", title="Users & tokens", values=values,
                status=200 if problem is None else problem.status)  # fmt: skip


def _text(form: dict[str, str], name: str) -> str | None:
    return form.get(name, "").strip() or None
