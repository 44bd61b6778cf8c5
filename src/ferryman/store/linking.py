"""Whom an identity provider signs in, and the user that a directory (SCIM) has made: one user, as
soon as it is sure that they are the same person. Then whom the directory ends is out, whatever the
provider says.

It is sure by what the provider vouches for: a claim that is the directory's ``externalId``, or an
e-mail address that it has verified and that is the user's name, or their primary address. Never
across organisations, and never once the user is known to be somebody else.

Rows are locked in this order: users (by id), sessions, tokens, keys, the audit log.
"""

from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from ferryman.store import audit, leaving
from ferryman.store.audit import Act
from ferryman.store.db import reading, writing
from ferryman.store.names import folded
from ferryman.store.schema import scim_users, users
from ferryman.store.users import UserInfo, shut_out

_USER: Final = [users.c[name] for name in UserInfo.__struct_fields__]


class Claimed(Struct, frozen=True, kw_only=True):
    """What a provider says of somebody."""

    issuer: str
    subject: str
    organisation: str | None
    external_id: str | None = None
    """What is to be the directory's ``externalId``; empty = it doesn't say. None: e-mail counts."""
    email: str = ""
    verified: bool = False


class NotSameError(Exception):
    """They may be a user of the directory, and it is not sure; the message says why not."""


def linked(engine: sa.Engine, who: Claimed, now: int) -> UserInfo | None:
    """The directory's user who that is, whoever they are to other accounts; None = there is none.

    At first they are linked: a user that they had without the directory goes, with its sessions
    and tokens. Raises :class:`NotSameError`.
    """
    with reading(engine) as connection:
        known = _known(connection, who)
        if known is not None and _of_directory(connection, known):
            return known
        if _candidate(connection, who) is None:
            return None
    with writing(engine) as connection:
        found = (_known(connection, who), _candidate(connection, who))
        held = sorted({each.id for each in found if each is not None})
        query = sa.select(users.c.id).where(users.c.id.in_(held)).order_by(users.c.id)
        connection.execute(query.with_for_update()).all()
        known, user = _known(connection, who), _candidate(connection, who)
        if known is not None and _of_directory(connection, known):
            return known
        if user is None or user.id not in held or (known is not None and known.id not in held):
            raise NotSameError("The directory changes them at this moment. Try again.")
        if user.subject is not None:
            raise NotSameError("Their user here is that of another account already.")
        return _link(connection, user, known, who, now)


def _link(
    connection: sa.Connection, user: UserInfo, known: UserInfo | None, who: Claimed, now: int
) -> UserInfo:
    acts = []
    if known is not None:
        acts += [Act(action="user.remove", target=known.id, before=known)]
        acts += shut_out(connection, known.id, now)
        acts += leaving.follow(connection, known, user.name)
        connection.execute(users.delete().where(users.c.id == known.id))
    row = {"issuer": who.issuer, "subject": who.subject}
    mine = users.c.id == user.id
    connection.execute(users.update().where(mine).values(**row, changed_at=now))
    before = dict.fromkeys(row)
    acts += [Act(action="user.change", target=user.id, before=before, after=row)]
    if not user.active:  # what has followed ends, too
        acts += leaving.leave(connection, user, now)
    for act in acts:
        audit.append(connection, act)
    return _user(connection.execute(sa.select(*_USER).where(mine)).one())


def _known(connection: sa.Connection, who: Claimed) -> UserInfo | None:
    same = (users.c.issuer == who.issuer, users.c.subject == who.subject)
    row = connection.execute(sa.select(*_USER).where(*same)).first()
    return None if row is None else _user(row)


def _of_directory(connection: sa.Connection, user: UserInfo) -> bool:
    query = sa.select(scim_users.c.user_id).where(scim_users.c.user_id == user.id)
    return connection.scalar(query) is not None


def _candidate(connection: sa.Connection, who: Claimed) -> UserInfo | None:
    """The directory's user who that is by what the provider vouches for.

    Raises :class:`NotSameError` where it vouches for too little.
    """
    if who.external_id is not None:
        same = users.c.external_id == who.external_id
        found = _rows(connection, who, same) if who.external_id else []
        return _user(found[0]) if found else None
    if not who.email:
        return None
    found = _rows(connection, who, users.c.folded == folded(who.email))
    if not found:
        text = sa.func.lower(scim_users.c.attributes)
        some = _rows(connection, who, text.contains(who.email.lower(), autoescape=True))
        found = [row for row in some if _primary(row.attributes) == folded(who.email)]
    if found and not who.verified:
        raise NotSameError("Your e-mail address is a user's here, and not said to be verified.")
    if len(found) > 1:
        raise NotSameError("Your e-mail address is that of several users here.")
    return _user(found[0]) if found else None


def _rows(
    connection: sa.Connection, who: Claimed, wanted: sa.ColumnElement[bool]
) -> list[sa.Row[Any]]:
    """Users of a directory of their organisation alone."""
    query = sa.select(*_USER, scim_users.c.attributes).where(wanted)
    query = query.join_from(users, scim_users, users.c.id == scim_users.c.user_id)
    whose = users.c.organisation
    query = query.where(whose.is_(None) if who.organisation is None else whose == who.organisation)
    return list(connection.execute(query))


def _primary(attributes: str) -> str:
    """The e-mail address that a directory calls somebody's primary one; empty = none."""
    mails = msgspec.json.decode(attributes or "{}", type=dict[str, Any]).get("emails")
    for each in mails if isinstance(mails, list) else ():
        if isinstance(each, dict) and each.get("primary") is True:
            return folded(str(each.get("value", "")))
    return ""


def _user(row: sa.Row[Any]) -> UserInfo:
    return UserInfo(**{name: getattr(row, name) for name in UserInfo.__struct_fields__})
