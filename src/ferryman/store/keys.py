"""Virtual keys in the database, and the 64-byte records of them that data planes hold.

The secret itself never comes here: callers pass its keyed hash. Every change takes the next number
of one sequence within its transaction, so a data plane that asks what changed since the number it
has misses nothing.
"""

import secrets
import string
import struct
import time
from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct

from ferryman.store.db import add_to_meta, insert, reading, writing
from ferryman.store.schema import meta, virtual_keys

RECORD: Final = struct.Struct("<32s24sII")
"""Digest, key id (ASCII, NUL-padded), expiry (Unix seconds, 0 = never), flags."""
REVOKED: Final = 1
"""Flag of a record: the key is not to be let in."""
MAX_EXPIRY: Final = 2**32 - 1
_SEQ = "key_seq"
_CHUNK = 500  # ids in one IN (…); old SQLite takes 999 at most
_PLACES = [62**place for place in range(12)]
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


class KeyFieldError(ValueError):
    """A new key's name, digest or expiry can't be used; the message says why."""


class NoSuchKeyError(Exception):
    """No virtual key has this id or name."""


class AmbiguousKeyError(Exception):
    """Several virtual keys have this name; the message lists their ids."""


class KeyInfo(Struct, frozen=True, kw_only=True):
    """What may be shown of a virtual key. Times are Unix seconds; None = never."""

    id: str
    name: str
    hint: str
    """First 6 and last 4 characters of the key."""
    fixed: bool
    """True: came from ``FERRYMAN_KEY``."""
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None


class NewKey(Struct, frozen=True, kw_only=True):
    """A virtual key to be stored: ``digest`` is the 32-byte keyed hash of the secret."""

    name: str
    digest: bytes
    hint: str
    expires_at: int | None = None
    fixed: bool = False


_SHOWN = [virtual_keys.c[name] for name in KeyInfo.__struct_fields__]
_RECORDED = [virtual_keys.c[name] for name in ("digest", "id", "expires_at", "revoked_at", "seq")]


def create(engine: sa.Engine, key: NewKey, *, now: int | None = None) -> KeyInfo:
    """Store a key and return what may be shown of it. Raises :class:`KeyFieldError`.

    Raises SQLAlchemy's IntegrityError if the digest is there already.
    """
    return create_many(engine, [key], now=now)[0]


def create_many(
    engine: sa.Engine, keys: Iterable[NewKey], *, now: int | None = None
) -> list[KeyInfo]:
    """Like :func:`create` for many keys in one transaction, all or none."""
    with writing(engine) as connection:
        return _insert(connection, keys, _now(now))


def ensure_fixed(engine: sa.Engine, key: NewKey, *, now: int | None = None) -> KeyInfo:
    """Make the key of ``FERRYMAN_KEY`` exist; other fixed keys are revoked: the value was replaced.

    A key that was revoked stays so (see ``revoked_at`` of the result): a restart must not let in
    again what somebody shut out.
    """
    stamp = _now(now)
    table = virtual_keys.c
    others = sa.and_(
        table.fixed == sa.true(), table.revoked_at.is_(None), table.digest != key.digest
    )
    mine = sa.select(*_SHOWN).where(table.digest == key.digest)
    with reading(engine) as connection:
        found = connection.execute(mine).first()
        if found is not None and connection.scalar(sa.select(table.id).where(others)) is None:
            return _info(found)
    with writing(engine) as connection:
        seq = add_to_meta(connection, _SEQ, 1)
        connection.execute(virtual_keys.update().where(others).values(revoked_at=stamp, seq=seq))
        found = connection.execute(mine).first()
        if found is not None:
            return _info(found)
        row = NewKey(name=key.name, digest=key.digest, hint=key.hint, fixed=True)
        return _insert(connection, [row], stamp)[0]


def list_keys(engine: sa.Engine) -> list[KeyInfo]:
    """All keys, revoked ones too, oldest first."""
    order = (virtual_keys.c.created_at, virtual_keys.c.seq)  # several may be of one second
    with reading(engine) as connection:
        return [_info(row) for row in connection.execute(sa.select(*_SHOWN).order_by(*order))]


def revoke(engine: sa.Engine, id_or_name: str, *, now: int | None = None) -> KeyInfo:
    """Shut a key out, for good. One that is revoked already is returned as it is.

    A name counts if exactly one key that is not revoked has it. Raises :class:`NoSuchKeyError`,
    :class:`AmbiguousKeyError`.
    """
    table = virtual_keys.c
    wanted = sa.or_(table.id == id_or_name, table.name == id_or_name)
    with writing(engine) as connection:
        rows = [_info(row) for row in connection.execute(sa.select(*_SHOWN).where(wanted))]
        rows = [row for row in rows if row.id == id_or_name] or rows
        alive = [row for row in rows if row.revoked_at is None]
        if not rows:
            raise NoSuchKeyError(
                f"There is no key with the id or name {id_or_name!r}. "
                "`ferryman keys list` shows them all."
            )
        if not alive:
            return rows[-1]
        if len(alive) > 1:
            raise AmbiguousKeyError(
                f"{len(alive)} keys are named {id_or_name!r}: revoke by id "
                f"({', '.join(row.id for row in alive[:10])})."
            )
        mine = table.id == alive[0].id
        seq = add_to_meta(connection, _SEQ, 1)
        connection.execute(virtual_keys.update().where(mine).values(revoked_at=_now(now), seq=seq))
        return _info(connection.execute(sa.select(*_SHOWN).where(mine)).one())


