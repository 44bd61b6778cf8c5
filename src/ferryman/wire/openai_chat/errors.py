"""Errors in the OpenAI format.

https://platform.openai.com/docs/guides/error-codes: ``{"error": {message, type, param, code}}``;
the gateway adds ``request_id``. In a stream the same object is an event, without ``[DONE]``.
"""

import msgspec
from msgspec import Raw, Struct

from ferryman.ir.errors import ErrorKind, GatewayError

_encode = msgspec.json.Encoder().encode
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ErrorFacts(Struct, frozen=True):
    """What a provider's error body says of itself."""

    code: str = ""
    type: str = ""
    message: str = ""


class _Detail(Struct):
    code: str | int | None = None
    type: str | None = None
    message: str | None = None


class _Body(Struct):
    error: _Detail | str | None = None
    code: str | int | None = None
    message: str | None = None
    detail: str | None = None


_body = msgspec.json.Decoder(_Body)
_object = msgspec.json.Decoder(dict[str, Raw])


def error_body(error: GatewayError, request_id: str) -> bytes:
    """The JSON body for ``error``."""
    kind = "invalid_request_error" if error.status < 500 else "api_error"
    return _encode(
        {
            "error": {
                "message": error.message,
                "type": _TYPES.get(error.status, kind),
                "param": error.param,
                "code": error.kind,
                "request_id": request_id,
            }
        }
    )


def error_event(error: GatewayError, request_id: str) -> bytes:
    """The same as a server-sent event."""
    return b"data: %b\n\n" % error_body(error, request_id)


def is_error_object(body: bytes) -> bool:
    """True for a JSON object, which a caller's SDK can show; False for HTML and rubbish."""
    try:
        _object.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def error_facts(body: bytes) -> ErrorFacts:
    """Code, type and words of a provider's error, in whichever of the usual shapes it comes."""
    try:
        said = _body.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return ErrorFacts()
    detail = said.error
    if isinstance(detail, _Detail):
        return ErrorFacts(str(detail.code or ""), detail.type or "", detail.message or "")
    message = detail or said.message or said.detail or ""
    return ErrorFacts(str(said.code or ""), "", message)


def kind_of(status: int, body: bytes) -> ErrorKind:
    """What a provider's error reply means: status first, then its words."""
    facts = error_facts(body)
    words = f"{facts.code} {facts.type} {facts.message[:400]}".lower()
    if status == 429:
        spent = ("insufficient_quota", "credit_balance", "spend_limit", "usage_limit_exceeded")
        if any(word in words for word in spent):
            return ErrorKind.UPSTREAM_NO_CREDIT
        return ErrorKind.UPSTREAM_RATE_LIMIT
    by_status = {
        401: ErrorKind.UPSTREAM_AUTH,
        402: ErrorKind.UPSTREAM_NO_CREDIT,
        403: ErrorKind.UPSTREAM_AUTH,
        404: ErrorKind.MODEL_NOT_FOUND,
        408: ErrorKind.UPSTREAM_TIMEOUT,
        503: ErrorKind.UPSTREAM_OVERLOADED,
        504: ErrorKind.UPSTREAM_TIMEOUT,
        529: ErrorKind.UPSTREAM_OVERLOADED,
    }
    if status in by_status:
        return by_status[status]
    if status >= 500 or status < 400:
        return ErrorKind.UPSTREAM_ERROR
    long = ("context_length", "prompt is too long", "too many tokens", "maximum context")
    if any(word in words for word in long):
        return ErrorKind.CONTEXT_TOO_LONG
    if "content_filter" in words or "content_policy" in words:
        return ErrorKind.CONTENT_FILTERED
    return ErrorKind.INVALID_REQUEST


SURFACED = frozenset(
    {ErrorKind.INVALID_REQUEST, ErrorKind.CONTEXT_TOO_LONG, ErrorKind.CONTENT_FILTERED}
)
"""Kinds that another target would answer the same way: no failover, no penalty."""
