"""Citations of the Messages format: https://platform.claude.com/docs/en/build-with-claude/citations.

Ends of ranges are exclusive for all units, as the format counts; block and document numbers start
at 0, pages at 1.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Citation
from ferryman.wire.anthropic_messages.types import NAME


class WireCitation(Struct):
    """Any of the format's citations; ``type`` says which of the members count."""

    type: str = ""
    cited_text: str | None = None
    document_index: int = -1
    document_title: str | None = None
    title: str | None = None
    url: str | None = None
    source: str | None = None
    start_char_index: int = -1
    end_char_index: int = -1
    start_page_number: int = -1
    end_page_number: int = -1
    start_block_index: int = -1
    end_block_index: int = -1


_citation = msgspec.json.Decoder(WireCitation)
_UNITS = {
    "char_location": ("char", "start_char_index", "end_char_index"),
    "page_location": ("page", "start_page_number", "end_page_number"),
    "content_block_location": ("block", "start_block_index", "end_block_index"),
    "search_result_location": ("block", "start_block_index", "end_block_index"),
}
_TYPES = {
    "char": ("char_location", "start_char_index", "end_char_index"),
    "page": ("page_location", "start_page_number", "end_page_number"),
    "block": ("content_block_location", "start_block_index", "end_block_index"),
}


def citation_of(raw: Raw) -> Citation:
    """A citation in the common language. Raises :class:`msgspec.MsgspecError`."""
    said = _citation.decode(raw)
    unit, first, last = _UNITS.get(said.type, ("", "", ""))
    return Citation(
        url=said.url or said.source or "",
        title=said.title or said.document_title or "",
        quote=said.cited_text or "",
        document=said.document_index,
        unit=unit,
        first=getattr(said, first) if first else -1,
        last=getattr(said, last) if last else -1,
        origin=NAME,
        raw=bytes(raw),
    )


def citation_out(citation: Citation, receipt: Receipt) -> Raw | dict[str, Any] | None:
    """A citation for a caller; None, with a receipt, for one that the format can't express."""
    if citation.origin == NAME and citation.raw:
        return Raw(citation.raw)
    if citation.start >= 0:
        receipt.alter("citations", "without their places in the answer")
    if citation.url:
        return {
            "type": "web_search_result_location",
            "cited_text": citation.quote,
            "encrypted_index": "",
            "title": citation.title or None,
            "url": citation.url,
        }
    if citation.document < 0 or citation.first < 0 or citation.unit not in _TYPES:
        receipt.drop("citations")
        return None
    kind, first, last = _TYPES[citation.unit]
    return {
        "type": kind,
        "cited_text": citation.quote,
        "document_index": citation.document,
        "document_title": citation.title or None,
        first: citation.first,
        last: max(citation.last, citation.first),
    }
