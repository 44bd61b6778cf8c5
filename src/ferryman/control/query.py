"""Queries of the admin API, as people write them, for the ledger."""

import time

from ferryman.control.problem import ProblemError
from ferryman.control.when import WhenError, moment


def moment_at(name: str, text: str) -> int:
    """Unix seconds. Raises :class:`ProblemError`, which says ``name``."""
    try:
        return moment(text, time.time())
    except WhenError as error:
        raise ProblemError(400, "invalid_query", f"{name}: {error}") from None


def moment_of(name: str, text: str) -> int | None:
    """The same; None for an empty text."""
    return moment_at(name, text) if text else None


def cursor(text: str) -> tuple[int, str] | None:
    """``before`` of ``ledger.calls``. Raises :class:`ProblemError`."""
    if not text:
        return None
    at, colon, request_id = text.partition(":")
    if not colon or not at.isascii() or not at.isdigit() or len(at) > 18:
        raise ProblemError(400, "invalid_query", "before: give the `next` of the page before.")
    return int(at), request_id
