"""How many tokens a request will be, before a provider has counted them.

Text is measured in UTF-8 bytes and divided by a ratio that each model calibrates on the usage its
provider reports: about 4 bytes a token, in most scripts and with most tokenizers. Media have
counts of their own, from what the vendors document:
https://platform.openai.com/docs/guides/images-vision#calculating-costs,
https://platform.claude.com/docs/en/build-with-claude/vision#calculate-image-costs,
https://ai.google.dev/gemini-api/docs/tokens. Where a model's vocabulary is at hand, its texts are
counted instead (``tokenizer.py``).
"""

from collections.abc import Iterable

from ferryman.ir.request import (
    Block,
    Media,
    MediaKind,
    Opaque,
    Refusal,
    Request,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

BYTES_PER_TOKEN = 4.0
"""Before anything is known of a model."""
LEAST, MOST = 1.0, 12.0
"""Bounds of the ratio: what lies beyond is a provider's mistake."""
_PER_MESSAGE = 4
"""Tokens that mark where a message begins and ends, and whose it is."""
_PER_MEDIUM = {
    MediaKind.IMAGE: 1_100,
    MediaKind.AUDIO: 500,
    MediaKind.VIDEO: 5_000,
    MediaKind.DOCUMENT: 2_000,
}
"""Tokens of a medium whose bytes are not here, or tell nothing of its size."""
_BYTES_PER_DOCUMENT_TOKEN = 25
"""A page of a PDF is some 50 kB, and some 2,000 tokens."""
_BYTES_PER_AUDIO_TOKEN = 500
"""32 tokens a second, of some 16 kB."""


class Gauge:
    """One model's bytes per token, calibrated by its calls."""

    __slots__ = ("bytes_per_token", "seen")

    def __init__(self) -> None:
        self.bytes_per_token = BYTES_PER_TOKEN
        self.seen = 0

    @classmethod
    def of(cls, text_bytes: int, tokens: int) -> "Gauge":
        """One for a text whose tokens have been counted."""
        gauge = cls()
        gauge.bytes_per_token = min(max(text_bytes / max(tokens, 1), LEAST), MOST)
        return gauge

    def observe(self, text_bytes: int, tokens: int) -> float:
        """Take in what a provider counted; returns the estimate before over the real count.

        ``text_bytes`` is the request's body, JSON marks included, of a call without media. Short
        calls say little of the ratio, and are only judged.
        """
        error = text_bytes / self.bytes_per_token / tokens
        if text_bytes >= 200:
            found = min(max(text_bytes / tokens, LEAST), MOST)
            self.seen += 1
            weight = max(1 / self.seen, 0.05)
            self.bytes_per_token += (found - self.bytes_per_token) * weight
        return error

    def tokens(self, text_bytes: int) -> int:
        """Tokens that ``text_bytes`` will be."""
        return int(text_bytes / self.bytes_per_token)


def text_bytes(request: Request) -> tuple[int, int]:
    """(bytes of text, tokens of media) in ``request``: instructions, messages and tools."""
    size, media = 0, _PER_MESSAGE * len(request.messages)
    for message in request.messages:
        for block in message.blocks:
            if type(block) is Text:  # as most are
                size += _size(block.text)
                continue
            more, tokens = _weigh(block)
            size += more
            media += tokens
    for tool in request.tools:
        if isinstance(tool, Tool):
            size += len(tool.name) + len(tool.description) + len(bytes(tool.parameters or b""))
        else:
            size += len(tool.raw)
        media += _PER_MESSAGE
    if request.output is not None and request.output.schema is not None:
        size += len(bytes(request.output.schema))
    return size, media


def estimate(request: Request, gauge: Gauge) -> int:
    """Input tokens of ``request``, about."""
    size, media = text_bytes(request)
    return gauge.tokens(size) + media


def media_tokens(blocks: Iterable[Block]) -> int:
    """Tokens of the media among ``blocks``, about."""
    found = 0
    for block in blocks:
        if isinstance(block, Media):
            found += _medium(block)[1]
        elif isinstance(block, ToolResult):
            found += media_tokens(block.blocks)
    return found


def _weigh(block: Block) -> tuple[int, int]:
    if isinstance(block, Text | Refusal):
        return _size(block.text), 0
    if isinstance(block, Thinking):
        return _size(block.text), 0
    if isinstance(block, ToolCall):
        return len(block.name) + _size(block.arguments), _PER_MESSAGE
    if isinstance(block, ToolResult):
        size, media = 0, _PER_MESSAGE
        for part in block.blocks:
            more, tokens = _weigh(part)
            size += more
            media += tokens
        return size, media
    if isinstance(block, Opaque):
        return len(block.raw), 0
    return _medium(block)


def _medium(block: Media) -> tuple[int, int]:
    source = block.source
    if source.text:
        return _size(source.text), 0
    least = _PER_MEDIUM[block.kind]
    raw = len(source.data) * 3 // 4
    if block.kind is MediaKind.DOCUMENT and raw:
        return 0, max(raw // _BYTES_PER_DOCUMENT_TOKEN, 1)
    if block.kind is MediaKind.AUDIO and raw:
        return 0, max(raw // _BYTES_PER_AUDIO_TOKEN, 1)
    return 0, least


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