def find(engine: sa.Engine, id_or_name: str) -> list[KeyInfo]:
    """The key with this id, else every key with this name, oldest first."""
    table = virtual_keys.c
    wanted = sa.or_(table.id == id_or_name, table.name == id_or_name)
    query = sa.select(*_SHOWN).where(wanted).order_by(table.created_at, table.seq)
    with reading(engine) as connection:
        found = [_info(row) for row in connection.execute(query)]
    return [key for key in found if key.id == id_or_name] or found


def names(engine: sa.Engine, ids: Iterable[str]) -> dict[str, str]:
    """Id → name of the keys among ``ids`` that exist."""
    wanted = sorted(set(ids))
    query = sa.select(virtual_keys.c.id, virtual_keys.c.name)
    found: dict[str, str] = {}
    with reading(engine) as connection:
        for start in range(0, len(wanted), _CHUNK):
            chunk = query.where(virtual_keys.c.id.in_(wanted[start : start + _CHUNK]))
            found.update((row.id, row.name) for row in connection.execute(chunk))
    return found


def key_seq(engine: sa.Engine) -> int:
    """The number of the latest change; cheap, for polling."""
    with reading(engine) as connection:
        return _seq(connection)


def changed_since(engine: sa.Engine, seq: int) -> tuple[int, bytes]:
    """Records of keys created or revoked after change ``seq``, and the number this leads up to.

    (0, b"") when ``seq`` lies ahead of this database (it was restored from a backup): the data
    plane then has to ask for the full table, which is what number 0 makes it do.
    """
    query = sa.select(*_RECORDED).where(virtual_keys.c.seq > seq).order_by(virtual_keys.c.seq)
    with reading(engine) as connection:
        rows = connection.execute(query).all()
        if rows:
            return int(rows[-1].seq), b"".join(_records(rows))
        return (seq, b"") if seq <= _seq(connection) else (0, b"")


def full_table(engine: sa.Engine) -> tuple[int, bytes]:
    """Records of all keys, sorted by digest, and the number of the latest change in them."""
    with reading(engine) as connection:
        # One statement, so that PostgreSQL takes both from one view of the data.
        rows = connection.execute(sa.select(*_RECORDED)).all()
    # Sorted here: the database would look up row by row in the order of its index, which is slower.
    return max((int(row[4]) for row in rows), default=0), b"".join(sorted(_records(rows)))


def _records(rows: Iterable[Any]) -> list[bytes]:
    pack = RECORD.pack
    return [
        pack(digest, key_id.encode(), expires or 0, 0 if revoked is None else REVOKED)
        for digest, key_id, expires, revoked, _ in rows
    ]


def _insert(connection: sa.Connection, keys: Iterable[NewKey], now: int) -> list[KeyInfo]:
    seq = add_to_meta(connection, _SEQ, 1)
    rows = []
    for key in keys:
        _check(key, now)
        rows.append(
            {
                "id": _new_id(),
                "name": key.name,
                "digest": key.digest,
                "hint": key.hint,
                "fixed": key.fixed,
                "created_at": now,
                "expires_at": key.expires_at,
                "revoked_at": None,
                "last_used_at": None,
                "seq": seq,
            }
        )
    if rows:
        connection.execute(insert(connection, virtual_keys), rows)
    return [
        KeyInfo(**{name: row[name] for name in KeyInfo.__struct_fields__})  # type: ignore[arg-type]
        for row in rows
    ]


def _new_id() -> str:
    number = secrets.randbelow(62**12)
    return "key_" + "".join([_ALPHABET[number // place % 62] for place in _PLACES])


def _check(key: NewKey, now: int) -> None:
    if not key.name.strip() or len(key.name) > 100 or not key.name.isprintable():
        raise KeyFieldError("A key's name must be 1 to 100 printable characters.")
    if len(key.digest) != 32:
        raise KeyFieldError(f"A key's digest must be 32 bytes, not {len(key.digest)}.")
    if key.expires_at is not None and not now < key.expires_at <= MAX_EXPIRY:
        raise KeyFieldError("A key's expiry must lie in the future, before the year 2106.")


def _seq(connection: sa.Connection) -> int:
    return int(connection.scalar(sa.select(meta.c.value).where(meta.c.name == _SEQ)) or 0)


def _info(row: Any) -> KeyInfo:
    return KeyInfo(**row._mapping)


def _now(now: int | None) -> int:
    return int(time.time()) if now is None else now
