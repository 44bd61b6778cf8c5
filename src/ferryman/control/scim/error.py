"""Errors in the form of RFC 7644, section 3.12."""

from typing import Any, Final

import msgspec

MEDIA_TYPE: Final = "application/scim+json"
ERROR: Final = "urn:ietf:params:scim:api:messages:2.0:Error"
PREFIX: Final = "/scim/v2"
"""Where the endpoints are."""


class ScimError(Exception):
    """A refusal: HTTP ``status``, what is wrong, and a ``scimType`` of RFC 7644, table 9."""

    def __init__(self, status: int, detail: str, kind: str = "") -> None:
        super().__init__(detail)
        self.status, self.detail, self.kind = status, detail, kind


def wrong(kind: str, detail: str) -> ScimError:
    """A request that can't be used (400)."""
    return ScimError(400, detail, kind)


def body(status: int, detail: str, kind: str = "") -> bytes:
    """The error as JSON; its status is a text there."""
    said: dict[str, Any] = {"schemas": [ERROR], "status": str(status), "detail": detail}
    return msgspec.json.encode(said | ({"scimType": kind} if kind else {}))
