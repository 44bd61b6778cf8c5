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
    deployments,
    errors,
    generate,
    generate_read,
    lists,
    messages,
    messages_read,
    responses,
    responses_read,
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
    _PREDICT, read=messages_read.read_vertex_count, whole=messages.count, stream=None, answers=False
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
    broken=v2chat.BROKEN,
)
_THROTTLED = vendor_errors.converse_failure("429")
CONVERSE = Format(
    read=converse_read.read,
    whole=converse.whole,
    stream=converse.stream,
    failure=vendor_errors.converse_failure,
    refusal=vendor_errors.converse_refusal,
    broken=Event(msgspec.json.encode(_THROTTLED and _THROTTLED[2]), "throttlingException"),
    check=credentials.amazon,
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


def _azure(found: Format, whole: deployments.Whole, stream: deployments.Stream) -> Format:
    return msgspec.structs.replace(
        found, whole=deployments.whole(whole), stream=deployments.stream(stream)
    )


AZURE = msgspec.structs.replace(
    OPENAI,
    failure=deployments.failure,
    refusal=deployments.refusal,
    check=credentials.azure,
    number="apim-request-id",
    headers={"x-ms-region": "Sweden Central"},
)
_HOST = {
    name: getattr(AZURE, name) for name in ("failure", "refusal", "check", "number", "headers")
}
HOSTED = {
    "chat/completions": _azure(AZURE, chat.whole, chat.stream),
    "completions": _azure(
        msgspec.structs.replace(AZURE, read=chat_read.read_old), chat.old_whole, chat.old_stream
    ),
    "embeddings": msgspec.structs.replace(FIXED["/v1/embeddings"], **_HOST),
    "responses": msgspec.structs.replace(RESPONSES, **_HOST),
}
"""What can be asked of a model at Azure."""
_DATED = {
    action: msgspec.structs.replace(found, read=deployments.dated(found.read))
    for action, found in HOSTED.items()
}


def _hosted(_model: str, action: str) -> Format | None:
    return HOSTED.get(action)


def _dated(_model: str, action: str) -> Format | None:
    return _DATED.get(action)


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
    (re.compile(r"/[a-z]+/v1/(?P<model>)(?P<action>[a-z/]+)"), _hosted),
    (re.compile(r"/[a-z]+/deployments/(?P<model>[^/]+)/(?P<action>[a-z/]+)"), _dated),
    (re.compile(r"/[a-z]+/(?P<model>)(?P<action>responses)"), _dated),
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
