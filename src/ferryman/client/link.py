"""One request to a Ferryman over HTTP."""

import http.client
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

TIMEOUT: Final = 60.0
"""Seconds for one answer."""


def exchange(
    url: str, method: str, target: str, body: object, headers: Mapping[str, str],
    timeout: float = TIMEOUT,
) -> tuple[int, bytes]:  # fmt: skip
    """Status and body of the answer to one request; a ``body`` of bytes is YAML, others go as JSON.

    Raises ``OSError``.
    """
    sent = dict(headers)
    data = body if isinstance(body, bytes) else None
    if data is not None:
        sent["content-type"] = "application/yaml"
    elif body is not None:
        sent["content-type"], data = "application/json", msgspec.json.encode(body)
    link = link_to(url, timeout)
    try:
        link.request(method, urlsplit(url).path.rstrip("/") + target, data, sent)
        reply = link.getresponse()
        return reply.status, reply.read()
    except http.client.HTTPException as error:
        raise OSError(str(error) or type(error).__name__) from None
    finally:
        link.close()


def link_to(url: str, timeout: float) -> http.client.HTTPConnection:
    """A connection to the server of ``url``, once something is asked."""
    parts = urlsplit(url)
    host = parts.hostname or "127.0.0.1"
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=context)
    return http.client.HTTPConnection(host, parts.port, timeout=timeout)
