"""``embedContent`` and ``batchEmbedContents``: https://ai.google.dev/api/embeddings.

Newer models, and the cloud's endpoint, have the options in ``embedContentConfig``
(https://github.com/googleapis/python-genai, ``EmbedContentConfig``); both places are read.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ferryman.ir.receipt import Receipt
from ferryman.ir.tasks import EmbedInput, EmbedReply, EmbedRequest, Mixed, Picture, Tokens, Vector
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.carry import bad_request, checked_base64, data_url, from_data_url, unsupported
from ferryman.wire.format import Aim, ReplyError, unreadable
from ferryman.wire.gemini_generate.errors import failed
from ferryman.wire.gemini_generate.lenient import Reader, Strays
from ferryman.wire.gemini_generate.types import Content, Part
from ferryman.wire.gemini_generate.usage import read_usage
from ferryman.wire.paths import JSON
from ferryman.wire.task import TaskClient, TaskProvider
from ferryman.wire.vectors import (
    drop_embed,
    kinds_to_ask,
    no_tokens,
    purpose_of,
    reply_of,
    too_many,
    vectors_of,
    whole_number,
)

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_items = msgspec.json.Decoder(list[Raw]).decode
MOST = 100
"""Requests of one batch."""


class _Config(Struct, rename="camel", forbid_unknown_fields=True):
    task_type: str | None = None
    title: str | None = None
    output_dimensionality: int | None = None
    auto_truncate: bool | None = None


class _One(Struct, rename="camel", forbid_unknown_fields=True):
    content: Content | None = None
    model: str | None = None
    task_type: str | None = None
    title: str | None = None
    output_dimensionality: int | None = None
    auto_truncate: bool | None = None
    embed_content_config: _Config | None = None


class _Batch(Struct, rename="camel", forbid_unknown_fields=True):
    requests: list[_One] | None = None


class _Vector(Struct):
    values: Raw


class _Said(Struct, rename="camel"):
    embedding: _Vector | None = None
    embeddings: list[_Vector] | None = None
    usage_metadata: Raw = Raw()


_one = Reader(_One)
_batch = Reader(_Batch)
_said = msgspec.json.Decoder(_Said).decode


# --- callers --------------------------------------------------------------------------------------


def decode_request(body: bytes, model: str) -> EmbedRequest:
    """What ``embedContent`` asks for. Raises :class:`GatewayError` (400)."""
    strays: Strays = []
    said = _one.read(body, "", strays)
    return _request([said], [""], model, strays)


def decode_batch(body: bytes, model: str) -> EmbedRequest:
    """What ``batchEmbedContents`` asks for. Raises :class:`GatewayError` (400)."""
    strays: Strays = []
    requests = _batch.read(body, "", strays).requests
    if not requests:
        raise bad_request("'requests' is empty; send at least one.", "requests")
    return _request(requests, [f"requests[{at}]." for at in range(len(requests))], model, strays)


def _request(said: list[_One], places: list[str], model: str, strays: Strays) -> EmbedRequest:
    options = [_options(one) for one in said]
    first = options[0]
    for place, other in zip(places, options, strict=True):
        if other[1:] != first[1:]:
            raise unsupported(
                f"'{place}taskType', 'outputDimensionality' or 'autoTruncate' differs from the "
                "first request's, and the target has one for all. Send such requests apart.",
                f"{place}taskType",
            )
    _, task, dimensions, cut = first
    titles = tuple(title for title, *_ in options)
    return EmbedRequest(
        model=model,
        inputs=tuple(_input(one, at) for one, at in zip(said, places, strict=True)),
        dimensions=whole_number(dimensions, places[0] + "outputDimensionality"),
        purpose=purpose_of(task, places[0] + "taskType"),
        titles=titles if any(titles) else (),
        truncate={True: "end", False: "none", None: ""}[cut],
        unknown=tuple(path for path, _ in strays),
    )


def _options(one: _One) -> tuple[str, str, int | None, bool | None]:
    """Title, task, dimensions, truncation; the newer place counts."""
    new = one.embed_content_config or _Config()
    cut = one.auto_truncate if new.auto_truncate is None else new.auto_truncate
    return (
        new.title or one.title or "",
        new.task_type or one.task_type or "",
        new.output_dimensionality or one.output_dimensionality,
        cut,
    )


def _input(one: _One, place: str) -> EmbedInput:
    parts = one.content.parts if one.content is not None else None
    at = f"{place}content"
    if not parts:
        raise bad_request(f"'{at}' is missing, or has no parts.", at)
    found = tuple(_part(part, f"{at}.parts[{i}]") for i, part in enumerate(parts))
    return found[0] if len(found) == 1 and isinstance(found[0], str) else Mixed(found)


def _part(part: Part, at: str) -> str | Picture:
    if part.text is not None:
        return part.text
    blob = part.inline_data
    if blob is None:
        raise unsupported(
            f"'{at}' is neither text nor inlineData, which is all that other providers embed.", at
        )
    kind = (blob.mime_type or "").lower()
    if not kind.startswith("image/"):
        raise unsupported(f"'{at}' is {kind or 'of no type'}; other providers embed images.", at)
    where = f"{at}.inlineData.data"
    return Picture(data_url(kind, checked_base64(blob.data or "", where, url_safe=True)))


def encode_reply(reply: EmbedReply, asked: EmbedRequest, receipt: Receipt) -> tuple[bytes, bytes]:
    """Content-type and body of the reply to ``embedContent``."""
    return JSON, _encode({"embedding": _values(reply)[0], **_usage(reply)})


def encode_batch(reply: EmbedReply, asked: EmbedRequest, receipt: Receipt) -> tuple[bytes, bytes]:
    """Content-type and body of the reply to ``batchEmbedContents``."""
    return JSON, _encode({"embeddings": _values(reply), **_usage(reply)})


def _values(reply: EmbedReply) -> list[dict[str, Vector]]:
    return [{"values": vector} for vector in vectors_of(reply, "float")]


def _usage(reply: EmbedReply) -> dict[str, Any]:
    if reply.usage is None:
        return {}
    given = reply.usage.total_input
    return {"usageMetadata": {"promptTokenCount": given, "totalTokenCount": given}}


# --- providers ------------------------------------------------------------------------------------

_TASKS = {
    "query": "RETRIEVAL_QUERY", "document": "RETRIEVAL_DOCUMENT", "question": "QUESTION_ANSWERING",
    "similarity": "SEMANTIC_SIMILARITY", "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING", "fact": "FACT_VERIFICATION", "code_query": "CODE_RETRIEVAL_QUERY",
}  # fmt: skip


def encode_request(asked: EmbedRequest, aim: Aim, receipt: Receipt) -> bytes:
    """The body for ``batchEmbedContents``. Raises :class:`GatewayError` (400)."""
    too_many(asked, MOST)
    kinds_to_ask(asked, ("float",))
    drop_embed(asked, receipt, "user", "truncate", "max_tokens")
    options: dict[str, Any] = {}
    if asked.purpose:
        options["taskType"] = _TASKS[asked.purpose]
    if asked.dimensions:
        options["outputDimensionality"] = asked.dimensions
    requests = []
    for at, one in enumerate(asked.inputs):
        parts = _wire_parts(one, at)
        request = {"model": f"models/{aim.model}", "content": {"parts": parts}, **options}
        if asked.titles and asked.titles[at]:
            request["title"] = asked.titles[at]
        requests.append(request)
    return _encode({"requests": requests})


def _wire_parts(one: EmbedInput, at: int) -> list[dict[str, Any]]:
    if isinstance(one, str):
        return [{"text": one}]
    if isinstance(one, Tokens):
        raise no_tokens(at)
    return [_wire_part(part, f"inputs[{at}]") for part in one.parts]


def _wire_part(part: str | Picture, at: str) -> dict[str, Any]:
    if isinstance(part, str):
        return {"text": part}
    kind, data = from_data_url(part.url, at)
    return {"inlineData": {"mimeType": kind, "data": data}}


def decode_reply(body: bytes, asked: EmbedRequest) -> EmbedReply:
    """The vectors of either method. Raises :class:`ReplyError`."""
    try:
        said = _said(body)
    except UNREADABLE as error:
        raise unreadable(error) from None
    found = said.embeddings
    if found is None:
        if said.embedding is None:
            told = failed(body)
            raise ReplyError(told.kind, f"no vectors came: {told.message}")
        found = [said.embedding]
    vectors: list[Vector] = [one.values for one in found]
    return reply_of({"float": vectors}, asked, read_usage(said.usage_metadata))


def naming(model: str) -> Callable[[dict[str, Raw]], None]:
    """Names the provider's model where a request that goes through as it is names the caller's.

    The function changes a body's members in place; what it can't read it leaves alone.
    """
    name = Raw(_encode(f"models/{model}"))

    def change(fields: dict[str, Raw]) -> None:
        if "model" in fields:
            fields["model"] = name
        if "requests" not in fields:
            return
        try:
            requests = [_fields(one) for one in _items(fields["requests"])]
        except UNREADABLE:
            return  # the provider will say what it thinks of it
        for request in requests:
            request["model"] = name
        fields["requests"] = Raw(_encode(requests))

    return change


ONE: TaskClient = TaskClient(decode_request=decode_request, encode_reply=encode_reply)
BATCH: TaskClient = TaskClient(decode_request=decode_batch, encode_reply=encode_batch)
PROVIDER: TaskProvider = TaskProvider(encode_request=encode_request, decode_reply=decode_reply)
