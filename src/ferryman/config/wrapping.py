"""How the key of sealed secrets reaches one data plane: wrapped to a key pair of that plane's own.

RFC 9180, as for the vault's intake (``config/intake.py``), bound to the plane's name. So neither
the feed's token nor another plane's answer opens what a snapshot has.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from ferryman.config.intake import SUITE
from ferryman.config.seal import SealError

_PURPOSE: Final = b"ferryman seal key v1\n"


def pair() -> tuple[bytes, bytes]:
    """A new public key and its private one (X25519, 32 bytes each)."""
    private = X25519PrivateKey.generate()
    return private.public_key().public_bytes_raw(), private.private_bytes_raw()


def wrapped(key: bytes, plane: str, public: bytes) -> bytes:
    """``key`` for the data plane ``plane`` alone, whose key is ``public``: another text each time.

    Raises ``ValueError``: ``public`` is no key, or one that everybody has the other half of.
    """
    return SUITE.encrypt(key, X25519PublicKey.from_public_bytes(public), _PURPOSE + plane.encode())


def unwrapped(data: bytes, plane: str, private: bytes) -> bytes:
    """The key again. Raises :class:`SealError`."""
    try:
        held = X25519PrivateKey.from_private_bytes(private)
        return SUITE.decrypt(data, held, _PURPOSE + plane.encode())
    except (InvalidTag, ValueError):
        raise SealError("the key of sealed secrets is not wrapped to the key here") from None
