"""What a virtual key may be bound to: checked when it is said, and put in words for callers."""

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from ferryman.config.feed import KeyBounds
from ferryman.config.filters import DATA_POLICIES, policies

GROUPS: Final = {
    "chat": (
        "chat.completions", "completions", "responses", "messages", "generate_content",
        "count_tokens", "count_content",
    ),
    "embeddings": ("embeddings", "embed", "embed_content", "batch_embed_contents"),
    "rerank": ("rerank",),
    "images": ("images.generations", "images.edits", "images.variations"),
    "audio": ("audio.speech", "audio.transcriptions", "audio.translations"),
    "moderations": ("moderations",),
}  # fmt: skip
"""What tasks are called → the endpoints that they are asked at."""
ENDPOINTS: Final = frozenset(each for group in GROUPS.values() for each in group)
MOST: Final = 64
"""Entries of one bound."""
LONGEST: Final = 200
"""Characters of an entry."""
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class KeyBoundsError(ValueError):
    """A bound can't be used; the message says why, and what would do."""


def checked(said: dict[str, Any]) -> dict[str, Any]:
    """Bounds as they are kept, by the names of :class:`KeyBounds`: sorted, each once, networks in
    CIDR notation. Raises :class:`KeyBoundsError`."""
    out: dict[str, Any] = {}
    for name, given in said.items():
        entries = sorted(set(given or ()))
        if len(entries) > MOST or not all(map(_plain, entries)):
            raise KeyBoundsError(
                f"{name}: give up to {MOST} entries, each of 1 to {LONGEST} printable characters "
                "without blanks and commas."
            )
        out[name] = _CHECKS[name](entries)
    return out


def _plain(text: str) -> bool:
    return 0 < len(text) <= LONGEST and text.isprintable() and not set(text) & {" ", ","}


def _endpoints(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in GROUPS and name not in ENDPOINTS:
            single = ", ".join(sorted(ENDPOINTS - GROUPS.keys()))
            raise KeyBoundsError(
                f"endpoints: there is none called {name!r}. Groups: {', '.join(GROUPS)}; single "
                f"ones: {single}."
            )
    return tuple(names)


def _regions(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if not _REGION.fullmatch(name):
            raise KeyBoundsError(f"regions: {name!r} is no region, such as eu or eu-west-3.")
    return tuple(names)


def _policies(words: Sequence[str]) -> str:
    for word in words:
        if word not in DATA_POLICIES:
            known = ", ".join(DATA_POLICIES)
            raise KeyBoundsError(f"data_policy: {word!r} is none of {known}.")
    return policies(words)


def _networks(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(network_of(text)) for text in texts))


_CHECKS: Final[dict[str, Callable[[Sequence[str]], Any]]] = {
    "models": tuple, "providers": tuple, "endpoints": _endpoints, "regions": _regions,
    "data_policy": _policies, "tags": tuple, "networks": _networks,
}  # fmt: skip


def network_of(text: str) -> Network:
    """A network in CIDR notation, or one address. IPv4 written as IPv6 (``::ffff:10.0.0.0/104``)
    is IPv4. Raises :class:`KeyBoundsError`."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        raise KeyBoundsError(
            f"networks: {error}. Write 192.0.2.0/24, 2001:db8::/32 or one address."
        ) from None
    if isinstance(found, ipaddress.IPv6Network) and found.prefixlen >= 96:
        mapped = found.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((int(mapped), found.prefixlen - 96))
    return found


def address_of(peer: str) -> Address | None:
    """The address of a peer, IPv4 also where it came as IPv6; None: it has none, as over a socket
    of the file system."""
    try:
        found = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        return found.ipv4_mapped or found
    return found


def endpoints_of(names: Iterable[str]) -> frozenset[str]:
    """The endpoints that ``names`` stand for."""
    return frozenset(each for name in names for each in GROUPS.get(name, (name,)))


def in_words(bounds: KeyBounds) -> str:
    """What a key may, for whoever holds it: ``models fast, lab/*; regions eu``.

    Not from where, which would tell a thief where to go.
    """
    parts = [
        f"{name} {', '.join(entries)}"
        for name in ("models", "providers", "endpoints", "regions", "tags")
        if (entries := getattr(bounds, name))
    ]
    if bounds.data_policy:
        parts.append(f"data_policy {', '.join(bounds.data_policy.split())}")
    return "; ".join(parts)
