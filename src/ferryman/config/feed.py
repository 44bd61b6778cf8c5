"""What the control plane sends a data plane.

``GET /internal/feed?snapshot=VERSION&keys=SEQ&cleared=NUMBER&issuers=MARK&plane=NAME&public=HEX
&seal=MARK&wait=SECONDS``
"""

import hashlib

from msgspec import Struct


class KeyBounds(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What calls of a virtual key are held to (``config/key_bounds.py``); empty = anything goes."""

    models: tuple[str, ...] = ()
    """Names that may be asked for; ``*`` stands for any characters."""
    providers: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    """Endpoints, or groups of them."""
    regions: tuple[str, ...] = ()
    data_policy: str = ""
    """All that must be promised, words with spaces between."""
    tags: tuple[str, ...] = ()
    """Tags that callers may add to the key's own; ``*`` as above."""
    networks: tuple[str, ...] = ()
    """Where callers may be, in CIDR notation."""


class KeyFacts(Struct, frozen=True, array_like=True):
    """Whose a virtual key is; empty where nobody has said. Callers can't say otherwise."""

    organisation: str = ""
    team: str = ""
    user: str = ""
    tags: tuple[str, ...] = ()
    bounds: KeyBounds | None = None


NO_FACTS = KeyFacts()


class SealKey(Struct, frozen=True, array_like=True):
    """The key of sealed secrets on its way to one data plane, and as it keeps it on its disk."""

    mark: str
    """:func:`mark` of the key, by which a data plane says that it has it."""
    wrapped: bytes
    """See ``config/wrapping.py``."""


class Feed(Struct, frozen=True, kw_only=True):
    """One answer of the feed, as msgpack. Empty fields mean "you are up to date"."""

    snapshot: bytes = b""
    """msgpack of a whole :class:`~ferryman.config.snapshot.Snapshot` when its version is new."""
    keys_seq: int = 0
    """Sequence number of the key table after applying this answer."""
    keys_full: bytes = b""
    """The whole key table (see ``meter/keytable.py``), when the data plane asked with seq 0."""
    keys_delta: bytes = b""
    """64-byte records of keys created or changed since the data plane's sequence number."""
    facts: dict[str, KeyFacts] = {}
    """By key id: with ``keys_full`` of all keys that have any, with ``keys_delta`` of its keys."""
    cleared: int = -1
    """Number of the latest order to clear the cache; -1 = the data plane knows it."""
    clears: tuple[tuple[bytes, ...], ...] = ()
    """The orders since the one that it knows (``store/clears.py``)."""
    keysets: bytes = b""
    """msgpack of all public keys of issuers (``config/identity_row.py``), where the data plane has
    others: it asks with the :func:`mark` of what it has."""
    seal: SealKey | None = None
    """What opens sealed secrets, for a data plane that says its ``public`` key (X25519) and has
    another one, or none."""


def mark(data: bytes) -> str:
    """What a data plane calls the ``data`` that it has; empty = it has none."""
    return hashlib.sha256(data).hexdigest()[:16] if data else ""
