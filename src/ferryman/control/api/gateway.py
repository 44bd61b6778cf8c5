"""What only a running gateway knows: asks the one that has said where it is."""

import http.client
import ssl
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from ferryman.config.options import Options
from ferryman.control.problem import ProblemError

PATIENCE: Final = 20.0
"""Seconds for an answer."""
T = TypeVar("T")


def ask(options: Options, method: str, path: str, kind: type[T], body: object = None) -> T:
    """The gateway's answer as ``kind``. Raises :class:`ProblemError` where there is none."""
    try:
        at = options.paths.gateway_url.read_text().strip()
    except OSError:
        detail = "No gateway has run with this data directory."
        raise ProblemError(503, "no_gateway", detail) from None
    headers = {
        "authorization": f"Bearer {options.paths.secret('feed-token')}",
        "content-type": "application/json",
    }
    link = _link(at, options)
    try:
        link.request(method, path, None if body is None else msgspec.json.encode(body), headers)
        reply = link.getresponse()
        said = reply.read()
    except (OSError, http.client.HTTPException):
        detail = f"The gateway at {at} can't be reached: is it running?"
        raise ProblemError(503, "no_gateway", detail) from None
    finally:
        link.close()
    try:
        if reply.status == 200:
            return msgspec.json.decode(said, type=kind)
        told: dict[str, Any] = msgspec.json.decode(said)
        detail = str(told["error"]["message"])
    except (msgspec.MsgspecError, LookupError, TypeError):
        detail = f"What is at {at} answers ({reply.status}), but not as a Ferryman gateway does."
        raise ProblemError(502, "no_answer", detail) from None
    status = reply.status if reply.status in (400, 404) else 502
    raise ProblemError(status, "refused_by_gateway", detail)


def _link(at: str, options: Options) -> http.client.HTTPConnection:
    url = urlsplit(at)
    host = url.hostname or "127.0.0.1"
    if url.scheme != "https":
        return http.client.HTTPConnection(host, url.port, timeout=PATIENCE)
    # Its own certificate, which is known by its file, not by a name.
    context = ssl.create_default_context(cafile=options.tls_cert or None)
    context.check_hostname = False
    return http.client.HTTPSConnection(host, url.port, timeout=PATIENCE, context=context)
