"""Virtual keys in the database, and the 64-byte records of them that data planes hold.

The secret itself never comes here: callers pass its keyed hash. Every change takes the next number
of one sequence within its transaction, so a data plane that asks what changed since the number it
has misses nothing.
"""

import secrets
import string
import struct
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from ferryman.config.delegation import Scope
from ferryman.config.feed import KeyBounds, KeyFacts
from ferryman.config.key_bounds import KeyBoundsError, checked
from ferryman.store import audit, delegated, tenants
from ferryman.store.audit import Act
from ferryman.store.db import add_to_meta, insert, reading, writing
from ferryman.store.dimensions import Within, owned
from ferryman.store.names import folded
from ferryman.store.schema import meta, users, virtual_keys

RECORD: Final = struct.Struct("<32s24sII")
"""Digest, key id (ASCII, NUL-padded), expiry (Unix seconds, 0 = never), flags."""
REVOKED: Final = 1
"""Flag of a record: the key is not to be let in."""
FACTS: Final = ("organisation", "team", "user")
"""Those of :class:`~ferryman.config.feed.KeyFacts` that are one text each."""
SEARCHED: Final = ("name", "id", "hint", *FACTS, "tags")
"""Columns that a text is looked for in."""
MOST_TAGS: Final = 64
LONGEST: Final = 100
"""Characters of a name, a fact and a tag."""
MAX_EXPIRY: Final = 2**32 - 1
EVERYBODY: Final[Within] = {}
SEQ: Final = "key_seq"
"""The number in ``meta`` that each change of keys takes."""
_CHUNK = 500  # ids in one IN (…); old SQLite takes 999 at most
_PLACES = [62**place for place in range(12)]
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


class KeyFieldError(ValueError):
    """A new key's name, digest or expiry can't be used; the message says why."""


class NoSuchKeyError(Exception):
    """No virtual key has this id or name."""


class KeyReusedError(Exception):
    """Another key was made under this id."""


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
    organisation: str | None
    team: str | None
    user: str | None
    tags: tuple[str, ...]
    bounds: KeyBounds | None
    """None = anything goes."""


class NewKey(Struct, frozen=True, kw_only=True):
    """A virtual key to be stored: ``digest`` is the 32-byte keyed hash of the secret."""

    name: str
    digest: bytes
    hint: str
    expires_at: int | None = None
    fixed: bool = False
    facts: KeyFacts = KeyFacts()
    id: str = ""
    """Empty = one is made up. Given, it makes the key once only."""


_SHOWN = [virtual_keys.c[name] for name in KeyInfo.__struct_fields__]
_RECORDED = [virtual_keys.c[name] for name in ("digest", "id", "expires_at", "revoked_at", "seq")]
_SAID = [virtual_keys.c[name] for name in (*FACTS, "tags", "bounds")]


def create(engine: sa.Engine, key: NewKey, *, now: int | None = None) -> KeyInfo:
    """Store a key and return what may be shown of it; the one there is, if it was stored before.

    Raises :class:`KeyFieldError`, :class:`KeyReusedError`, and SQLAlchemy's IntegrityError if the
    digest is there already.
    """
    with writing(engine) as connection:
        found = _stored(connection, key)
        if found is None:
            _check_whose(connection, key.facts.organisation, key.facts.team)
            [found] = _insert(connection, [key], _now(now))
        return found


def _stored(connection: sa.Connection, key: NewKey) -> KeyInfo | None:
    """The key as it was stored before. Raises :class:`KeyReusedError`."""
    table = virtual_keys.c
    query = sa.select(*_SHOWN, table.digest).where(table.id == key.id)
    row = connection.execute(query).first() if key.id else None
    if row is None:
        return None
    if bytes(row.digest) != key.digest:
        raise KeyReusedError(f"Something else was asked for with this Idempotency-Key ({key.id}).")
    return _known({name: getattr(row, name) for name in KeyInfo.__struct_fields__})


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
        seq = add_to_meta(connection, SEQ, 1)
        gone = virtual_keys.update().where(others).values(revoked_at=stamp, seq=seq)
        for each in connection.scalars(gone.returning(table.id)).all():
            audit.append(connection, Act(action="key.revoke", target=each))
        found = connection.execute(mine).first()
        if found is not None:
            return _info(found)
        row = NewKey(name=key.name, digest=key.digest, hint=key.hint, fixed=True)
        return _insert(connection, [row], stamp)[0]


