"""A look into the SQLite file with the standard library alone, for the control plane's start.

The first compilation needs the last version of the configuration, and must not wait for SQLAlchemy.
"""

import contextlib
import sqlite3
from pathlib import Path

import msgspec

from ferryman.config.version import Overlay, Version

_COLUMNS = 'number, at, "by", note, changes, snapshot, text, overlay'


def latest(path: Path) -> Version | None:
    """The last version of the configuration; ``None`` when there is no file or none in it.

    Raises ``sqlite3.Error`` for a file that is no database.
    """
    if not path.exists():
        return None
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as db:
        tables = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'config_versions'")
        if tables.fetchone() is None:
            return None
        query = f"SELECT {_COLUMNS} FROM config_versions ORDER BY number DESC LIMIT 1"  # noqa: S608
        row = db.execute(query).fetchone()
    return None if row is None else read(row)


def read(row: tuple[int, int, str, str, str, str, str, str]) -> Version:
    """A row of the table, its columns in the order of the schema."""
    number, at, by, note, changes, snapshot, text, overlay = row
    return Version(
        number=number,
        at=at,
        by=by,
        note=note,
        changes=msgspec.json.decode(changes, type=tuple[str, ...]),
        snapshot=snapshot,
        text=text,
        overlay=msgspec.json.decode(overlay, type=Overlay),
    )
