"""Which path is spoken in which format."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import msgspec

from ferryman.simulator import (
    chat,
    chat_read,
    converse,
    converse_read,
    credentials,
    errors,
    generate,
    generate_read,
    lists,
    messages,
    messages_read,
    rank,
    responses,
    responses_read,
    sigv4,
    v2chat,
    v2chat_read,
    vendor_errors,
)
from ferryman.simulator.answer import Answer
from ferryman.simulator.ask import Ask
from ferryman.simulator.event import Event
from ferryman.simulator.format import Failure, Format


def _event(found: Failure | None, name: str = "") -> Event:
    """An error as an event of a stream."""
    assert found is not None
    return Event(msgspec.json.encode(found[2]), name)


OPENAI = Format(
    read=chat_read.read,
    whole=chat.whole,
    stream=chat.stream,
    failure=errors.failure,
    refusal=errors.refusal,
    broken=_event(errors.failure("500")),
)
RESPONSES = msgspec.structs.replace(
    OPENAI,
    read=responses_read.read,
    whole=responses.whole,
    stream=responses.stream,
    broken=_event(errors.failure("500"), "error"),
)


def _listed(make: Callable[[Ask, str], Any]) -> Format:
    def whole(ask: Ask, _found: Answer, ident: str) -> Any:
        return make(ask, ident)

    return msgspec.structs.replace(OPENAI, read=lists.read, whole=whole, stream=None, answers=False)


MESSAGES = Format(
    read=messages_read.read,
    whole=messages.whole,
    stream=messages.stream,
    failure=vendor_errors.messages_failure,
    refusal=vendor_errors.messages_refusal,
    broken=_event(vendor_errors.messages_failure("529"), "error"),
    check=credentials.messages,
    number="request-id",
)

FIXED: dict[str, Format] = {
    "/v1/chat/completions": OPENAI,
    "/v1/completions": msgspec.structs.replace(
        OPENAI, read=chat_read.read_old, whole=chat.old_whole, stream=chat.old_stream
    ),
    "/v1/responses": RESPONSES,
    "/v1/embeddings": _listed(lambda ask, _: lists.embeddings(ask)),
    "/v1/moderations": _listed(lists.moderations),
    "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": msgspec.structs.replace(
        MESSAGES, read=messages_read.read_count, whole=messages.count, stream=None, answers=False
    ),
}
"""Endpoints whose path says it all."""

GENERATE = Format(
    read=generate_read.read,
    whole=generate.whole,
    stream=generate.stream,
    failure=vendor_errors.generate_failure,
    refusal=vendor_errors.generate_refusal,
    broken=_event(vendor_errors.generate_failure("503")),
    check=credentials.goog,
)
_COUNT = msgspec.structs.replace(
    GENERATE, read=generate_read.read_count, whole=generate.count, stream=None, answers=False
)
_EMBED = msgspec.structs.replace(_COUNT, read=generate_read.read_embed, whole=generate.embed)
GOOGLE = {
    "generateContent": GENERATE,
    "streamGenerateContent": GENERATE,
    "countTokens": _COUNT,
    "embedContent": _EMBED,
    "batchEmbedContents": _EMBED,
}
"""What can be done with a model at Google."""
_PREDICT = msgspec.structs.replace(
    MESSAGES, read=messages_read.read_vertex, check=credentials.vertex
)
_COUNT_PREDICT = msgspec.structs.replace(
    _PREDICT, read=messages_read.read_count, whole=messages.count, stream=None, answers=False
)


def _google(_model: str, action: str) -> Format | None:
    return GOOGLE.get(action)


def _vertex(model: str, action: str) -> Format | None:
    if action in ("rawPredict", "streamRawPredict"):
        return _COUNT_PREDICT if model == "count-tokens" else _PREDICT
    found = GOOGLE.get(action)
    return found and msgspec.structs.replace(found, check=credentials.vertex)


FIXED["/v2/chat"] = Format(
    read=v2chat_read.read,
    whole=v2chat.whole,
    stream=v2chat.stream,
    failure=vendor_errors.cohere_failure,
    refusal=vendor_errors.cohere_refusal,
    broken=_event(vendor_errors.cohere_failure("500")),
)
_COHERE = FIXED["/v2/chat"]
FIXED |= {
    "/v2/embed": msgspec.structs.replace(
        _COHERE, read=rank.read_embed, whole=rank.embed, stream=None, answers=False
    ),
    "/v2/rerank": msgspec.structs.replace(
        _COHERE, read=rank.read_rerank, whole=rank.rerank, stream=None, answers=False
    ),
    "/v1/rerank": msgspec.structs.replace(
        _COHERE,
        read=rank.read_other,
        whole=rank.rerank_other,
        stream=None,
        answers=False,
        failure=vendor_errors.detail_failure,
        refusal=vendor_errors.detail_refusal,
    ),
}
_THROTTLED = vendor_errors.converse_failure("429")
CONVERSE = Format(
    read=converse_read.read,
    whole=converse.whole,
    stream=converse.stream,
    failure=vendor_errors.converse_failure,
    refusal=vendor_errors.converse_refusal,
    broken=Event(msgspec.json.encode(_THROTTLED and _THROTTLED[2]), "throttlingException"),
    check=sigv4.check,
    number="x-amzn-requestid",
    sealed=True,
)
_INVOKE = msgspec.structs.replace(
    CONVERSE, read=converse_read.read_invoke, whole=messages.whole, stream=messages.stream
)
BEDROCK = {
    "converse": CONVERSE,
    "converse-stream": CONVERSE,
    "invoke": _INVOKE,
    "invoke-with-response-stream": _INVOKE,
}
"""What can be done with a model at Amazon."""


def _amazon(_model: str, action: str) -> Format | None:
    return BEDROCK.get(action)


NAMED: list[tuple[re.Pattern[str], Callable[[str, str], Format | None]]] = [
    (re.compile(r"/v1(?:beta|alpha)?/models/(?P<model>[^/]+):(?P<action>\w+)"), _google),
    (
        re.compile(
            r"/v1(?:beta1)?/projects/[^/]+/locations/[^/]+/publishers/[^/]+/models/"
            r"(?P<model>[^/]+):(?P<action>\w+)"
        ),
        _vertex,
    ),
    (re.compile(r"/model/(?P<model>[^/]+)/(?P<action>[a-z-]+)"), _amazon),
]
"""Endpoints whose path names the model and what to do with it."""


class Route(msgspec.Struct, frozen=True):
    """Where a request goes."""

    format: Format
    model: str = ""
    action: str = ""


def find(path: str) -> Route | None:
    """The route of a path, as sent."""
    fixed = FIXED.get(path)
    if fixed is not None:
        return Route(fixed)
    for pattern, formats in NAMED:
        match = pattern.fullmatch(path)
        if match:
            model, action = unquote(match["model"]), match["action"]
            found = formats(model, action)
            return None if found is None else Route(found, model, action)
    return None
