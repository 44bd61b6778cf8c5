"""Single calls by what their callers have kept, and those that belong together: all by index."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from ferryman.store import retention, spans
from ferryman.store.db import reading
from ferryman.store.dimensions import Columns, Within, owned
from ferryman.store.ledger import CallRow, call_row
from ferryman.store.schema import DAY_US
from ferryman.store.schema import calls as _calls
from ferryman.store.schema import upstream_ids as _upstream_ids

MOST: Final = 1000
"""Calls of one family that are shown."""
_DEEPEST: Final = 100
"""Generations that are looked for, both ways."""
_CHUNK: Final = 500
EVERYBODY: Final[Within] = {}
_MOST_SLOTS: Final = 100_000
"""Days and slots (``intake.Batch.slot``) that are looked into: some clocks are far off."""
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
        if not found and traced:  # before what few look like that: each takes a look at all months
            found = _by_index(connection, "trace", traced[1], within, limit)
        found = found or _by_index(connection, "upstream_id", ident, within, limit)
        if not found:
            given_up = sa.select(_upstream_ids.c.request_id).where(_upstream_ids.c.id == ident)
            known = list(connection.scalars(given_up))
            named = _calls.c.request_id.in_(known) & mine
            found = _rows(connection, named, limit) if known else []
    return found


def _by_index(
    connection: sa.Connection, name: str, ident: str, within: Within, limit: int
) -> list[CallRow]:
    """Calls by an index that has days or slots first, the newest first."""
    if connection.dialect.name == "postgresql":
        found = _in_months(connection, name, ident, within, limit)
    else:
        chosen = sa.select(_calls).where(*_in_slots(_calls.c, name, ident, within)).limit(limit)
        found = [call_row(row) for row in connection.execute(chosen)]
    return sorted(found, key=lambda call: (call.at_us, call.request_id), reverse=True)


def _in_months(
    connection: sa.Connection, name: str, ident: str, within: Within, limit: int
) -> list[CallRow]:
    """Calls of all months, which are tables of their own: by their names, since to plan for all of
    them takes longer than to look; and together, since a trip for each would, too."""
    floor = spans.floors(connection).get(spans.CALLS, 0) // DAY_US
    looks: list[tuple[Columns, list[Any]]] = []
    for table, month in reversed(retention.months(connection).items()):
        of, days = _table(table), retention.days(month)
        if days.stop > floor:
            among = sa.text(f"day IN ({', '.join(map(str, days))})")
            looks.append((of.c, [of.c[name] == ident, among, *owned(of.c, within)]))
    rest = _table("calls_default")
    looks.append((rest.c, _in_slots(rest.c, name, ident, within)))
    each = [sa.select(c.request_id, c.at_us).where(*chosen).limit(limit) for c, chosen in looks]
    named = connection.execute(sa.union_all(*each)).all()[:limit]
    found: list[CallRow] = []
    for start in range(0, len(named), _CHUNK):
        idents, times = zip(*named[start : start + _CHUNK], strict=True)
        # With the times, most tables need not be looked into.
        chosen = _calls.c.request_id.in_(idents) & _calls.c.at_us.in_(times)
        found += _rows(connection, chosen, limit)
    return found


def _in_slots(of: Columns, name: str, ident: str, within: Within) -> list[sa.ColumnElement[bool]]:
    """Conditions of calls: days or slots are looked into one by one, the newest first."""
    day, known = of.day, of[name].is_not(None)
    slots = sa.select(sa.func.max(day).label("slot")).where(known).cte("slots", recursive=True)
    next_one = sa.select(sa.func.max(day)).where(known, day < slots.c.slot).scalar_subquery()
    slots = slots.union_all(sa.select(next_one).where(slots.c.slot.is_not(None)))
    looked = day.in_(sa.select(slots.c.slot).limit(_MOST_SLOTS))
    return [looked, of[name] == ident, *owned(of, within)]


@lru_cache(1000)
def _table(name: str) -> sa.TableClause:
    """A part of ``calls``."""
    return sa.table(name, *(sa.column(each.name, each.type) for each in _calls.c))


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
