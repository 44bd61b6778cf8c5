"""How key services are spoken to: JSON over HTTP, and no redirects."""

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ferryman.control.vault.envelope import KeyServiceError

PATIENCE: Final = 10.0
_LARGEST: Final = 1_000_000


def ask(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the answer. Raises :class:`KeyServiceError`."""
    parts = urlsplit(url)
    link: http.client.HTTPConnection
    if parts.scheme == "https":
        link = http.client.HTTPSConnection(
            parts.netloc, timeout=PATIENCE, context=ssl.create_default_context()
        )
    else:
        link = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
    where = f"{parts.scheme}://{parts.netloc}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        link.request(method, path, body, {"content-type": "application/json", **headers})
        reply = link.getresponse()
        said = json.loads(reply.read(_LARGEST) or b"{}")
    except (OSError, http.client.HTTPException) as error:
        raise KeyServiceError(f"the key service {where} can't be reached ({error})") from None
    except ValueError:
        raise KeyServiceError(f"{where} does not answer as a key service") from None
    finally:
        link.close()
    return reply.status, said if isinstance(said, dict) else {}


def b64(data: bytes) -> str:
    """As text."""
    return base64.b64encode(data).decode()


def b64url(data: bytes) -> str:
    """As text that fits into addresses, without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def text_of(said: Mapping[str, Any], name: str) -> str:
    """A text of the answer. Raises :class:`KeyServiceError`."""
    found = said.get(name)
    if not isinstance(found, str):
        raise KeyServiceError(f"the key service's answer has no {name}")
    return found


def bytes_of(said: Mapping[str, Any], name: str) -> bytes:
    """What a text of the answer encodes, in either alphabet. Raises :class:`KeyServiceError`."""
    text = text_of(said, name).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise KeyServiceError(f"the key service's {name} is not base64") from None
