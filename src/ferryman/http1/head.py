"""What a request's head must be like. Pure: a parsed head in, a refusal or None out."""

import re

from ferryman.http1.exchange import Headers
from ferryman.http1.limits import Limits, Refusal

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+;=:\[\]%-]*")
MAX_LENGTH_DIGITS = 18
"""More digits of a content-length than this, zeros in front included, serve only to confuse."""


def number_at(data: bytes, at: int) -> tuple[int, int]:
    """The decimal number of up to nine digits that begins at ``at``, and where it ends; -1 where
    there is none, or a longer one."""
    number, end, most = 0, at, min(len(data), at + 10)
    while end < most and 48 <= data[end] <= 57:
        number = number * 10 + data[end] - 48
        end += 1
    return number if at < end < at + 10 else -1, end


def faults(
    method: bytes, target: bytes, version: str, headers: Headers, limits: Limits
) -> Refusal | None:
    """Why a complete head is refused, or None.

    The parser has already refused what is malformed, a second content-length, and content-length
    beside transfer-encoding. ``headers`` have names in lower case and values without white space
    around them.
    """
    if version != "1.1" and version != "1.0":
        return Refusal(
            505, "http_version_not_supported", f"HTTP/{version} is not spoken here; use HTTP/1.1."
        )
    if method == b"CONNECT":
        return Refusal(501, "not_a_proxy", "CONNECT is not offered here.")
    refusal = too_large(target, headers, limits)
    if refusal is not None:
        return refusal
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
            if _HOST.fullmatch(value) is None:
                return Refusal(400, "bad_host", "The Host field holds no host name.")
        elif name == b"content-length":
            if len(value) > MAX_LENGTH_DIGITS:
                return Refusal(400, "malformed_http", "The content-length has too many digits.")
            most = most_body(headers, limits)
            if int(value) > most:
                return body_too_large(most)
        elif name == b"transfer-encoding":
            if version == "1.0":
                return Refusal(
                    400, "malformed_http", "HTTP/1.0 has no transfer-encoding; its end is unclear."
                )
            if value.lower() != b"chunked":
                return Refusal(
                    501, "unsupported_transfer_encoding", "Only 'chunked' is understood."
                )
    if hosts > 1 or (not hosts and version == "1.1"):
        return Refusal(400, "bad_host", f"A request needs one Host field; this one has {hosts}.")
    return None


def too_large(target: bytes, headers: Headers, limits: Limits) -> Refusal | None:
    """Why a head is too large; or None."""
    if len(target) > limits.max_request_line:
        return Refusal(
            414, "uri_too_long", f"The request target is over {limits.max_request_line} bytes."
        )
    if (
        len(headers) > limits.max_headers
        or sum([len(name) + len(value) + 4 for name, value in headers]) > limits.max_header_bytes
    ):
        return headers_too_large(limits)
    return None


def headers_too_large(limits: Limits) -> Refusal:
    """The refusal of a head, or of trailers, over a limit."""
    return Refusal(
        431,
        "headers_too_large",
        f"The request has over {limits.max_headers} header fields or "
        f"{limits.max_header_bytes} bytes of them.",
    )


def is_form(content_type: bytes) -> bool:
    """Whether a body of this type is a form with files."""
    return content_type[:19].lower() == b"multipart/form-data"


def is_upload(headers: Headers, limits: Limits) -> bool:
    """Whether a handler gets the body as it comes."""
    if not limits.max_upload_bytes:
        return False
    for name, value in headers:
        if name == b"content-type":
            return is_form(value)
    return False


def most_body(headers: Headers, limits: Limits) -> int:
    """How long the body may be."""
    return limits.max_upload_bytes if is_upload(headers, limits) else limits.max_body_bytes


def body_too_large(most: int) -> Refusal:
    """The refusal of a body over the limit, announced or sent."""
    return Refusal(413, "body_too_large", f"The body is over {most} bytes.")


def not_http(error: Exception, start: bytes) -> Refusal:
    """The refusal of what the parser gave up on; ``start`` is how the connection began.

    llhttp's words say which rule was broken; RFC 9112 says that we must not guess.
    """
    if start.lstrip(b"\r\n").startswith(b"\x16"):  # a handshake record; RFC 8446 §5.1
        return Refusal(
            400, "tls_on_plain_port", "This port speaks plain HTTP, not TLS: use http:// here."
        )
    if "PRI" in str(error):
        return Refusal(
            505, "http_version_not_supported", "HTTP/2 is not spoken here; use HTTP/1.1."
        )
    return Refusal(400, "malformed_http", f"Not valid HTTP/1.1: {error}.")
