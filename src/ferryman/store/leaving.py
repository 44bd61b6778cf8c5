"""Who leaves takes their virtual keys along: those that have them as ``user``.

Of a user of an organisation, these are keys of that organisation; of one who belongs to nobody,
keys of all. So nobody ends what is another tenant's by a user of the same name.
"""

from typing import Any

import sqlalchemy as sa

from ferryman.store.audit import Act
from ferryman.store.db import add_to_meta
from ferryman.store.keys import SEQ
from ferryman.store.names import folded
from ferryman.store.schema import scim_members, scim_users, virtual_keys
from ferryman.store.users import UserInfo


def leave(connection: sa.Connection, user: UserInfo, now: int) -> list[Act]:
    """Revoke a user's virtual keys, with the transaction that ends the user.

    Like ``users.shut_out``, which ends their sessions and tokens: whoever calls holds the user's
    row, and writes down what is returned as the last thing.
    """
    theirs = _theirs(connection, user)
    acts = _change(connection, theirs, revoked_at=now)
    return [Act(action="key.revoke", target=each, after={"user": user.id}) for each in acts]


def also(connection: sa.Connection, user: UserInfo) -> list[Act]:
    """For ``users.change``: the keys of one who is not active any more."""
    return [] if user.active else leave(connection, user, user.changed_at)


def forget(connection: sa.Connection, user: UserInfo, now: int) -> list[Act]:
    """For ``users.remove``: their keys, and what directories know of them."""
    connection.execute(scim_members.delete().where(scim_members.c.user_id == user.id))
    connection.execute(scim_users.delete().where(scim_users.c.user_id == user.id))
    return leave(connection, user, now)


def follow(connection: sa.Connection, was: UserInfo, name: str) -> list[Act]:
    """Have the keys of a user who is called otherwise now go by the new name: else they would not
    end with the user."""
    theirs = _theirs(connection, was)
    acts = _change(connection, theirs, user=name)
    told: dict[str, Any] = {"before": {"user": was.name}, "after": {"user": name}}
    return [Act(action="key.describe", target=each, **told) for each in acts]


def _theirs(connection: sa.Connection, user: UserInfo) -> sa.ColumnElement[bool]:
    """Keys that work and are theirs, however their name is written in them."""
    table = virtual_keys.c
    mine: list[sa.ColumnElement[bool]] = [table.revoked_at.is_(None), table.user.is_not(None)]
    if user.organisation is not None:
        mine.append(table.organisation == user.organisation)
    said = connection.scalars(sa.select(table.user).where(*mine).distinct())
    wanted = folded(user.name)
    return sa.and_(*mine, table.user.in_([each for each in said if folded(each) == wanted]))


def _change(connection: sa.Connection, theirs: sa.ColumnElement[bool], **row: Any) -> list[str]:
    """Change keys, of which data planes hear; returns their ids."""
    if connection.execute(sa.select(virtual_keys.c.id).where(theirs).limit(1)).first() is None:
        return []  # whoever takes a number holds up all others that change keys
    seq = add_to_meta(connection, SEQ, 1)
    done = virtual_keys.update().where(theirs).values(**row, seq=seq)
    return sorted(connection.scalars(done.returning(virtual_keys.c.id)))
