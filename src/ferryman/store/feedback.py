"""What is said of calls and runs afterwards, and which of it counts: the word of the virtual key
that made the call, or of another one of its team."""

from collections.abc import Collection, Mapping, Sequence
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
_ABOUT_RUN: Final = sa.and_(_table.subject == calls.c.run, _table.run, _ONES_OWN)
_GIVEN: Final = ("subject", "run", "key_id", "team", "at_us", "score", "tags", "comment")
_SAID: Final = ("team", "at_us", "score", "tags", "comment")
_WAITING: Final = _table.call_at_us.is_(None)
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


def about(begin: int, end: int) -> list[sa.ColumnElement[bool]]:
    """That feedback is about a call itself, which began in [``begin``, ``end``) (Unix
    microseconds), and counts.

    In SQLite, calls are looked up by what was said of them: it would go through all of the time;
    PostgreSQL needs to see when they began, as each month is a table."""
    at = _table.call_at_us
    named = sa.select(_table.subject).where(sa.not_(_table.run), at >= begin, at < end)
    return [ABOUT, at == calls.c.at_us, at >= begin, at < end, calls.c.request_id.in_(named)]


def add(
    connection: sa.Connection, rows: Sequence[tuple[Any, ...]], came: Collection[str] = ()
) -> set[int]:
    """Take in rows in the order of the table's columns, but for the last; a later word replaces an
    earlier one. ``came``: ids of calls that are new with this transaction.

    Returns when the calls began of which there is news, Unix microseconds.
    """
    for values in rows:
        word = dict(zip(_GIVEN, values, strict=True))
        row = insert(connection, feedback).values(word | ({"call_at_us": 0} if word["run"] else {}))
        changed = {name: row.excluded[name] for name in _SAID}
        connection.execute(
            row.on_conflict_do_update(
                index_elements=[_table.subject, _table.run, _table.key_id],
                set_=changed,
                where=row.excluded.at_us >= _table.at_us,
            )
        )
    subjects = {values[0] for values in rows}
    if came and connection.scalar(sa.select(sa.exists().where(_WAITING))):
        subjects |= set(came)
    began = sa.select(sa.func.max(calls.c.at_us)).where(calls.c.request_id == _table.subject)
    found: set[int] = set()
    ids = sorted(subjects)
    for start in range(0, len(ids), _CHUNK):
        named = _table.subject.in_(ids[start : start + _CHUNK])
        there = feedback.update().where(named, _WAITING)
        connection.execute(there.values(call_at_us=began.scalar_subquery()))
        of_call = (calls.c.request_id == _table.subject) & (calls.c.at_us == _table.call_at_us)
        found |= set(connection.scalars(sa.select(calls.c.at_us).where(named, of_call)))
    return found


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
