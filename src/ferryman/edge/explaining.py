"""``POST /internal/explain``: what would become of a request. For whoever runs the gateway.

It shows policies, prices and who rests, so it takes the feed token, which the planes share, and no
caller's key.
"""

import hmac
from collections.abc import Callable

import msgspec
from msgspec import Raw, Struct

from ferryman.flow.call import Call, Plane
from ferryman.flow.deliver import JSON
from ferryman.flow.explain import Pretended, explain
from ferryman.http1.exchange import Exchange
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.unreadable import UNREADABLE

PATH = b"/internal/explain"
Place = Callable[[bytes], tuple[str, str, bool]]
"""What a path leads to: endpoint, model if the path names it, and whether that asks for a stream.
Raises :class:`GatewayError` (404)."""


class Asked(Struct, forbid_unknown_fields=True):
    """Body of the request."""

    request: Raw
    """The body that would be sent."""
    path: str = "/v1/chat/completions"
    headers: dict[str, str] = {}
    key: str = ""
    """Id of the virtual key that would send it; empty = none in particular."""


_asked = msgspec.json.Decoder(Asked)
_json = msgspec.json.Encoder().encode


def allow(exchange: Exchange, token: bytes) -> None:
    """Raise :class:`GatewayError` (401) without the feed token."""
    given = exchange.header(b"authorization") or b""
    if not token or not hmac.compare_digest(given, b"Bearer " + token):
        raise GatewayError(
            401,
            ErrorKind.INVALID_KEY,
            "This is for 'ferryman explain', which sends the token that the planes share "
            "(secrets/feed-token in the data directory, or FERRYMAN_FEED_TOKEN).",
        )


async def answer(plane: Plane, exchange: Exchange, place: Place) -> None:
    """Answer an allowed request. Raises :class:`GatewayError` (400, 404)."""
    try:
        asked = _asked.decode(exchange.body)
    except UNREADABLE as error:
        text = f"Send JSON with 'request', and 'path', 'headers' and 'key' if you like: {error}."
        raise GatewayError(400, ErrorKind.INVALID_REQUEST, text) from None
    if not plane.ready:
        text = "The gateway has no configuration yet: its control plane has not answered."
        raise GatewayError(503, ErrorKind.NOT_READY, text)
    endpoint, model, stream = place(asked.path.encode())
    headers = [(n.lower().encode(), v.encode("utf-8")) for n, v in asked.headers.items()]
    pretended = Pretended(asked.path.encode(), headers, bytes(asked.request), plane.now())
    call = Call(plane, pretended, endpoint)
    call.key, call.whose = asked.key, plane.facts.get(asked.key)
    exchange.respond(200, JSON, _json(await explain(call, model, stream)))
