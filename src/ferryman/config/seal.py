"""Literal secrets on their way to the data plane, and on its disk: AES-256-GCM.

Their key is the control plane's (``Paths.seal_key``); each data plane gets it wrapped to a key of
its own (``config/wrapping.py``). Sealing is deterministic (the nonce is a keyed hash of name and
text), so that an unchanged configuration compiles to an unchanged snapshot. What that shows an
onlooker is only that two sealed texts are equal. ``cryptography`` is imported on first use.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final

_NONCE: Final = 12
_TAG: Final = 16


class SealError(Exception):
    """A sealed secret does not open: tampered with, another key, or meant for another provider."""


def derive_for(secret: str, purpose: str) -> bytes:
    """A 32-byte key for one ``purpose`` from a secret of the installation (HKDF, RFC 5869)."""
    return _hkdf(secret.encode(), f"ferryman {purpose} v1".encode())


def seal(text: str, *, key: bytes, name: str) -> str:
    """``text`` encrypted under ``key`` (32 bytes) for the provider ``name``, as base64."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    body, bound = text.encode(), name.encode()
    # A nonce from a pseudo-random function repeats only when name and text do, and then nothing new
    # is encrypted under it. The length keeps (name, text) pairs apart.
    message = len(bound).to_bytes(4, "big") + bound + body
    nonce = hmac.digest(_hkdf(key, b"ferryman seal nonce v1"), message, "sha256")[:_NONCE]
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, body, bound)).decode()


def unseal(sealed: str, *, key: bytes, name: str) -> str:
    """The text that was sealed for ``name``. Raises :class:`SealError`."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        data = base64.b64decode(sealed, validate=True)
        if len(data) < _NONCE + _TAG:
            raise SealError("a sealed secret is cut short")
        return AESGCM(key).decrypt(data[:_NONCE], data[_NONCE:], name.encode()).decode()
    except (InvalidTag, binascii.Error, ValueError):
        raise SealError("a sealed secret does not open: tampered with, or another key") from None


def _hkdf(secret: bytes, info: bytes) -> bytes:
    """One 32-byte block of HKDF with SHA-256 and an empty salt."""
    extracted = hmac.digest(bytes(hashlib.sha256().digest_size), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")
