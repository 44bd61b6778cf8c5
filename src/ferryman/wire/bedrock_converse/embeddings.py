"""Embeddings and rankings by InvokeModel, whose bodies are the model makers' own.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/rerank-supported.html. Tokens are counted in a
header: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ferryman.ir.receipt import Receipt
from ferryman.ir.tasks import EmbedReply, EmbedRequest, RerankRequest
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Usage
from ferryman.wire.carry import unsupported
from ferryman.wire.cohere_chat import embeddings, rerank
from ferryman.wire.cohere_chat.usage import MAX_TOKENS
from ferryman.wire.format import Aim, unreadable
from ferryman.wire.task import TaskProvider
from ferryman.wire.vectors import drop_embed, kinds_to_ask, reply_of, texts_of

_encode = msgspec.json.Encoder().encode
_ONE_TEXT = re.compile(r"titan-embed-(text|g1)")
_MANY = re.compile(r"\.embed-")
_NEWER = re.compile(r"\.embed-v\d")
"""Of those, models that have their own words for what is cut off, and take images among texts."""
_RANKS = re.compile(r"\.rerank-")
_PLAIN = re.compile(r"amazon\.rerank-")
_OFFERED = ("float", "int8", "uint8", "binary", "ubinary")
_SIDES = {"start": "LEFT", "end": "RIGHT", "none": "NONE"}
_COUNT = b"x-amzn-bedrock-input-token-count"


class _One(Struct, rename="camel"):
    embedding: Raw
    input_text_token_count: int | None = None


_one = msgspec.json.Decoder(_One).decode


def embeds(model: str) -> bool:
    """Whether a model makes vectors by a body known here, to go by its name."""
    return (_ONE_TEXT.search(model) or _MANY.search(model)) is not None


def ranks(model: str) -> bool:
    """Whether a model ranks, to go by its name."""
    return _RANKS.search(model) is not None


def encode_request(asked: EmbedRequest, aim: Aim, receipt: Receipt) -> bytes:
    """The body. Raises :class:`GatewayError` (400)."""
    if _ONE_TEXT.search(aim.model):
        return _encode(_one_text(asked, receipt))
    body = embeddings.members(asked, _OFFERED, receipt)
    if not _NEWER.search(aim.model):
        if body.pop("max_tokens", None):
            receipt.drop("max_tokens")
        return _encode(body)
    if asked.truncate:
        body["truncate"] = _SIDES[asked.truncate]
    for one in body.get("inputs", ()):
        for part in one["content"]:
            if "image_url" in part:
                part["image_url"] = part["image_url"]["url"]
    return _encode(body)


def _one_text(asked: EmbedRequest, receipt: Receipt) -> dict[str, Any]:
    if len(asked.inputs) != 1:
        raise unsupported(
            f"The request has {len(asked.inputs)} inputs, and this model embeds one text a call. "
            "Send each in a call of its own, or choose a model that takes many, such as Cohere's.",
            "input",
        )
    kinds_to_ask(asked, ("float",))
    drop_embed(asked, receipt, "titles", "user", "purpose", "max_tokens")
    if asked.truncate in ("start", "end"):
        receipt.drop("truncate")
    body: dict[str, Any] = {"inputText": texts_of(asked, receipt)[0]}
    if asked.dimensions:
        body["dimensions"] = asked.dimensions
    return body


def decode_reply(body: bytes, asked: EmbedRequest) -> EmbedReply:
    """The vectors. Raises :class:`ReplyError`."""
    try:
        said = _one(body)
    except UNREADABLE as error:
        if isinstance(error, msgspec.ValidationError) and "`embedding`" in str(error):
            return embeddings.decode_reply(body, asked)
        raise unreadable(error) from None
    count = said.input_text_token_count
    usage = Usage(count) if count is not None and 0 <= count <= MAX_TOKENS else None
    return reply_of({"float": [said.embedding]}, asked, usage)


def encode_rerank(asked: RerankRequest, aim: Aim, receipt: Receipt) -> bytes:
    """The body of a ranking."""
    plain = _PLAIN.search(aim.model) is not None
    rerank.drop_rerank(asked, receipt, *(("max_tokens_per_doc",) if plain else ()))
    body: dict[str, Any] = {"query": asked.query, "documents": asked.documents}
    if asked.top_n:
        body["top_n"] = asked.top_n
    if not plain:
        body["api_version"] = 2
        if asked.max_tokens_per_doc:
            body["max_tokens_per_doc"] = asked.max_tokens_per_doc
    return _encode(body)


def counted(headers: Sequence[tuple[bytes, bytes]]) -> Usage | None:
    """Tokens that a reply's head tells of."""
    for name, value in headers:
        if name == _COUNT and value.isdigit() and len(value) < 13:
            return Usage(int(value))
    return None


PROVIDER: TaskProvider = TaskProvider(encode_request, decode_reply, serves=embeds, counted=counted)
RERANK: TaskProvider = TaskProvider(
    encode_rerank, rerank.decode_reply, serves=ranks, counted=counted
)
