"""Limits of a listener, and the refusals they lead to."""

from collections.abc import Callable

from msgspec import Struct

from ferryman.http1.exchange import Headers


class Limits(Struct, frozen=True, kw_only=True):
    """Bytes, seconds and counts; everything a peer could use up has one."""

    max_request_line: int = 8192
    max_headers: int = 100
    max_header_bytes: int = 32768
    max_body_bytes: int = 52_428_800
    max_upload_bytes: int = 0
    """Most bytes of a multipart body, which its handler gets as it comes; 0 = as all others."""
    max_spooled_bytes: int = 16 << 30
    """Bodies kept in files at once, over all connections, until they are answered."""
    spool_directory: str = ""
    """Where those files are made; they have no names. Empty = where the system keeps such."""
    max_buffered_bytes: int = 1 << 30
    """Request bodies held in memory at once, over all connections, until they are answered.
    Bodies up to ``SMALL_BODY`` bytes that came in one piece don't count."""
    header_seconds: float = 10.0
    min_body_rate: int = 1024
    """Bytes per second, averaged, after a grace of ``body_grace_seconds``."""
    body_grace_seconds: float = 5.0
    idle_seconds: float = 75.0
    """How long nothing at all may move: between two requests, inside a body, or while a reply
    waits to be read."""
    max_connections: int = 20_000
    linger_seconds: float = 2.0
    """How long a refused sender may be silent while its remaining bytes are read and dropped, so
    that it sees the refusal (RFC 9112 §9.6)."""
    linger_most_seconds: float = 30.0
    """How long they are read and dropped at most."""


SMALL_BODY = 16_384
SWEEP_SECONDS = 0.5
MAX_WAITING = 16
"""Pipelined requests that wait for an answer before no more are read."""
ENDLESS = 262_144
"""Bytes of a head, or of trailers, after which their end is no longer waited for."""
SLICE = 8192
"""Bytes parsed in one go; the requests in them are held as objects, many times their size."""


class Refusal(Exception):  # noqa: N818 - a refusal is not our error
    """A request that HTTP itself forbids; ``code`` is stable, ``message`` says what to change."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.target = b""
        """Target of the request that is refused, as far as it has been read."""


Refuse = Callable[[Refusal], tuple[Headers, bytes]]
"""Turns a refusal into headers and a body in the shape that callers of this server expect."""


def plain_refusal(refusal: Refusal) -> tuple[Headers, bytes]:
    """The shape used when the owner of the server gives none: one line of text."""
    return [(b"content-type", b"text/plain; charset=utf-8")], refusal.message.encode() + b"\n"


REASONS = {
    200: b"OK", 201: b"Created", 202: b"Accepted", 204: b"No Content",
    400: b"Bad Request", 401: b"Unauthorized", 402: b"Payment Required", 403: b"Forbidden",
    404: b"Not Found", 405: b"Method Not Allowed", 408: b"Request Timeout", 409: b"Conflict",
    411: b"Length Required", 413: b"Content Too Large", 414: b"URI Too Long",
    415: b"Unsupported Media Type", 417: b"Expectation Failed", 422: b"Unprocessable Content",
    429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 501: b"Not Implemented", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout", 505: b"HTTP Version Not Supported",
}  # fmt: skip


def status_line(status: int) -> bytes:
    """``HTTP/1.1 200 OK\\r\\n``; an unknown status keeps its number."""
    return b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b"Status"))
