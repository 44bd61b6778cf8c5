"""Users by SCIM: ``/Users``."""

import time
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ferryman.control.scim import desk as common
from ferryman.control.scim.desk import Desk, Handler, missing, text_in
from ferryman.control.scim.error import wrong
from ferryman.control.scim.patch import patched
from ferryman.control.scim.paths import ENTERPRISE, USER, Json
from ferryman.control.scim.schemas import tidied
from ferryman.log import log
from ferryman.store import scim
from ferryman.store.scim import Entry
from ferryman.store.users import UserInfo, new_id

COLUMNS: Final = {"id": "id", "username": "folded", "externalid": "external_id"}
_OWN: Final = ("userName", "externalId", "active")
"""Attributes that stand in columns; all others are kept as they come."""


def list_users(desk: Desk, _ident: str, _body: Any) -> tuple[int, Json]:
    """Users, oldest first."""
    query, engine = desk.query, desk.admin.engine
    if query.filter is None:
        rows = scim.list_users(engine, desk.organisation, {}, start=query.start, limit=query.count)
        total = scim.user_count(engine, desk.organisation)
        return 200, common.page(query, [resource(desk, each) for each in rows], total)
    return 200, common.chosen(query, found(desk))


def found(desk: Desk) -> list[Json]:
    """All among whom there are those that the filter means, oldest first."""
    only = common.equal_to(desk.query.filter, COLUMNS)
    rows = scim.list_users(desk.admin.engine, desk.organisation, only)
    return [resource(desk, each) for each in rows]


def get_user(desk: Desk, ident: str, _body: Any) -> tuple[int, Json]:
    """One user."""
    found = scim.find_user(desk.admin.engine, desk.organisation, ident)
    if found is None:
        raise missing("user", ident)
    return 200, common.shown(desk.query, resource(desk, found))


def add_user(desk: Desk, _ident: str, body: Any) -> tuple[int, Json]:
    """Make a user, who may nothing until a group gives them a role."""
    said, now = _said(body), int(time.time())
    user = UserInfo(
        id=new_id(), name="", role="", organisation=desk.organisation, created_at=now,
        created_by=desk.admin.caller.name, changed_at=now,
    )  # fmt: skip
    made = scim.add_user(
        desk.admin.engine, _adopt(Entry(user=user, attributes=""), said, now), desk.grants
    )
    return 201, _done(desk, made, "made")


def put_user(desk: Desk, ident: str, body: Any) -> tuple[int, Json]:
    """Say anew all that a user is. Who is not active any more is out."""
    said = _said(body)
    return _edit(desk, ident, lambda _old: said)


def patch_user(desk: Desk, ident: str, body: Any) -> tuple[int, Json]:
    """Change a user. Who is not active any more is out."""
    return _edit(desk, ident, lambda old: tidied(USER, patched(USER, _kept(old), body)))


def remove_user(desk: Desk, ident: str, _body: Any) -> tuple[int, None]:
    """Let go of a user: sessions, tokens and virtual keys end."""
    now = int(time.time())
    if not scim.remove_user(desk.admin.engine, desk.organisation, ident, now):
        raise missing("user", ident)
    desk.admin.desk.changed()
    log("control", f"user {ident} removed by {desk.admin.caller.name}")
    return 204, None


def _edit(desk: Desk, ident: str, said: Any) -> tuple[int, Json]:
    now = int(time.time())
    made = scim.edit_user(
        desk.admin.engine, desk.organisation, ident, lambda old: _adopt(old, said(old), now)
    )
    if made is None:
        raise missing("user", ident)
    return 200, _done(desk, made, "changed" if made.user.active else "changed, and is out,")


def _done(desk: Desk, made: Entry, how: str) -> Json:
    desk.admin.desk.changed()
    log("control", f"user {made.user.id} {how} by {desk.admin.caller.name}")
    return common.shown(desk.query, resource(desk, made))


def _said(body: Any) -> Json:
    if not isinstance(body, dict):
        raise wrong("invalidSyntax", "Give an object.")
    return tidied(USER, body)


def _adopt(old: Entry, said: Json, now: int) -> Entry:
    """A user as a directory says. Whether they are active stays, where it does not say so."""
    name = text_in(said, "userName")
    if name is None:
        raise wrong("invalidValue", "userName: it is required.")
    user = replace(
        old.user, name=name, external_id=text_in(said, "externalId"), display=_display(said),
        active=said.get("active", old.user.active), changed_at=now,
    )  # fmt: skip
    return replace(old, user=user, attributes=common.kept(said, _OWN))


def _display(said: Json) -> str:
    """What to call somebody in our own lists."""
    name = said.get("name") or {}
    full = f"{name.get('givenName') or ''} {name.get('familyName') or ''}"
    found = said.get("displayName") or name.get("formatted") or full
    return "".join(each for each in str(found) if each.isprintable()).strip()[: common.LONGEST]


def _kept(entry: Entry) -> Json:
    """A user as a directory said, for its changes."""
    user = entry.user
    found: Json = {"userName": user.name, "active": user.active}
    found |= {"externalId": user.external_id} if user.external_id is not None else {}
    return found | msgspec.json.decode(entry.attributes or "{}", type=dict[str, Any])


def resource(desk: Desk, entry: Entry) -> Json:
    """A user as SCIM has them."""
    user, said = entry.user, _kept(entry)
    groups = [
        {"value": ident, "$ref": f"{desk.base}/Groups/{ident}", "display": name, "type": "direct"}
        for ident, name in entry.groups
    ]
    found = {
        "schemas": [USER, *([ENTERPRISE] if ENTERPRISE in said else [])], "id": user.id, **said,
        "meta": common.about(desk, "User", user.id, user.created_at, user.changed_at),
    }  # fmt: skip
    return found | ({"groups": groups} if groups else {})


HANDLERS: Final[dict[tuple[str, bool], Handler]] = {
    ("GET", False): list_users,
    ("POST", False): add_user,
    ("GET", True): get_user,
    ("PUT", True): put_user,
    ("PATCH", True): patch_user,
    ("DELETE", True): remove_user,
}
"""Method, and whether there is an id in the path."""
