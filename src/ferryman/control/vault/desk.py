"""What is done with the vault. For the short-lived process in ``__main__``: it holds secrets.

One row, the manifest, lists a digest of each other one: so a row that was put back, removed or
added in the database is noticed. Its own number only grows, and the highest that was seen stands in
a file beside the database: so a whole vault that was put back is noticed as well.
"""

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Engine

from ferryman.config.intake import SUITE, info
from ferryman.config.vault_names import is_name, joined, split
from ferryman.control.vault import envelope
from ferryman.control.vault.envelope import KEY, BadSecretError, NoSecretError, VaultError
from ferryman.control.vault.masters import Masters
from ferryman.store import audit, vault
from ferryman.store.audit import Act
from ferryman.store.vault import Place, Row

MOST: Final = 1000
"""Secrets of the installation;"""
MOST_OF_ONE: Final = 100
"""and of each organisation: none takes the room of others."""
LONGEST: Final = 32_768
"""Bytes of one."""
HINT, HINTED = 4, 20
"""Characters that are shown of a secret, and how many it must have for that."""
FIELD: Final = "value"
MANIFEST: Final[Place] = ("", "@manifest", FIELD)
INTAKE: Final[Place] = ("", "@intake", FIELD)
_TRIES: Final = 5
Rows = dict[Place, Row]


class Manifest(Struct, frozen=True):
    """What is in the vault, and after how many changes."""

    number: int = 0
    digests: dict[str, str] = {}