def page(
    engine: sa.Engine,
    *,
    limit: int,
    after: tuple[int, str] | None = None,
    name: str = "",
    within: Within = EVERYBODY,
) -> list[KeyInfo]:
    """The next keys behind (created_at, id), oldest first, revoked ones too."""
    table = virtual_keys.c
    query = sa.select(*_SHOWN).where(*owned(table, within))
    query = query.order_by(table.created_at, table.id).limit(limit)
    if name:
        query = query.where(table.name == name)
    if after is not None:
        same = sa.and_(table.created_at == after[0], table.id > after[1])
        query = query.where(sa.or_(table.created_at > after[0], same))
    with reading(engine) as connection:
        return [_info(row) for row in connection.execute(query)]


def newest(
    engine: sa.Engine,
    *,
    limit: int,
    now: int,
    ended: bool = False,
    before: tuple[int, str] | None = None,
    text: str = "",
    within: Within = EVERYBODY,
) -> tuple[list[KeyInfo], int]:
    """The next keys before (created_at, id), newest first, and how many there are on all pages: of
    those that work at ``now`` (Unix seconds), or that have ``ended``, with ``text`` in one of
    ``SEARCHED``."""
    table = virtual_keys.c
    works = sa.and_(
        table.revoked_at.is_(None), sa.or_(table.expires_at.is_(None), table.expires_at > now)
    )
    chosen = [*owned(table, within), ~works if ended else works]
    if text:
        chosen.append(sa.or_(*(table[name].icontains(text, autoescape=True) for name in SEARCHED)))
    query = sa.select(*_SHOWN).where(*chosen)
    if before is not None:
        same = sa.and_(table.created_at == before[0], table.id < before[1])
        query = query.where(sa.or_(table.created_at < before[0], same))
    query = query.order_by(table.created_at.desc(), table.id.desc()).limit(limit)
    count = sa.select(sa.func.count()).select_from(virtual_keys).where(*chosen)
    with reading(engine) as connection:
        rows = [_info(row) for row in connection.execute(query)]
        return rows, connection.scalar(count) or 0


def any_key(engine: sa.Engine, hint: str = "") -> bool:
    """Whether there is a key; with ``hint``, one that has it and is not revoked."""
    query = sa.select(virtual_keys.c.id).limit(1)
    if hint:
        query = query.where(virtual_keys.c.hint == hint, virtual_keys.c.revoked_at.is_(None))
    with reading(engine) as connection:
        return connection.execute(query).first() is not None


def list_keys(engine: sa.Engine, within: Within = EVERYBODY) -> list[KeyInfo]:
    """All keys, revoked ones too, oldest first."""
    mine = owned(virtual_keys.c, within)
    order = (virtual_keys.c.created_at, virtual_keys.c.seq)  # several may be of one second
    query = sa.select(*_SHOWN).where(*mine).order_by(*order)
    with reading(engine) as connection:
        return [_info(row) for row in connection.execute(query)]


def revoke(
    engine: sa.Engine, id_or_name: str, *, now: int | None = None, within: Within = EVERYBODY
) -> KeyInfo:
    """Shut a key out, for good. One that is revoked already is returned as it is.

    A name counts if exactly one key that is not revoked has it; keys that are not ``within`` are
    as if there were none. Raises :class:`NoSuchKeyError`, :class:`AmbiguousKeyError`.
    """
    with writing(engine) as connection:
        key = _meant(connection, id_or_name, "revoke", within)
        if key.revoked_at is not None:
            return key
        return _change(connection, "key.revoke", key, revoked_at=_now(now))


