"""Which requests are the same: digests of what an answer depends on."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

_IGNORED: Final = {
    "chat.completions": frozenset(("stream", "metadata")),
    "messages": frozenset(("stream", "metadata")),
}
"""Members that don't change an answer, or that the key has anyway; answers of the Responses API
repeat their metadata."""
_PLAIN: Final = frozenset(("stream",))
_SCHEMA: Final = b"properties"
LARGEST: Final = 1 << 18
"""Bytes of a body that is compared value by value; a larger one is, byte by byte."""


def digest(*parts: bytes) -> bytes:
    """One digest (32 bytes) of several texts, without ambiguity."""
    found = hashlib.sha256()
    for part in parts:
        found.update(b"%d:" % len(part))
        found.update(part)
    return found.digest()


TAG: Final = 8
"""Bytes of a tag."""


def tag(text: bytes) -> bytes:
    """What stands for ``text`` in a key, to clear answers by: it alone tells none apart."""
    return digest(b"tag", text)[:TAG]


def key_of(owner: bytes, model: bytes, namespace: bytes, *parts: bytes) -> bytes:
    """The key of an answer: three tags, and a digest of everything."""
    tags = tag(owner) + tag(model) + tag(namespace)
    return tags + digest(owner, model, namespace, *parts)


class Choice(NamedTuple):
    """Which answers are to be cleared: by tags of what they belong to; empty = whatever it is."""

    owner: bytes = b""
    model: bytes = b""
    namespace: bytes = b""

    def among(self, keys: Iterable[bytes]) -> list[bytes]:
        """The keys of answers that are chosen."""
        for at, wanted in enumerate(self):
            if wanted:
                keys = [key for key in keys if key[at * TAG : at * TAG + TAG] == wanted]
        return list(keys)


def choice(owner: str | None, model: str | None, namespace: str | None) -> Choice:
    """The answers of a virtual key (its id), of a model (as callers ask for it), in a namespace."""
    tags = [b"" if text is None else tag(text.encode()) for text in (owner, model, namespace)]
    return Choice(*tags)


def normalised(endpoint: str, body: bytes) -> bytes:
    """``body`` the same for all bodies that say the same: order of keys, white space, spelling of
    strings and members that are null make no difference. (With a schema, the order of keys within
    the members does: models answer in the order of its properties.)

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
        said = {n: v for n, v in sorted(members.items()) if v is not None and n not in ignored}
        anyhow = _SCHEMA not in body
        return json.dumps(said, sort_keys=anyhow, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return body


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found
