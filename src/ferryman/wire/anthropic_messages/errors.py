"""Errors in the Messages format: https://platform.claude.com/docs/en/api/errors.

``{"type": "error", "error": {type, message}, "request_id"}``; the gateway adds its stable ``code``
within. In a stream the same object is the event ``error``, and nothing follows.
"""

import msgspec

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import Failed
from ferryman.wire.openai_chat.errors import LONGEST_MESSAGE, error_facts, kind_in_stream

_encode = msgspec.json.Encoder().encode
_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STATUS = {
    ErrorKind.INVALID_REQUEST: 400,
    ErrorKind.CONTEXT_TOO_LONG: 400,
    ErrorKind.CONTENT_FILTERED: 400,
    ErrorKind.MODEL_NOT_FOUND: 404,
    ErrorKind.UPSTREAM_NO_CREDIT: 402,
    ErrorKind.UPSTREAM_RATE_LIMIT: 429,
    ErrorKind.UPSTREAM_OVERLOADED: 529,
    ErrorKind.UPSTREAM_TIMEOUT: 504,
}
_KINDS = {
    "overloaded_error": ErrorKind.UPSTREAM_OVERLOADED,
    "rate_limit_error": ErrorKind.UPSTREAM_RATE_LIMIT,
    "timeout_error": ErrorKind.UPSTREAM_TIMEOUT,
    "billing_error": ErrorKind.UPSTREAM_NO_CREDIT,
    "authentication_error": ErrorKind.UPSTREAM_AUTH,
    "permission_error": ErrorKind.UPSTREAM_AUTH,
}


def error_type(status: int) -> str:
    """The format's name for an error of a status."""
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def error_body(error: GatewayError, request_id: str) -> bytes:
    """The JSON body for ``error``."""
    said = {"type": error_type(error.status), "message": error.message, "code": error.kind}
    if error.param:
        said["param"] = error.param
    return _encode({"type": "error", "error": said, "request_id": request_id})


def error_event(error: GatewayError, request_id: str) -> bytes:
    """The same as a server-sent event."""
    return b"event: error\ndata: %b\n\n" % error_body(error, request_id)


def failure_event(failed: Failed, request_id: str) -> bytes:
    """The event for an answer that will not be completed."""
    status = _STATUS.get(failed.kind, 502)
    return error_event(GatewayError(status, failed.kind, failed.message), request_id)


def failed_of(data: bytes) -> Failed:
    """What an error object says that came within a stream, or as a reply of status 2xx."""
    facts = error_facts(data)
    words = facts.message or facts.type or "it did not say which"
    kind = _KINDS.get(facts.type) or kind_in_stream(data)
    return Failed(kind=kind, message=words[:LONGEST_MESSAGE], code=facts.code or facts.type)
