"""Users and groups that a directory makes here (SCIM), and what groups give to those in them.

A directory sees the users that it has made: not those that were made by hand, nor service accounts.
One that belongs to an organisation sees those of it. Who signs in by an identity provider becomes
the user that it has made for them there (``store/linking.py``).

Rows are locked in this order: groups, users (by id), sessions, tokens, keys, the audit log. Who is
in a group changes only while the group and the user are locked.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict, replace
from sqlalchemy.exc import IntegrityError

from ferryman.config.model import Grant
from ferryman.store import audit, leaving
from ferryman.store.audit import Act
from ferryman.store.db import reading, writing
from ferryman.store.keys import EVERYBODY
from ferryman.store.names import folded
from ferryman.store.schema import scim_groups, scim_members, scim_users, users
from ferryman.store.users import LONGEST, PERSON, TakenError, UserInfo, shut_out

_CHUNK: Final = 500  # ids in one IN (…)
_USER: Final = [users.c[name] for name in UserInfo.__struct_fields__]
_BARE: Final[dict[str, Any]] = {
    "display": "", "role": "", "team": None, "external_id": None, "password": None, "active": False,
}  # fmt: skip
"""What is left of somebody who is only known to be out."""


class Grants(Struct, frozen=True, kw_only=True):
    """What groups give. Nothing = roles are given by hand."""

    of: Mapping[str, Grant] = {}
    """Name of a group, folded → what it gives; the first that somebody is in counts."""
    roles: Mapping[str, frozenset[str]] = {}
    """Role → its permissions."""


class Entry(Struct, frozen=True, kw_only=True):
    """A user as a directory has them."""

    user: UserInfo
    attributes: str
    """JSON: all that it says of them."""
    groups: tuple[tuple[str, str], ...] = ()
    """Ids and names."""


class Group(Struct, frozen=True, kw_only=True):
    """A group. Times are Unix seconds."""

    id: str
    organisation: str
    """Empty = nobody's."""
    name: str
    external_id: str | None
    attributes: str
    created_at: int
    changed_at: int
    members: tuple[tuple[str, str], ...] = ()
    """Ids and names of users."""


_GROUP: Final = [
    scim_groups.c[name] for name in Group.__struct_fields__ if name != "members"
]  # fmt: skip


class NobodyError(Exception):
    """A group is to have a member whom there is not; the message says whom."""


def new_group_id() -> str:
    """An id for a group."""
    return "grp_" + secrets.token_hex(8)


# -- users -----------------------------------------------------------------------------------------


def user_count(engine: sa.Engine, organisation: str | None) -> int:
    """How many users the directory sees."""
    with reading(engine) as connection:
        return int(
            connection.scalar(sa.select(sa.func.count()).select_from(_seen(organisation))) or 0
        )


def list_users(
    engine: sa.Engine, organisation: str | None, only: Mapping[str, str], *, start: int = 0,
    limit: int | None = None,
) -> list[Entry]:  # fmt: skip
    """Users by age, from the one numbered ``start`` on; ``only``: columns of theirs."""
    query = _entries(organisation).order_by(users.c.created_at, users.c.id)
    for name, value in only.items():
        query = query.where(users.c[name] == value)
    with reading(engine) as connection:
        rows = connection.execute(query.offset(start).limit(limit)).all()
        return _with_groups(connection, [_entry(row) for row in rows])


def find_user(engine: sa.Engine, organisation: str | None, user_id: str) -> Entry | None:
    """One user."""
    return next(iter(list_users(engine, organisation, {"id": user_id})), None)


def add_user(engine: sa.Engine, entry: Entry, grants: Grants) -> Entry:
    """Keep a user. Who has only signed in under this name gives it up, and is signed out: it shows
    at their next sign-in whether they are the same.

    Raises :class:`~ferryman.store.users.TakenError`.
    """
    user = entry.user
    with _free(), writing(engine) as connection:
        acts = _make_room(connection, user)
        made = {"folded": folded(user.name), "password": None, **asdict(user)}
        connection.execute(users.insert().values(**made))
        connection.execute(scim_users.insert().values(user_id=user.id, attributes=entry.attributes))
        acts += [Act(action="user.create", target=user.id, after=user)]
        if not user.active:
            acts += _out(connection, user)
        acts += _granted(connection, [user.id], grants, user.changed_at)
        _tell(connection, acts)
        return _again(connection, user.id)


