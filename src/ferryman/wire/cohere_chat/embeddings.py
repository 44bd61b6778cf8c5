"""Embeddings as Cohere's v2 has them: https://docs.cohere.com/reference/embed."""

from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Raw, Struct

from ferryman.ir.errors import ErrorKind
from ferryman.ir.receipt import Receipt
from ferryman.ir.tasks import EmbedInput, EmbedReply, EmbedRequest, Mixed, Picture, Vector
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Usage
from ferryman.wire.carry import Reader, bad_request, from_data_url, is_data_url
from ferryman.wire.cohere_chat.usage import MAX_TOKENS
from ferryman.wire.format import Aim, ReplyError, unreadable
from ferryman.wire.paths import JSON
from ferryman.wire.tap import Quirks
from ferryman.wire.task import TaskClient, TaskProvider
from ferryman.wire.vectors import (
    KINDS,
    drop_embed,
    kind_of,
    kinds_to_ask,
    no_tokens,
    opening,
    purpose_of,
    reply_of,
    texts_of,
    too_many,
    vector_of,
    vectors_of,
    whole_number,
)

_encode = msgspec.json.Encoder().encode
MOST = 96
"""Texts of one request."""
_CUTS = {"": "", "NONE": "none", "START": "start", "END": "end"}


class _Url(Struct, forbid_unknown_fields=True):
    url: str


class _Component(Struct, forbid_unknown_fields=True):
    type: str
    text: str | None = None
    image_url: _Url | None = None


class _Input(Struct, forbid_unknown_fields=True):
    content: list[_Component]


class _Body(Struct, forbid_unknown_fields=True, kw_only=True):
    input_type: str
    model: str = ""
    texts: list[str] | None = None
    images: list[str] | None = None
    inputs: list[_Input] | None = None
    max_tokens: int | None = None
    output_dimension: int | None = None
    embedding_types: list[str] | None = None
    truncate: str | None = None


class Billed(Struct):
    """What is billed; numbers come as floats."""

    input_tokens: float | None = None
    image_tokens: float | None = None
    search_units: float | None = None


class Meta(Struct):
    """``meta`` of a reply."""

    billed_units: Billed | None = None
    tokens: Billed | None = None


class _Said(Struct):
    embeddings: Raw = Raw()
    meta: Raw = Raw()


_body: Reader[_Body] = Reader(_Body)
_said = msgspec.json.Decoder(_Said).decode
_meta = msgspec.json.Decoder(Meta).decode
_list = msgspec.json.Decoder(list[Raw]).decode
_by_kind = msgspec.json.Decoder(dict[str, list[Raw] | None]).decode


# --- callers --------------------------------------------------------------------------------------


def decode_request(body: bytes, model: str) -> EmbedRequest:
    """What is asked for. Raises :class:`GatewayError` (400)."""
    unknown: list[str] = []
    said = _body.read(body, "", unknown)
    cut = _CUTS.get(said.truncate or "")
    if cut is None:
        raise bad_request("'truncate' must be one of NONE, START, END.", "truncate")
    kinds = said.embedding_types or ["float"]
    return EmbedRequest(
        model=model,
        inputs=_inputs(said),
        kinds=tuple(kind_of(kind, f"embedding_types[{i}]") for i, kind in enumerate(kinds)),
        dimensions=whole_number(said.output_dimension, "output_dimension"),
        purpose=purpose_of(said.input_type, "input_type"),
        truncate=cut,
        max_tokens=whole_number(said.max_tokens, "max_tokens", MAX_TOKENS),
        unknown=tuple(unknown),
    )


def _inputs(said: _Body) -> tuple[EmbedInput, ...]:
    given = [name for name in ("texts", "images", "inputs") if getattr(said, name) is not None]
    if len(given) != 1 or not getattr(said, given[0]):
        raise bad_request("One of 'texts', 'images' and 'inputs' must be there, and not be empty.")
    if said.texts:
        return tuple(said.texts)
    if said.images:
        return tuple(Mixed((_picture(url, f"images[{i}]"),)) for i, url in enumerate(said.images))
    return tuple(
        Mixed(tuple(_part(part, f"inputs[{i}].content[{j}]") for j, part in enumerate(one.content)))
        for i, one in enumerate(said.inputs or ())
    )


def _part(part: _Component, at: str) -> str | Picture:
    if part.text is not None:
        return part.text
    if part.image_url is None:
        raise bad_request(f"'{at}' has neither 'text' nor 'image_url'.", at)
    return _picture(part.image_url.url, f"{at}.image_url.url")


def _picture(url: str, at: str) -> Picture:
    if not is_data_url(url):
        raise bad_request(f"'{at}' must be a data: URL.", at)
    from_data_url(url, at)
    return Picture(url)


