"""Citations and log-probabilities, from and to their places beside an answer.

https://ai.google.dev/gemini-api/docs/google-search (``groundingMetadata``),
https://ai.google.dev/api/generate-content#citationmetadata and #LogprobsResult. Places in the
answer are counted in bytes of UTF-8 there, and in characters in the common language.
"""

import contextlib
from collections.abc import Sequence

import msgspec
from msgspec import Raw

from ferryman.ir.request import Citation
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.gemini_generate.types import (
    NAME,
    ChatToken,
    ChatTop,
    Chunk,
    Citations,
    Grounding,
    GroundingChunk,
    LogprobsResult,
    Segment,
    Support,
    Token,
    TopTokens,
)

_grounding = msgspec.json.Decoder(Grounding).decode
_citations = msgspec.json.Decoder(Citations).decode
_logprobs = msgspec.json.Decoder(LogprobsResult).decode
_token = msgspec.json.Decoder(ChatToken).decode
_encode = msgspec.json.Encoder().encode
MAX_SEARCHES = 64
"""So many segments are looked for by their words when their offsets don't fit; others get none."""


def citations_of(grounding: Raw, cited: Raw, text: str) -> list[Citation]:
    """What the two kinds of metadata say of the answer ``text``; nothing where they are odd."""
    said, quoted = Grounding(), Citations()
    # A note that can't be read is no reason to withhold the answer.
    with contextlib.suppress(*UNREADABLE):
        said = _grounding(grounding) if grounding else said
    with contextlib.suppress(*UNREADABLE):
        quoted = _citations(cited) if cited else quoted
    supports = said.grounding_supports or []
    quotes = quoted.citations or quoted.citation_sources or []
    segments = [support.segment or Segment() for support in supports]
    segments += [Segment(None, quote.start_index, quote.end_index) for quote in quotes]
    places = _places(segments, text)
    found = _grounded(said, supports, places)
    for quote, (start, end) in zip(quotes, places[len(supports) :], strict=True):
        found.append(_citation(Chunk(quote.uri, quote.title), start, end))
    return found


def _grounded(
    said: Grounding, supports: list[Support], places: list[tuple[int, int]]
) -> list[Citation]:
    sources = [
        chunk.web or chunk.retrieved_context or chunk.maps or Chunk()
        for chunk in said.grounding_chunks or ()
    ]
    found: list[Citation] = []
    used: set[int] = set()
    for support, (start, end) in zip(supports, places, strict=False):
        for index in support.grounding_chunk_indices or ():
            if 0 <= index < len(sources):
                used.add(index)
                found.append(_citation(sources[index], start, end))
    return found + [_citation(s, -1, -1) for i, s in enumerate(sources) if i not in used]


def _citation(source: Chunk, start: int, end: int) -> Citation:
    return Citation(
        url=source.uri or "",
        title=source.title or "",
        quote=source.text or "",
        start=start,
        end=end,
        origin=NAME,
    )


def _places(segments: list[Segment], text: str) -> list[tuple[int, int]]:
    """Of each segment its first character and the one after the last; -1 if not in ``text``."""
    characters: dict[int, int] = {}
    if segments and not text.isascii():
        characters = _characters(segments, text.encode("utf-8", "replace"))
    searches = MAX_SEARCHES
    out = []
    for segment in segments:
        if segment.end_index is None:
            out.append((-1, -1))
            continue
        start, end = segment.start_index or 0, segment.end_index
        start, end = characters.get(start, start), characters.get(end, end)
        if segment.text and text[max(start, 0) : max(end, 0)] != segment.text:
            # Counted in another part than the one that holds the text: the words tell where.
            searches -= 1
            start = text.find(segment.text) if searches >= 0 else -1
            end = start + len(segment.text)
        out.append((start, end) if 0 <= start <= end <= len(text) else (-1, -1))
    return out


_CONTINUATION = bytes(range(0x80, 0xC0))
"""Bytes of UTF-8 that begin no character."""


def _characters(segments: list[Segment], data: bytes) -> dict[int, int]:
    """Byte offset → number of characters before it, for the offsets that segments name."""
    offsets = {segment.start_index or 0 for segment in segments}
    offsets |= {segment.end_index for segment in segments if segment.end_index is not None}
    before, counted, found = 0, 0, {}
    for offset in sorted(offset for offset in offsets if 0 <= offset <= len(data)):
        counted += len(data[before:offset].translate(None, _CONTINUATION))
        before = offset
        within = offset < len(data) and data[offset] in _CONTINUATION
        found[offset] = counted - within  # one that has only begun does not count
    return found


class Sources:
    """Gathers the citations of one answer for its ``groundingMetadata``."""

    __slots__ = ("_chunks", "_places", "_supports")

    def __init__(self) -> None:
        self._chunks: list[GroundingChunk] = []
        self._places: dict[tuple[str, str, str], int] = {}
        self._supports: list[Support] = []

    def add(self, citation: Citation, text: str, part: int) -> bool:
        """Take a citation of ``text``, which is part number ``part``; False if it has no source."""
        if not citation.url and not citation.title:
            return False
        key = (citation.url, citation.title, citation.quote)
        index = self._places.setdefault(key, len(self._chunks))
        if index == len(self._chunks):
            source = Chunk(citation.url or None, citation.title or None)
            if citation.quote:
                source.text = citation.quote
                self._chunks.append(GroundingChunk(retrieved_context=source))
            else:
                self._chunks.append(GroundingChunk(web=source))
        if 0 <= citation.start <= citation.end <= len(text):
            start = len(text[: citation.start].encode("utf-8", "replace"))
            words = text[citation.start : citation.end]
            end = start + len(words.encode("utf-8", "replace"))
            segment = Segment(part or None, start or None, end, words)
            self._supports.append(Support(segment, [index]))
        return True

    def metadata(self) -> Grounding | None:
        """The object; None without citations."""
        if not self._chunks:
            return None
        return Grounding(self._chunks, self._supports or None)


def tokens_of(raw: Raw) -> tuple[Raw, ...]:
    """``logprobsResult`` as tokens of the common language; none where it is odd."""
    try:
        said = _logprobs(raw)
    except UNREADABLE:
        return ()
    tops = said.top_candidates or []
    out = []
    for place, chosen in enumerate(said.chosen_candidates or ()):
        others = tops[place].candidates if place < len(tops) else None
        token = ChatToken(
            chosen.token or "",
            chosen.log_probability or 0.0,
            None,
            [ChatTop(top.token or "", top.log_probability or 0.0) for top in others or ()],
        )
        out.append(Raw(_encode(token)))
    return tuple(out)


def logprobs_result(tokens: Sequence[Raw]) -> LogprobsResult | None:
    """The object for tokens of the common language; their bytes have no place in it."""
    chosen: list[Token] = []
    tops: list[TopTokens] = []
    for raw in tokens:
        try:
            said = _token(raw)
        except UNREADABLE:
            continue
        chosen.append(Token(said.token, said.logprob))
        tops.append(TopTokens([Token(top.token, top.logprob) for top in said.top_logprobs]))
    if not chosen:
        return None
    return LogprobsResult(chosen, tops if any(top.candidates for top in tops) else None)
