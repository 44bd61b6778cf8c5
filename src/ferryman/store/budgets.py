"""Reads from the ledger what budgets bear, and counts again what several data planes share."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from ferryman.store import spans
from ferryman.store.db import reading
from ferryman.store.ledger import per, within
from ferryman.store.rollup import MICRO
from ferryman.store.schema import calls as _calls
from ferryman.store.schema import charges as _charges
from ferryman.store.schema import open_calls as _open_calls
from ferryman.store.sums import money

CHUNK: Final = 500
"""Ids in one IN (…); old SQLite takes 999 at most."""


class Spent(Struct, frozen=True, array_like=True):
    """What budgets bear of some calls that began within one step of time."""

    budgets: tuple[str, ...]
    at: int
    """Unix seconds, where the step begins."""
    picodollars: int
    tokens: int


Sums = dict[tuple[str, int], list[int]]
"""Counters, and number of the step → microdollars, picodollars beside them, tokens."""


def spent(
    engine: sa.Engine, since_s: int, until_us: int, step_s: int, without: Sequence[str] = ()
) -> list[Spent]:
    """What budgets bear of calls begun from ``since_s`` to before ``until_us`` (Unix time), but for
    those ``without``, by their ids."""
    with reading(engine) as connection:
        sums = _summed(connection, since_s, until_us, step_s)
        query = _charges_of(connection, _calls, since_s, until_us, step_s)
        for ids in _chunks(without):
            _add(sums, connection.execute(query.where(_calls.c.request_id.in_(ids))), -1)
    return _listed(sums, step_s)


def _charges_of(
    connection: sa.Connection, table: sa.Table, since_s: int, until_us: int, step_s: int
) -> sa.Select[Any]:
    """Counters, number of the step, and amounts, of a table's calls."""
    of = table.c
    step = per(of.at_us, step_s * 1_000_000)
    amounts = [*money(connection.dialect.name, of.charged_pico), sa.func.sum(of.charged_tokens)]
    query = sa.select(of.budgets, step, *amounts).group_by(of.budgets, step)
    return query.where(
        of.at_us >= since_s * 1_000_000, of.at_us < until_us, of.budgets.is_not(None)
    )


def _listed(sums: Sums, step_s: int) -> list[Spent]:
    found = []
    for (text, number), (micro, pico, tokens) in sorted(sums.items()):
        at = number * step_s
        bears: list[Any] = msgspec.json.decode(text)
        budgets = tuple(each for each in bears if isinstance(each, str))
        if budgets:
            found.append(Spent(budgets, at, micro * MICRO + pico, tokens))
        # Those of single attempts name their call, and so are not summed.
        for each in bears:
            if isinstance(each, list):
                found.append(Spent((each[0],), at, each[1], each[2]))
    return found


def _summed(connection: sa.Connection, since_s: int, until_us: int, step_s: int) -> Sums:
    sums: Sums = {}
    sources = spans.of_charges(spans.floors(connection), step_s)
    for part in spans.cover(since_s * 1_000_000, until_us, sources):
        rows = connection.execute(_charged(connection.dialect.name, part, step_s))
        _add(sums, rows)
    return sums


def _add(sums: Sums, rows: Iterable[Any], sign: int = 1) -> None:
    for budgets, step, *amounts in rows:
        if sign < 0 and "[" in budgets[1:]:  # names its call: there is no other of it
            sums.pop((budgets, step), None)
            continue
        known = sums.setdefault((budgets, step), [0, 0, 0])
        sums[budgets, step] = [a + sign * int(b or 0) for a, b in zip(known, amounts, strict=True)]


def counted(
    engine: sa.Engine, since_s: int, until_us: int, step_s: int, *,
    begun: dict[str, int], without: Sequence[str],
) -> list[Spent]:  # fmt: skip
    """As :func:`spent`, with calls still open at their hold, but without those that others count.

    Those are ``without``, by their ids, and all that a gateway has begun since its time in
    ``begun`` (Unix microseconds).
    """
    with reading(engine) as connection:
        sums = _summed(connection, since_s, until_us, step_s)
        for table, sign in ((_calls, 0), (_open_calls, 1)):
            of = table.c
            query = _charges_of(connection, table, since_s, until_us, step_s)
            if sign:
                _add(sums, connection.execute(query))
            for plane, us in begun.items():
                _add(sums, connection.execute(query.where(of.plane == plane, of.at_us >= us)), -1)
            before = [sa.or_(of.plane != plane, of.at_us < us) for plane, us in begun.items()]
            for ids in _chunks(without):
                rows = connection.execute(query.where(*before, of.request_id.in_(ids)))
                _add(sums, rows, -1)
    return _listed(sums, step_s)


Charged = tuple[int, int, int, list[list[Any]]]
"""Picodollars, tokens, and when the call began (Unix seconds); and what budgets bear that count
single attempts: counter, picodollars, tokens."""


def charged(engine: sa.Engine, ids: Sequence[str]) -> dict[str, Charged]:
    """What budgets bear of these calls, by id; of open ones the hold."""
    found: dict[str, Charged] = {}
    with reading(engine) as connection:
        for some in _chunks(ids):
            for table in (_open_calls, _calls):  # who is in both has ended
                of = table.c
                query = sa.select(
                    of.request_id, of.charged_pico, of.charged_tokens, of.at_us, of.budgets
                ).where(of.request_id.in_(some), of.budgets.is_not(None))
                for name, pico, tokens, at_us, text in connection.execute(query):
                    bears: list[Any] = msgspec.json.decode(text)
                    apart = [each[:3] for each in bears if isinstance(each, list)]
                    found[name] = (int(pico), int(tokens), int(at_us) // 1_000_000, apart)
    return found


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]


def _charged(dialect: str, part: spans.Part, step_s: int) -> sa.Select[Any]:
    """Counters, number of the step, and amounts, of one part."""
    if part.source == spans.CALLS:
        calls = _calls.c
        step = per(calls.at_us, step_s * 1_000_000)
        amounts = [*money(dialect, calls.charged_pico), sa.func.sum(calls.charged_tokens)]
        query = sa.select(calls.budgets, step, *amounts).where(
            calls.at_us >= part.begin, calls.at_us < part.end, calls.budgets.is_not(None)
        )
        return query.group_by(calls.budgets, step)
    table = _charges[part.source].c
    step = per(table.at, step_s)
    columns = (table.charged_micro, table.charged_rest, table.charged_tokens)
    query = sa.select(table.budgets, step, *map(sa.func.sum, columns)).where(
        *within(table.at, part)
    )
    return query.group_by(table.budgets, step)
