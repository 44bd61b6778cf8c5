"""Signatures under reasoning, as vendors put them there to know their own words again.

They depend on what they sign and on nothing else, so that any simulator knows those of any other.
"""

import base64
import hashlib
import hmac
from functools import lru_cache

_KEY = b"only the ferryman knows the ford"


@lru_cache(maxsize=1024)
def seal(*signed: str) -> str:
    """The signature under some texts, in base64."""
    message = b"\0".join(part.encode("utf-8", "surrogatepass") for part in signed)
    return base64.b64encode(hmac.digest(_KEY, message, hashlib.sha512)).decode()


def sealed(signature: object, *signed: str) -> bool:
    """Whether ``signature`` is the one under ``signed``."""
    return isinstance(signature, str) and hmac.compare_digest(
        signature.encode("utf-8", "surrogatepass"), seal(*signed).encode()
    )


def wrap(text: str) -> str:
    """``text`` so that only the simulator is supposed to read it, in base64, with its signature."""
    body = base64.b64encode(text.encode()).decode()
    return base64.b64encode(f"{body}.{seal('wrap', body)}".encode()).decode()


def wrapped(data: object) -> bool:
    """Whether ``data`` comes from :func:`wrap`, unchanged."""
    try:
        body, _, signature = base64.b64decode(str(data), validate=True).decode().partition(".")
    except ValueError:
        return False
    return sealed(signature, "wrap", body)
