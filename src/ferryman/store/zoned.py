"""What was spent by day and group in a time zone: as ``store/spending.py``, whose days are UTC's.

Sums of such days are made of those by hour, or by minute where the zone is no whole hours off; it
reads the newest days first, for as long as there is time.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Final

import sqlalchemy as sa

from ferryman.store import ledger
from ferryman.store.dimensions import midnight
from ferryman.store.spending import Spending, Spent

_SUMS: Final = Spent.__struct_fields__[2:]
_EPOCH: Final = date(1970, 1, 1)


def spending(
    engine: sa.Engine, by: str, first: int, last: int, where: Mapping[str, str], seconds: float,
    days: int, zone: str,
) -> Spending:  # fmt: skip
    """Sums of the days of ``zone`` from ``first`` to before ``last``, as ``spending.spending``.

    Raises ValueError as :func:`ledger.usage` does.
    """
    ends, end, many = time.monotonic() + seconds, last, 1
    sums: dict[tuple[int, str | None], list[int]] = {}
    while end > first:
        began = time.monotonic()
        begin = max(end - many, first)
        for row in _rows(engine, by, begin, end, where, zone):
            more = [getattr(row, name) for name in _SUMS]
            known = sums.setdefault((row.day // days * days, row.group), [0] * len(more))
            known[:] = [a + b for a, b in zip(known, more, strict=True)]
        end, now = begin, time.monotonic()
        if now + 2 * (now - began) > ends:
            break
        many *= 2
    rows = [Spent(*key, *numbers) for key, numbers in sums.items()]
    return Spending(rows, began_at(end, zone))


def daily(
    engine: sa.Engine, by: str, first: int, last: int, where: Mapping[str, str], zone: str
) -> Iterator[Spent]:
    """Each day and group in order, those without a value last, however long it takes."""
    for day in range(first, last):
        rows = _rows(engine, by, day, day + 1, where, zone)
        yield from sorted(rows, key=lambda row: (row.group is None, row.group or ""))


def began_at(day: int, zone: str) -> int:
    """When a day (since 1970) begins in ``zone``, Unix microseconds."""
    return midnight(_EPOCH + timedelta(day), zone) * 1_000_000


def _rows(
    engine: sa.Engine, by: str, first: int, last: int, where: Mapping[str, str], zone: str
) -> Iterator[Spent]:
    found = ledger.usage(
        engine, by=(*([by] if by else []), "day"), where=where, zone=zone,
        since_us=began_at(first, zone), until_us=began_at(last, zone),
    )  # fmt: skip
    for row in found:
        *group, day = row.groups
        yield Spent(
            (date.fromisoformat(day or "") - _EPOCH).days, group[0] if group else None, row.calls,
            row.errors, row.unknown_cost, row.repeated,
            row.tokens.total_input + row.tokens.total_output, row.cost, row.saved,
        )  # fmt: skip
