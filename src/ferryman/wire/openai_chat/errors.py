"""Errors in the OpenAI format.

https://platform.openai.com/docs/guides/error-codes: ``{"error": {message, type, param, code}}``;
the gateway adds ``request_id``. In a stream the same object is an event, without ``[DONE]``.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import Failed
from ferryman.ir.unreadable import UNREADABLE

_encode = msgspec.json.Encoder().encode
_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}
_object = msgspec.json.Decoder(dict[str, Raw])
_any = msgspec.json.Decoder()
_UNREADABLE = (*UNREADABLE, ValueError)
_NOTHING = (b"", b"null", b'""')
MAX_BODY_BYTES = 1 << 20
"""A longer error is not read: no provider has that much to say."""
LONGEST_MESSAGE = 2000
"""Characters of a provider's words that are quoted in an error of ours."""


class ErrorFacts(Struct, frozen=True):
    """What a provider's error body says of itself; empty where it says nothing."""

    code: str = ""
    type: str = ""
    message: str = ""
    more: str = ""
    """Further words that help to tell what happened, not meant for the caller."""


def error_body(error: GatewayError, request_id: str) -> bytes:
    """The JSON body for ``error``."""
    return _encode({"error": _members(error, request_id)})


def error_event(error: GatewayError, request_id: str) -> bytes:
    """The same as a server-sent event."""
    return b"data: %b\n\n" % error_body(error, request_id)


def _members(error: GatewayError, request_id: str) -> dict[str, str | None]:
    kind = "invalid_request_error" if error.status < 500 else "api_error"
    return {
        "message": error.message,
        "type": _TYPES.get(error.status, kind),
        "param": error.param,
        "code": error.kind,
        "request_id": request_id,
    }


def relayed_error(status: int, kind: ErrorKind, body: bytes, request_id: str) -> bytes | None:
    """A provider's error for the caller, in the OpenAI shape; None when it has no words to show.

    One of that shape with type and code goes through as it is. Where these are missing, they are
    filled in, with ``kind`` as code; another shape becomes this one, with the provider's message.
    """
    try:
        top = _object.decode(body if len(body) <= MAX_BODY_BYTES else b"")
        detail = _object.decode(top["error"])
        shown = bytes(detail["message"])[:1] == b'"'
    except (*_UNREADABLE, KeyError):
        shown = False
    if not shown:
        said = error_facts(body)
        if not said.message:
            return None
        error = GatewayError(status, kind, said.message[:LONGEST_MESSAGE])
        return error_body(error, request_id)
    lacking = [name for name in ("type", "code") if bytes(detail.get(name, b"")) in _NOTHING]
    if not lacking:
        return body
    made = _members(GatewayError(status, kind, ""), request_id)
    for name, value in made.items():
        if name in lacking or name not in detail:
            detail[name] = Raw(_encode(value))
    top["error"] = Raw(_encode(detail))
    return _encode(top)


def error_facts(body: bytes) -> ErrorFacts:
    """Code, type and words of a provider's error, in whichever of the usual shapes it comes."""
    try:
        said = _any.decode(body if len(body) <= MAX_BODY_BYTES else b"")
    except _UNREADABLE:
        return ErrorFacts()
    while isinstance(said, list) and said:
        said = said[0]  # some wrap their error in an array
    if not isinstance(said, dict):
        return ErrorFacts()
    outer = said
    for name in ("response", "error", "errors", "detail", "message"):
        inner = said.get(name)
        if isinstance(inner, list) and inner:
            inner = inner[0]
        if isinstance(inner, dict):
            said = inner
    message = next(
        (said[name] for name in ("message", "msg", "error", "detail", "error_msg")
         if isinstance(said.get(name), str)), ""
    )  # fmt: skip
    code, kind = (_text(said.get(name)) or _text(outer.get(name)) for name in ("code", "type"))
    return ErrorFacts(code, kind, message, _more(said))


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and value is not True else ""


def _more(said: dict[str, Any]) -> str:
    """Google's ``status`` and ``details``, routers' ``metadata``: read for their words only."""
    parts = [said.get(name) for name in ("status", "details", "metadata", "innererror")]
    return " ".join(str(part)[:400] for part in parts if part)


