"""Who leaves takes their virtual keys along: those that have them as ``user``.

Of a user of an organisation, these are keys of that organisation; of one who belongs to nobody,
keys of all; and in any case those that whoever ends the user may reach. So nobody ends what is
another tenant's by a user of the same name.
"""

from typing import Any

import sqlalchemy as sa

from ferryman.store.audit import Act
from ferryman.store.db import add_to_meta
from ferryman.store.dimensions import Within, owned
from ferryman.store.keys import EVERYBODY, SEQ
from ferryman.store.names import folded
from ferryman.store.schema import scim_members, scim_users, virtual_keys
from ferryman.store.users import Also, UserInfo


def leave(
    connection: sa.Connection, user: UserInfo, now: int, within: Within = EVERYBODY
) -> list[Act]:
    """Revoke a user's virtual keys, of those that are ``within``, with the transaction that ends
    the user.

    Like ``users.shut_out``, which ends their sessions and tokens: whoever calls holds the user's
    row, and writes down what is returned as the last thing.
    """
    acts = _change(connection, _theirs(connection, user, within), revoked_at=now)
    return [Act(action="key.revoke", target=each, after={"user": user.id}) for each in acts]


def follow(
    connection: sa.Connection, was: UserInfo, name: str, within: Within = EVERYBODY
) -> list[Act]:
    """Have the keys of a user who is called otherwise now go by the new name: else they would not
    end with the user."""
    acts = _change(connection, _theirs(connection, was, within), user=name)
    told: dict[str, Any] = {"before": {"user": was.name}, "after": {"user": name}}
    return [Act(action="key.describe", target=each, **told) for each in acts]


def changed(was: UserInfo, within: Within) -> Also:
    """Goes with ``users.change``: what happens to the keys."""

    def also(connection: sa.Connection, user: UserInfo) -> list[Act]:
        acts = []
        if user.name != was.name:
            acts += follow(connection, was, user.name, within)
        return acts if user.active else acts + leave(connection, user, user.changed_at, within)

    return also


def removed(now: int, within: Within) -> Also:
    """Goes with ``users.remove``: the keys, and what directories know of the user."""

    def also(connection: sa.Connection, user: UserInfo) -> list[Act]:
        connection.execute(scim_members.delete().where(scim_members.c.user_id == user.id))
        connection.execute(scim_users.delete().where(scim_users.c.user_id == user.id))
        return leave(connection, user, now, within)

    return also


def _theirs(connection: sa.Connection, user: UserInfo, within: Within) -> sa.ColumnElement[bool]:
    """Keys that work and are theirs, however their name is written in them."""
    table = virtual_keys.c
    mine = [table.revoked_at.is_(None), table.user.is_not(None), *owned(table, within)]
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