def describe(
    engine: sa.Engine, id_or_name: str, *, within: Within = EVERYBODY, **facts: Any
) -> KeyInfo:
    """Say anew whose a key is: what is given of ``KeyFacts``, None or empty = nobody's.

    Of ``bounds``, a mapping, those are set that are given, and the others stay; None = there are
    none any more. Raises as :func:`revoke`, and :class:`KeyFieldError`.
    """
    row: dict[str, Any] = {name: _fact(name, facts[name]) for name in FACTS if name in facts}
    if "tags" in facts:
        row["tags"] = _tags(facts["tags"] or ())
    with writing(engine) as connection:
        tenants.lock(connection)
        key = _meant(connection, id_or_name, "set", within)
        if "bounds" in facts:
            row["bounds"] = _kept(bounds_of(facts["bounds"], key.bounds))
        whose = {name: row.get(name, getattr(key, name)) for name in FACTS}
        if any(whose[name] != getattr(key, name) for name in FACTS):
            _check_whose(connection, whose["organisation"], whose["team"])
            delegated.moved(connection, scope_of(key, **whose))
        if "user" in row or "organisation" in row:
            said = {"organisation": key.organisation, "user": key.user} | row
            _check_user(connection, said["user"] or "", said["organisation"] or "")
        return _change(connection, "key.describe", key, **row) if row else key


def rotate(
    engine: sa.Engine,
    id_or_name: str,
    new: NewKey,
    overlap: int,
    *,
    now: int | None = None,
    within: Within = EVERYBODY,
) -> tuple[KeyInfo, KeyInfo]:
    """Store ``new`` in place of a key, with its name, facts and end; returns both, the old first.

    The old one ends ``overlap`` seconds from now, unless it would before; 0 revokes it. Raises as
    :func:`revoke` and :func:`create`.
    """
    stamp = _now(now)
    with writing(engine) as connection:
        tenants.lock(connection)
        made = _stored(connection, new)
        old = _meant(connection, id_or_name, "rotate", within)
        if made is not None:
            return old, made
        if old.fixed or old.revoked_at is not None:
            why = "is set by FERRYMAN_KEY" if old.fixed else "is revoked"
            raise KeyFieldError(f"The key {old.id} {why}, and so can't be rotated.")
        whose = old.organisation or "", old.team or "", old.user or ""
        facts = KeyFacts(*whose, old.tags, old.bounds)
        row = replace(new, name=old.name, expires_at=old.expires_at, facts=facts)
        [made] = _insert(connection, [row], stamp)
        delegated.copied(connection, scope_of(old), made.id)
        ends = min(stamp + overlap, old.expires_at or MAX_EXPIRY)
        changed = {"expires_at": ends} if overlap else {"revoked_at": stamp}
        return _change(connection, "key.rotate", old, **changed), made


def scope_of(key: KeyInfo, **whose: str | None) -> Scope:
    """Whose a key is, or would be with these facts."""
    said = {name: whose.get(name, getattr(key, name)) or "" for name in FACTS}
    return Scope(**said, key=key.id)


def _check_whose(connection: sa.Connection, organisation: str | None, team: str | None) -> None:
    """Raises :class:`KeyFieldError`."""
    try:
        tenants.check(connection, organisation, team)
    except tenants.UnknownTenantError as error:
        raise KeyFieldError(str(error)) from None


def _meant(connection: sa.Connection, id_or_name: str, what: str, within: Within) -> KeyInfo:
    """The key that is called so: the only one alive, else one that is revoked."""
    table = virtual_keys.c
    wanted = sa.or_(table.id == id_or_name, table.name == id_or_name)
    query = sa.select(*_SHOWN).where(wanted, *owned(table, within))
    rows = [_info(row) for row in connection.execute(query)]
    rows = [row for row in rows if row.id == id_or_name] or rows
    alive = [row for row in rows if row.revoked_at is None]
    # Of a key that was rotated, the new one is meant once the old one has ended.
    alive = [row for row in alive if (row.expires_at or MAX_EXPIRY) > time.time()] or alive
    if not rows:
        raise NoSuchKeyError(
            f"There is no key with the id or name {id_or_name!r}. "
            "`ferryman keys list` shows them all."
        )
    if len(alive) > 1:
        raise AmbiguousKeyError(
            f"{len(alive)} keys are named {id_or_name!r}: {what} by id "
            f"({', '.join(row.id for row in alive[:10])})."
        )
    return alive[0] if alive else rows[-1]


