"""Embeddings as OpenAI has them, and as other providers of its format do.

https://platform.openai.com/docs/api-reference/embeddings. Callers may say besides what the vectors
are for, by the names that providers of this format have for it: ``input_type`` or ``task``.

The encoder heeds quirks: where a provider wants to be told what the vectors are for,
``embed_query_document`` (https://docs.voyageai.com/reference/embeddings-api),
``embed_query_passage`` (https://docs.nvidia.com/nim/nemo-retriever/text-embedding/latest/reference.html)
and ``embed_task`` (https://api.jina.ai/redoc#tag/embeddings).
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from ferryman.ir.receipt import Receipt
from ferryman.ir.tasks import EmbedInput, EmbedReply, EmbedRequest, Tokens
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.carry import Reader, bad_request, unsupported
from ferryman.wire.format import Aim, ReplyError, unreadable
from ferryman.wire.openai_chat.errors import failed
from ferryman.wire.openai_chat.usage import read_usage
from ferryman.wire.paths import JSON
from ferryman.wire.task import TaskClient, TaskProvider
from ferryman.wire.vectors import (
    drop_embed,
    kind_of,
    kinds_to_ask,
    purpose_of,
    reply_of,
    texts_of,
    too_many,
    vector_of,
    vectors_of,
    whole_number,
)

_encode = msgspec.json.Encoder().encode
MOST = 2048
"""Inputs of one request."""


class _Body(Struct, forbid_unknown_fields=True, kw_only=True):
    input: str | list[str | int | list[int]]
    model: str = ""
    dimensions: int | None = None
    encoding_format: str | None = None
    user: str | None = None
    input_type: str | None = None
    task: str | None = None


class _Item(Struct):
    embedding: Raw
    index: int | None = None


class _Said(Struct):
    data: list[_Item] | None = None
    usage: Raw = Raw()


_body: Reader[_Body] = Reader(_Body)
_said = msgspec.json.Decoder(_Said).decode


def decode_request(body: bytes, model: str) -> EmbedRequest:
    """What is asked for. Raises :class:`GatewayError` (400)."""
    unknown: list[str] = []
    said = _body.read(body, "", unknown)
    word = "input_type" if said.input_type else "task"
    return EmbedRequest(
        model=model,
        inputs=_inputs(said.input),
        kinds=(kind_of(said.encoding_format or "float", "encoding_format"),),
        dimensions=whole_number(said.dimensions, "dimensions"),
        purpose=purpose_of(said.input_type or said.task, word),
        user=said.user or "",
        unknown=tuple(unknown),
    )


def _inputs(said: str | list[str | int | list[int]]) -> tuple[EmbedInput, ...]:
    if isinstance(said, str):
        said = [said]
    if not said:
        raise bad_request("'input' is empty; send at least one text.", "input")
    if isinstance(said[0], int):
        return (_tokens(said, "input"),)
    if len(said) > MOST:
        raise bad_request(f"'input' has {len(said)} items, and may have {MOST}.", "input")
    out: list[EmbedInput] = []
    for at, one in enumerate(said):
        if isinstance(one, str):
            if not one:
                raise bad_request(f"'input[{at}]' is an empty text.", f"input[{at}]")
            out.append(one)
        elif isinstance(one, int):
            raise bad_request(
                f"'input[{at}]' is a number among other things; send texts, one list of tokens, or "
                "lists of tokens.",
                f"input[{at}]",
            )
        else:
            out.append(_tokens(one, f"input[{at}]"))
    return tuple(out)


def _tokens(said: list[Any], at: str) -> Tokens:
    if not said:
        raise bad_request(f"'{at}' is empty; send at least one token.", at)
    if any(not isinstance(one, int) or one < 0 for one in said):
        raise bad_request(f"'{at}' must be tokens only: integers that are not negative.", at)
    return Tokens(tuple(said))


def encode_reply(reply: EmbedReply, asked: EmbedRequest, receipt: Receipt) -> tuple[bytes, bytes]:
    """Content-type and body."""
    vectors = vectors_of(reply, asked.kinds[0])
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    body: dict[str, Any] = {"object": "list", "data": data, "model": asked.model}
    if reply.usage is not None:
        given = reply.usage.total_input
        body["usage"] = {"prompt_tokens": given, "total_tokens": given}
    return JSON, _encode(body)


def encode_request(asked: EmbedRequest, aim: Aim, receipt: Receipt) -> bytes:
    """The body. Raises :class:`GatewayError` (400)."""
    too_many(asked, MOST)
    drop_embed(asked, receipt, "titles", "max_tokens")
    inputs = texts_of(asked, receipt, tokens=True)
    if len({isinstance(one, str) for one in inputs}) > 1:
        raise unsupported("The inputs are texts and tokens; send either.", "inputs")
    body: dict[str, Any] = {"model": aim.model, "input": inputs}
    if asked.dimensions:
        body["dimensions"] = asked.dimensions
    kinds = kinds_to_ask(asked, ("float", "base64"))
    if kinds == ["base64"]:
        body["encoding_format"] = "base64"
    if asked.user:
        body["user"] = asked.user
    _say_purpose(body, asked, aim, receipt)
    return _encode(body)


_SIDES = {"query": "query", "question": "query", "fact": "query", "code_query": "query",
          "document": "document"}  # fmt: skip
_TASKS = {
    "query": "retrieval.query", "document": "retrieval.passage", "similarity": "text-matching",
    "classification": "classification", "clustering": "separation", "code_query": "code.query",
}  # fmt: skip


def _say_purpose(body: dict[str, Any], asked: EmbedRequest, aim: Aim, receipt: Receipt) -> None:
    """Purpose and truncation, where the provider has places for them."""
    purpose, cut = asked.purpose, asked.truncate
    if "embed_task" in aim.quirks:
        _set(body, "task", _TASKS.get(purpose, ""), purpose, receipt)
        _set(body, "truncate", {"end": True, "none": False}.get(cut), cut, receipt, "truncate")
    elif "embed_query_document" in aim.quirks:
        _set(body, "input_type", _SIDES.get(purpose, ""), purpose, receipt)
        _set(body, "truncation", {"end": True, "none": False}.get(cut), cut, receipt, "truncate")
    elif "embed_query_passage" in aim.quirks:
        side = _SIDES.get(purpose, "")
        if not side:  # these models don't do without
            receipt.alter("purpose", "passage")
        body["input_type"] = "query" if side == "query" else "passage"
        if cut:
            body["truncate"] = cut.upper()
    else:
        _set(body, "", None, purpose, receipt)
        _set(body, "", None, "" if cut == "none" else cut, receipt, "truncate")


def _set(
    body: dict[str, Any], name: str, value: object, said: str, receipt: Receipt, of: str = "purpose"
) -> None:
    """Give a member a value; if what was said has none there, the receipt tells."""
    if value not in ("", None):
        body[name] = value
    elif said:
        receipt.drop(of)


def decode_reply(body: bytes, asked: EmbedRequest) -> EmbedReply:
    """The vectors. Raises :class:`ReplyError`."""
    try:
        said = _said(body)
        if said.data is None:
            told = failed(body)
            raise ReplyError(told.kind, f"no vectors came: {told.message}")
        rows = enumerate(said.data)
        placed = sorted(rows, key=lambda row: row[0] if row[1].index is None else row[1].index)
        vectors = [vector_of(item.embedding) for _, item in placed]
    except UNREADABLE as error:
        raise unreadable(error) from None
    kind = "base64" if vectors and isinstance(vectors[0], str) else "float"
    return reply_of({kind: vectors}, asked, read_usage(said.usage))


CLIENT: TaskClient = TaskClient(decode_request=decode_request, encode_reply=encode_reply)
PROVIDER: TaskProvider = TaskProvider(encode_request=encode_request, decode_reply=decode_reply)