def _make_room(connection: sa.Connection, user: UserInfo) -> list[Act]:
    """Free the name of a directory's new user, if somebody has it by a claim alone.

    Nobody is taken over: what a provider says of people may be what they say of themselves.
    """
    shown: list[sa.Column[Any]] = [*_USER, users.c.password]
    same = sa.select(*shown).where(users.c.folded == folded(user.name))
    found = connection.execute(same.with_for_update()).first()
    if found is None:
        return []
    was = _user(found)
    known = connection.scalar(sa.select(scim_users.c.user_id).where(scim_users.c.user_id == was.id))
    claimed = was.issuer is not None and found.password is None and was.kind == PERSON
    if not claimed or known is not None or was.organisation != user.organisation:
        raise TakenError("Another user has this name.")
    aside = f" ({was.id})"
    name = was.name[: LONGEST - len(aside)] + aside
    acts = _written(connection, was, replace(was, name=name, changed_at=user.changed_at))
    return acts + shut_out(connection, was.id, user.changed_at)


def edit_user(
    engine: sa.Engine, organisation: str | None, user_id: str, edit: Callable[[Entry], Entry]
) -> Entry | None:
    """Change a user as ``edit`` says, which nobody else does meanwhile; None where there is none.

    Who is not active any more is out: sessions, tokens and virtual keys end. Raises
    :class:`~ferryman.store.users.TakenError`, and what ``edit`` raises: then nothing is changed.
    """
    with _free(), writing(engine) as connection:
        found = _locked_user(connection, organisation, user_id)
        if found is None:
            return None
        made = edit(found)
        was, user = found.user, made.user
        if replace(made, user=replace(user, changed_at=was.changed_at)) == found:
            return found
        acts = _written(connection, was, user)
        mine = scim_users.c.user_id == user_id
        connection.execute(scim_users.update().where(mine).values(attributes=made.attributes))
        if user.name != was.name:
            acts += leaving.follow(connection, was, user.name)
        if not user.active:
            acts += _out(connection, user)
        _tell(connection, acts)
        return made


def remove_user(engine: sa.Engine, organisation: str | None, user_id: str, now: int) -> bool:
    """Let go of a user, who is out; whether there was one.

    Of one who has signed in by an identity provider it stays known that they are out: else they
    would come in as somebody new.
    """
    with writing(engine) as connection:
        found = _locked_user(connection, organisation, user_id)
        if found is None:
            return False
        acts = [Act(action="user.remove", target=user_id, before=found.user)]
        acts += shut_out(connection, user_id, now)
        acts += leaving.removed(now, EVERYBODY)(connection, found.user)
        mine = users.c.id == user_id
        if found.user.issuer is None:
            connection.execute(users.delete().where(mine))
        else:
            bare = {"name": user_id, "folded": folded(user_id), "changed_at": now, **_BARE}
            connection.execute(users.update().where(mine).values(**bare))
        _tell(connection, acts)
        return True


def _out(connection: sa.Connection, user: UserInfo) -> list[Act]:
    return [
        *shut_out(connection, user.id, user.changed_at),
        *leaving.leave(connection, user, user.changed_at),
    ]


def _written(connection: sa.Connection, was: UserInfo, user: UserInfo) -> list[Act]:
    """Write down what is other in ``user`` than it was."""
    now = {name: value for name, value in asdict(user).items() if getattr(was, name) != value}
    if "name" in now:
        now["folded"] = folded(user.name)
    if now:
        connection.execute(users.update().where(users.c.id == was.id).values(**now))
    before = {name: getattr(was, name) for name in now if name not in ("folded", "changed_at")}
    after = {name: now[name] for name in before}
    return [Act(action="user.change", target=was.id, before=before, after=after)]


# -- groups ----------------------------------------------------------------------------------------


def list_groups(
    engine: sa.Engine, organisation: str | None, only: Mapping[str, str], *, members: bool = True
) -> list[Group]:
    """Groups by age; ``only``: columns of theirs. Without ``members``, who is in them stays out."""
    query = sa.select(*_GROUP).where(*_mine(organisation))
    for name, value in only.items():
        query = query.where(scim_groups.c[name] == value)
    query = query.order_by(scim_groups.c.created_at, scim_groups.c.id)
    with reading(engine) as connection:
        found = [_group(row) for row in connection.execute(query)]
        return _with_members(connection, found) if members else found


def find_group(engine: sa.Engine, organisation: str | None, group_id: str) -> Group | None:
    """One group."""
    return next(iter(list_groups(engine, organisation, {"id": group_id})), None)


def add_group(engine: sa.Engine, organisation: str | None, group: Group, grants: Grants) -> Group:
    """Keep a group. Raises :class:`TakenError`, :class:`NobodyError`."""
    row = {name: value for name, value in asdict(group).items() if name != "members"}
    with _free("group"), writing(engine) as connection:
        connection.execute(scim_groups.insert().values(**row, folded=folded(group.name)))
        acts = _joined(connection, organisation, replace(group, members=()), group, grants)
        told = {"name": group.name, "members": [each for each, _ in group.members]}
        _tell(connection, [Act(action="group.create", target=group.id, after=told), *acts])
        return _with_members(connection, [group])[0]


