"""Where each vendor looks for the key, and what it says when that is wrong."""

import hmac
import re
from collections.abc import Callable

from ferryman.simulator.ask import RefusedError, Request

Check = Callable[[Request, str], None]
"""Raises :class:`RefusedError` unless the request carries the key; an empty one means any."""


def _token(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _must(given: str, key: str, refused: RefusedError) -> None:
    if key and not hmac.compare_digest(given.encode("utf-8", "replace"), key.encode()):
        raise refused


def bearer(request: Request, key: str) -> None:
    """``Authorization: Bearer``."""
    refused = RefusedError("Incorrect API key provided.", status=401, code="invalid_api_key")
    _must(_token(request), key, refused)


def messages(request: Request, key: str) -> None:
    """``x-api-key``, or a bearer token."""
    given = request.headers.get("x-api-key")
    refused = RefusedError("invalid x-api-key", status=401)
    _must(_token(request) if given is None else given, key, refused)


def azure(request: Request, key: str) -> None:
    """``api-key``, or a bearer token."""
    given = request.headers.get("api-key")
    refused = RefusedError(
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide "
        "a valid key for an active subscription and use a correct regional API endpoint for your "
        "resource.",
        status=401,
        code="401",
    )
    _must(_token(request) if given is None else given, key, refused)


def goog(request: Request, key: str) -> None:
    """``x-goog-api-key`` or ``?key=``. Google calls a wrong key an invalid argument."""
    given = request.headers.get("x-goog-api-key") or request.query.get("key", "")
    refused = RefusedError(
        "API key not valid. Please pass a valid API key.", status=400, code="API_KEY_INVALID"
    )
    _must(given, key, refused)


def vertex(request: Request, key: str) -> None:
    """An access token, which must be there: Vertex has no other way in."""
    refused = RefusedError(
        "Request is missing required authentication credential. Expected OAuth 2 access token, "
        "login cookie or other valid authentication credential.",
        status=401,
        code="CREDENTIALS_MISSING",
    )
    if not request.headers.get("authorization", "").startswith("Bearer "):
        raise refused
    _must(_token(request), key, refused)


_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>[^/,\s]+)/\d{8}/[a-z0-9-]+/bedrock/aws4_request, ?"
    r"SignedHeaders=(?P<names>[a-z0-9;-]+), ?Signature=[0-9a-f]{64}"
)


def amazon(request: Request, key: str) -> None:
    """A bearer token, or a signature, which must look like one: its secret is not known here.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    given = request.headers.get("authorization", "")
    if not given:
        raise RefusedError(
            "Missing Authentication Token", status=403, code="MissingAuthenticationTokenException"
        )
    if given.startswith("Bearer "):
        refused = RefusedError("Authentication failed: API Key is invalid.", status=403)
        _must(_token(request), key, refused)
        return
    signed = _SIGNED.fullmatch(given)
    if not signed or "host" not in signed["names"].split(";"):
        raise RefusedError(
            "Authorization header requires 'Credential', 'SignedHeaders' with 'host', 'Signature'.",
            status=403,
            code="IncompleteSignatureException",
        )
    if not re.fullmatch(r"\d{8}T\d{6}Z", request.headers.get("x-amz-date", "")):
        raise RefusedError(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
            status=403,
            code="IncompleteSignatureException",
        )
