"""What is to be told by channels: each notice once, until it has arrived or is given up."""

from typing import Final

import sqlalchemy as sa
from msgspec import Struct

from ferryman.store.db import insert, reading, writing
from ferryman.store.schema import notices

KEPT: Final = 7 * 86_400
"""Seconds that a notice is remembered: longer than it is tried."""
_table = notices.c


class Notice(Struct, frozen=True):
    """One that has yet to arrive."""

    id: str
    channel: str
    at: int
    """Unix seconds when it was noted."""
    body: str
    """JSON."""
    tries: int
    next_at: int


def add(connection: sa.Connection, name: str, channel: str, body: str, now: int) -> None:
    """Note what a channel is to be told; nothing if it was noted before."""
    row = {"id": f"{name}/{channel}", "channel": channel, "at": now, "body": body, "next_at": now}
    connection.execute(insert(connection, notices).on_conflict_do_nothing(), row)


def due(engine: sa.Engine, now: int, most: int) -> list[Notice]:
    """Those that are to be told now, the oldest of each channel first; ``most`` of each."""
    place = sa.func.row_number().over(
        partition_by=_table.channel, order_by=(_table.at, _table.id)
    )  # fmt: skip
    columns = [_table[name] for name in Notice.__struct_fields__]
    found = sa.select(*columns, place.label("place")).where(_table.next_at <= now).subquery()
    query = sa.select(*(found.c[name] for name in Notice.__struct_fields__))
    query = query.where(found.c.place <= most).order_by(found.c.at, found.c.id)
    with reading(engine) as connection:
        return [Notice(*row) for row in connection.execute(query)]


def claim(engine: sa.Engine, notice: Notice, until: int) -> bool:
    """Whether this process is the one that tells it; until then no other may try."""
    with writing(engine) as connection:
        mine = notices.update().where(_table.id == notice.id, _table.next_at == notice.next_at)
        return bool(connection.execute(mine.values(next_at=until)).rowcount)


def tried(engine: sa.Engine, name: str, next_at: int | None, sent_at: int | None = None) -> None:
    """A notice was told (``sent_at``), is told again at ``next_at``, or (None) is given up."""
    with writing(engine) as connection:
        changed = {"tries": _table.tries + 1, "next_at": next_at, "sent_at": sent_at}
        connection.execute(notices.update().where(_table.id == name).values(**changed))