_WORDS: tuple[tuple[ErrorKind, tuple[str, ...]], ...] = (
    (ErrorKind.UPSTREAM_NO_CREDIT, (
        "insufficient_quota", "credit balance", "credit_balance", "spend_limit", "spending limit",
        "usage_limit_exceeded", "exceeded_current_quota", "insufficient balance",
        "insufficient credit", "insufficient_credit", "insufficient funds", "arrearage",
        "monthly included credits", "doesn't have any credits", "余额不足",
    )),
    (ErrorKind.UPSTREAM_AUTH, (
        "invalid_api_key", "api_key_invalid", "api key not valid", "incorrect api key",
        "invalid api key", "invalid x-api-key", "invalid_authentication",
    )),
    (ErrorKind.CONTEXT_TOO_LONG, (
        "context_length", "context length", "context_too_large", "context window", "context size",
        "exceed_context", "context_exceeded", "prompt is too long", "input is too long",
        "too many tokens", "too many input tokens", "maximum prompt length",
        "exceeds the maximum number of tokens",
        "prompt exceeds max length", "reduce the length of the", "string_above_max_length",
        "max_new_tokens` must be",
    )),
    (ErrorKind.CONTENT_FILTERED, (
        "content_filter", "content_policy", "content filtering policy", "contentfilter",
        "data_inspection_failed",
        "moderation_blocked", "requires moderation", "sensitive_words", "sensitive content",
        "prohibited_content", "considered high risk",
        "content exists risk",
    )),
    (ErrorKind.MODEL_NOT_FOUND, (
        "model_not_found", "invalid_model", "invalid model", "model not exist",
        "model_not_available", "is not a valid model", "no such model", "unknown model",
        "no endpoints found", "model_decommissioned", "model does not exist",
        "unable to access model", "model_not_supported", "model identifier is invalid",
        "with on-demand throughput isn",
    )),
    (ErrorKind.UPSTREAM_RATE_LIMIT, ("rate_limit", "rate limit", "tokens per min", "throttl")),
)  # fmt: skip
"""Words of error bodies that say more than the status; the first hit counts. The bodies that they
come from, as providers document them and users report them, are in ``tests/wire/error_bodies.txt``.
"""

_BY_STATUS = {
    401: ErrorKind.UPSTREAM_AUTH,
    402: ErrorKind.UPSTREAM_NO_CREDIT,
    403: ErrorKind.UPSTREAM_AUTH,
    404: ErrorKind.MODEL_NOT_FOUND,
    408: ErrorKind.UPSTREAM_TIMEOUT,
    424: ErrorKind.UPSTREAM_ERROR,
    429: ErrorKind.UPSTREAM_RATE_LIMIT,
    498: ErrorKind.UPSTREAM_OVERLOADED,
    503: ErrorKind.UPSTREAM_OVERLOADED,
    504: ErrorKind.UPSTREAM_TIMEOUT,
    529: ErrorKind.UPSTREAM_OVERLOADED,
}
_MAY_MEAN = {
    401: {ErrorKind.UPSTREAM_NO_CREDIT},
    402: set[ErrorKind](),
    403: {ErrorKind.UPSTREAM_NO_CREDIT, ErrorKind.CONTENT_FILTERED},
    404: set[ErrorKind](),
    408: set[ErrorKind](),
    429: {ErrorKind.UPSTREAM_NO_CREDIT},
    498: set[ErrorKind](),
}
"""What the words may make of a status that is clear by itself."""


def kind_of(status: int, body: bytes) -> ErrorKind:
    """What a provider's error reply means: its status, and its words where these say more."""
    if status >= 500 or status < 400:
        return _BY_STATUS.get(status, ErrorKind.UPSTREAM_ERROR)
    plain = _BY_STATUS.get(status, ErrorKind.INVALID_REQUEST)
    found = _by_words(error_facts(body))
    if found is None or found not in _MAY_MEAN.get(status, {found}):
        return plain
    return found


def kind_in_stream(data: bytes) -> ErrorKind:
    """What an error event within a stream means; it has no status, but some give one as code."""
    facts = error_facts(data)
    code = int(facts.code) if facts.code.isdecimal() and len(facts.code) == 3 else 0
    if 400 <= code < 600:
        found = kind_of(code, data)
        return found if found is not ErrorKind.INVALID_REQUEST else ErrorKind.UPSTREAM_ERROR
    if "overloaded" in facts.type or "overloaded" in facts.code:
        return ErrorKind.UPSTREAM_OVERLOADED
    return _by_words(facts) or ErrorKind.UPSTREAM_ERROR


def failed(data: bytes) -> Failed:
    """What an error event within a stream says."""
    facts = error_facts(data)
    words = facts.message or facts.code or facts.type or "it did not say which"
    return Failed(kind=kind_in_stream(data), message=words[:LONGEST_MESSAGE], code=facts.code)


def _by_words(facts: ErrorFacts) -> ErrorKind | None:
    words = f"{facts.code} {facts.type} {facts.message[:400]} {facts.more}".lower()
    for kind, signs in _WORDS:
        if any(sign in words for sign in signs):
            return kind
    return None


SURFACED = frozenset(
    {
        ErrorKind.INVALID_REQUEST,
        ErrorKind.CONTEXT_TOO_LONG,
        ErrorKind.CONTENT_FILTERED,
        ErrorKind.GUARDRAIL,
    }
)
"""Kinds that another target would answer the same way: no failover, no penalty."""
