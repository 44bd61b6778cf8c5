"""The secret of a virtual key: made here, known by its checksum, stored as a keyed hash only."""

import hashlib
import secrets
import string
from functools import lru_cache
from typing import Any, Final
from zlib import crc32

PREFIX: Final = "fm-"
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM: Final = 43  # 62^43 > 2^256
_CHECK: Final = 6  # 62^6 > 2^32
_LETTERS: Final = frozenset(_ALPHABET)


def mint(bits: bytes = b"") -> str:
    """A new secret: ``fm-``, 256 random bits, a CRC-32 over both; 52 characters, base 62.

    ``bits``: these 32 bytes instead of random ones.
    """
    number = int.from_bytes(bits) if bits else secrets.randbits(256)
    body = PREFIX + _base62(number, _RANDOM)
    return body + _checksum(body)


def well_formed(token: str | bytes) -> bool:
    """Whether ``token`` is one that :func:`mint` may have made: a typing error makes it False.

    A key fixed by ``FERRYMAN_KEY`` need not be well formed, so this must not decide who may enter.
    """
    text = token if isinstance(token, str) else token.decode("latin-1")
    body = text[:-_CHECK]
    return (
        len(text) == len(PREFIX) + _RANDOM + _CHECK
        and text.startswith(PREFIX)
        and _LETTERS.issuperset(text[len(PREFIX) :])
        and text[-_CHECK:] == _checksum(body)
    )


def digest(pepper: bytes, token: bytes) -> bytes:
    """HMAC-SHA-256 of ``token`` under ``pepper``, 32 bytes; what is stored and looked up.

    About 1.2 µs: it starts from hash states made once for a pepper, which ``hmac.digest`` can't.
    """
    inner, outer = _states(pepper)
    inner, outer = inner.copy(), outer.copy()
    inner.update(token)
    outer.update(inner.digest())
    return bytes(outer.digest())


def hint(token: str) -> str:
    """First 6 and last 4 characters, to tell keys apart: ``fm-AbC…wxyz``."""
    return f"{token[:6]}…{token[-4:]}"


@lru_cache(maxsize=8)
def _states(pepper: bytes) -> tuple[Any, Any]:
    """SHA-256 after the inner and outer key block of HMAC (RFC 2104)."""
    key = pepper if len(pepper) <= 64 else hashlib.sha256(pepper).digest()
    block = key.ljust(64, b"\0")
    return (
        hashlib.sha256(bytes(byte ^ 0x36 for byte in block)),
        hashlib.sha256(bytes(byte ^ 0x5C for byte in block)),
    )


def _checksum(body: str) -> str:
    return _base62(crc32(body.encode()), _CHECK)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