def edit_group(
    engine: sa.Engine, organisation: str | None, group_id: str, edit: Callable[[Group], Group],
    grants: Grants,
) -> Group | None:  # fmt: skip
    """As :func:`edit_user`. Raises :class:`TakenError`, :class:`NobodyError`."""
    with _free("group"), writing(engine) as connection:
        found = _locked_group(connection, organisation, group_id)
        if found is None:
            return None
        made = edit(found)
        row = {name: value for name, value in asdict(made).items()
               if name != "members" and getattr(found, name) != value}  # fmt: skip
        ids = [{each for each, _ in group.members} for group in (found, made)]
        if set(row) <= {"changed_at"} and ids[0] == ids[1]:
            return found
        mine = scim_groups.c.id == group_id
        row["folded"] = folded(made.name)
        connection.execute(scim_groups.update().where(mine).values(**row))
        acts = _joined(connection, organisation, found, made, grants)
        told = {"name": made.name, "in": sorted(ids[1] - ids[0]), "out": sorted(ids[0] - ids[1])}
        was = {"name": found.name}
        _tell(
            connection, [Act(action="group.change", target=group_id, before=was, after=told), *acts]
        )
        return _with_members(connection, [made])[0]


def remove_group(
    engine: sa.Engine, organisation: str | None, group_id: str, grants: Grants, now: int
) -> bool:
    """Let go of a group; whether there was one. Those in it lose what it gave."""
    with writing(engine) as connection:
        found = _locked_group(connection, organisation, group_id)
        if found is None:
            return False
        empty = replace(found, members=(), changed_at=now)
        acts = _joined(connection, organisation, found, empty, grants)
        connection.execute(scim_groups.delete().where(scim_groups.c.id == group_id))
        told = {"name": found.name, "members": [each for each, _ in found.members]}
        _tell(connection, [Act(action="group.remove", target=group_id, before=told), *acts])
        return True


def _joined(
    connection: sa.Connection, organisation: str | None, was: Group, group: Group, grants: Grants
) -> list[Act]:
    """See to who is in a group, and to what that gives them."""
    before, after = ({each for each, _ in of.members} for of in (was, group))
    touched = before ^ after if was.name == group.name else before | after
    _hold(connection, touched)
    table = scim_members.c
    for some in _chunks(sorted(before - after)):
        gone = sa.and_(table.group_id == group.id, table.user_id.in_(some))
        connection.execute(scim_members.delete().where(gone))
    joining = sorted(after - before)
    for some in _chunks(joining):
        there = _seen(organisation).c.user_id
        known = set(connection.scalars(sa.select(there).where(there.in_(some))))
        if missing := [each for each in some if each not in known]:
            raise NobodyError(f"members: there is no user with the id {missing[0]!r}.")
    if joining:
        rows = [{"group_id": group.id, "user_id": each} for each in joining]
        connection.execute(scim_members.insert(), rows)
    return _granted(connection, sorted(touched), grants, group.changed_at)


# -- what groups give ------------------------------------------------------------------------------


def grant_all(engine: sa.Engine, grants: Grants, now: int) -> int:
    """See to it that all users have what their groups give now; returns how many changed."""
    with reading(engine) as connection:  # most often there is nothing: don't write then
        ids = list(connection.scalars(sa.select(scim_users.c.user_id).order_by("user_id")))
        if not any(True for _ in _changes(connection, ids, grants)):
            return 0
    with writing(engine) as connection:
        _hold(connection, ids)
        acts = _granted(connection, ids, grants, now)
        _tell(connection, acts)
        return len(acts)


def _granted(connection: sa.Connection, ids: Sequence[str], grants: Grants, now: int) -> list[Act]:
    """Give users, who are locked, the role and team of the first group that has one for them.

    Who may less by it, or moves, is signed out, and tokens end that would go on as before.
    """
    acts = []
    for user_id, was, given in _changes(connection, ids, grants):
        row = {"role": given.role, "team": given.team}
        mine = users.c.id == user_id
        connection.execute(users.update().where(mine).values(**row, changed_at=now))
        acts.append(Act(action="user.change", target=user_id, before=was, after=row))
        old, new = (grants.roles.get(role, frozenset()) for role in (was["role"], given.role))
        if old - new or was["team"] != given.team:
            acts += shut_out(connection, user_id, now)
    return acts


