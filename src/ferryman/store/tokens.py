"""Scoped tokens of the admin API in the database: keyed hashes, never the tokens."""

import secrets
from typing import Final

import sqlalchemy as sa
from msgspec import Struct

from ferryman.store import audit, tenants
from ferryman.store.audit import Act
from ferryman.store.db import reading, writing
from ferryman.store.dimensions import Within, owned
from ferryman.store.schema import admin_tokens, users


class TokenInfo(Struct, frozen=True, kw_only=True):
    """What may be shown of a token. Times are Unix seconds; None = never, or nobody's."""

    id: str
    name: str
    hint: str
    role: str
    organisation: str | None
    team: str | None
    created_at: int
    created_by: str
    expires_at: int | None
    revoked_at: int | None = None
    last_used_at: int | None = None
    user_id: str | None = None
    """Whose it is: it ends with them."""


class GoneError(Exception):
    """The maker or owner of a token has been shut out; the message says who."""


_SHOWN: Final = [admin_tokens.c[name] for name in TokenInfo.__struct_fields__]


def new_id() -> str:
    """An id for a token."""
    return "tok_" + secrets.token_hex(8)


def create(engine: sa.Engine, token: TokenInfo, digest: bytes) -> None:
    """Keep a token. ``digest``: the 32-byte keyed hash of it.

    Raises ``tenants.UnknownTenantError``, and :class:`GoneError`: whose it is, or who makes it, was
    shut out at this moment.
    """
    row = {name: getattr(token, name) for name in TokenInfo.__struct_fields__}
    with writing(engine) as connection:
        tenants.check(connection, token.organisation, token.team)
        _check_here(connection, token)
        connection.execute(admin_tokens.insert().values(**row, digest=digest))
        audit.append(connection, Act(action="token.create", target=token.id, after=token))


def find(engine: sa.Engine, digest: bytes) -> TokenInfo | None:
    """The token with this hash, one that has ended too, unless it is of a user who is out."""
    table = admin_tokens.c
    known = sa.or_(table.user_id.is_(None), users.c.active)
    both = admin_tokens.outerjoin(users, users.c.id == table.user_id)
    query = sa.select(*_SHOWN).select_from(both).where(table.digest == digest, known)
    with reading(engine) as connection:
        row = connection.execute(query).first()
    return None if row is None else _info(row)


def page(
    engine: sa.Engine, *, limit: int, within: Within, after: tuple[int, str] | None = None
) -> list[TokenInfo]:
    """The next tokens behind (created_at, id), oldest first, revoked ones too."""
    table = admin_tokens.c
    query = sa.select(*_SHOWN).where(*owned(table, within))
    query = query.order_by(table.created_at, table.id).limit(limit)
    if after is not None:
        same = sa.and_(table.created_at == after[0], table.id > after[1])
        query = query.where(sa.or_(table.created_at > after[0], same))
    with reading(engine) as connection:
        return [_info(row) for row in connection.execute(query)]


def revoke(engine: sa.Engine, token_id: str, within: Within, now: int) -> TokenInfo | None:
    """Shut a token out, for good; None where there is none. Again changes nothing."""
    table = admin_tokens.c
    mine = sa.and_(table.id == token_id, *owned(table, within))
    with writing(engine) as connection:
        alive = sa.and_(mine, table.revoked_at.is_(None))
        done = connection.execute(admin_tokens.update().where(alive).values(revoked_at=now))
        if done.rowcount:
            audit.append(connection, Act(action="token.revoke", target=token_id))
        row = connection.execute(sa.select(*_SHOWN).where(mine)).first()
    return None if row is None else _info(row)


def _check_here(connection: sa.Connection, token: TokenInfo) -> None:
    """Nobody goes, and no maker is revoked, before the transaction ends, so that they take along
    what it makes. Raises :class:`GoneError`."""
    for each in sorted({token.user_id or "", token.created_by}, reverse=True):
        table, stands = (users, users.c.active) if each.startswith("usr_") else (
            admin_tokens, admin_tokens.c.revoked_at.is_(None))  # fmt: skip
        if each.startswith(("usr_", "tok_")):
            query = sa.select(stands).where(table.c.id == each).with_for_update(read=True)
            if not connection.scalar(query):
                raise GoneError(f"{each} is disabled or revoked, and so can't have tokens.")


def used(engine: sa.Engine, token_id: str, now: int) -> None:
    """Note when a token was used."""
    mine = admin_tokens.c.id == token_id
    with writing(engine) as connection:
        connection.execute(admin_tokens.update().where(mine).values(last_used_at=now))


def _info(row: sa.Row[tuple[object, ...]]) -> TokenInfo:
    return TokenInfo(**{name: getattr(row, name) for name in TokenInfo.__struct_fields__})