def _change(connection: sa.Connection, action: str, key: KeyInfo, **row: Any) -> KeyInfo:
    mine = virtual_keys.c.id == key.id
    seq = add_to_meta(connection, SEQ, 1)
    connection.execute(virtual_keys.update().where(mine).values(**row, seq=seq))
    found = _info(connection.execute(sa.select(*_SHOWN).where(mine)).one())
    was, now = ({name: getattr(each, name) for name in row} for each in (key, found))
    audit.append(connection, Act(action=action, target=key.id, before=was, after=now))
    return found


def find(engine: sa.Engine, id_or_name: str, within: Within = EVERYBODY) -> list[KeyInfo]:
    """The key with this id, else every key with this name, oldest first."""
    table = virtual_keys.c
    wanted = sa.or_(table.id == id_or_name, table.name == id_or_name)
    query = sa.select(*_SHOWN).where(wanted, *owned(table, within))
    query = query.order_by(table.created_at, table.seq)
    with reading(engine) as connection:
        found = [_info(row) for row in connection.execute(query)]
    return [key for key in found if key.id == id_or_name] or found


def ids(engine: sa.Engine, within: Within) -> set[str]:
    """The ids of all keys that are theirs."""
    query = sa.select(virtual_keys.c.id).where(*owned(virtual_keys.c, within))
    with reading(engine) as connection:
        return set(connection.scalars(query))


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


Facts = dict[str, KeyFacts]
"""By key id."""


def changed_since(engine: sa.Engine, seq: int) -> tuple[int, bytes, Facts]:
    """Records and facts of keys changed after change ``seq``, and the number this leads up to.

    (0, b"", {}) when ``seq`` lies ahead of this database (it was restored from a backup): the data
    plane then has to ask for the full table, which is what number 0 makes it do.
    """
    table = virtual_keys.c
    query = sa.select(*_RECORDED, *_SAID).where(table.seq > seq).order_by(table.seq)
    with reading(engine) as connection:
        rows = connection.execute(query).all()
        if rows:
            facts = {row.id: _facts(row) for row in rows}
            return int(rows[-1].seq), b"".join(_records(rows)), facts
        return (seq, b"", {}) if seq <= _seq(connection) else (0, b"", {})


def full_table(engine: sa.Engine) -> tuple[int, bytes, Facts]:
    """Records of all keys, sorted by digest, the number of the latest change in them, and facts of
    the keys that have any."""
    with reading(engine) as connection:
        # One statement, so that PostgreSQL takes all from one view of the data.
        rows = connection.execute(sa.select(*_RECORDED, *_SAID)).all()
    # Sorted here: the database would look up row by row in the order of its index, which is slower.
    records = b"".join(sorted(_records(rows)))
    facts = {row.id: _facts(row) for row in rows if row[5:] != _NOTHING_SAID}
    return max((int(row[4]) for row in rows), default=0), records, facts


_NOTHING_SAID = (None,) * len(_SAID)


def _facts(row: Any) -> KeyFacts:
    whose = row.organisation or "", row.team or "", row.user or ""
    return KeyFacts(*whose, _listed(row.tags), _bounds(row.bounds))


def _listed(tags: str | None) -> tuple[str, ...]:
    return tuple(msgspec.json.decode(tags)) if tags else ()


def bounds_of(said: Mapping[str, Any] | None, old: KeyBounds | None = None) -> KeyBounds | None:
    """``old`` with those bounds in place of its own that are ``said``, lists by their names; None =
    none are left. Raises :class:`KeyFieldError`."""
    if said is None:
        return None
    try:
        found = replace(old or KeyBounds(), **checked(dict(said)))
    except KeyBoundsError as error:
        raise KeyFieldError(str(error)) from None
    return None if found == KeyBounds() else found


def _bounds(text: str | None) -> KeyBounds | None:
    return msgspec.json.decode(text, type=KeyBounds) if text else None


def _kept(bounds: KeyBounds | None) -> str | None:
    return None if bounds is None else msgspec.json.encode(bounds).decode()


