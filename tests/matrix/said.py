"""What a caller asks for and gets, in words that all formats share. Only tests use it."""

import base64
import zlib
from dataclasses import dataclass, field
from typing import Any

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "boat": {"type": "string"},
        "passengers": {"type": "integer"},
        "piers": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["boat", "passengers", "piers"],
    "additionalProperties": False,
}
TOOL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"pier": {"type": "string"}, "day": {"type": "integer"}},
    "required": ["pier", "day"],
}


def _png() -> bytes:
    """One red pixel; PNG (RFC 2083) by hand."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        )

    head = (1).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    parts = (
        chunk(b"IHDR", head),
        chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")),
        chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


PNG = _png()
PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>"
    b"endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)
PNG_64, PDF_64 = base64.b64encode(PNG).decode(), base64.b64encode(PDF).decode()


@dataclass(frozen=True)
class Wish:
    """One request."""

    words: str = "tokens=6"
    """How the simulator behaves: the model's name after ``sim-``, joined by +."""
    text: str = "Good morning, dear ferry"
    system: str = ""
    tools: int = 0
    """Tools offered: ``timetable`` and ``weather``."""
    image: bool = False
    document: bool = False
    think: bool = False
    schema: bool = False
    cache: bool = False
    history: "tuple[Said, ...]" = ()
    """Answers of the turns before; each is sent back with results for its calls."""


@dataclass(frozen=True)
class Call:
    """A tool call as the SDK tells it."""

    name: str
    arguments: Any
    id: str = ""


@dataclass(frozen=True)
class Said:
    """One answer."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    thought: str = ""
    refused: bool = False
    finish: str = ""
    """``stop``, ``length``, ``calls``, ``refusal``, ``filter``; or the format's own word."""
    tokens: tuple[int, int] = (-1, -1)
    """All input and all output tokens; -1 = not told."""
    cached: int = 0
    error: tuple[int, str] = (0, "")
    """Status and words."""
    headers: dict[str, str] = field(default_factory=dict, compare=False)
    raw: Any = field(default=None, compare=False)
    """The SDK's own message, to send back on the next turn."""

    @property
    def dropped(self) -> str:
        return self.headers.get("x-ferryman-dropped", "")

    @property
    def altered(self) -> str:
        return self.headers.get("x-ferryman-altered", "")


def results(calls: tuple[Call, ...]) -> list[tuple[Call, str]]:
    """What the tools gave back: each its own words, so that mixed up results are noticed."""
    return [(call, f"result {n} of {call.name}") for n, call in enumerate(calls, 1)]
