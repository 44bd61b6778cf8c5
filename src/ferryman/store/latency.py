"""Reads how long answers took: percentiles by model, provider, target and the like."""

import math
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct

from ferryman.store import condensed, spans
from ferryman.store.db import summing
from ferryman.store.dimensions import Within, owned
from ferryman.store.rollup import DURATION, FIRST_TOKEN, REPEATED, bounds, bucket
from ferryman.store.schema import call_groups as _groups
from ferryman.store.schema import calls as _calls
from ferryman.store.schema import condensed_latencies as _weeks
from ferryman.store.schema import latencies as _latencies

DIMENSIONS: Final = ("endpoint", "model", "provider", "target", "stream")
"""What :func:`latencies` can group by and choose."""
QUANTILES: Final = (0.5, 0.95, 0.99)
_ANYBODY: Final[Within] = {}
Histogram = dict[int, int]
"""Bucket (``rollup.bucket``) → calls."""


class Latency(Struct, frozen=True, kw_only=True):
    """How long the answers of a group took, microseconds."""

    group: dict[str, str | bool | None]
    calls: int
    """Whole answers, not counting errors and repeated ones."""
    duration: tuple[float, ...]
    """At each of ``QUANTILES``, from the call's beginning to the answer's end. Not more than a
    quarter off: it is in the right bucket, and these have their width."""
    first_token: tuple[float, ...]
    """The same up to the first piece of the answer; empty where that is known of no call."""


def latencies(
    engine: sa.Engine,
    *,
    by: tuple[str, ...] = (),
    since_us: int,
    until_us: int,
    equal: dict[str, str] | None = None,
    within: Within = _ANYBODY,
) -> list[Latency]:
    """Of calls begun in the stretch that ``ledger.kept`` says, in the order of their groups; of a
    tenant's, as far as single calls tell.

    Raises ValueError for a dimension that is not one of ``DIMENSIONS``.
    """
    equal = equal or {}
    unknown = [name for name in (*by, *equal) if name not in DIMENSIONS]
    if unknown:
        raise ValueError(f"No {unknown[0]!r} here: choose from {', '.join(DIMENSIONS)}.")
    found: dict[tuple[Any, ...], tuple[Histogram, Histogram]] = {}
    with summing(engine) as connection:
        sources = spans.of_usage(spans.floors(connection))[-1 if within else 0 :]
        edges = spans.widened(since_us, until_us, sources)
        for part in condensed.weeks(connection, spans.cover(*edges, sources)):
            raw = part.source == spans.CALLS
            query = _of_calls(part, by, equal, within) if raw else _of_rollup(part, by, equal)
            for *group, measure, number, calls in connection.execute(query):
                both = found.setdefault(tuple(group), ({}, {}))[measure]
                number = bucket(number) if raw else number
                both[number] = both.get(number, 0) + int(calls)
    order = sorted(found, key=lambda group: tuple((part is not None, part) for part in group))
    return [
        Latency(
            group=dict(zip(by, group, strict=True)),
            calls=sum(found[group][DURATION].values()),
            duration=_quantiles(found[group][DURATION]),
            first_token=_quantiles(found[group][FIRST_TOKEN]),
        )
        for group in order
    ]


def _of_rollup(part: spans.Part, by: tuple[str, ...], equal: dict[str, str]) -> sa.Select[Any]:
    """Groups, measure, bucket, calls."""
    table = (_weeks if part.source == condensed.WEEK else _latencies[part.source]).c
    groups = [_groups.c[name] for name in by]
    return (
        sa.select(*groups, table.measure, table.bucket, sa.func.sum(table.calls))
        .join(_groups, table.group_id == _groups.c.id)
        .where(*(_groups.c[name] == value for name, value in equal.items()))
        .where(table.at >= part.begin // 1_000_000, table.at < part.end // 1_000_000)
        .group_by(*groups, table.measure, table.bucket)
    )


def _of_calls(
    part: spans.Part, by: tuple[str, ...], equal: dict[str, str], within: Within
) -> sa.CompoundSelect[Any]:
    """The same of single calls, with the microseconds instead of the bucket."""
    table = _calls.c
    well = (table.state != "lost", table.status < 400, table.error == "")
    fresh = sa.or_(table.cache.is_(None), table.cache.not_in(sorted(REPEATED)))
    meant = (table.at_us >= part.begin, table.at_us < part.end, *owned(table, within))
    one: sa.ColumnElement[int] = sa.literal_column("1")
    return sa.union_all(
        *(
            sa.select(*(table[name] for name in by), sa.literal_column(str(measure)), time, one)
            .where(*well, fresh, *meant, time.is_not(None))
            .where(*(table[name] == value for name, value in equal.items()))
            for measure, time in (
                (DURATION, table.duration_us),
                (FIRST_TOKEN, table.first_token_us),
            )
        )
    )


def _quantiles(histogram: Histogram) -> tuple[float, ...]:
    total = sum(histogram.values())
    return tuple(_quantile(histogram, share, total) for share in QUANTILES) if total else ()


def _quantile(histogram: Histogram, share: float, total: int) -> float:
    """As if the calls of a bucket were spread evenly over it."""
    rank = math.ceil(share * total)
    below = 0
    for number, calls in sorted(histogram.items()):
        if below + calls >= rank:
            low, high = bounds(number)
            return low + (high - low) * (rank - below - 0.5) / calls
        below += calls
    raise AssertionError("the rank is not more than there are")