def _records(rows: Iterable[Any]) -> list[bytes]:
    pack = RECORD.pack
    return [
        pack(digest, key_id.encode(), expires or 0, 0 if revoked is None else REVOKED)
        for digest, key_id, expires, revoked, *_ in rows
    ]


def _insert(connection: sa.Connection, keys: Iterable[NewKey], now: int) -> list[KeyInfo]:
    keys = list(keys)
    said = {(_check(key, now), key.facts.organisation) for key in keys}
    for user, organisation in sorted(said):
        _check_user(connection, user, organisation)
    seq = add_to_meta(connection, SEQ, 1)
    rows = []
    for key in keys:
        rows.append(
            {
                "id": key.id or id_of(secrets.randbelow(62**12)),
                "name": key.name,
                "digest": key.digest,
                "hint": key.hint,
                "fixed": key.fixed,
                "created_at": now,
                "expires_at": key.expires_at,
                "revoked_at": None,
                "last_used_at": None,
                "seq": seq,
                **{name: _fact(name, getattr(key.facts, name)) for name in FACTS},
                "tags": _tags(key.facts.tags),
                "bounds": _kept(key.facts.bounds),
            }
        )
    if rows:
        connection.execute(insert(connection, virtual_keys), rows)
    made = [_known({name: row[name] for name in KeyInfo.__struct_fields__}) for row in rows]
    for each in made:
        audit.append(connection, Act(action="key.create", target=each.id, after=each))
    return made


def id_of(number: int) -> str:
    """The id that stands for a number below 62^12."""
    return "key_" + "".join([_ALPHABET[number // place % 62] for place in _PLACES])


def _check(key: NewKey, now: int) -> str:
    """The user whom it names. Raises :class:`KeyFieldError`."""
    if not key.name.strip() or len(key.name) > LONGEST or not key.name.isprintable():
        raise KeyFieldError("A key's name must be 1 to 100 printable characters.")
    if len(key.digest) != 32:
        raise KeyFieldError(f"A key's digest must be 32 bytes, not {len(key.digest)}.")
    if key.expires_at is not None and not now < key.expires_at <= MAX_EXPIRY:
        raise KeyFieldError("A key's expiry must lie in the future, before the year 2106.")
    return _fact("user", key.facts.user) or ""


def _check_user(connection: sa.Connection, user: str, organisation: str) -> None:
    """Nobody who has left gets another key. They can't leave before the transaction ends, so that
    they take along what it makes. Raises :class:`KeyFieldError`."""
    if not user:
        return
    query = sa.select(users.c.active, users.c.organisation).where(users.c.folded == folded(user))
    row = connection.execute(query.with_for_update(read=True)).first()
    if row is not None and not row.active and row.organisation in (None, organisation):
        raise KeyFieldError(f"The user {user} is disabled, and so can't have keys.")


def _fact(name: str, value: Any) -> str | None:
    """A fact as it is kept. Raises :class:`KeyFieldError`."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _plain(value):
        raise KeyFieldError(
            f"A key's {name} must be 1 to {LONGEST} printable characters, without blanks around "
            "them; empty = none."
        )
    return value


def _tags(tags: Iterable[Any]) -> str | None:
    found = sorted(set(tags))
    if len(found) > MOST_TAGS or not all(_plain(tag) and "," not in tag for tag in found):
        raise KeyFieldError(
            f"A key may have {MOST_TAGS} tags, each of 1 to {LONGEST} printable characters without "
            "commas, and without blanks around them."
        )
    return msgspec.json.encode(found).decode() if found else None


def _plain(text: str) -> bool:
    return 0 < len(text) <= LONGEST and text.isprintable() and text == text.strip()


def _seq(connection: sa.Connection) -> int:
    return int(connection.scalar(sa.select(meta.c.value).where(meta.c.name == SEQ)) or 0)


def _info(row: Any) -> KeyInfo:
    return _known(dict(row._mapping))


def _known(row: dict[str, Any]) -> KeyInfo:
    return KeyInfo(**row | {"tags": _listed(row["tags"]), "bounds": _bounds(row["bounds"])})


def _now(now: int | None) -> int:
    return int(time.time()) if now is None else now
