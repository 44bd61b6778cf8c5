"""Errors of the control plane's HTTP API, as RFC 9457 problem documents."""

from http import HTTPStatus

import msgspec


class ProblemError(Exception):
    """A refusal: HTTP ``status``, stable ``code``, and a sentence that says what to do."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
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


def body(status: int, code: str, detail: str) -> bytes:
    """The problem as JSON."""
    title = HTTPStatus(status).phrase
    return msgspec.json.encode(Problem(title=title, status=status, code=code, detail=detail))


MEDIA_TYPE = "application/problem+json"
