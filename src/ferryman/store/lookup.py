"""Single calls by what their callers have kept, and those that belong together: all by index."""

import re
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from ferryman.store.db import reading
from ferryman.store.dimensions import Within, owned
from ferryman.store.ledger import CallRow, call_row
from ferryman.store.schema import DAY_US
from ferryman.store.schema import calls as _calls
from ferryman.store.schema import upstream_ids as _upstream_ids

MOST: Final = 1000
"""Calls of one family that are shown."""
_DEEPEST: Final = 100
"""Generations that are looked for, both ways."""
_CHUNK: Final = 500
_DAYS: Final = 31
"""Days of one part of a question,"""
_PARTS: Final = 14
"""and its parts: a little over a year."""
EVERYBODY: Final[Within] = {}
_MOST_DAYS: Final = 4000
"""Of all: some clocks are far off."""
_MOST_SLOTS: Final = 100_000
"""Days and slots (``intake.Batch.slot``) that are looked into, likewise."""
_TRACE: Final = re.compile(r"(?:[0-9a-f]{2}-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?")
"""https://www.w3.org/TR/trace-context/#traceparent-header"""


def calls_of(
    engine: sa.Engine, ident: str, limit: int = MOST, within: Within = EVERYBODY
) -> list[CallRow]:
    """The calls with this request id, ours or a provider's, or of this trace (its id, or a whole
    ``traceparent``); newest first, most often one."""
    traced = _TRACE.fullmatch(ident)
    mine = sa.and_(sa.true(), *owned(_calls.c, within))
    with reading(engine) as connection:
        found = _rows(connection, by_id(ident) & mine, limit)
        found = found or _by_index(connection, _calls.c.upstream_id, ident, mine, limit)
        if not found:
            given_up = sa.select(_upstream_ids.c.request_id).where(_upstream_ids.c.id == ident)
            known = list(connection.scalars(given_up))
            named = _calls.c.request_id.in_(known) & mine
            found = _rows(connection, named, limit) if known else []
        if not found and traced:
            found = _by_index(connection, _calls.c.trace, traced[1], mine, limit)
    return found


def _by_index(
    connection: sa.Connection, column: sa.ColumnElement[Any], ident: str, mine: Any, limit: int
) -> list[CallRow]:
    """Calls by an index that has days first (PostgreSQL), or slots (SQLite)."""
    if connection.dialect.name == "postgresql":
        return _by_day(connection, (column == ident) & mine, limit)
    return _by_slot(connection, column, ident, mine, limit)


def _by_slot(
    connection: sa.Connection, column: sa.ColumnElement[Any], ident: str, mine: Any, limit: int
) -> list[CallRow]:
    """Calls by an index that has days or slots first: each is looked into, the newest first."""
    day, known = _calls.c.day, column.is_not(None)
    slots = sa.select(sa.func.max(day).label("slot")).where(known).cte("slots", recursive=True)
    next_one = sa.select(sa.func.max(day)).where(known, day < slots.c.slot).scalar_subquery()
    slots = slots.union_all(sa.select(next_one).where(slots.c.slot.is_not(None)))
    query = sa.select(_calls).where(
        day.in_(sa.select(slots.c.slot).limit(_MOST_SLOTS)), column == ident, mine
    )
    found = [call_row(row) for row in connection.execute(query.limit(limit))]
    return sorted(found, key=lambda call: (call.at_us, call.request_id), reverse=True)


def _by_day(connection: sa.Connection, where: sa.ColumnElement[bool], limit: int) -> list[CallRow]:
    """Calls by an index that has days first: each day is looked into, the newest first."""
    last, first = connection.execute(
        sa.select(
            sa.select(sa.func.max(_calls.c.at_us)).scalar_subquery(),
            sa.select(sa.func.min(_calls.c.at_us)).scalar_subquery(),
        )
    ).one()  # two subqueries: each by the index
    if last is None or first is None:
        return []
    newest, end = last // DAY_US, max(first // DAY_US, last // DAY_US - _MOST_DAYS)
    parts = [
        # A table of calls in PostgreSQL has a month: the others need not be looked into. As text:
        # with parameters it would go by the time, and read the whole month.
        sa.select(_calls.c.request_id)
        .where(where, sa.text(_days_as_text(max(day - _DAYS + 1, end), day)))
        .limit(limit)
        for day in range(newest, end - 1, -_DAYS)
    ]
    found: list[CallRow] = []
    for start in range(0, len(parts), _PARTS):  # together: a trip for each would take longer
        idents = connection.scalars(sa.union_all(*parts[start : start + _PARTS])).all()
        for at in range(0, min(len(idents), limit - len(found)), _CHUNK):
            named = _calls.c.request_id.in_(idents[at : at + _CHUNK])
            found += _rows(connection, named, limit - len(found))
        if len(found) >= limit:
            break
    return sorted(found, key=lambda call: (call.at_us, call.request_id), reverse=True)


def _days_as_text(first: int, last: int) -> str:
    days = ", ".join(map(str, range(last, first - 1, -1)))
    return f"day IN ({days}) AND at_us >= {first * DAY_US} AND at_us < {(last + 1) * DAY_US}"


def by_id(ident: str) -> sa.ColumnElement[bool]:
    """That a call has the request id ``ident``."""
    return _calls.c.request_id == ident


def of_run(
    engine: sa.Engine, run: str, limit: int = MOST, within: Within = EVERYBODY
) -> list[CallRow]:
    """The first calls of a run, oldest first."""
    with reading(engine) as connection:
        query = sa.select(_calls).where(_calls.c.run == run, *owned(_calls.c, within))
        query = query.order_by(_calls.c.at_us).limit(limit)
        return [call_row(row) for row in connection.execute(query)]


def family(
    engine: sa.Engine, call: CallRow, limit: int = MOST, within: Within = EVERYBODY
) -> list[CallRow]:
    """The calls that ``call`` comes from, and all that come from the first of these.

    Whatever callers say of parents, it ends: each call is looked at once.
    """
    mine = sa.and_(sa.true(), *owned(_calls.c, within))
    with reading(engine) as connection:
        known = {call.request_id: call}
        first = call
        for _ in range(_DEEPEST):
            if not first.parent or first.parent in known:
                break
            above = _rows(connection, by_id(first.parent) & mine, 1)
            if not above:
                break
            first = known[above[0].request_id] = above[0]
        latest: Sequence[str] = list(known)
        for _ in range(_DEEPEST):
            found: list[CallRow] = []
            for start in range(0, len(latest), _CHUNK):
                chosen = _calls.c.parent.in_(latest[start : start + _CHUNK])
                found += _rows(connection, chosen & mine, limit)
            latest = [each.request_id for each in found if each.request_id not in known]
            known |= {each.request_id: each for each in found}
            if not latest or len(known) >= limit:
                break
    return sorted(known.values(), key=lambda each: (each.at_us, each.request_id))[:limit]


def _rows(connection: sa.Connection, where: sa.ColumnElement[bool], limit: int) -> list[CallRow]:
    query = sa.select(_calls).where(where).order_by(_calls.c.at_us.desc()).limit(limit)
    return [call_row(row) for row in connection.execute(query)]
