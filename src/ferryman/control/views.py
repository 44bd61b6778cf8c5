"""Views of calls that were given a name: kept in a file, for all who are signed in; and what calls
are filtered by."""

import contextlib
import os
import threading
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from ferryman.client.status import View
from ferryman.control.problem import ProblemError
from ferryman.store.dimensions import METADATA, PLAIN

DIMENSIONS: Final = (*PLAIN, "tag")
"""What calls are filtered by, beside ``metadata.NAME``."""
NARROWING: Final = ("min_seconds", "min_usd", "min_score", "max_score", "guard")
"""As ``reports.CallsQuery`` has them."""
FILTERS: Final = ("q", "since", "until", *NARROWING, *DIMENSIONS)

MOST: Final = 50
LONGEST: Final = 60
"""Characters of a name,"""
LONGEST_QUERY: Final = 2000
"""and of what it stands for."""
_lock: Final = threading.Lock()


_decode: Final = msgspec.json.Decoder(list[View]).decode


def filters(name: str) -> bool:
    """Whether calls are filtered by what is called so."""
    return name in DIMENSIONS or name.startswith(METADATA)


def checked(query: str) -> str:
    """A query of the page Calls. Raises :class:`ProblemError` for what is none."""
    said = dict(parse_qsl(query))
    for name in said:
        if name not in FILTERS and not filters(name):
            raise ProblemError(400, "invalid_view", f"Calls can't be filtered by {name!r}.")
    return urlencode(said)


def at(data_dir: Path) -> Path:
    """Where they are kept."""
    return data_dir / "views.json"


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


def forget(file: Path, name: str) -> bool:
    """Keep it no longer. Whether there was one."""
    with _lock:
        every = listed(file)
        left = [each for each in every if each.name != name]
        if len(left) < len(every):
            _write(file, left)
        return len(left) < len(every)


def _write(file: Path, views: list[View]) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.encode(sorted(views, key=lambda each: each.name.lower())))
    draft.replace(file)
