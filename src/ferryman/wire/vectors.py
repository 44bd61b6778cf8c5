"""What the dialects of embeddings share: words for purposes, kinds of vectors, inputs as texts."""

import struct
from base64 import b64decode, b64encode
from collections.abc import Sequence

import msgspec
from msgspec import Raw

from ferryman.ir.errors import ErrorKind
from ferryman.ir.receipt import Receipt
from ferryman.ir.tasks import EmbedReply, EmbedRequest, Mixed, Picture, Tokens, Vector
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Usage
from ferryman.wire.carry import bad_request, unsupported
from ferryman.wire.format import ReplyError, unreadable

_encode = msgspec.json.Encoder().encode
_floats = msgspec.json.Decoder(list[float]).decode

KINDS = ("float", "base64", "int8", "uint8", "binary", "ubinary")
MAX_DIMENSIONS = 65_536
LONGEST_WORD = 40

_WORDS = {
    "query": "query search_query retrieval.query retrieval_query",
    "document": "document passage search_document retrieval.passage retrieval_document",
    "classification": "classification",
    "clustering": "clustering separation",
    "similarity": "similarity text-matching semantic_similarity",
    "question": "question_answering",
    "fact": "fact_verification",
    "code_query": "code.query nl2code.query code_retrieval_query",
}
_PURPOSES = {word: name for name, words in _WORDS.items() for word in words.split()}
_NONE = ("task_type_unspecified", "image")
"""Words that say nothing of what the vectors are for."""


def purpose_of(word: str | None, at: str) -> str:
    """The purpose that a dialect's word names; empty for none. Raises :class:`GatewayError` 400."""
    if not word or word.lower() in _NONE:
        return ""
    found = _PURPOSES.get(word.lower())
    if found is None:
        known = ", ".join(_PURPOSES)
        raise bad_request(f"'{at}' is {word[:LONGEST_WORD]!r}; known are {known}.", at)
    return found


def whole_number(value: int | None, at: str, most: int = MAX_DIMENSIONS) -> int:
    """A count that a caller may give; 0 when it doesn't. Raises :class:`GatewayError` (400)."""
    if value is None:
        return 0
    if not 1 <= value <= most:
        raise bad_request(f"'{at}' must be 1 to {most}.", at)
    return value


def kind_of(word: str, at: str) -> str:
    """A kind of vectors. Raises :class:`GatewayError` (400)."""
    if word not in KINDS:
        raise bad_request(f"'{at}' must be one of {', '.join(KINDS)}.", at)
    return word


# --- requests -------------------------------------------------------------------------------------


def kinds_to_ask(asked: EmbedRequest, offered: Sequence[str]) -> list[str]:
    """The kinds of vectors to ask a provider for that offers ``offered``, among them ``float``.

    Base64 comes of floats where it isn't offered. Raises :class:`GatewayError` (400) for other
    kinds: how to round is the model's own knowledge.
    """
    out: list[str] = []
    for kind in asked.kinds:
        found = "float" if kind == "base64" and kind not in offered else kind
        if found not in offered:
            raise unsupported(
                f"The target has no vectors of the kind {kind!r}, only {', '.join(offered)}. Ask "
                "for one of these, or choose another model.",
                "encoding_format",
            )
        if found not in out:
            out.append(found)
    return out


def texts_of(asked: EmbedRequest, receipt: Receipt, *, tokens: bool = False) -> list[object]:
    """The inputs for a dialect that knows texts alone; with ``tokens``, or tokens' numbers.

    Raises :class:`GatewayError` (400) for images, and for tokens where they aren't known.
    """
    out: list[object] = []
    for at, one in enumerate(asked.inputs):
        if isinstance(one, str):
            out.append(one)
        elif isinstance(one, Tokens):
            if not tokens:
                raise no_tokens(at)
            out.append(one.ids)
        else:
            if any(isinstance(part, Picture) for part in one.parts):
                raise unsupported(
                    f"Input {at} has an image, and the target embeds text only. Choose a model "
                    "that takes images.",
                    f"inputs[{at}]",
                )
            out.append(joined(one, at, receipt))
    return out


