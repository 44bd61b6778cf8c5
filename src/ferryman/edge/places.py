"""The data plane's endpoints that are no calls: methods, and whom each is open to.

Calls (``routes.py``) are open to virtual keys and to tokens of identity providers.
"""

import hmac
from typing import Final, NamedTuple

from ferryman.edge import explaining, feedback, leaks
from ferryman.http1.exchange import Exchange
from ferryman.ir.errors import ErrorKind, GatewayError

OPEN: Final = "open"
"""To everybody."""
KEY: Final = "key"
"""Whoever may make calls."""
PLANES: Final = "planes"
"""Whoever has the feed token: other planes, and commands on this machine."""
METRICS: Final = "metrics"
"""Whoever has the metrics token, and other workers."""


class Place(NamedTuple):
    """What an endpoint takes."""

    methods: bytes
    access: str


LIMITS: Final = b"/internal/limits"
CACHE: Final = b"/internal/cache"
MODELS: Final = (b"/v1/models", b"/models", b"/v1beta/models")
PLACES: Final = {
    b"/": Place(b"GET, HEAD", OPEN),
    b"/healthz": Place(b"GET, HEAD", OPEN),
    b"/readyz": Place(b"GET, HEAD", OPEN),
    b"/metrics": Place(b"GET", METRICS),
    explaining.PATH: Place(b"POST", PLANES),
    LIMITS: Place(b"GET", PLANES),
    CACHE: Place(b"GET", PLANES),
    **dict.fromkeys(feedback.PATHS, Place(b"POST", KEY)),
    **dict.fromkeys(leaks.PATHS, Place(b"POST", OPEN)),
    **dict.fromkeys(MODELS, Place(b"GET", KEY)),
}
"""By path. What is not here, and is neither a call nor a model, is a 404."""


def allow(exchange: Exchange, place: Place, feed: bytes, metrics: bytes) -> None:
    """Check method and token; who brings a key is looked at by the endpoint, which goes by its
    bounds. Loopback is nobody: a proxy on this machine is there, too, and need not say so.

    Raises :class:`GatewayError` (405, 401).
    """
    allow_methods(exchange, place.methods)
    if place.access == PLANES:
        explaining.allow(exchange, feed)
    elif place.access == METRICS and not sees_metrics(exchange, feed, metrics):
        raise GatewayError(
            401,
            ErrorKind.INVALID_KEY,
            "Metrics are of all callers, so no caller's key opens them: send the token of "
            "secrets/metrics-token in the data directory (or FERRYMAN_METRICS_TOKEN) as "
            "Authorization: Bearer.",
        )


def sees_metrics(exchange: Exchange, feed: bytes, metrics: bytes) -> bool:
    """Whether who asks has the metrics token, or is another plane."""
    given = exchange.header(b"authorization") or b""
    known = [hmac.compare_digest(given, b"Bearer " + token) for token in (metrics, feed)]
    return any(known)


def allow_methods(exchange: Exchange, methods: bytes) -> None:
    """Raise :class:`GatewayError` (405) for others."""
    if exchange.method not in methods.split(b", "):
        raise GatewayError(
            405,
            ErrorKind.METHOD_NOT_ALLOWED,
            f"Use {methods.decode()} here.",
            headers=((b"allow", methods),),
        )
