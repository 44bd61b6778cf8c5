"""Errors of the control plane's HTTP API, as RFC 9457 problem documents."""

from http import HTTPStatus

import msgspec


class ProblemError(Exception):
    """A refusal: HTTP ``status``, stable ``code``, and a sentence that says what to do."""

    def __init__(self, status: int, code: str, detail: str, **more: object) -> None:
        """``more``: further members of the document, JSON values."""
        super().__init__(detail)
        self.more = more
        self.status = status
        self.code = code
        self.detail = detail


class Problem(msgspec.Struct, kw_only=True):
    """RFC 9457 section 3. ``type`` is ``about:blank``: the ``code`` says which problem it is."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str


def body(status: int, code: str, detail: str, **more: object) -> bytes:
    """The problem as JSON."""
    title = HTTPStatus(status).phrase
    found = Problem(title=title, status=status, code=code, detail=detail)
    return msgspec.json.encode(msgspec.structs.asdict(found) | more)


MEDIA_TYPE = "application/problem+json"
