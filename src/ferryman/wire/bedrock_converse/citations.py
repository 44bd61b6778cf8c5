"""Citations of the Converse format.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Citation.html
"""

import msgspec
from msgspec import Raw

from ferryman.ir.request import Citation
from ferryman.wire.bedrock_converse.types import ORIGIN, Span, WireCitation

_decode = msgspec.json.Decoder(WireCitation).decode


def citation_of(raw: Raw) -> Citation:
    """The citation in ``raw``, of a whole answer or of a stream. Raises msgspec's errors."""
    wire = _decode(raw)
    url, span, unit, document = "", None, "", -1
    if wire.location is not None:
        place = wire.location
        span, unit = _span(place.documentChar, place.documentPage, place.documentChunk)
        if span is not None:
            document = span.documentIndex
        elif place.searchResultLocation is not None:
            span, unit = place.searchResultLocation, "block"
        elif place.web is not None:
            url = place.web.url
    source = wire.source or ""
    if not url and source.startswith(("https://", "http://")):
        url = source
    return Citation(
        url=url,
        title=wire.title or "",
        quote="".join([part.text for part in wire.sourceContent or ()]),
        document=document,
        unit=unit,
        first=span.start if span else -1,
        last=span.end if span else -1,
        origin=ORIGIN,
        raw=bytes(raw),
    )


def _span(char: Span | None, page: Span | None, chunk: Span | None) -> tuple[Span | None, str]:
    if char is not None:
        return char, "char"
    if page is not None:
        return page, "page"
    return (chunk, "block") if chunk is not None else (None, "")
