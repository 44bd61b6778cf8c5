"""AWS Signature Version 4 of one request, for services other than S3. Pure: the time is given.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import functools
import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote

_BLANKS = re.compile(r"\s+")
_ALGORITHM = "AWS4-HMAC-SHA256"


class Credentials(NamedTuple):
    """Of an AWS identity; ``token`` is the session's, where there is one."""

    access: str
    secret: str
    token: str = ""


def sign(
    method: str,
    host: str,
    path: str,
    query: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    credentials: Credentials,
    region: str,
    service: str,
    amz_date: str,
) -> tuple[tuple[str, str], ...]:
    """The headers to add: ``x-amz-date``, ``x-amz-security-token`` if any, ``authorization``.

    ``host`` is the Host header as it will be sent, with a port other than the scheme's own.
    ``path`` and ``query`` (without ``?``) stand as in the request line, already percent-encoded;
    AWS encodes the path a second time for the signature. ``headers`` are further ones to be signed,
    each with its value exactly as sent. ``amz_date`` is UTC as ``YYYYMMDDTHHMMSSZ``.
    """
    added = [("x-amz-date", amz_date)]
    if credentials.token:
        added.append(("x-amz-security-token", credentials.token))
    signed: dict[str, str] = {"host": host}
    for name, value in (*headers, *added):
        name = name.lower()
        value = _BLANKS.sub(" ", value.strip())
        signed[name] = f"{signed[name]},{value}" if name in signed else value
    names = ";".join(sorted(signed))
    lines = "".join([f"{name}:{signed[name]}\n" for name in sorted(signed)])
    request = (
        f"{method}\n{_path(path)}\n{_query(query) if query else ''}\n{lines}\n{names}\n"
        f"{hashlib.sha256(body).hexdigest()}"
    )
    day = amz_date[:8]
    scope = f"{day}/{region}/{service}/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"{_ALGORITHM}\n{amz_date}\n{scope}\n{digest}"
    key = _key(credentials.secret, day, region, service)
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    value = (
        f"{_ALGORITHM} Credential={credentials.access}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}"
    )
    return (*added, ("authorization", value))


@functools.lru_cache(maxsize=64)
def _key(secret: str, day: str, region: str, service: str) -> bytes:
    """The signing key: the same for a whole day."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@functools.lru_cache(maxsize=1024)
def _path(path: str) -> str:
    """The canonical path: dot segments and doubled slashes removed, then encoded once more."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if kept:
                kept.pop()
        elif part and part != ".":
            kept.append(part)
    whole = "/" + "/".join(kept)
    if kept and path.endswith("/"):
        whole += "/"
    return quote(whole, safe="/~")


def _query(query: str) -> str:
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&"))
    return "&".join([f"{name}={value}" for name, value in pairs])
