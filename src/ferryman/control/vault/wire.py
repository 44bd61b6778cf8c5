"""How key services are spoken to: JSON over HTTP, and no redirects."""

import base64
import http.client
import json
import os
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ferryman.control.links import Link
from ferryman.control.vault.envelope import KeyServiceError
from ferryman.wire.addresses import ANY, reach

PATIENCE: Final = 10.0
PRIVATE: Final = "FERRYMAN_KMS_PRIVATE"
"""Variable: whether names of key services may lead to private addresses."""
_LARGEST: Final = 1_000_000


def ask(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    *,
    identity: bool = False,
) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the answer. Raises :class:`KeyServiceError`.

    ``identity``: it is where this machine gets credentials of its own, which no other may lead to.
    """
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    far = ANY if identity else reach(url, _private())
    link = Link(parts.hostname or "", parts.port, far, tls, PATIENCE)
    where = f"{parts.scheme}://{parts.netloc}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        link.request(method, path, body, {"content-type": "application/json", **headers})
        reply = link.getresponse()
        said = json.loads(reply.read(_LARGEST) or b"{}")
    except PermissionError as error:
        why = str(error).replace("private: true", f"{PRIVATE}=true")
        raise KeyServiceError(f"the key service {where} is not asked: {why}") from None
    except (OSError, http.client.HTTPException) as error:
        raise KeyServiceError(f"the key service {where} can't be reached ({error})") from None
    except ValueError:
        raise KeyServiceError(f"{where} does not answer as a key service") from None
    finally:
        link.close()
    return reply.status, said if isinstance(said, dict) else {}


def _private() -> bool | None:
    """What the environment says of private addresses; None = nothing."""
    said = os.environ.get(PRIVATE, "").strip().lower()
    if said not in ("", "true", "false"):
        raise KeyServiceError(f"{PRIVATE} must be true or false, not {said[:20]!r}")
    return {"true": True, "false": False}.get(said)


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
