"""Adds calls to the sums over minutes, hours and days, in the transaction that adds the calls.

So a sum has every call that is in the ledger, once, whatever is killed when. Rows are added up in
Python first: each group costs one statement a span, however many calls it has.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from hashlib import blake2b
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ferryman.ir.usage import EXTRA_COUNTS
from ferryman.store.schema import (
    SPANS,
    STEPS,
    TOKEN_CLASSES,
    call_groups,
    calls,
    charges,
    latencies,
    rollups,
)

LOST: Final = "lost"
"""``calls.state`` of a call whose gateway died: what it used is unknown, it cost its hold."""
OK: Final = "ok"
"""``call_groups.outcome`` of calls that went well; of others the error, the status, or ``lost``."""
REPEATED: Final = frozenset(("hit", "coalesced", "replayed"))
"""Values of ``calls.cache`` for an answer that was given before."""
DURATION, FIRST_TOKEN = 0, 1
"""Measures of the tables of latencies."""
MICRO: Final = 10**6
"""Picodollars in a microdollar."""
_CHUNK: Final = 64

Row = tuple[Any, ...]
Key = tuple[Any, ...]
"""Beginning (Unix seconds), group id, and what else is in the primary key or belongs to it."""
Sums = list[int]
_names: Final = tuple(calls.c.keys())
_at = itemgetter(_names.index("at_us"))
_alike = itemgetter(
    *(
        _names.index(name)
        for name in ("key_id", "endpoint", "model", "provider", "target", "policy", "stream",
                     "service", "state", "status", "error")
    )
)  # fmt: skip
_summed = itemgetter(*map(_names.index, (*TOKEN_CLASSES, *EXTRA_COUNTS)))
_money = itemgetter(*map(_names.index, ("cost_pico", "saved_pico", "unknown_cost", "cache")))
_times = itemgetter(*map(_names.index, ("duration_us", "first_token_us", "cache")))
_charge = itemgetter(*map(_names.index, ("budgets", "charged_pico", "charged_tokens")))


def add(connection: sa.Connection, rows: Sequence[Row], give_way: Callable[[], None]) -> None:
    """Add ``rows``, in the order of the columns of ``calls``, to all sums.

    They must be new in ``calls``, in the same transaction. ``give_way`` is called now and then.
    """
    if rows:
        put(connection, collected(rows), give_way)


class Collected(NamedTuple):
    """Sums by minute, not written yet."""

    groups: dict[bytes, Row]
    """Id → the other columns of ``call_groups``."""
    sums: dict[Key, Sums]
    """(beginning, group) → sums in the order of ``schema.SUMS``."""
    times: dict[Key, Sums]
    """(beginning, group, measure, bucket) → calls."""
    charged: dict[Key, Sums]
    """(beginning, id, counters) → amounts."""


def collected(rows: Sequence[Row]) -> Collected:
    """What ``rows``, in the order of the columns of ``calls``, add up to."""
    alike: dict[tuple[int, Row], list[Row]] = defaultdict(list)
    for row in rows:
        alike[_at(row) // 60_000_000 * 60, _alike(row)].append(row)
    groups: dict[bytes, Row] = {}
    sums: dict[Key, Sums] = {}
    times: dict[Key, Sums] = {}
    for (at, (*common, state, status, error)), members in alike.items():
        outcome = _outcome(state, status, error)
        group_id = known(groups, (*common, outcome))
        _add(sums, (at, group_id), _sums(members, outcome))
        if outcome == OK:
            # Who asked, and why it went there, makes no difference to how long it took.
            quick = known(groups, ("*", *common[1:5], None, common[6], None, OK))
            for measure, number in _timed(members):
                _add(times, (at, quick, measure, number), [1])
    return Collected(groups, sums, times, _charged(rows))


def put(
    connection: sa.Connection,
    found: Collected,
    give_way: Callable[[], None],
    spans: Iterable[str] = tuple(SPANS),
) -> None:
    """Write ``found``; what is there already grows by it."""
    write = _Writer(connection, give_way)
    for table, rows in tables(found, spans):
        write(table, rows)


def tables(
    found: Collected, spans: Iterable[str] = tuple(SPANS)
) -> Iterator[tuple[sa.Table, list[Row]]]:
    """What ``found`` adds to each table: rows in the order of its columns, each key once."""
    yield call_groups, sorted((key, *group) for key, group in found.groups.items())
    for span in spans:
        yield rollups[span], _rows(found.sums, SPANS[span])
        yield latencies[span], _rows(found.times, SPANS[span])
    for step, seconds in STEPS.items():
        yield charges[step], _rows(found.charged, seconds)


def bucket(microseconds: int) -> int:
    """The bucket of a span of time: four to each power of two, none wider than a quarter of its
    lower end."""
    whole = max(4, microseconds)
    power = whole.bit_length() - 1
    return power * 4 + (whole >> power - 2) % 4


def bounds(number: int) -> tuple[int, int]:
    """The microseconds from which, and before which, :func:`bucket` gives ``number``."""
    power, quarter = divmod(number, 4)
    low = 4 + quarter << power - 2
    return low, low + (1 << power - 2)


def _outcome(state: str, status: int, error: str) -> str:
    if state == LOST:
        return LOST
    return error or (str(status) if status >= 400 else OK)


def known(groups: dict[bytes, Row], group: Row) -> bytes:
    """The id of ``group`` (columns of ``call_groups``), which is then among ``groups``. 128 bits:
    callers choose model names, and nobody shall find two that are the same."""
    found = blake2b(msgspec.json.encode(group), digest_size=16).digest()
    groups[found] = group
    return found


def _sums(rows: list[Row], outcome: str) -> Sums:
    """In the order of ``schema.SUMS``."""
    columns = list(zip(*map(_summed, rows), strict=True))
    costs, saved, unknown, cached = zip(*map(_money, rows), strict=True)
    return [
        len(rows),
        0 if outcome in (OK, LOST) else len(rows),
        len(rows) if outcome == LOST else 0,
        columns[0].count(None),
        sum(cost is None or bool(more) for cost, more in zip(costs, unknown, strict=True)),
        sum(what in REPEATED for what in cached),
        *(sum(filter(None, column)) for column in columns),
        *divmod(sum(filter(None, costs)), MICRO),
        *divmod(sum(filter(None, saved)), MICRO),
    ]


def _timed(rows: list[Row]) -> Iterator[tuple[int, int]]:
    """(measure, bucket) of answers that were not repeated ones."""
    for duration, first_token, cached in map(_times, rows):
        if cached not in REPEATED:
            if duration is not None:
                yield DURATION, bucket(duration)
            if first_token is not None:
                yield FIRST_TOKEN, bucket(first_token)


def _charged(rows: Sequence[Row]) -> dict[Key, Sums]:
    """What budgets bear, by minute and counters."""
    found: dict[Key, Sums] = {}
    for row in rows:
        budgets, pico, tokens = _charge(row)
        if budgets is not None:
            group_id = blake2b(budgets.encode(), digest_size=16).digest()
            amounts = [*divmod(pico or 0, MICRO), tokens or 0]
            _add(found, (_at(row) // 60_000_000 * 60, group_id, budgets), amounts)
    return found


def _add(sums: dict[Key, Sums], key: Key, more: Sums) -> None:
    known = sums.get(key)
    sums[key] = more if known is None else [a + b for a, b in zip(known, more, strict=True)]


def _rows(sums: dict[Key, Sums], seconds: int) -> list[Row]:
    """The sums of each minute as rows of the spans that they are in.

    In one order everywhere, so that two writers never wait for each other in a circle.
    """
    found: dict[Key, Sums] = {}
    for (at, *rest), amounts in sums.items():
        _add(found, (at - at % seconds, *rest), amounts)
    return sorted((*key, *amounts) for key, amounts in found.items())


class _Writer:
    """Puts rows into tables; what is there already grows by them."""

    def __init__(self, connection: sa.Connection, give_way: Callable[[], None]) -> None:
        self._connection = connection
        self._give_way = give_way

    def __call__(self, table: sa.Table, rows: list[Row]) -> None:
        statement = _upsert(self._connection.dialect.name, table)
        for start in range(0, len(rows), _CHUNK):
            self._give_way()
            self._connection.exec_driver_sql(statement, rows[start : start + _CHUNK])


@cache
def _upsert(dialect: str, table: sa.Table) -> str:
    """The statement as text, in the order of the table's columns (``store/intake.py``)."""
    row = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    grows = {
        column.name: column + row.excluded[column.name]
        for column in table.c
        if isinstance(column.type, sa.BigInteger) and not column.primary_key
    }
    if grows:
        row = row.on_conflict_do_update(index_elements=list(table.primary_key), set_=grows)
    else:
        row = row.on_conflict_do_nothing()
    if dialect == "postgresql":
        return str(row.compile(dialect=postgresql.dialect(paramstyle="format")))  # type: ignore[no-untyped-call]
    return str(row.compile(dialect=sqlite.dialect()))
