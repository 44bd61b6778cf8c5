"""How what the gateway sends to services of its user is signed. Pure."""

import hashlib
import hmac
from typing import Final

SIGNATURE: Final = "x-ferryman-signature"
"""The header that has it."""


def signature(secret: bytes, body: bytes, now: int) -> str:
    """``t=UNIX,v1=HEX``: HMAC-SHA-256 under ``secret`` of the time, a dot and the body."""
    signed = hmac.new(secret, b"%d.%b" % (now, body), hashlib.sha256)
    return f"t={now},v1={signed.hexdigest()}"
