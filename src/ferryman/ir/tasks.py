"""Embeddings and rankings in a common language: what each dialect reads and writes.

Members at their defaults mean "not said".
"""

from typing import TypeAlias

from msgspec import Raw, Struct

from ferryman.ir.usage import Usage


class Picture(Struct, frozen=True):
    """An image; ``url`` is a ``data:`` URL."""

    url: str


class Tokens(Struct, frozen=True):
    """A text as the numbers of its tokens."""

    ids: tuple[int, ...]


class Mixed(Struct, frozen=True):
    """Texts and images that make one vector together."""

    parts: tuple[str | Picture, ...]


EmbedInput: TypeAlias = str | Tokens | Mixed
"""What becomes one vector."""

PURPOSES = (
    "query", "document", "classification", "clustering", "similarity", "question", "fact",
    "code_query",
)  # fmt: skip
"""What vectors are for: a search's query, what is searched, and so on."""

Vector: TypeAlias = Raw | str
"""A JSON array of numbers as its provider wrote it, or base64 of little-endian float32s: most
vectors go through unread."""


class EmbedRequest(Struct, frozen=True, kw_only=True):
    """Vectors wanted, one for each input."""

    model: str
    """As the caller named it."""
    inputs: tuple[EmbedInput, ...]
    kinds: tuple[str, ...] = ("float",)
    """``float``, ``base64`` (of float32), ``int8``, ``uint8``, ``binary`` or ``ubinary``."""
    dimensions: int = 0
    purpose: str = ""
    """One of :data:`PURPOSES`."""
    titles: tuple[str, ...] = ()
    """Of the documents, one for each input."""
    truncate: str = ""
    """``none`` (an input that is too long is refused), ``start`` or ``end`` (what is cut off)."""
    max_tokens: int = 0
    """Of each input, beyond which it counts as too long."""
    user: str = ""
    unknown: tuple[str, ...] = ()
    """Members that no other dialect has a place for."""


class EmbedReply(Struct, frozen=True):
    """The vectors in the order of the inputs."""

    vectors: dict[str, list[Vector]]
    """Kind → as many as inputs."""
    usage: Usage | None = None


class RerankRequest(Struct, frozen=True, kw_only=True):
    """Documents to be ranked by how well they answer a query."""

    model: str
    query: str
    documents: tuple[str, ...]
    """The texts to rank by."""
    given: tuple[Raw, ...]
    """The documents as the caller wrote them, objects where they aren't texts."""
    top_n: int = 0
    """Results wanted; 0 = all."""
    return_documents: bool = False
    max_tokens_per_doc: int = 0
    partial: bool = False
    """Whether objects have members beside their text, which is all that is ranked by."""
    unknown: tuple[str, ...] = ()


class Ranked(Struct, frozen=True):
    """One document's place in the ranking."""

    index: int
    """Its place among the documents asked about, from 0."""
    score: float


class RerankReply(Struct, frozen=True):
    """The ranking, best first."""

    results: tuple[Ranked, ...]
    usage: Usage | None = None
