"""Users in the database. A password is kept as an encoded argon2id hash, which others make.

Rows are locked in this order: users, sessions, tokens, what an :data:`Also` takes, the audit log.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.exc import IntegrityError

from ferryman.store import audit, tenants
from ferryman.store.audit import Act
from ferryman.store.db import reading, writing
from ferryman.store.dimensions import Within, owned
from ferryman.store.keys import EVERYBODY
from ferryman.store.names import folded
from ferryman.store.schema import admin_tokens, sessions, users

PERSON: Final = "person"
SERVICE: Final = "service"
"""A kind of user that owns tokens and keys, and never signs in."""
LONGEST: Final = 200
"""Characters of a name; e-mail addresses have up to 254, and hardly ever more than 60."""
ENDED: Final[dict[str, Any]] = {"active": False}
"""The change after which somebody is out."""


class UserInfo(Struct, frozen=True, kw_only=True):
    """What may be shown of a user. Times are Unix seconds; None = never, or nobody's."""

    id: str
    name: str
    """To sign in with; unlike all others, compared without case."""
    display: str = ""
    kind: str = PERSON
    role: str
    organisation: str | None = None
    team: str | None = None
    external_id: str | None = None
    """A directory's (SCIM); one of a kind within an organisation."""
    issuer: str | None = None
    subject: str | None = None
    """Who that is to an identity provider (OpenID Connect): both or neither."""
    active: bool = True
    created_at: int
    created_by: str
    changed_at: int
    last_in_at: int | None = None


class TakenError(Exception):
    """Another user has this name, external id, or issuer and subject; the message says which."""


Also = Callable[[sa.Connection, UserInfo], list[Act]]
"""What else goes with a change, in its transaction; what it did is written down with it."""
_FIELDS: Final = UserInfo.__struct_fields__
_SHOWN: Final = [users.c[name] for name in _FIELDS]


def new_id() -> str:
    """An id for a user."""
    return "usr_" + secrets.token_hex(8)


def create(engine: sa.Engine, user: UserInfo, password: str | None = None) -> None:
    """Keep a user. ``password``: encoded (argon2id); None = no way in by one.

    Raises :class:`TakenError`, ``tenants.UnknownTenantError``.
    """
    row = {name: getattr(user, name) for name in _FIELDS}
    row |= {"folded": folded(user.name), "password": password}
    with _free(), writing(engine) as connection:
        tenants.check(connection, user.organisation, user.team)
        _check_free(connection, user.id, row)
        connection.execute(users.insert().values(**row))
        audit.append(connection, Act(action="user.create", target=user.id, after=user))


def find(engine: sa.Engine, user_id: str, within: Within = EVERYBODY) -> UserInfo | None:
    """The user with this id."""
    return _one(engine, users.c.id == user_id, *owned(users.c, within))


def find_by_name(engine: sa.Engine, name: str, within: Within = EVERYBODY) -> UserInfo | None:
    """The user with this name, however it is written."""
    return _one(engine, users.c.folded == folded(name), *owned(users.c, within))


def find_by_subject(engine: sa.Engine, issuer: str, subject: str) -> UserInfo | None:
    """Who that is to an identity provider."""
    return _one(engine, users.c.issuer == issuer, users.c.subject == subject)


def find_by_external_id(
    engine: sa.Engine, external_id: str, within: Within = EVERYBODY
) -> UserInfo | None:
    """Who that is in a directory; without ``within``, the first of those who are."""
    return _one(engine, users.c.external_id == external_id, *owned(users.c, within))


def password_of(engine: sa.Engine, name: str) -> tuple[UserInfo, str | None] | None:
    """The user with this name, and their encoded password."""
    shown: list[sa.Column[Any]] = [*_SHOWN, users.c.password]
    query = sa.select(*shown).where(users.c.folded == folded(name))
    with reading(engine) as connection:
        row = connection.execute(query).first()
    return None if row is None else (_info(row), row.password)


def page(
    engine: sa.Engine, *, limit: int, within: Within, after: tuple[int, str] | None = None
) -> list[UserInfo]:
    """The next users behind (created_at, id), oldest first, disabled ones too."""
    table = users.c
    query = sa.select(*_SHOWN).where(*owned(table, within))
    query = query.order_by(table.created_at, table.id).limit(limit)
    if after is not None:
        same = sa.and_(table.created_at == after[0], table.id > after[1])
        query = query.where(sa.or_(table.created_at > after[0], same))
    with reading(engine) as connection:
        return [_info(row) for row in connection.execute(query)]


def nothing(_connection: sa.Connection, _user: UserInfo) -> list[Act]:
    """Goes with a change that takes nothing else."""
    return []


