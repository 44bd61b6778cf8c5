"""What is said of calls and runs afterwards, and which of it counts: the word of the virtual key
that made the call, or of another one of its team."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from ferryman.store.db import insert, reading
from ferryman.store.schema import calls, feedback

_table: Final = feedback.c
_ONES_OWN: Final = sa.or_(
    _table.key_id == calls.c.key_id, sa.and_(_table.team != "", _table.team == calls.c.team)
)
ABOUT: Final = sa.and_(_table.subject == calls.c.request_id, sa.not_(_table.run), _ONES_OWN)
"""That feedback is about a call itself, and counts."""
LOOKED_UP: Final = calls.c.request_id.in_(sa.select(_table.subject).where(sa.not_(_table.run)))
"""Follows from ``ABOUT``: else SQLite looks through all calls of the time for these."""
_ABOUT_RUN: Final = sa.and_(_table.subject == calls.c.run, _table.run, _ONES_OWN)
_SAID: Final = ("team", "at_us", "score", "tags", "comment")
_CHUNK: Final = 500


class Word(Struct, frozen=True, kw_only=True):
    """What one virtual key says."""

    run: bool
    """True: of the whole run that the call belongs to."""
    key: str
    at_us: int
    score: float | None
    """From -1 to 1."""
    tags: list[str]
    comment: str


def scored(least: int, most: int) -> sa.ColumnElement[bool]:
    """Calls that feedback, on them or on their run, gave a score within these bounds
    (thousandths)."""
    within = _table.score.between(least, most)
    return sa.or_(
        *(sa.exists().where(about, within).correlate(calls) for about in (ABOUT, _ABOUT_RUN))
    )


def add(connection: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Take in rows in the order of the table's columns; a later word replaces an earlier one."""
    for values in rows:
        row = insert(connection, feedback).values(dict(zip(_table.keys(), values, strict=True)))
        changed = {name: row.excluded[name] for name in _SAID}
        connection.execute(
            row.on_conflict_do_update(
                index_elements=[_table.subject, _table.run, _table.key_id],
                set_=changed,
                where=row.excluded.at_us >= _table.at_us,
            )
        )


def of_calls(engine: sa.Engine, ids: Sequence[str]) -> Mapping[str, list[Word]]:
    """What counts of each of these calls, the newest first; nothing for most."""
    found: dict[str, list[Word]] = {}
    with reading(engine) as connection:
        for start in range(0, len(ids), _CHUNK):
            for about in (ABOUT, _ABOUT_RUN):
                query = (
                    sa.select(calls.c.request_id, feedback)
                    .where(calls.c.request_id.in_(ids[start : start + _CHUNK]), about)
                    .order_by(_table.at_us.desc())
                )
                for row in connection.execute(query):
                    found.setdefault(row.request_id, []).append(_word(row))
    return found


def _word(row: Any) -> Word:
    return Word(
        run=row.run,
        key=row.key_id,
        at_us=row.at_us,
        score=None if row.score is None else row.score / 1000,
        tags=msgspec.json.decode(row.tags, type=list[str]),
        comment=row.comment,
    )
