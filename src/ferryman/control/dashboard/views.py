"""Views of calls that were given a name: kept in a file, for all who are signed in."""

import contextlib
import os
import threading
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from ferryman.control.problem import ProblemError

MOST: Final = 50
LONGEST: Final = 60
"""Characters of a name,"""
LONGEST_QUERY: Final = 2000
"""and of what it stands for."""
_lock: Final = threading.Lock()


class View(Struct, frozen=True):
    """A name, and the query of the page that it stands for."""

    name: str
    query: str


_decode: Final = msgspec.json.Decoder(list[View]).decode


def listed(file: Path) -> list[View]:
    """All views, by name."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return _decode(file.read_bytes())
    return []


def save(file: Path, view: View) -> None:
    """Keep a view, in place of one with its name. Raises :class:`ProblemError`."""
    if not view.name or len(view.name) > LONGEST or not view.name.isprintable():
        raise ProblemError(400, "invalid_view", f"A name has 1 to {LONGEST} printable characters.")
    if len(view.query) > LONGEST_QUERY:
        raise ProblemError(400, "invalid_view", "That is too much to keep: choose less.")
    with _lock:
        kept = [each for each in listed(file) if each.name != view.name]
        if len(kept) >= MOST:
            raise ProblemError(409, "too_many_views", f"There are {MOST} views: forget one first.")
        _write(file, [*kept, view])


def forget(file: Path, name: str) -> None:
    """Keep it no longer."""
    with _lock:
        _write(file, [each for each in listed(file) if each.name != name])


def _write(file: Path, views: list[View]) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.encode(sorted(views, key=lambda each: each.name.lower())))
    draft.replace(file)
