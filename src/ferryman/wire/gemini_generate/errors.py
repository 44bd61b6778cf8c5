"""Errors of the generateContent format.

https://ai.google.dev/gemini-api/docs/troubleshooting and https://cloud.google.com/apis/design/errors:
``{"error": {code, message, status, details}}``; the gateway's own code and the request id stand in
an item of ``details``, as the services of this family tell such facts. In a stream the same object
is an event.
"""

import msgspec
from msgspec import Raw

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import Failed
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.openai_chat.errors import failed as failed_of

_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, Raw]).decode
_text = msgspec.json.Decoder(str).decode
_DOMAIN = "ferryman"
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""HTTP status → the name that stands beside it
(https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto)."""

_KINDS = {
    "DEADLINE_EXCEEDED": ErrorKind.UPSTREAM_TIMEOUT,
    "RESOURCE_EXHAUSTED": ErrorKind.UPSTREAM_RATE_LIMIT,
    "UNAUTHENTICATED": ErrorKind.UPSTREAM_AUTH,
    "PERMISSION_DENIED": ErrorKind.UPSTREAM_AUTH,
    "UNAVAILABLE": ErrorKind.UPSTREAM_OVERLOADED,
    "NOT_FOUND": ErrorKind.MODEL_NOT_FOUND,
}


def status_name(status: int) -> str:
    """The name for an HTTP status."""
    return STATUSES.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")


def error_body(error: GatewayError, request_id: str) -> bytes:
    """The JSON body for ``error``."""
    facts = {"code": str(error.kind), "request_id": request_id}
    if error.param:
        facts["param"] = error.param
    info = {
        "@type": _ERROR_INFO,
        "reason": error.kind.upper(),
        "domain": _DOMAIN,
        "metadata": facts,
    }
    said = {
        "code": error.status,
        "message": error.message,
        "status": status_name(error.status),
        "details": [info],
    }
    return _encode({"error": said})


def error_event(error: GatewayError, request_id: str) -> bytes:
    """The same as a server-sent event."""
    return b"data: %b\r\n\r\n" % error_body(error, request_id)


def failed(data: bytes) -> Failed:
    """What an error object within a stream says; ``data`` is the whole event's JSON."""
    found = failed_of(data)
    status = _status(data)
    kind = found.kind
    if kind is ErrorKind.UPSTREAM_ERROR:
        kind = _KINDS.get(status, kind)
    return Failed(kind=kind, message=found.message, code=status or found.code)


def _status(data: bytes) -> str:
    try:
        return _text(_object(_object(data)["error"])["status"])
    except (*UNREADABLE, KeyError):
        return ""