def joined(one: Mixed, at: int, receipt: Receipt) -> str:
    """The texts of an input, one a line."""
    texts = [part for part in one.parts if isinstance(part, str)]
    if len(texts) > 1:
        receipt.alter(f"inputs[{at}]", "parts joined by line breaks")
    return "\n".join(texts)


def no_tokens(at: int) -> Exception:
    """The 400 for an input of tokens: every model has numbers of its own for them."""
    return unsupported(
        f"Input {at} is a list of tokens, and the target takes texts: send the text itself.",
        f"inputs[{at}]",
    )


def too_many(asked: EmbedRequest, most: int) -> None:
    """Raise :class:`GatewayError` (400) for more inputs than the target takes in one call."""
    if len(asked.inputs) > most:
        raise unsupported(
            f"The request has {len(asked.inputs)} inputs, and the target takes {most} at once. "
            "Send them in several calls.",
            "inputs",
        )


def drop_embed(asked: EmbedRequest, receipt: Receipt, *names: str) -> None:
    """Put into the receipt those of the members ``names`` that were said, and unknown ones."""
    for name in names:
        if getattr(asked, name):
            receipt.drop(name)
    for path in asked.unknown:
        receipt.drop(path)


# --- replies --------------------------------------------------------------------------------------


def opening(raw: Raw) -> bytes:
    """The first byte of a value, which says of what type it is."""
    return bytes(memoryview(raw)[:1])


def reply_of(
    found: dict[str, list[Vector]], asked: EmbedRequest, usage: Usage | None
) -> EmbedReply:
    """The reply with these vectors. Raises :class:`ReplyError` when there are too few or many."""
    if not found:
        raise ReplyError(ErrorKind.UPSTREAM_PROTOCOL, "no vectors came")
    for kind, vectors in found.items():
        if len(vectors) != len(asked.inputs):
            raise ReplyError(
                ErrorKind.UPSTREAM_PROTOCOL,
                f"{len(vectors)} vectors of the kind {kind} came for {len(asked.inputs)} inputs",
            )
        for vector in vectors:
            if isinstance(vector, Raw) and opening(vector) != b"[":
                raise ReplyError(ErrorKind.UPSTREAM_PROTOCOL, "a vector is no array of numbers")
    return EmbedReply(found, usage)


def vector_of(raw: Raw) -> Vector:
    """A vector of a reply, which may be base64. Raises :class:`msgspec.MsgspecError`."""
    return msgspec.json.decode(raw, type=str) if opening(raw) == b'"' else raw


def vectors_of(reply: EmbedReply, kind: str) -> list[Vector]:
    """The vectors as ``kind``, made of base64 or floats if need be. Raises :class:`ReplyError`."""
    found = reply.vectors.get(kind)
    if found is None:
        other = {"float": "base64", "base64": "float"}.get(kind, "")
        found = reply.vectors.get(other)
    if found is None:
        raise ReplyError(ErrorKind.UPSTREAM_PROTOCOL, f"no vectors of the kind {kind} came")
    if kind == "base64":
        return [_packed(vector) if isinstance(vector, Raw) else vector for vector in found]
    return [Raw(_unpacked(vector)) if isinstance(vector, str) else vector for vector in found]


def _packed(vector: Raw) -> str:
    try:
        numbers = _floats(vector)
        return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode("ascii")
    except (*UNREADABLE, OverflowError) as error:
        raise unreadable(error) from None


def _unpacked(vector: str) -> bytes:
    try:
        data = b64decode(vector, validate=True)
        numbers = _encode(struct.unpack(f"<{len(data) // 4}f", data))
    except (ValueError, struct.error) as error:
        raise unreadable(error) from None
    if b"null" in numbers:  # what JSON has no number for
        raise ReplyError(ErrorKind.UPSTREAM_PROTOCOL, "a vector has infinite numbers, or none")
    return numbers
