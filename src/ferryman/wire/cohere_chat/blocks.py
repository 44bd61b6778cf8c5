"""Parts of answers that whole replies and streams of the Cohere format share."""

import re
from collections.abc import Iterator

import msgspec
from msgspec import Raw

from ferryman.ir.events import Finish, FinishReason
from ferryman.ir.request import Citation
from ferryman.wire.cohere_chat.types import ORIGIN, Logprobs, WireCitation, WireSource

_citation = msgspec.json.Decoder(WireCitation)
_encode = msgspec.json.Encoder().encode

DOCUMENT_ID = "doc_{}"
"""What the encoder of requests calls documents, by their number."""
_DOCUMENT = re.compile(r"doc_([0-9]{1,4})")

_REASONS = {
    "COMPLETE": FinishReason.STOP,
    "STOP_SEQUENCE": FinishReason.STOP_SEQUENCE,
    "MAX_TOKENS": FinishReason.LENGTH,
    "TOOL_CALL": FinishReason.TOOL_CALLS,
    "ERROR": FinishReason.ERROR,
    "TIMEOUT": FinishReason.ERROR,
    "ERROR_LIMIT": FinishReason.CONTEXT,
    "ERROR_TOXIC": FinishReason.CONTENT_FILTER,
}
"""The last two are words of the format's first version."""
_DETAILED = (FinishReason.CONTENT_FILTER, FinishReason.ERROR, FinishReason.OTHER)


def finish_of(reason: str) -> Finish:
    """How the answer ended."""
    meant = _REASONS.get(reason, FinishReason.OTHER)
    return Finish(reason=meant, detail=reason if meant in _DETAILED else "")


def token_of(wire: Logprobs) -> Raw:
    """A piece of text with its log-probability: that of all its tokens in a row, their sum."""
    text = wire.text or ""
    return Raw(
        _encode(
            {
                "token": text,
                "logprob": sum(wire.logprobs or ()),
                "bytes": list(text.encode()),
                "top_logprobs": [],
            }
        )
    )


class Cited:
    """A citation of the wire: which block it is about, and what it is in the common language."""

    __slots__ = ("citations", "of_text", "place")

    def __init__(self, raw: Raw) -> None:
        """Raises msgspec's errors."""
        wire = _citation.decode(raw)
        self.of_text = wire.type in (None, "TEXT_CONTENT")
        """False for one of a plan or a thought, which the common language has no place for."""
        self.place = -1 if wire.content_index is None else wire.content_index
        """Index of the cited block in the message's content, -1 = not said."""
        self.citations = tuple(_citations(wire, bytes(raw)))
        """One for each source; the first has the wire's JSON."""


def _citations(wire: WireCitation, raw: bytes) -> Iterator[Citation]:
    for source in wire.sources or [WireSource()]:
        said = source.document
        number = _DOCUMENT.fullmatch(source.id or "") if source.type == "document" else None
        yield Citation(
            url=_text(said.url) if said else "",
            title=_text(said.title) if said else "",
            start=-1 if wire.start is None else wire.start,
            end=-1 if wire.end is None else wire.end,
            document=int(number[1]) if number else -1,
            origin=ORIGIN,
            raw=raw,
        )
        raw = b""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
