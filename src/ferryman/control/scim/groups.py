"""Groups by SCIM: ``/Groups``. Their names are what ``identity.groups`` gives roles by."""

import time
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ferryman.control.scim import desk as common
from ferryman.control.scim.desk import Desk, Handler, missing, text_in
from ferryman.control.scim.error import wrong
from ferryman.control.scim.patch import patched
from ferryman.control.scim.paths import GROUP, Json
from ferryman.control.scim.schemas import tidied
from ferryman.log import log
from ferryman.store import scim
from ferryman.store.scim import Group

COLUMNS: Final = {"id": "id", "displayname": "folded", "externalid": "external_id"}
MOST_MEMBERS: Final = 100_000
_OWN: Final = ("displayName", "externalId", "members")


def list_groups(desk: Desk, _ident: str, _body: Any) -> tuple[int, Json]:
    """Groups, oldest first."""
    return 200, common.chosen(desk.query, found(desk))


def found(desk: Desk) -> list[Json]:
    """All among which there are those that the filter means, oldest first."""
    only = common.equal_to(desk.query.filter, COLUMNS)
    seen = desk.query.filter is not None or _wants_members(desk)
    rows = scim.list_groups(desk.admin.engine, desk.organisation, only, members=seen)
    return [resource(desk, each) for each in rows]


def get_group(desk: Desk, ident: str, _body: Any) -> tuple[int, Json]:
    """One group, and who is in it."""
    seen = _wants_members(desk)
    rows = scim.list_groups(desk.admin.engine, desk.organisation, {"id": ident}, members=seen)
    if not rows:
        raise missing("group", ident)
    return 200, common.shown(desk.query, resource(desk, rows[0]))


def add_group(desk: Desk, _ident: str, body: Any) -> tuple[int, Json]:
    """Make a group."""
    now = int(time.time())
    empty = Group(
        id=scim.new_group_id(), organisation=desk.organisation or "", name="", external_id=None,
        attributes="", created_at=now, changed_at=now,
    )  # fmt: skip
    group = _adopt(empty, _said(body), now)
    made = scim.add_group(desk.admin.engine, desk.organisation, group, desk.grants)
    return 201, _done(desk, made, "made")


def put_group(desk: Desk, ident: str, body: Any) -> tuple[int, Json]:
    """Say anew what a group is called, and who is in it."""
    said = _said(body)
    return _edit(desk, ident, lambda _old: said)


def patch_group(desk: Desk, ident: str, body: Any) -> tuple[int, Json]:
    """Change a group, or who is in it."""
    return _edit(desk, ident, lambda old: tidied(GROUP, patched(GROUP, _kept(old), body)))


def remove_group(desk: Desk, ident: str, _body: Any) -> tuple[int, None]:
    """Let go of a group: those in it lose what it gave."""
    now = int(time.time())
    if not scim.remove_group(desk.admin.engine, desk.organisation, ident, desk.grants, now):
        raise missing("group", ident)
    log("control", f"group {ident} removed by {desk.admin.caller.name}")
    return 204, None


def _edit(desk: Desk, ident: str, said: Any) -> tuple[int, Json]:
    now = int(time.time())
    made = scim.edit_group(
        desk.admin.engine, desk.organisation, ident, lambda old: _adopt(old, said(old), now),
        desk.grants,
    )  # fmt: skip
    if made is None:
        raise missing("group", ident)
    return 200, _done(desk, made, "changed")


def _done(desk: Desk, made: Group, how: str) -> Json:
    log("control", f"group {made.id} {how} by {desk.admin.caller.name}")
    return common.shown(desk.query, resource(desk, made))


def _said(body: Any) -> Json:
    if not isinstance(body, dict):
        raise wrong("invalidSyntax", "Give an object.")
    return tidied(GROUP, body)


def _wants_members(desk: Desk) -> bool:
    """Whether an answer has them: of a group of thousands, they are most of it."""
    names = [each.lower() for each in desk.query.without]
    return "members" not in names


def _adopt(old: Group, said: Json, now: int) -> Group:
    """A group as a directory says."""
    name = text_in(said, "displayName")
    if name is None:
        raise wrong("invalidValue", "displayName: it is required.")
    found = dict(old.members)
    members = {}
    for each in said.get("members", ()):
        ident = each.get("value") if isinstance(each, dict) else None
        if not isinstance(ident, str) or "\0" in ident:
            raise wrong("invalidValue", "members: give objects with the id of a user as value.")
        members[ident] = found.get(ident, "")
    if len(members) > MOST_MEMBERS:
        raise wrong("invalidValue", f"members: a group may have {MOST_MEMBERS}.")
    return replace(
        old, name=name, external_id=text_in(said, "externalId"), members=tuple(members.items()),
        attributes=common.kept(said, _OWN), changed_at=now,
    )  # fmt: skip


def _kept(group: Group) -> Json:
    """A group as a directory said, for its changes."""
    found: Json = {"displayName": group.name}
    found |= {"externalId": group.external_id} if group.external_id is not None else {}
    found |= {"members": [{"value": each} for each, _ in group.members]} if group.members else {}
    return found | msgspec.json.decode(group.attributes or "{}", type=dict[str, Any])


def resource(desk: Desk, group: Group) -> Json:
    """A group as SCIM has it."""
    members = [{"value": ident, "$ref": f"{desk.base}/Users/{ident}"} for ident, _ in group.members]
    found = {
        "schemas": [GROUP], "id": group.id, **_kept(group),
        "meta": common.about(desk, "Group", group.id, group.created_at, group.changed_at),
    }  # fmt: skip
    return found | ({"members": members} if members else {})


HANDLERS: Final[dict[tuple[str, bool], Handler]] = {
    ("GET", False): list_groups,
    ("POST", False): add_group,
    ("GET", True): get_group,
    ("PUT", True): put_group,
    ("PATCH", True): patch_group,
    ("DELETE", True): remove_group,
}
"""Method, and whether there is an id in the path."""
