"""Queries of the admin API and of the dashboard, as people write them, for the ledger."""

import time

from ferryman.control.problem import ProblemError
from ferryman.control.when import WhenError, moment


def listed(text: str) -> tuple[str, ...]:
    """What a text says with commas between, in its order."""
    return tuple(found for each in text.split(",") if (found := each.strip()))


def moment_at(name: str, text: str) -> int:
    """Unix seconds. Raises :class:`ProblemError`, which says ``name``."""
    try:
        return moment(text, time.time())
    except WhenError as error:
        raise ProblemError(400, "invalid_query", f"{name}: {error}") from None


def moment_of(name: str, text: str) -> int | None:
    """The same; None for an empty text."""
    return moment_at(name, text) if text else None
