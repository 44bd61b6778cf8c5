"""``POST /v1/keys/leaked``: a virtual key was found where it must not be.

Whoever has the whole key may say so: who has found it in public can do no worse with it than to
have it shut out. The body is what GitHub's secret scanning sends its partners
(https://docs.github.com/code-security/secret-scanning/secret-scanning-partner-program), or one
of its objects. It goes into the journal; the control plane revokes the key, and tells.
"""

import time
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from ferryman.flow.call import Plane
from ferryman.flow.deliver import JSON
from ferryman.flow.headers import agent_of
from ferryman.http1.exchange import Exchange
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.unreadable import UNREADABLE
from ferryman.meter.keys import digest
from ferryman.meter.strikes import Strikes
from ferryman.store.journal import JournalError
from ferryman.telemetry.record import LEAKED, Leaked

PATHS: Final = (b"/v1/keys/leaked", b"/keys/leaked")
MOST: Final = 100
"""Keys of one report, and keys from one place in a minute."""
LONGEST: Final = 200
"""Characters that are kept of where it was found."""


class Found(Struct):
    """One of a report; other members are nobody's concern."""

    token: Annotated[str, Meta(min_length=1, max_length=1000)]
    """The whole key."""
    url: str | None = None
    """Where it was found."""
    source: str | None = None


_one: Final = msgspec.json.Decoder(Found)
_several: Final = msgspec.json.Decoder(Annotated[list[Found], Meta(min_length=1, max_length=MOST)])
_pack: Final = msgspec.msgpack.Encoder().encode


def answer(plane: Plane, exchange: Exchange, reports: Strikes) -> None:
    """Take a report in; the answer is the same whether there is such a key or not. ``reports``
    counts them by where they come from.

    Raises :class:`GatewayError`: 400, 429, or 503 if it can't be written down.
    """
    now = plane.now()
    if reports.out(exchange.peer, now):
        raise GatewayError(
            429,
            ErrorKind.RATE_LIMITED,
            f"At most {MOST} keys a minute can be reported from one address. Go on in the next.",
            headers=((b"retry-after", b"%d" % reports.rest(now)),),
        )
    found = _read(exchange.body)
    if plane.keys is None:
        text = "The gateway has no keys yet: its control plane has not answered. Retry in a moment."
        raise GatewayError(503, ErrorKind.NOT_READY, text, headers=((b"retry-after", b"1"),))
    for each in found:
        reports.note(exchange.peer, now)
        row = plane.keys.get(digest(plane.pepper, each.token.encode("utf-8", "replace")))
        if row is not None and not row.revoked:
            _write(plane, exchange, row.id, each)
    exchange.respond(200, JSON, b'{"status":"received"}')


def _write(plane: Plane, exchange: Exchange, key: str, found: Found) -> None:
    where = (found.url or found.source or "not said").replace(found.token, "…")
    where = "".join(letter if letter.isprintable() else "?" for letter in where[:LONGEST])
    report = Leaked(time.time_ns() // 1000, key, where, exchange.peer, agent_of(exchange))
    try:
        plane.journal.append(LEAKED, _pack(report))
    except JournalError as trouble:
        raise plane.unwritten(trouble) from trouble


def _read(body: bytes) -> list[Found]:
    try:
        return _several.decode(body) if body.lstrip()[:1] == b"[" else [_one.decode(body)]
    except UNREADABLE as error:
        text = f'{error}. Example: [{{"token": "fm-…", "url": "https://example.org/where"}}]'
        raise GatewayError(400, ErrorKind.INVALID_REQUEST, text) from None