def _changes(
    connection: sa.Connection, ids: Sequence[str], grants: Grants
) -> Iterator[tuple[str, dict[str, Any], Grant]]:
    """User, the role and team that they have, and what they are to have instead."""
    if not grants.of:
        return
    order = {name: place for place, name in enumerate(grants.of)}
    given = list(grants.of.values())
    for some in _chunks(ids):
        places: dict[str, int] = {}
        both = scim_members.join(scim_groups, scim_groups.c.id == scim_members.c.group_id)
        query = sa.select(scim_members.c.user_id, scim_groups.c.folded).select_from(both)
        for user_id, name in connection.execute(query.where(scim_members.c.user_id.in_(some))):
            if name in order:
                places[user_id] = min(places.get(user_id, len(order)), order[name])
        known = sa.select(users.c.id, users.c.role, users.c.team).where(users.c.id.in_(some))
        for user_id, role, team in connection.execute(known.order_by(users.c.id)).all():
            new = given[places[user_id]] if user_id in places else Grant()
            if (role, team) != (new.role, new.team):
                yield user_id, {"role": role, "team": team}, new


# -- parts -----------------------------------------------------------------------------------------


def _seen(organisation: str | None) -> sa.Subquery:
    """Ids of users whom the directory sees."""
    both = scim_users.join(users, users.c.id == scim_users.c.user_id)
    query = sa.select(scim_users.c.user_id).select_from(both)
    if organisation is not None:
        query = query.where(users.c.organisation == organisation)
    return query.subquery()


def _entries(organisation: str | None) -> sa.Select[Any]:
    both = users.join(scim_users, users.c.id == scim_users.c.user_id)
    query = sa.select(*_USER, scim_users.c.attributes).select_from(both)
    return query if organisation is None else query.where(users.c.organisation == organisation)


def _mine(organisation: str | None) -> list[sa.ColumnElement[bool]]:
    return [] if organisation is None else [scim_groups.c.organisation == organisation]


def _locked_user(connection: sa.Connection, organisation: str | None, user_id: str) -> Entry | None:
    query = _entries(organisation).where(users.c.id == user_id)
    row = connection.execute(query.with_for_update(of=users)).first()
    return None if row is None else _with_groups(connection, [_entry(row)])[0]


def _again(connection: sa.Connection, user_id: str) -> Entry:
    row = connection.execute(_entries(None).where(users.c.id == user_id)).one()
    return _with_groups(connection, [_entry(row)])[0]


def _locked_group(
    connection: sa.Connection, organisation: str | None, group_id: str
) -> Group | None:
    query = sa.select(*_GROUP).where(scim_groups.c.id == group_id, *_mine(organisation))
    row = connection.execute(query.with_for_update()).first()
    return None if row is None else _with_members(connection, [_group(row)])[0]


def _hold(connection: sa.Connection, ids: Iterable[str]) -> None:
    """Lock users, always in the same order, so that two who do never wait for each other."""
    for some in _chunks(sorted(ids)):
        query = sa.select(users.c.id).where(users.c.id.in_(some)).order_by(users.c.id)
        connection.execute(query.with_for_update()).all()


def _with_groups(connection: sa.Connection, entries: list[Entry]) -> list[Entry]:
    found: dict[str, list[tuple[str, str]]] = {}
    both = scim_members.join(scim_groups, scim_groups.c.id == scim_members.c.group_id)
    query = sa.select(scim_members.c.user_id, scim_groups.c.id, scim_groups.c.name)
    query = query.select_from(both).order_by(scim_groups.c.folded, scim_groups.c.id)
    for some in _chunks([each.user.id for each in entries]):
        for user_id, *group in connection.execute(query.where(scim_members.c.user_id.in_(some))):
            found.setdefault(user_id, []).append((group[0], group[1]))
    return [replace(each, groups=tuple(found.get(each.user.id, ()))) for each in entries]


def _with_members(connection: sa.Connection, groups: list[Group]) -> list[Group]:
    found: dict[str, list[tuple[str, str]]] = {}
    both = scim_members.join(users, users.c.id == scim_members.c.user_id)
    query = sa.select(scim_members.c.group_id, users.c.id, users.c.name).select_from(both)
    query = query.order_by(users.c.id)
    for some in _chunks([each.id for each in groups]):
        for group_id, *user in connection.execute(query.where(scim_members.c.group_id.in_(some))):
            found.setdefault(group_id, []).append((user[0], user[1]))
    return [replace(each, members=tuple(found.get(each.id, ()))) for each in groups]


def _tell(connection: sa.Connection, acts: Iterable[Act]) -> None:
    """The last thing of a transaction: until it ends, others that want to write one wait."""
    for act in acts:
        if act.action != "user.change" or act.before or act.after:
            audit.append(connection, act)


@contextmanager
def _free(what: str = "user") -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise TakenError(
            f"Another {what} has this name, or is the same to the directory."
        ) from None


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[at : at + _CHUNK] for at in range(0, len(ids), _CHUNK))


def _user(row: sa.Row[Any]) -> UserInfo:
    return UserInfo(**{name: getattr(row, name) for name in UserInfo.__struct_fields__})


def _entry(row: sa.Row[Any]) -> Entry:
    return Entry(user=_user(row), attributes=row.attributes)


def _group(row: sa.Row[Any]) -> Group:
    return Group(**row._mapping)
