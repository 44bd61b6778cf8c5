"""Adds calls to the sums over minutes, hours and days, in the transaction that adds the calls.

So a sum has every call that is in the ledger, once, whatever is killed when. Rows are added up in
Python first: each group costs one statement a span, however many calls it has.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from hashlib import blake2b
from itertools import compress
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ferryman.ir.usage import EXTRA_COUNTS
from ferryman.store.schema import (
    DAY_US,
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
_numbers = itemgetter(
    *map(_names.index, (*TOKEN_CLASSES, *EXTRA_COUNTS, "cost_pico", "saved_pico", "unknown_cost",
                        "cache", "duration_us", "first_token_us"))
)  # fmt: skip
_charge = itemgetter(*map(_names.index, ("budgets", "charged_pico", "charged_tokens")))


def add(
    connection: sa.Connection,
    rows: Sequence[Row],
    give_way: Callable[[], None],
    there: Container[bytes] = (),
) -> Collection[bytes]:
    """Add ``rows``, in the order of the columns of ``calls``, to all sums; returns new groups.

    They must be new in ``calls``, in the same transaction. ``give_way`` is called now and then.
    Groups that are ``there`` are not written.
    """
    if not rows:
        return ()
    found = collected(rows)
    new = {ident: group for ident, group in found.groups.items() if ident not in there}
    put(connection, found._replace(groups=new), give_way)
    return new.keys()


def days_of(rows: Sequence[Row]) -> set[int]:
    """The days (since 1970) on which ``rows``, as of :func:`add`, began."""
    return {at_us // DAY_US for at_us in map(_at, rows)}


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
    for row, at_us, common in zip(rows, map(_at, rows), map(_alike, rows), strict=True):
        alike[at_us // 60_000_000 * 60, common].append(row)
    groups: dict[bytes, Row] = {}
    sums: dict[Key, Sums] = {}
    spans: dict[Key, list[int]] = defaultdict(list)
    for (at, (*common, state, status, error)), members in alike.items():
        outcome = _outcome(state, status, error)
        group_id = known(groups, (*common, outcome))
        columns = list(zip(*map(_numbers, members), strict=True))
        _add(sums, (at, group_id), _sums(columns, outcome))
        if outcome == OK:
            # Who asked, and why it went there, makes no difference to how long it took.
            quick = known(groups, ("*", *common[1:5], None, common[6], None, OK))
            *_, cached, took, first = columns
            fresh = [what not in REPEATED for what in cached]
            for measure, column in ((DURATION, took), (FIRST_TOKEN, first)):
                told = [each for each in compress(column, fresh) if each is not None]
                spans[at, quick, measure] += told
    times = {
        (*key, number): [some]
        for key, measured in spans.items()
        for number, some in Counter(map(bucket, measured)).items()
    }
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
    found = _digest(group)
    groups[found] = group
    return found


@lru_cache(2048)
def _digest(group: Row) -> bytes:
    return blake2b(msgspec.json.encode(group), digest_size=16).digest()


def _sums(columns: list[Row], outcome: str) -> Sums:
    """In the order of ``schema.SUMS``, of columns in the order of ``_numbers``."""
    *counted, costs, saved, unknown, cached, _, _ = columns
    calls = len(costs)
    return [
        calls,
        0 if outcome in (OK, LOST) else calls,
        calls if outcome == LOST else 0,
        columns[0].count(None),
        sum([cost is None or bool(more) for cost, more in zip(costs, unknown, strict=True)]),
        sum([what in REPEATED for what in cached]),
        *[sum(filter(None, column)) for column in counted],
        *divmod(sum(filter(None, costs)), MICRO),
        *divmod(sum(filter(None, saved)), MICRO),
    ]


def _charged(rows: Sequence[Row]) -> dict[Key, Sums]:
    """What budgets bear, by minute and counters."""
    borne: dict[tuple[int, str], Sums] = {}
    for at_us, (budgets, pico, tokens) in zip(map(_at, rows), map(_charge, rows), strict=True):
        if budgets is not None:
            amounts = borne.setdefault((at_us // 60_000_000 * 60, budgets), [0, 0])
            amounts[0] += pico or 0
            amounts[1] += tokens or 0
    return {
        (at, blake2b(budgets.encode(), digest_size=16).digest(), budgets): [
            *divmod(pico, MICRO), tokens,
        ]
        for (at, budgets), (pico, tokens) in borne.items()
    }  # fmt: skip


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
