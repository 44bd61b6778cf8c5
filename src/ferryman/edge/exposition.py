"""In which format who asks gets the page of metrics: text, or protobuf where they prefer it."""

import asyncio
import re
from typing import Final

from ferryman.http1.exchange import Headers
from ferryman.telemetry.native import without

_VARY: Final = (b"vary", b"accept")
TEXT: Final[Headers] = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8"), _VARY]
PROTOBUF: Final[Headers] = [
    (
        b"content-type",
        b"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
        b"encoding=delimited",
    ),
    _VARY,
]
_MESSAGE: Final = "io.prometheus.client.metricfamily"
_OURS: Final = ("application/vnd.google.protobuf", "delimited", _MESSAGE)
_RANKS: Final = {"text/plain": 3, "text/*": 2, "*/*": 1}
"""The most specific range that has text says how much it is wanted."""
_QUALITY: Final = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


async def exposed(page: bytes, accept: bytes, *, native: bool) -> tuple[Headers, bytes]:
    """Headers and body for a page of text that may have lines of native histograms.

    ``native``: whether they are wanted; without them there is nothing that text would not carry.
    """
    if not native or not prefers_protobuf(accept):
        return TEXT, without(page)
    from ferryman.telemetry.protobuf import encoded  # few gateways are asked for it

    pieces = []
    for piece in encoded(page):
        pieces.append(piece)
        await asyncio.sleep(0)
    return PROTOBUF, b"".join(pieces)


def prefers_protobuf(accept: bytes) -> bool:
    """Whether a field ``Accept`` has our form of protobuf, and before text.

    RFC 9110, 12.5.1; https://prometheus.io/docs/instrumenting/content_negotiation/.
    """
    protobuf, text = 0.0, (0, 0.0)
    for choice in accept.decode("latin-1").lower().split(","):
        kind, *rest = (part.strip() for part in choice.split(";"))
        pairs = (part.partition("=") for part in rest)
        given = {name.strip(): value.strip().strip('"') for name, _, value in pairs}
        said = given.get("q", "1")
        quality = float(said) if _QUALITY.fullmatch(said) else 0.0
        if kind in _RANKS:
            text = max(text, (_RANKS[kind], quality))
        elif (kind, given.get("encoding"), given.get("proto", _MESSAGE)) == _OURS:
            protobuf = max(protobuf, quality)
    return protobuf > text[1]