class Vault:
    """The vault in the database of ``engine``. ``seen``: the file with the manifest's number.

    All methods raise :class:`VaultError`.
    """

    def __init__(self, engine: Engine, masters: Masters, seen: Path) -> None:
        self._engine = engine
        self._masters = masters
        self._path = seen
        self._keys: dict[bytes, bytes] = {}
        """Wrapped data key → data key."""

    def put(self, name: str, text: str) -> None:
        """Store a secret, in place of one that has the name (``config/vault_names.py``)."""
        data = text.encode()
        if not is_name(name):
            raise BadSecretError(
                "a secret's name is 1 to 64 letters, digits, dots, dashes and underscores, and "
                "begins with a letter or digit; with ORGANISATION/ in front, it is an "
                "organisation's"
            )
        if not text.strip() or len(data) > LONGEST:
            raise BadSecretError(f"a secret has 1 to {LONGEST:,} bytes that are not all blank")
        place, at = _place_of(name), int(time.time())
        whose = place[0]
        most = MOST_OF_ONE if whose else MOST
        for _ in range(_TRIES):
            was = vault.rows(self._engine)
            if place not in was and _count(was, whose) >= most:
                of = f" of {whose}" if whose else ""
                raise VaultError(f"the vault holds {most} secrets{of} at most; remove some")
            old = was.get(place)
            row = replace(
                _blank(place),
                hint=_hint(text),
                created_at=old.created_at if old else at,
                changed_at=at,
            )
            row = envelope.fresh(row, data, self._masters.newest)
            if self._write({place: row}, {place: old}, act=Act(action="vault.put", target=name)):
                return
        raise _busy()

    def remove(self, name: str) -> None:
        """Delete a secret."""
        place = _place_of(name)
        seen = self._seen()
        listed = self._manifest(vault.rows(self._engine), seen)
        if not is_name(name) or _label(place) not in listed.digests:
            raise NoSecretError(f"there is no secret {name!r} in the vault")
        if not self._write({place: None}, {}, act=Act(action="vault.remove", target=name)):
            raise _busy()

    def texts(self, names: Iterable[str]) -> dict[str, str]:
        """Those of the secrets ``names`` that are there. One that does not open fails them all."""
        wanted = [_place_of(name) for name in names]
        seen = self._seen()
        rows = vault.rows(self._engine)
        if not rows and not seen:
            return {}
        manifest = self._manifest(rows, seen)
        there = [place for place in wanted if place in rows or _label(place) in manifest.digests]
        return {_name(place): self._text(rows, manifest, place).decode() for place in there}

    def verify(self) -> tuple[int, dict[str, str]]:
        """Open everything. Returns how many do; and what is wrong with the others, by name."""
        seen = self._seen()
        rows = vault.rows(self._engine)
        if not rows and not seen:
            return 0, {}
        manifest = self._manifest(rows, seen)
        wrong = {}
        places = {*rows, *(_place(label) for label in manifest.digests)} - {MANIFEST}
        for place in sorted(places):
            try:
                self._text(rows, manifest, place)
            except VaultError as error:
                wrong[_name(place)] = str(error)
        own = sum(place[1][:1] == "@" and _name(place) not in wrong for place in places)
        return len(places) - len(wrong) - own, wrong

    def rotate(self) -> int:
        """Everything under new data keys, wrapped by the newest master key. Returns how many."""
        master = self._masters.newest
        for _ in range(_TRIES):
            seen = self._seen()
            rows = vault.rows(self._engine)
            if not rows and not seen:
                return 0
            manifest = self._manifest(rows, seen)
            new: dict[Place, Row | None] = {}
            for place in map(_place, manifest.digests):
                row = replace(rows.get(place, _blank(place)), serial=_chance())
                new[place] = envelope.fresh(row, self._text(rows, manifest, place), master)
            head = self._new_head()
            act = Act(action="vault.rotate", after={"master": master.id})
            if self._write(new, {place: rows[place] for place in new}, head, act=act):
                return sum(place[1][:1] != "@" for place in new)
        raise _busy()

    def accept(self) -> int:
        """Take the vault as it stands in the database, though a newer one was seen here."""
        if not self._write({}, {}, accept=True, act=Act(action="vault.accept")):
            raise _busy()
        return self._seen()

    def intake(self) -> bytes:
        """The public key (X25519) that secrets may be sealed to on their way here (RFC 9180)."""
        return self._private().public_key().public_bytes_raw()

    def received(self, sealed: bytes, name: str) -> str:
        """What was sealed to the key of :meth:`intake` for the secret ``name``."""
        try:
            return SUITE.decrypt(sealed, self._private(), info(name)).decode()
        except (InvalidTag, ValueError):
            raise BadSecretError(
                "what was sealed does not open: ask for the vault's key again, and seal it for "
                "the same name"
            ) from None

    def _private(self) -> X25519PrivateKey:
        for _ in range(_TRIES):
            seen = self._seen()
            rows = vault.rows(self._engine)
            manifest, old = self._manifest(rows, seen), rows.get(INTAKE)
            if old is not None and manifest.digests.get(_label(INTAKE)) == _digest(old):
                return X25519PrivateKey.from_private_bytes(self._text(rows, manifest, INTAKE))
            # There is none yet, or what there is was not stored by us: nobody has sealed to it.
            made = X25519PrivateKey.generate()
            row = envelope.fresh(_blank(INTAKE), made.private_bytes_raw(), self._masters.newest)
            if self._write({INTAKE: row}, {INTAKE: old}):
                return made
        raise _busy()

    # -- rows ----------------------------------------------------------------------------------

    def _text(self, rows: Mapping[Place, Row], manifest: Manifest, place: Place) -> bytes:
        """What is at ``place``, if it is what was put there last."""
        row = rows.get(place)
        listed = manifest.digests.get(_label(place))
        if row is None:
            raise VaultError(f"{_called(place)} was removed from the database, but not by Ferryman")
        if listed != _digest(row):
            raise VaultError(
                f"{_called(place)} is not what was stored last: it was changed in the database"
            )
        return envelope.opened(row, self._key(row))

    def _key(self, row: Row) -> bytes:
        key = self._keys.get(row.wrapped)
        if key is None:
            key = envelope.unwrap(row, self._masters.of(row.master))
            self._keys[row.wrapped] = key
        return key

    def _manifest(self, rows: Mapping[Place, Row], seen: int, accept: bool = False) -> Manifest:
        """What is listed. Raises :class:`VaultError` if it is older than what was ``seen``."""
        row = rows.get(MANIFEST)
        if row is None:
            if (rows or seen) and not accept:
                raise VaultError(f"the vault's manifest is gone from the database. {_RESTORE}")
            return Manifest()
        text = envelope.opened(row, self._key(row))
        found = msgspec.json.decode(text, type=Manifest)
        if found.number < seen and not accept:
            raise VaultError(
                f"the vault in the database is of change {found.number}, but change {seen} was "
                f"seen here. {_RESTORE}"
            )
        if found.number > seen:
            self._see(found.number)
        return found

    def _new_head(self) -> Row:
        """A manifest's row with a data key of its own; what it lists comes later."""
        key = secrets.token_bytes(KEY)
        row = replace(_blank(MANIFEST), master=self._masters.newest.id)
        row = envelope.wrap(row, key, self._masters.newest)
        self._keys[row.wrapped] = key
        return row

    def _write(
        self,
        new: Mapping[Place, Row | None],
        was: Mapping[Place, Row | None],
        head: Row | None = None,
        *,
        accept: bool = False,
        act: Act | None = None,
    ) -> bool:
        """All of ``new`` (None = remove) and the manifest, or nothing if ``was`` is no longer so.

        Key services are asked before the transaction: nobody waits for them.
        """
        seen = self._seen()
        before = vault.rows(self._engine)
        self._manifest(before, seen, accept)
        head = head or before.get(MANIFEST) or self._new_head()
        with vault.changing(self._engine) as connection:
            rows = vault.read(connection)
            if any(rows.get(place) != row for place, row in was.items()):
                return False
            if rows.get(MANIFEST, head).wrapped not in self._keys:
                return False  # rotated meanwhile
            listed = self._manifest(rows, seen, accept)
            digests = dict(listed.digests)
            for place, row in new.items():
                digests.pop(_label(place), None)
                if row is None:
                    vault.remove(connection, place)
                else:
                    vault.put(connection, row)
                    digests[_label(place)] = _digest(row)
            number = max(listed.number, seen) + 1
            text = msgspec.json.encode(Manifest(number, digests))
            vault.put(connection, envelope.close(head, text, self._keys[head.wrapped]))
            if act is not None:
                audit.append(connection, act)
        self._see(number)
        return True

    # -- the highest number that was seen ------------------------------------------------------

    def _seen(self) -> int:
        """Read it before the rows: others may add to both."""
        try:
            return int(self._path.read_text() or "0")
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            raise VaultError(f"{self._path} can't be read: {error}") from None

    def _see(self, number: int) -> None:
        """It only grows, whoever writes it at the same time; its length stays, so it is whole."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if number > int(os.pread(fd, 20, 0) or b"0"):
                os.pwrite(fd, b"%020d" % number, 0)
                os.fsync(fd)
        finally:
            os.close(fd)


_RESTORE: Final = (
    "If a backup was restored on purpose, `ferryman vault accept` takes the vault as it is; "
    "otherwise somebody has changed the database."
)


def _busy() -> VaultError:
    return VaultError("others change the vault at the same time; try again")


def _place_of(name: str) -> Place:
    """Where a secret is: whose it is, is a part of what it is bound to."""
    return *split(name), FIELD


def _name(place: Place) -> str:
    return joined(*place[:2])


def _count(rows: Rows, whose: str) -> int:
    return sum(tenant == whose and name[:1] != "@" for tenant, name, _ in rows)


def _blank(place: Place) -> Row:
    tenant, name, field = place
    return Row(
        tenant=tenant, name=name, field=field, serial=_chance(), master="", wrapped=b"", sealed=b"",
        hint="", created_at=0, changed_at=0,
    )  # fmt: skip


def _chance() -> int:
    return secrets.randbits(62)


def _hint(text: str) -> str:
    text = text.strip()
    last = text[-HINT:]
    return last if len(text) >= HINTED and last.isascii() and last.isprintable() else ""


def _digest(row: Row) -> str:
    return hashlib.sha256(msgspec.msgpack.encode(row)).hexdigest()


def _label(place: Place) -> str:
    return "\n".join(place)


def _place(label: str) -> Place:
    tenant, name, field = label.split("\n")
    return tenant, name, field


def _called(place: Place) -> str:
    return envelope.shown(_blank(place))
