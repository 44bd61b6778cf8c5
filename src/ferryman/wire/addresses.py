"""Where media may lie: providers and the gateway's own network must not be made to fetch from it.

A URL in a prompt is fetched by whoever answers, often a server that stands beside the gateway. So
what is translated names no address that is private there (OWASP, Server-Side Request Forgery).
"""

import ipaddress
import re
from urllib.parse import unquote, urlsplit

from ferryman.ir.errors import ErrorKind, GatewayError

_PRIVATE_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home.arpa")
"""Last labels of names that no public server has (RFC 6761, RFC 6762, RFC 8375, ICANN's list)."""
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")


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
    if parts.scheme.lower() in ("http", "https") and _is_private(host):
        raise _refused(
            f"'{param}' leads to the private address {host[:100]!r}, which nobody fetches; send "
            "the bytes themselves, as base64.",
            param,
        )
    return url


def _refused(message: str, param: str) -> GatewayError:
    return GatewayError(400, ErrorKind.INVALID_REQUEST, message, param=param)


def _is_private(host: str) -> bool:
    if not host:
        return True
    address = _address(host)
    if address is not None:
        mapped = getattr(address, "ipv4_mapped", None) or address
        return not mapped.is_global or mapped.is_multicast
    return "." not in host or host.endswith(tuple(f".{name}" for name in _PRIVATE_NAMES))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
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
