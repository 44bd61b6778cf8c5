"""Which requests are the same: digests of what an answer depends on."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Final

_IGNORED: Final = {
    "chat.completions": frozenset(("stream", "metadata")),
    "messages": frozenset(("stream", "metadata")),
}
"""Members that don't change an answer, or that the key has anyway; answers of the Responses API
repeat their metadata."""
_PLAIN: Final = frozenset(("stream",))
LARGEST: Final = 1 << 18
"""Bytes of a body that is compared value by value; a larger one is, byte by byte."""


def digest(*parts: bytes) -> bytes:
    """One digest (32 bytes) of several texts, without ambiguity."""
    found = hashlib.sha256()
    for part in parts:
        found.update(b"%d:" % len(part))
        found.update(part)
    return found.digest()


def normalised(endpoint: str, body: bytes) -> bytes:
    """``body`` the same for all bodies that say the same: order of keys, white space, spelling of
    strings and members that are null make no difference.

    A body that may mean different things to different readers (a key that comes twice) stays as it
    is, and so does a large one.
    """
    if len(body) > LARGEST:
        return body
    try:
        members = json.loads(body, object_pairs_hook=_unique)
        if not isinstance(members, dict):
            return body
        ignored = _IGNORED.get(endpoint, _PLAIN)
        said = {n: v for n, v in members.items() if v is not None and n not in ignored}
        return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return body


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found
