"""A secret under a data key of its own, the data key under a master key: AES-256-GCM, no I/O.

What is encrypted is bound to its place: with any other tenant, name, field or serial number it does
not open, so that no ciphertext can stand in for another one, or for a later one.
"""

import secrets
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace

from ferryman.config.vault_names import joined
from ferryman.store.vault import Row

KEY: Final = 32
NONCE: Final = 12
TAG: Final = 16
_DATA, _WRAP = b"ferryman vault data v1", b"ferryman vault wrap v1"


class VaultError(Exception):
    """Something in the vault can't be used; the message says what, and what to do."""

    status = 409
    code = "vault_refused"
    """Of the admin API's answer."""


class NoMasterKeyError(VaultError):
    """There is no master key to store anything under."""

    code = "no_master_key"


class KeyServiceError(VaultError):
    """A key service can't be reached, or does not want to."""

    status = 503
    code = "key_service_failed"


class NoSecretError(VaultError):
    """There is no secret of this name."""

    status = 404
    code = "secret_not_found"


class BadSecretError(VaultError):
    """A name or a value that can't be stored."""

    status = 400
    code = "invalid_secret"


class Master(Protocol):
    """What wraps data keys: a key that is given here, or one that never leaves a key service.

    A package offers one as an entry point of the group ``ferryman.kms``: a callable that is given
    what follows the entry point's name and colon in ``FERRYMAN_KMS``.
    """

    id: str
    """Names the key, never its content; stored with everything that it wraps."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """``key`` (32 bytes) encrypted, bound to ``context``. Raises :class:`VaultError`."""

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key again. Raises :class:`VaultError`: tampered with, another context, refused."""


def bound(purpose: bytes, row: Row) -> bytes:
    """The associated data: each part behind its length, so that no two rows have the same."""
    parts = (purpose, *(text.encode() for text in (*row.place, str(row.serial), row.master)))
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])


def close(row: Row, text: bytes, key: bytes) -> Row:
    """``row`` with ``text`` sealed under the data key ``key``."""
    return replace(row, sealed=encrypted(key, text, bound(_DATA, row)))


def wrap(row: Row, key: bytes, master: Master) -> Row:
    """``row`` with its data key wrapped. Raises :class:`VaultError`."""
    return replace(row, wrapped=master.wrap(key, bound(_WRAP, row)))


def unwrap(row: Row, master: Master) -> bytes:
    """The data key of ``row``. Raises :class:`VaultError`."""
    key = master.unwrap(row.wrapped, bound(_WRAP, row))
    if len(key) != KEY:
        raise VaultError(f"the data key of {shown(row)} is not one")
    return key


def fresh(row: Row, text: bytes, master: Master) -> Row:
    """``row`` with ``text`` under a new data key, wrapped. Raises :class:`VaultError`."""
    key = secrets.token_bytes(KEY)
    row = replace(row, master=master.id)
    return wrap(close(row, text, key), key, master)


def opened(row: Row, key: bytes) -> bytes:
    """What ``row`` holds. Raises :class:`VaultError` if anything of it is not as it was sealed."""
    try:
        return decrypted(key, row.sealed, bound(_DATA, row))
    except VaultError:
        raise VaultError(f"{shown(row)} does not open: it was changed in the database") from None


def encrypted(key: bytes, text: bytes, context: bytes) -> bytes:
    """Nonce, ciphertext and tag. Every key here encrypts few texts: a nonce of chance will do."""
    nonce = secrets.token_bytes(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, text, context)


def decrypted(key: bytes, data: bytes, context: bytes) -> bytes:
    """The other way. Raises :class:`VaultError`."""
    if len(data) < NONCE + TAG:
        raise VaultError("it is cut short")
    try:
        return AESGCM(key).decrypt(data[:NONCE], data[NONCE:], context)
    except InvalidTag:
        raise VaultError("it does not open") from None


def shown(row: Row) -> str:
    """What messages call it."""
    if row.name[:1] == "@" and not row.tenant:
        return f"the vault's own {row.name[1:]}"
    return f"the secret {joined(row.tenant, row.name)}"
