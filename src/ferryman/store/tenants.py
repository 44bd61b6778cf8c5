"""Organisations and their teams as records: the names that keys and tokens may say.

While there is no record, any name will do. Once there is an organisation, keys and tokens that are
made may name those alone that there are; once an organisation has a team, the same holds for its
teams. A name that is archived can't be given any more. What was named before stays as it is.
"""

import time
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct

from ferryman.store import audit
from ferryman.store.audit import Act
from ferryman.store.db import add_to_meta, reading, writing
from ferryman.store.dimensions import NONE, Within
from ferryman.store.schema import (
    admin_tokens,
    meta,
    organisations,
    teams,
    users,
    virtual_keys,
)

LONGEST: Final = 100
"""Characters of a name and of a title."""
_NUMBER: Final = "tenants"


class Tenant(Struct, frozen=True, kw_only=True):
    """An organisation, or a team of one. Times are Unix seconds; None = never."""

    organisation: str
    team: str = ""
    """Empty = this is the organisation."""
    title: str
    created_at: int
    created_by: str
    archived_at: int | None = None


class TenantFieldError(ValueError):
    """A name or title can't be used; the message says why."""


class UnknownTenantError(ValueError):
    """There is no such organisation or team, or it is archived; the message says which."""


class TakenError(Exception):
    """There is one of that name; the message says which."""


class InUseError(Exception):
    """Keys or tokens of it still work; the message says how many."""


def lock(connection: sa.Connection) -> None:
    """Of transactions about tenants and what they may take, only one is at work at a time: first
    this, then the number of a change of keys, then the audit log."""
    add_to_meta(connection, _NUMBER, 1)


def number(engine: sa.Engine) -> int:
    """Changes with every transaction that :func:`lock` let in; cheap, for polling."""
    with reading(engine) as connection:
        query = sa.select(meta.c.value).where(meta.c.name == _NUMBER)
        return int(connection.scalar(query) or 0)


def check(connection: sa.Connection, organisation: str | None, team: str | None) -> None:
    """Whether something new may be these. Raises :class:`UnknownTenantError`.

    Locks (see :func:`lock`), so that it is still true when the transaction ends.
    """
    if not organisation:  # a team of nobody has no record
        return
    lock(connection)
    if _some(connection, sa.select(organisations.c.name)):
        _alive(connection, organisation)
    if team and _some(connection, sa.select(teams.c.name).where(_of(organisation))):
        _alive(connection, organisation, team)


def create(engine: sa.Engine, tenant: Tenant) -> Tenant:
    """Keep a new one. Raises :class:`TenantFieldError`, :class:`TakenError`, and of a team,
    :class:`UnknownTenantError` where its organisation has no record."""
    for what, name in (("organisation", tenant.organisation), ("team", tenant.team)):
        if name or what == "organisation":
            _check_name(what, name)
    _check_title(tenant.title)
    with writing(engine) as connection:
        lock(connection)
        if tenant.team:
            _alive(connection, tenant.organisation)
        if _found(connection, tenant.organisation, tenant.team) is not None:
            raise TakenError(f"The {_words(tenant.organisation, tenant.team)} is there already.")
        table = teams if tenant.team else organisations
        connection.execute(table.insert().values(**_row(tenant)))
        act = f"{_kind(tenant.team)}.create"
        audit.append(connection, Act(action=act, target=_target(tenant), after=tenant))
    return tenant


def page(
    engine: sa.Engine, *, limit: int, within: Within, organisation: str | None = None,
    after: str | None = None,
) -> list[Tenant]:  # fmt: skip
    """Organisations, or the teams of one, behind the name ``after``; archived ones too."""
    table = organisations if organisation is None else teams
    query = sa.select(table).order_by(table.c.name).limit(limit)
    if organisation is not None:
        query = query.where(_of(organisation))
    query = query.where(*_theirs(table, within))
    if after is not None:
        query = query.where(table.c.name > after)
    with reading(engine) as connection:
        return [_tenant(row) for row in connection.execute(query)]


def get(engine: sa.Engine, organisation: str, team: str = "", *, within: Within) -> Tenant | None:
    """One of them; None where there is none ``within``."""
    with reading(engine) as connection:
        return _found(connection, organisation, team, within)


