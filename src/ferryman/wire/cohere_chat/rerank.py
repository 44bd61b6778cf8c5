"""Rankings: callers of Cohere's v2 shape or Jina's, and a provider of Voyage's.

https://docs.cohere.com/reference/rerank, https://api.jina.ai/redoc#tag/rerank; replies have the
members of both. The dialect ``rerank_top_k``: https://docs.voyageai.com/reference/reranker-api.
"""

from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind
from ferryman.ir.receipt import Receipt
from ferryman.ir.tasks import Ranked, RerankReply, RerankRequest
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Extras, Usage
from ferryman.wire.carry import Reader, bad_request
from ferryman.wire.cohere_chat.embeddings import billed_of, usage_of
from ferryman.wire.cohere_chat.usage import MAX_TOKENS
from ferryman.wire.format import Aim, ReplyError, unreadable
from ferryman.wire.openai_chat.relay import read_whole as read_plain
from ferryman.wire.openai_chat.usage import read_usage
from ferryman.wire.paths import JSON
from ferryman.wire.tap import Quirks
from ferryman.wire.task import TaskClient, TaskProvider
from ferryman.wire.vectors import opening, whole_number

_encode = msgspec.json.Encoder().encode
_text = msgspec.json.Decoder(str).decode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
MOST = 10_000
"""Documents of one request."""


class _Body(Struct, forbid_unknown_fields=True, kw_only=True):
    query: str
    documents: list[Raw]
    model: str = ""
    top_n: int | None = None
    return_documents: bool | None = None
    max_tokens_per_doc: int | None = None


class _Result(Struct):
    index: int
    relevance_score: float


class _Said(Struct):
    results: list[_Result] | None = None
    data: list[_Result] | None = None
    usage: Raw = Raw()
    meta: Raw = Raw()


class _Counted(Struct):
    meta: Raw = Raw()


_body: Reader[_Body] = Reader(_Body)
_said = msgspec.json.Decoder(_Said).decode
_counted = msgspec.json.Decoder(_Counted).decode


# --- callers --------------------------------------------------------------------------------------


def decode_request(body: bytes, model: str) -> RerankRequest:
    """What is asked for. Raises :class:`GatewayError` (400)."""
    unknown: list[str] = []
    said = _body.read(body, "", unknown)
    if not said.documents:
        raise bad_request("'documents' is empty; send at least one.", "documents")
    if len(said.documents) > MOST:
        raise bad_request(
            f"'documents' has {len(said.documents)} items, and may have {MOST}.", "documents"
        )
    texts, partial = [], False
    for at, raw in enumerate(said.documents):
        text, more = _document(raw, f"documents[{at}]")
        texts.append(text)
        partial = partial or more
    return RerankRequest(
        model=model,
        query=said.query,
        documents=tuple(texts),
        given=tuple(said.documents),
        top_n=whole_number(said.top_n, "top_n", MAX_TOKENS),
        return_documents=bool(said.return_documents),
        max_tokens_per_doc=whole_number(said.max_tokens_per_doc, "max_tokens_per_doc", MAX_TOKENS),
        partial=partial,
        unknown=tuple(unknown),
    )


def _document(raw: Raw, at: str) -> tuple[str, bool]:
    """Its text, and whether there is more to it."""
    try:
        if opening(raw) != b"{":
            return _text(raw), False
        fields = _fields(raw)
        return _text(fields["text"]), len(fields) > 1
    except (*UNREADABLE, KeyError):
        raise bad_request(f"'{at}' must be a text, or an object with a 'text'.", at) from None


def encode_reply(reply: RerankReply, asked: RerankRequest, receipt: Receipt) -> tuple[bytes, bytes]:
    """Content-type and body."""
    results = []
    for one in reply.results:
        row: dict[str, Any] = {"index": one.index, "relevance_score": one.score}
        if asked.return_documents:
            given = asked.given[one.index]
            row["document"] = given if opening(given) == b"{" else {"text": given}
        results.append(row)
    body: dict[str, Any] = {"id": str(uuid4()), "model": asked.model, "results": results}
    meta: dict[str, Any] = {"api_version": {"version": "2"}}
    if reply.usage is not None:
        given_tokens = reply.usage.total_input
        body["usage"] = {"total_tokens": given_tokens}
        meta["tokens"] = {"input_tokens": given_tokens}
    body["meta"] = meta
    return JSON, _encode(body)


# --- providers ------------------------------------------------------------------------------------


def drop_rerank(asked: RerankRequest, receipt: Receipt, *names: str) -> None:
    """Put into the receipt those of the members ``names`` that were said, and unknown ones."""
    for name in (*names, *asked.unknown):
        if name in asked.unknown or getattr(asked, name):
            receipt.drop(name)
    if asked.partial:
        receipt.alter("documents", "their text alone")


def encode_top_k(asked: RerankRequest, aim: Aim, receipt: Receipt) -> bytes:
    """The body of ``rerank_top_k``."""
    drop_rerank(asked, receipt, "max_tokens_per_doc")
    body = {"model": aim.model, "query": asked.query, "documents": asked.documents}
    return _encode(body | ({"top_k": asked.top_n} if asked.top_n else {}))


def decode_reply(body: bytes, asked: RerankRequest) -> RerankReply:
    """The ranking, which each dialect has under one of two names. Raises :class:`ReplyError`."""
    try:
        said = _said(body)
    except UNREADABLE as error:
        raise unreadable(error) from None
    found = said.results if said.results is not None else said.data
    if found is None:
        raise ReplyError(ErrorKind.UPSTREAM_PROTOCOL, "no ranking came")
    places = {one.index for one in found}
    if len(places) < len(found) or not places <= set(range(len(asked.documents))):
        raise ReplyError(
            ErrorKind.UPSTREAM_PROTOCOL, "the ranking names documents twice, or unknown ones"
        )
    results = tuple(Ranked(one.index, one.relevance_score) for one in found)
    return RerankReply(results, read_usage(said.usage) or units(said.meta))


def units(meta: Raw) -> Usage | None:
    """Usage of a ranking whose ``meta`` bills tokens, or searches.

    https://docs.cohere.com/docs/how-does-cohere-pricing-work: a query with up to 100 documents is
    one search.
    """
    searches = billed_of(meta).search_units
    if searches is None or not 0 < searches <= MAX_TOKENS:
        return usage_of(meta)
    return replace(usage_of(meta) or Usage(), extras=Extras(searches=int(searches)))


def read_whole(body: bytes, quirks: Quirks = ()) -> tuple[ErrorKind | None, Usage | None]:
    """What is wrong with a reply that is relayed (None = nothing), and its usage."""
    kind, usage = read_plain(body, quirks)
    if kind is not None or usage is not None:
        return kind, usage
    try:
        return None, units(_counted(body).meta)
    except UNREADABLE:
        return None, None


CLIENT: TaskClient = TaskClient(decode_request=decode_request, encode_reply=encode_reply)
TOP_K: TaskProvider = TaskProvider(encode_request=encode_top_k, decode_reply=decode_reply)
