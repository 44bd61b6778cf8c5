"""Orders to clear the cache of answers, for the data planes that have not heard of them yet.

An order is three texts that say which answers (``cache/key.py``), as hexadecimal, "-" for any. In
the table ``meta`` there is a row for each, with the number of when it was given last: Unix
milliseconds, or one more than the number before.
"""

import time
from typing import Final

import sqlalchemy as sa

from ferryman.store import audit
from ferryman.store.audit import Act
from ferryman.store.db import add_to_meta, reading, writing
from ferryman.store.schema import meta

KEPT: Final = 31 * 86_400_000
"""Milliseconds that an order is remembered: no answer is kept for longer."""
_SEQ: Final = "clear_seq"
_ORDER: Final = "clear:"


def order(engine: sa.Engine, tags: tuple[bytes, ...]) -> int:
    """Give an order to clear answers with these tags, "" for any; returns its number."""
    name = _ORDER + ".".join([tag.hex() or "-" for tag in tags])
    now = time.time_ns() // 1_000_000
    with writing(engine) as connection:
        last = add_to_meta(connection, _SEQ, 1)
        seq = add_to_meta(connection, _SEQ, now - last) if now > last else last
        add_to_meta(connection, name, 0)
        connection.execute(meta.update().where(meta.c.name == name).values(value=seq))
        old = sa.and_(meta.c.name.startswith(_ORDER), meta.c.value < seq - KEPT)
        connection.execute(meta.delete().where(old))
        audit.append(connection, Act(action="cache.clear", after={"order": name, "number": seq}))
    return seq


def order_seq(engine: sa.Engine) -> int:
    """The number of the latest order; 0 = there was none."""
    with reading(engine) as connection:
        return _seq(connection)


def orders_since(engine: sa.Engine, seq: int) -> tuple[int, list[tuple[bytes, ...]]]:
    """The number of the latest order, and the orders since number ``seq``.

    All that are remembered, when ``seq`` lies ahead: this database was restored from a backup.
    """
    query = sa.select(meta.c.name, meta.c.value).where(meta.c.name.startswith(_ORDER))
    with reading(engine) as connection:
        latest = _seq(connection)
        rows = connection.execute(query).all()
    ahead = seq > latest
    return latest, [_tags(name) for name, value in rows if ahead or value > seq]


def _tags(name: str) -> tuple[bytes, ...]:
    texts = name.removeprefix(_ORDER).split(".")
    return tuple(b"" if text == "-" else bytes.fromhex(text) for text in texts)


def _seq(connection: sa.Connection) -> int:
    return int(connection.scalar(sa.select(meta.c.value).where(meta.c.name == _SEQ)) or 0)