def change(
    engine: sa.Engine, user_id: str, within: Within, fields: dict[str, Any], now: int, *,
    out: bool = False, also: Also = nothing,
) -> UserInfo | None:  # fmt: skip
    """Change ``fields`` of a user; None where there is none. What is not new changes nothing.

    ``out``, and ``active`` that becomes False, shut them out as :func:`shut_out` does. Raises
    :class:`TakenError`, ``tenants.UnknownTenantError``.
    """
    moved = not fields.keys().isdisjoint(("organisation", "team"))
    with _free(), writing(engine) as connection:
        if moved:  # what locks tenants comes first
            tenants.lock(connection)
        was = _locked(connection, user_id, within)
        if was is None:
            return None
        whose = {name: fields.get(name, getattr(was, name)) for name in ("organisation", "team")}
        if any(whose[name] != getattr(was, name) for name in whose):
            tenants.check(connection, whose["organisation"], whose["team"])
        row = {name: value for name, value in fields.items() if getattr(was, name) != value}
        if not row:
            return was
        told = Act(
            action="user.change", target=user_id, after=row,
            before={name: getattr(was, name) for name in row},
        )  # fmt: skip
        row = row | {"folded": folded(row.get("name", was.name)), "changed_at": now}
        _check_free(connection, user_id, {"organisation": was.organisation} | row)
        connection.execute(users.update().where(users.c.id == user_id).values(**row))
        out = out or row.get("active") is False
        acts = shut_out(connection, user_id, now) if out else []
        made = _info(connection.execute(sa.select(*_SHOWN).where(users.c.id == user_id)).one())
        for act in (told, *acts, *also(connection, made)):
            audit.append(connection, act)
        return made


def set_password(
    engine: sa.Engine, user_id: str, within: Within, password: str | None, now: int
) -> UserInfo | None:
    """Give a user another password (encoded; None takes it away), and end their sessions."""
    with writing(engine) as connection:
        was = _locked(connection, user_id, within)
        if was is None:
            return None
        row = {"password": password, "changed_at": now}
        connection.execute(users.update().where(users.c.id == user_id).values(**row))
        connection.execute(sessions.delete().where(sessions.c.user_id == user_id))
        audit.append(connection, Act(action="user.password", target=user_id))
        return was


def remove(
    engine: sa.Engine, user_id: str, within: Within, now: int, also: Also = nothing
) -> UserInfo | None:
    """Let go of a user, who is shut out; None where there is none."""
    with writing(engine) as connection:
        was = _locked(connection, user_id, within)
        if was is None:
            return None
        acts = shut_out(connection, user_id, now)
        connection.execute(users.delete().where(users.c.id == user_id))
        told = Act(action="user.remove", target=user_id, before=was)
        for act in (told, *acts, *also(connection, was)):
            audit.append(connection, act)
        return was


def shut_out(connection: sa.Connection, user_id: str, now: int) -> list[Act]:
    """End a user's sessions, and revoke the tokens that are theirs or that they made, that these
    made, and so on.

    Returns what is to be written into the audit log when all else is done. Their virtual keys
    stay: that is for whoever knows which are theirs.
    """
    connection.execute(sessions.delete().where(sessions.c.user_id == user_id))
    table, acts, makers = admin_tokens.c, [], [user_id]
    seen = set(makers)
    while makers:
        theirs = sa.or_(table.created_by.in_(makers), table.user_id.in_(makers))
        made = connection.scalars(sa.select(table.id).where(theirs).order_by(table.id)).all()
        alive = sa.and_(theirs, table.revoked_at.is_(None))
        gone = admin_tokens.update().where(alive).values(revoked_at=now).returning(table.id)
        acts += [Act(action="token.revoke", target=each) for each in connection.scalars(gone).all()]
        makers = [each for each in made if each not in seen]
        seen.update(makers)
    return acts


def entered(engine: sa.Engine, user_id: str, now: int) -> None:
    """Note when a user came in."""
    with writing(engine) as connection:
        connection.execute(users.update().where(users.c.id == user_id).values(last_in_at=now))


def names(engine: sa.Engine) -> dict[str, str]:
    """Id → name of all users."""
    with reading(engine) as connection:
        return dict(connection.execute(sa.select(users.c.id, users.c.name)).tuples().all())


def _one(engine: sa.Engine, *wanted: sa.ColumnElement[bool]) -> UserInfo | None:
    query = sa.select(*_SHOWN).where(*wanted).order_by(users.c.created_at, users.c.id)
    with reading(engine) as connection:
        row = connection.execute(query.limit(1)).first()
    return None if row is None else _info(row)


def _locked(connection: sa.Connection, user_id: str, within: Within) -> UserInfo | None:
    """A user whom nobody else changes until the transaction ends."""
    mine = (users.c.id == user_id, *owned(users.c, within))
    row = connection.execute(sa.select(*_SHOWN).where(*mine).with_for_update()).first()
    return None if row is None else _info(row)


@contextmanager
def _free() -> Iterator[None]:
    """Two that take the same name at the same moment both find it free; the database does not."""
    try:
        yield
    except IntegrityError:
        raise TakenError("Another user has this name, or is the same to a directory.") from None


def _check_free(connection: sa.Connection, user_id: str, row: dict[str, Any]) -> None:
    """Raises :class:`TakenError`."""
    table = users.c
    checks = [("name", ("folded",)), ("external id", ("organisation", "external_id")),
              ("issuer and subject", ("issuer", "subject"))]  # fmt: skip
    for said, columns in checks:
        if any(row.get(name) is None for name in columns if name != "organisation"):
            continue
        same = [
            table[name].is_(None) if row.get(name) is None else table[name] == row[name]
            for name in columns
        ]
        query = sa.select(table.id).where(*same, table.id != user_id).limit(1)
        if connection.execute(query).first() is not None:
            raise TakenError(f"Another user has this {said}.")


def _info(row: sa.Row[Any]) -> UserInfo:
    return UserInfo(**{name: getattr(row, name) for name in _FIELDS})