def encode_reply(reply: EmbedReply, asked: EmbedRequest, receipt: Receipt) -> tuple[bytes, bytes]:
    """Content-type and body."""
    meta: dict[str, Any] = {"api_version": {"version": "2"}}
    if reply.usage is not None:
        meta["billed_units"] = {"input_tokens": reply.usage.total_input}
    texts = [one for one in asked.inputs if isinstance(one, str)]
    body = {
        "id": str(uuid4()),
        "embeddings": {kind: vectors_of(reply, kind) for kind in asked.kinds},
        "texts": texts,
        "response_type": "embeddings_by_type",
        "meta": meta,
    }
    return JSON, _encode(body)


# --- providers ------------------------------------------------------------------------------------

_TYPES = {
    "query": "search_query", "document": "search_document", "classification": "classification",
    "clustering": "clustering", "question": "search_query", "fact": "search_query",
    "code_query": "search_query",
}  # fmt: skip


def encode_request(asked: EmbedRequest, aim: Aim, receipt: Receipt) -> bytes:
    """The body. Raises :class:`GatewayError` (400)."""
    return _encode({"model": aim.model, **members(asked, KINDS, receipt)})


def members(asked: EmbedRequest, offered: tuple[str, ...], receipt: Receipt) -> dict[str, Any]:
    """The body's members but for the model, for a host that offers these kinds of vectors.

    Raises :class:`GatewayError` (400).
    """
    too_many(asked, MOST)
    drop_embed(asked, receipt, "titles", "user")
    body = _said_inputs(asked, receipt)
    pictures = "images" in body
    found = "image" if pictures and not asked.purpose else _TYPES.get(asked.purpose, "")
    body["input_type"] = found or "search_document"
    if not found or asked.purpose in ("question", "fact", "code_query"):
        receipt.alter("purpose", body["input_type"])
    body["embedding_types"] = kinds_to_ask(asked, offered)
    if asked.dimensions:
        body["output_dimension"] = asked.dimensions
    if asked.truncate:
        body["truncate"] = asked.truncate.upper()
    if asked.max_tokens:
        body["max_tokens"] = asked.max_tokens
    return body


def _said_inputs(asked: EmbedRequest, receipt: Receipt) -> dict[str, Any]:
    mixed = [one for one in asked.inputs if isinstance(one, Mixed)]
    if not any(isinstance(part, Picture) for one in mixed for part in one.parts):
        return {"texts": texts_of(asked, receipt)}
    alone = [one.parts[0] for one in mixed if len(one.parts) == 1]
    urls = [part.url for part in alone if isinstance(part, Picture)]
    if len(urls) == len(asked.inputs):
        return {"images": urls}
    return {"inputs": [{"content": _content(one, at)} for at, one in enumerate(asked.inputs)]}


def _content(one: EmbedInput, at: int) -> list[dict[str, Any]]:
    if isinstance(one, str):
        return [{"type": "text", "text": one}]
    if not isinstance(one, Mixed):
        raise no_tokens(at)
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": part.url}}
        for part in one.parts
    ]


def decode_reply(body: bytes, asked: EmbedRequest) -> EmbedReply:
    """The vectors, by kind or as floats alone. Raises :class:`ReplyError`."""
    try:
        said = _said(body)
        if not said.embeddings:
            raise ReplyError(ErrorKind.UPSTREAM_PROTOCOL, "no vectors came")
        found: dict[str, list[Vector]]
        if opening(said.embeddings) == b"[":
            found = {"float": list(_list(said.embeddings))}
        else:
            kinds = _by_kind(said.embeddings)
            found = {kind: [vector_of(raw) for raw in raws] for kind, raws in kinds.items() if raws}
    except UNREADABLE as error:
        raise unreadable(error) from None
    return reply_of(found, asked, usage_of(said.meta))


def usage_of(raw: Raw) -> Usage | None:
    """What ``meta`` bills as tokens; None when it says nothing of them, or impossible things."""
    billed = billed_of(raw)
    counts = [count for count in (billed.input_tokens, billed.image_tokens) if count is not None]
    if not counts or not all(0 <= count <= MAX_TOKENS for count in counts):
        return None
    return Usage(int(sum(counts)))


def billed_of(raw: Raw) -> Billed:
    """What ``meta`` bills; nothing when it can't be read."""
    try:
        meta = _meta(raw or b"{}")
    except UNREADABLE:
        return Billed()
    return meta.billed_units or meta.tokens or Billed()


def read_whole(body: bytes, quirks: Quirks = ()) -> tuple[ErrorKind | None, Usage | None]:
    """What is wrong with a reply that is relayed (None = nothing), and its usage."""
    try:
        return None, usage_of(_said(body).meta)
    except UNREADABLE:
        return ErrorKind.UPSTREAM_PROTOCOL, None


CLIENT: TaskClient = TaskClient(decode_request=decode_request, encode_reply=encode_reply)
PROVIDER: TaskProvider = TaskProvider(encode_request=encode_request, decode_reply=decode_reply)
