"""Errors of the Responses API.

https://platform.openai.com/docs/api-reference/responses-streaming: an ``error`` event, or a
response that has failed; whole error bodies are those of the chat format.
"""

import msgspec

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import Failed
from ferryman.wire.openai_chat.errors import error_body

__all__ = ["code_of", "error_body", "error_event"]

_encode = msgspec.json.Encoder().encode

_CODES = {
    ErrorKind.UPSTREAM_RATE_LIMIT: "rate_limit_exceeded",
    ErrorKind.UPSTREAM_NO_CREDIT: "insufficient_quota",
    ErrorKind.UPSTREAM_OVERLOADED: "server_is_overloaded",
    ErrorKind.OVERLOADED: "server_is_overloaded",
    ErrorKind.CONTEXT_TOO_LONG: "context_length_exceeded",
    ErrorKind.CONTENT_FILTERED: "invalid_prompt",
    ErrorKind.INVALID_REQUEST: "invalid_prompt",
    ErrorKind.UNSUPPORTED: "invalid_prompt",
}
"""The codes by which callers such as Codex tell what can be tried again."""


def error_event(error: GatewayError, request_id: str) -> bytes:
    """An event that tells the caller of ``error`` in the middle of a stream."""
    facts = {"type": "error", "code": error.kind, "message": error.message, "param": error.param}
    nested = error_body(error, request_id)  # what the SDKs look for, as in the other formats
    return b"event: error\ndata: %b,%b\n\n" % (_encode(facts)[:-1], nested[1:])


def code_of(failed: Failed) -> str:
    """``response.error.code`` for an answer that failed."""
    return _CODES.get(failed.kind, "server_error")
