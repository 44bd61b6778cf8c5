"""How a secret travels to the vault: sealed to its key, so that nothing on the way can read it.

RFC 9180 (HPKE) in base mode: X25519, HKDF-SHA-256, AES-256-GCM; the encapsulated key comes first.
"""

from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def info(name: str) -> bytes:
    """What binds a sealed secret to its name."""
    return b"ferryman vault intake v1\n" + name.encode()


def seal_for(public: bytes, name: str, text: str) -> bytes:
    """``text`` for the secret ``name``, sealed to the vault's key (32 bytes). ``ValueError``."""
    return SUITE.encrypt(text.encode(), X25519PublicKey.from_public_bytes(public), info(name))
