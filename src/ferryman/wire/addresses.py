"""Which addresses are private: nobody may be made to fetch from there who did not choose to.

A URL in a prompt is fetched by whoever answers, often a server that stands beside the gateway. So
what is translated names no address that is private there; and what the configuration names leads to
none either, unless it says so (OWASP, Server-Side Request Forgery).
"""

import ipaddress
import re
from typing import Final
from urllib.parse import unquote, urlsplit

from ferryman.ir.errors import ErrorKind, GatewayError

PUBLIC: Final = 0
"""A destination may lead to what all can reach, and nowhere else;"""
WRITTEN: Final = 1
"""to private addresses as well, for its name or address is one, but to no cloud's metadata;"""
ANY: Final = 2
"""wherever it leads."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_PRIVATE_NAMES = (
    "localhost", "local", "internal", "intranet", "lan", "home.arpa", "home", "corp",
    "localdomain", "svc",
)  # fmt: skip
"""Last labels of names that no public server has (RFC 6761, RFC 6762, RFC 8375, ICANN's list; svc
is Kubernetes')."""
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_METADATA: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "169.254.0.0/16",
            "fe80::/10",
            "168.63.129.16/32",
            "100.100.100.200/32",
            "192.0.0.192/32",
            "fd00:ec2::254/128",
            "fd20:ce::254/128",
        ),
    )
)
"""Where clouds give machines their credentials: link-local addresses, and those of single clouds
(Azure, Alibaba, Oracle, and by IPv6 AWS and Google), of which not all are private ones."""
_CARRIERS: Final = tuple(
    (ipaddress.IPv6Network(network), shift)
    for network, shift in (
        ("::/96", 0),
        ("::ffff:0:0/96", 0),
        ("::ffff:0:0:0/96", 0),
        ("64:ff9b::/96", 0),
        ("2002::/16", 80),
    )
)
"""IPv6 networks whose addresses stand for an IPv4 one, and how many bits stand behind that:
compatible, mapped (RFC 4291), translated (RFC 7915), NAT64 (RFC 6052), 6to4 (RFC 3056)."""
_NOWHERE: Final = tuple(map(ipaddress.IPv6Network, ("64:ff9b:1::/48", "2001::/32", "fec0::/10")))
"""NAT64 within a network (RFC 8215), Teredo, and site-local addresses: of no public server."""


def public(url: str, param: str) -> str:
    """``url``. Raises :class:`GatewayError` (400) for ``param`` when it leads to a private address.

    Names are not looked up: what they lead to is known to whoever fetches only.
    """
    try:
        parts = urlsplit(url.strip().replace("\\", "/"))
        host = unquote(parts.hostname or "").rstrip(".").lower()
    except ValueError:
        raise _refused(f"'{param}' holds no valid URL.", param) from None
    if parts.scheme.lower() == "file":
        raise _refused(f"'{param}' names a file of some machine's own; send its bytes.", param)
    if parts.scheme.lower() in ("http", "https") and is_private(host):
        raise _refused(
            f"'{param}' leads to the private address {host[:100]!r}, which nobody fetches; send "
            "the bytes themselves, as base64.",
            param,
        )
    return url


def _refused(message: str, param: str) -> GatewayError:
    return GatewayError(400, ErrorKind.INVALID_REQUEST, message, param=param)


def is_private(host: str) -> bool:
    """Whether a name or an address, in any spelling, is of no server that all can reach."""
    if not host:
        return True
    address = _address(host)
    if address is not None:
        return not _is_global(address)
    return "." not in host or host.endswith(tuple(f".{name}" for name in _PRIVATE_NAMES))


def reach(url: str, private: bool | None) -> int:
    """How far a configured URL may lead: ``private`` is what the configuration says of it, or None.

    Where it says nothing, a private name or address is a choice of whoever wrote it.
    """
    if private is not None:
        return ANY if private else PUBLIC
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    return WRITTEN if is_private(host) else PUBLIC


def admits(address: str, reach: int) -> bool:
    """Whether a destination with that reach may be connected to at ``address``."""
    found = _address(address)
    if reach == ANY or found is None:
        return reach == ANY
    return not _is_metadata(found) and (reach == WRITTEN or _is_global(found))


def refused_address(url: str, private: bool | None) -> bool:
    """Whether the host of ``url`` is an address that it may not lead to, as it stands there."""
    host = urlsplit(url).hostname or ""
    return _address(host) is not None and not admits(host, reach(url, private))


def _is_global(address: Address) -> bool:
    inner = _inner(address)
    if isinstance(inner, ipaddress.IPv6Address) and any(inner in each for each in _NOWHERE):
        return False
    return inner.is_global and not inner.is_multicast and not _is_metadata(inner)


def _is_metadata(address: Address) -> bool:
    inner = _inner(address)
    return any(inner in network for network in _METADATA)


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for; else the address itself."""
    if isinstance(address, ipaddress.IPv6Address) and int(address) > 1:
        for network, shift in _CARRIERS:
            if address in network:
                return ipaddress.IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return address


def _address(host: str) -> Address | None:
    """The address that a host is, in any of the spellings that C's resolvers take; or None."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    numbers = [_number(part) for part in parts]
    value = numbers[-1]
    for i, number in enumerate(numbers[:-1]):
        value += number << (8 * (3 - i))
    return ipaddress.IPv4Address(value & 0xFFFFFFFF)


def _number(text: str) -> int:
    """Decimal, octal with a zero in front, or hexadecimal; see inet_aton(3)."""
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    if len(text) > 1 and text.startswith("0") and all(digit in "01234567" for digit in text):
        return int(text, 8)
    return int(text[:20])
