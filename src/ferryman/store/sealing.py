"""Kept answers as they leave the process: compressed, and encrypted under the installation's key.

A nonce (12 bytes) and AES-256-GCM, bound to the name that the answer is kept under, so that none
can be put in another's place. ``cryptography`` is imported when a :class:`Sealer` is made.
"""

import os
import zlib
from typing import Final

_NONCE: Final = 12


class Sealer:
    """Seals and opens with one key."""

    def __init__(self, key: bytes) -> None:
        """``key``: 32 bytes."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key)

    def seal(self, name: bytes, data: bytes) -> bytes:
        """``data`` as it may be kept under ``name``."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, zlib.compress(data, 1), name)

    def open(self, name: bytes, sealed: bytes) -> bytes | None:
        """What :meth:`seal` was given; None = damaged, or sealed under another key or name."""
        from cryptography.exceptions import InvalidTag

        try:
            return zlib.decompress(self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], name))
        except (InvalidTag, ValueError, zlib.error):
            return None
