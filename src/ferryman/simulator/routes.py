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
    invoked,
    lists,
    made,
    messages,
    messages_read,
    pictorial,
    rank,
    responses,
    responses_read,
    sigv4,
    sound,
    v2chat,
    v2chat_read,
    vendor_errors,
)
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


def _like(vendor: Format, read: Any, whole: Any, stream: Any = None, **more: Any) -> Format:
    """Another endpoint of a vendor."""
    return msgspec.structs.replace(vendor, read=read, whole=whole, stream=stream, **more)


def _short(vendor: Format, read: Any, whole: Any, **more: Any) -> Format:
    """One whose replies are short: nothing to make up, and nothing to stream."""
    return _like(vendor, read, whole, answers=False, **more)


def _listed(make: Callable[[Ask, str], Any]) -> Format:
    return _short(OPENAI, lists.read, lambda ask, _found, ident: make(ask, ident))


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
COHERE = Format(
    read=v2chat_read.read,
    whole=v2chat.whole,
    stream=v2chat.stream,
    failure=vendor_errors.cohere_failure,
    refusal=vendor_errors.cohere_refusal,
    broken=v2chat.BROKEN,
    ends_in_errors=True,
)
DETAILS = msgspec.structs.replace(
    COHERE, failure=vendor_errors.detail_failure, refusal=vendor_errors.detail_refusal
)
_BROKEN = _event(errors.failure("500"), "error")

_EMBEDDINGS = _listed(lambda ask, _: lists.embeddings(ask))

FIXED: dict[str, Format] = {
    "/v1/chat/completions": OPENAI,
    "/v1/completions": _like(OPENAI, chat_read.read_old, chat.old_whole, chat.old_stream),
    "/v1/responses": _like(
        OPENAI, responses_read.read, responses.whole, responses.stream, broken=_BROKEN
    ),
    "/v1/embeddings": _EMBEDDINGS,
    "/v1/moderations": _listed(lists.moderations),
    "/v1/images/generations": _like(OPENAI, pictorial.read, pictorial.whole, pictorial.stream),
    "/v1/images/edits": _like(OPENAI, pictorial.read_edit, pictorial.whole, pictorial.stream_edit),
    "/v1/audio/speech": _like(OPENAI, sound.read_speech, sound.say, sound.say_stream),
    "/v1/audio/transcriptions": _like(OPENAI, sound.read_recording, sound.transcribe, sound.stream),
    "/v1/audio/translations": _like(OPENAI, sound.read_recording, sound.translate),
    "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": _short(MESSAGES, messages_read.read_count, messages.count),
    "/v2/chat": COHERE,
    "/compatibility/v1/embeddings": _EMBEDDINGS,
    "/v2/embed": _short(COHERE, rank.read_embed, rank.embed),
    "/v2/rerank": _short(COHERE, rank.read_rerank, rank.rerank),
    "/v1/rerank": _short(DETAILS, rank.read_other, rank.rerank_other),
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
_VECTORS = _short(GENERATE, generate_read.read_embed, generate.embed)
GOOGLE = {
    "generateContent": GENERATE,
    "streamGenerateContent": GENERATE,
    "countTokens": _short(GENERATE, generate_read.read_count, generate.count),
    "embedContent": _VECTORS,
    "batchEmbedContents": _VECTORS,
    "predict": _like(GENERATE, made.read_predict, made.predict),
}
"""What can be done with a model at Google."""
_PREDICT = msgspec.structs.replace(
    MESSAGES, read=messages_read.read_vertex, check=credentials.vertex
)
_PREDICT_COUNT = _short(_PREDICT, messages_read.read_vertex_count, messages.count)

CONVERSE = Format(
    read=converse_read.read,
    whole=converse.whole,
    stream=converse.stream,
    failure=vendor_errors.converse_failure,
    refusal=vendor_errors.converse_refusal,
    broken=_event(vendor_errors.converse_failure("429"), "throttlingException"),
    check=sigv4.check,
    number="x-amzn-requestid",
    sealed=True,
)
_INVOKE = _like(CONVERSE, converse_read.read_invoke, messages.whole, messages.stream)
_PICTURES = _like(CONVERSE, made.read_invoke, made.invoke)
_VECTORS_OR_RANKS = _short(CONVERSE, invoked.read, invoked.reply)
AMAZON = {
    "converse": CONVERSE,
    "converse-stream": CONVERSE,
    "invoke": _INVOKE,
    "invoke-with-response-stream": _INVOKE,
}
"""What can be done with a model at Amazon."""


def _google(_model: str, action: str) -> Format | None:
    return GOOGLE.get(action)


def _alike(_model: str, _action: str) -> Format | None:
    return msgspec.structs.replace(_EMBEDDINGS, check=credentials.goog)


def _vertex(model: str, action: str) -> Format | None:
    if action in ("rawPredict", "streamRawPredict"):
        return _PREDICT_COUNT if model == "count-tokens" else _PREDICT
    found = GOOGLE.get(action)
    return found and msgspec.structs.replace(found, check=credentials.vertex)


def _amazon(model: str, action: str) -> Format | None:
    if action == "invoke" and made.draws(model):
        return _PICTURES
    if action == "invoke" and invoked.knows(model):
        return _VECTORS_OR_RANKS
    return AMAZON.get(action)


AZURE = msgspec.structs.replace(
    OPENAI,
    failure=deployments.failure,
    refusal=deployments.refusal,
    check=credentials.azure,
    number="apim-request-id",
    headers={"x-ms-region": "Sweden Central"},
)
_FILTERED = {
    "chat/completions": _like(
        AZURE,
        chat_read.read,
        deployments.whole(chat.whole),
        deployments.stream(chat.stream),
    ),
    "completions": _like(
        AZURE,
        chat_read.read_old,
        deployments.whole(chat.old_whole),
        deployments.stream(chat.old_stream),
    ),
}


def _azure(_model: str, action: str) -> Format | None:
    found = _FILTERED.get(action)
    like = FIXED.get(f"/v1/{action}")
    if found is None and like is not None and like.refusal is errors.refusal:
        same = ("failure", "refusal", "check", "number", "headers")
        found = msgspec.structs.replace(like, **{name: getattr(AZURE, name) for name in same})
    return found


def _dated(model: str, action: str) -> Format | None:
    found = _azure(model, action)
    return found and msgspec.structs.replace(found, read=deployments.dated(found.read))


NAMED: list[tuple[re.Pattern[str], Callable[[str, str], Format | None]]] = [
    (re.compile(r"/v1(?:beta|alpha)?/models/(?P<model>[^/]+):(?P<action>\w+)"), _google),
    (
        re.compile(
            r"/v1(?:beta1)?/projects/[^/]+/locations/[^/]+/publishers/[^/]+/models/"
            r"(?P<model>[^/]+):(?P<action>\w+)"
        ),
        _vertex,
    ),
    (re.compile(r"/v1beta/[a-z]+/(?P<model>)(?P<action>embeddings)"), _alike),
    (re.compile(r"/model/(?P<model>[^/]+)/(?P<action>[a-z-]+)"), _amazon),
    (re.compile(r"/[a-z]+/v1/(?P<model>)(?P<action>[a-z/]+)"), _azure),
    (re.compile(r"/[a-z]+/deployments/(?P<model>[^/]+)/(?P<action>[a-z/]+)"), _dated),
    (re.compile(r"/[a-z]+/(?P<model>)(?P<action>responses)"), _dated),
]
"""Endpoints whose path names the model and what to do with it. Azure's names stand under a segment
of its own; where there is none of a model, the body names it."""


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
