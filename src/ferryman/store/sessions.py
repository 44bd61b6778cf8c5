"""Sessions of the dashboard in the database, by the SHA-256 of what a browser has."""

from typing import Final

import sqlalchemy as sa
from msgspec import Struct

from ferryman.store.db import reading, writing
from ferryman.store.schema import sessions, users
from ferryman.store.users import UserInfo

IDLE_SECONDS: Final = 12 * 3600
"""A session that nothing is asked in for so long has ended."""
MOST: Final = 1000
"""Sessions of one user, and of the owner; the oldest one gives way."""


class Session(Struct, frozen=True, kw_only=True):
    """An open session. Times are Unix seconds."""

    mark: str
    user_id: str | None
    """None = the owner's."""
    created_at: int
    ends_at: int
    seen_at: int
    address: str


_SHOWN: Final = [sessions.c[name] for name in Session.__struct_fields__]


def _open(now: int) -> sa.ColumnElement[bool]:
    return sa.and_(sessions.c.ends_at > now, sessions.c.seen_at > now - IDLE_SECONDS)


def begin(engine: sa.Engine, session: Session, instead: str = "") -> None:
    """Keep a session, in place of the one with the mark ``instead``. Those that have ended go."""
    mine = sessions.c.user_id == session.user_id
    if session.user_id is None:
        mine = sessions.c.user_id.is_(None)
    kept = sa.select(sessions.c.mark).where(mine)
    kept = kept.order_by(sessions.c.created_at.desc(), sessions.c.mark).limit(MOST - 1)
    with writing(engine) as connection:
        if session.user_id is not None:
            # Who is shut out at this moment is out: this waits, or they do.
            query = sa.select(users.c.active).where(users.c.id == session.user_id)
            if not connection.scalar(query.with_for_update()):
                return
            noted = users.update().where(users.c.id == session.user_id)
            connection.execute(noted.values(last_in_at=session.created_at))
        over = sa.or_(sa.not_(_open(session.created_at)), sessions.c.mark == instead)
        connection.execute(sessions.delete().where(over))
        connection.execute(sessions.delete().where(mine, sessions.c.mark.not_in(kept)))
        row = {name: getattr(session, name) for name in Session.__struct_fields__}
        connection.execute(sessions.insert().values(**row))


def find(engine: sa.Engine, mark: str, now: int) -> tuple[Session, UserInfo | None] | None:
    """An open session and its user, who is active; None = there is none."""
    shown = [users.c[name].label(f"of_{name}") for name in UserInfo.__struct_fields__]
    query = sa.select(*_SHOWN, *shown).where(sessions.c.mark == mark, _open(now))
    query = query.select_from(sessions.outerjoin(users, users.c.id == sessions.c.user_id))
    with reading(engine) as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    found = Session(**{name: getattr(row, name) for name in Session.__struct_fields__})
    if found.user_id is None:
        return found, None
    if not row.of_active:
        return None
    fields = {name: getattr(row, f"of_{name}") for name in UserInfo.__struct_fields__}
    return found, UserInfo(**fields)


def seen(engine: sa.Engine, mark: str, now: int) -> None:
    """Note that a session was used."""
    with writing(engine) as connection:
        connection.execute(sessions.update().where(sessions.c.mark == mark).values(seen_at=now))


def end(engine: sa.Engine, mark: str) -> bool:
    """End a session; whether there was one."""
    with writing(engine) as connection:
        return bool(connection.execute(sessions.delete().where(sessions.c.mark == mark)).rowcount)


def end_others(engine: sa.Engine, mark: str) -> None:
    """End all sessions but this one."""
    with writing(engine) as connection:
        connection.execute(sessions.delete().where(sessions.c.mark != mark))


def count(engine: sa.Engine, now: int) -> int:
    """How many are open."""
    with reading(engine) as connection:
        query = sa.select(sa.func.count()).select_from(sessions).where(_open(now))
        return int(connection.scalar(query) or 0)
