"""Passwords of users, as argon2id hashes (RFC 9106) in the PHC string format."""

import functools
import secrets
import unicodedata
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

MEMORY_KIB: Final = 19_456
PASSES: Final = 2
LANES: Final = 1
"""As the OWASP Password Storage Cheat Sheet has it: 19 MiB, 2 passes, 1 lane."""
LEAST: Final = 12
MOST: Final = 256
"""Characters of a password."""


class WeakPasswordError(ValueError):
    """The password can't be taken; the message says why."""


def check(password: str, name: str) -> None:
    """Raise :class:`WeakPasswordError` for one that ``name`` should not have."""
    if not LEAST <= len(password) <= MOST:
        raise WeakPasswordError(f"A password has {LEAST} to {MOST} characters.")
    if len(set(password)) < 5:
        raise WeakPasswordError("A password has at least 5 different characters.")
    if name.casefold() in password.casefold():
        raise WeakPasswordError("A password must not have the name in it.")


def encoded(password: str) -> str:
    """What is kept of a password. Takes some 30 ms of a processor, and 19 MiB."""
    kdf = Argon2id(salt=secrets.token_bytes(16), length=32, iterations=PASSES, lanes=LANES,
                   memory_cost=MEMORY_KIB)  # fmt: skip
    return kdf.derive_phc_encoded(_bytes(password))


def fits(password: str, kept: str | None) -> bool:
    """Whether it is the password of which ``kept`` is kept. Of none it takes as long to say no."""
    try:
        Argon2id.verify_phc_encoded(_bytes(password), kept or _nobodys())
    except InvalidKey:
        return False
    return kept is not None


@functools.cache
def _nobodys() -> str:
    return encoded(secrets.token_urlsafe(24))


def _bytes(password: str) -> bytes:
    """The same for every way to write it: keyboards differ in how they compose letters."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "replace")
