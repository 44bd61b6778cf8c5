"""What a caller's headers say about the cache."""

import re
from typing import Final, NamedTuple

_ON: Final = frozenset((b"on", b"true", b"1", b"yes"))
_OFF: Final = frozenset((b"off", b"false", b"0", b"no"))
_SECONDS: Final = re.compile(rb"[0-9]{1,30}")
_LONGEST: Final = 1 << 31
"""Seconds; more are as many (RFC 9111 §1.2.2)."""
LONGEST_NAMESPACE: Final = 200


class Wish(NamedTuple):
    """What a caller wants of the cache."""

    asks: bool = False
    """It has asked for it."""
    reads: bool = True
    """A kept answer will do."""
    keeps: bool = True
    """Its own may be kept."""
    ttl: float = -1.0
    """Seconds that it may be kept; -1 = as configured."""
    max_age: float = -1.0
    """Seconds that a kept answer may be old; -1 = until it expires."""
    namespace: bytes = b""


NONE: Final = Wish()


def heed(wish: Wish, kind: str, value: bytes) -> Wish:
    """``wish`` with what one more header says, see ``catalog/cache_headers.py``.

    Raises ValueError with what its value must be.
    """
    if kind == "namespace":
        if len(value) > LONGEST_NAMESPACE:
            raise ValueError(f"must have at most {LONGEST_NAMESPACE} characters")
        return wish._replace(namespace=value)
    value = value.strip().lower()
    if kind == "control":
        return _controlled(wish, value)
    if kind == "ttl":
        return wish._replace(asks=True, ttl=_seconds(value))
    if kind == "switch" and value == b"refresh":
        return wish._replace(asks=True, reads=False)
    if value not in _ON and value not in _OFF:
        raise ValueError("must be on, off or refresh" if kind == "switch" else "must be true")
    if (kind == "switch" and value in _OFF) or (kind == "skip" and value in _ON):
        return wish._replace(reads=False, keeps=False)
    if kind == "refresh" and value in _ON:
        return wish._replace(asks=True, reads=False)
    return wish._replace(asks=True) if kind == "switch" else wish


def _controlled(wish: Wish, value: bytes) -> Wish:
    """RFC 9111 §5.2.1; directives that are not known are passed over, as it says."""
    for directive in value.split(b","):
        name, _, argument = directive.strip().partition(b"=")
        if name == b"no-store":
            wish = wish._replace(reads=False, keeps=False)
        elif name == b"no-cache":
            wish = wish._replace(reads=False)
        elif name == b"max-age":
            wish = wish._replace(max_age=_seconds(argument.strip(b'"')))
    return wish


def _seconds(value: bytes) -> float:
    if not _SECONDS.fullmatch(value):
        raise ValueError("must be a whole number of seconds")
    return float(min(int(value), _LONGEST))