def change(
    engine: sa.Engine, organisation: str, team: str = "", *, title: str | None = None,
    archived: bool | None = None, within: Within,
) -> Tenant:  # fmt: skip
    """Call it otherwise, archive it, or bring it back; None leaves as it is.

    Raises :class:`UnknownTenantError`, :class:`TenantFieldError`, :class:`InUseError`.
    """
    if title is not None:
        _check_title(title)
    with writing(engine) as connection:
        lock(connection)
        old = _found(connection, organisation, team, within)
        if old is None:
            raise UnknownTenantError(f"There is no {_words(organisation, team)}.")
        row: dict[str, Any] = {} if title is None or title == old.title else {"title": title}
        if archived is not None and archived != (old.archived_at is not None):
            if archived:
                _unused(connection, organisation, team)
            elif team:
                _alive(connection, organisation)
            row["archived_at"] = int(time.time()) if archived else None
        if not row:
            return old
        table = teams if team else organisations
        connection.execute(table.update().where(*_named(organisation, team)).values(**row))
        new = _found(connection, organisation, team)
        assert new is not None
        was, now = ({name: getattr(each, name) for name in row} for each in (old, new))
        act = f"{_kind(team)}.change"
        audit.append(connection, Act(action=act, target=_target(old), before=was, after=now))
        return new


# -- what is asked of the tables -------------------------------------------------------------------


def _alive(connection: sa.Connection, organisation: str, team: str = "") -> None:
    found = _found(connection, organisation, team)
    if found is None or found.archived_at is not None:
        what = "is archived" if found is not None else "is not known"
        raise UnknownTenantError(f"The {_words(organisation, team)} {what}.")


def _unused(connection: sa.Connection, organisation: str, team: str) -> None:
    now = int(time.time())
    counts = []
    for table in (virtual_keys, admin_tokens):
        whose = [table.c.organisation == organisation, *([table.c.team == team] if team else [])]
        works = sa.or_(table.c.expires_at.is_(None), table.c.expires_at > now)
        query = sa.select(sa.func.count()).where(*whose, table.c.revoked_at.is_(None), works)
        counts.append(connection.scalar(query) or 0)
    whose = [users.c.organisation == organisation, *([users.c.team == team] if team else [])]
    counts.append(connection.scalar(sa.select(sa.func.count()).where(*whose, users.c.active)) or 0)
    if any(counts):
        raise InUseError(
            f"{counts[0]} keys and {counts[1]} tokens of the {_words(organisation, team)} work, "
            f"and {counts[2]} users are active."
        )


def _some(connection: sa.Connection, query: sa.Select[Any]) -> bool:
    return connection.execute(query.limit(1)).first() is not None


def _found(
    connection: sa.Connection, organisation: str, team: str, within: Within | None = None
) -> Tenant | None:
    table = teams if team else organisations
    query = sa.select(table).where(*_named(organisation, team), *_theirs(table, within or {}))
    row = connection.execute(query).first()
    return None if row is None else _tenant(row)


def _of(organisation: str) -> sa.ColumnElement[bool]:
    return teams.c.organisation == organisation


def _named(organisation: str, team: str) -> list[sa.ColumnElement[bool]]:
    if team:
        return [_of(organisation), teams.c.name == team]
    return [organisations.c.name == organisation]


def _theirs(table: sa.Table, within: Within) -> list[sa.ColumnElement[bool]]:
    """Whoever belongs to a team sees its organisation, and of the teams its own."""
    found = []
    if "organisation" in within:
        column = organisations.c.name if table is organisations else teams.c.organisation
        found.append(column == within["organisation"])  # `-` is nobody's name
    if "team" in within and table is teams:
        found.append(teams.c.name == within["team"])
    return found


def _row(tenant: Tenant) -> dict[str, Any]:
    row = {name: getattr(tenant, name) for name in Tenant.__struct_fields__}
    team = row.pop("team")
    return row | {"name": team} if team else row | {"name": row.pop("organisation")}


def _tenant(row: Any) -> Tenant:
    found = dict(row._mapping)
    name = found.pop("name")
    if "organisation" in found:
        return Tenant(team=name, **found)
    return Tenant(organisation=name, **found)


def _kind(team: str) -> str:
    return "team" if team else "organisation"


def _target(tenant: Tenant) -> str:
    return f"{tenant.organisation}/{tenant.team}" if tenant.team else tenant.organisation


def _words(organisation: str, team: str) -> str:
    return f"team {team!r} of {organisation!r}" if team else f"organisation {organisation!r}"


def _check_name(what: str, name: str) -> None:
    plain = 0 < len(name) <= LONGEST and name.isprintable() and name == name.strip()
    if not plain or "/" in name or name == NONE:
        raise TenantFieldError(
            f"{what}: a name has 1 to {LONGEST} printable characters, without slashes, and without "
            f"blanks around them; `{NONE}` is none."
        )


def _check_title(title: str) -> None:
    if len(title) > LONGEST or not title.isprintable():
        raise TenantFieldError(f"title: give at most {LONGEST} printable characters.")
