"""Which groups cost most, found by the database: it may have a million of them, and Python holds
those that are shown only."""

import heapq
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa

from ferryman.store.rollup import MICRO
from ferryman.store.schema import SUMS

MOST: Final = 100_000
"""Sums of groups and their periods that are held at once: some 100 MB."""
_MICRO: Final = SUMS.index("cost_micro")
Sums = dict[tuple[Any, ...], list[int]]
"""Values of groups → their sums."""


class Look(NamedTuple):
    """A query for sums of groups."""

    rows: sa.Select[Any]
    """What is read, without columns."""
    groups: list[sa.ColumnElement[Any]]
    numbers: Sequence[sa.ColumnElement[Any]]
    at: int = 0
    """Where the numbers stand among all sums."""

    def query(self) -> sa.Select[Any]:
        """The groups, then the numbers."""
        return self.rows.add_columns(*self.groups, *self.numbers).group_by(*self.groups)


def read(
    connection: sa.Connection, looks: Iterable[Look], sums: Sums, width: int, most: int = 0
) -> bool:
    """Add what is found to ``sums``, of ``width`` numbers each. False: it is more than ``most``."""
    for look in looks:
        query = look.query().limit(most + 1) if most else look.query()
        count = add(sums, connection.execute(query), len(look.groups), look.at, width)
        if most and max(count, len(sums)) > most:
            return False
    return True


def add(sums: Sums, rows: Iterable[Any], groups: int, at: int, width: int) -> int:
    """Add rows of ``groups`` values and then numbers, the first of which stands at ``at``; returns
    how many rows."""
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007
        known = sums.setdefault(tuple(row[:groups]), [0] * width)
        for place, value in enumerate(row[groups:], at):
            known[place] += int(value or 0)
    return count


def cost(numbers: Sequence[int]) -> int:
    """Picodollars."""
    return numbers[_MICRO] * MICRO + numbers[_MICRO + 1]


def split(sums: Sums, fixed: Collection[int], top: int, width: int) -> tuple[Sums, Sums]:
    """The ``top`` groups that cost most, by their values at ``fixed``; the others together."""
    costs: dict[tuple[Any, ...], tuple[int, int]] = {}
    for groups, numbers in sums.items():
        name = tuple([groups[place] for place in fixed])
        before = costs.get(name, (0, 0))
        costs[name] = before[0] + cost(numbers), before[1] + numbers[0]
    best = set(heapq.nlargest(top, costs, key=costs.__getitem__))
    found: Sums = {}
    others: Sums = {}
    for groups, numbers in sums.items():
        if tuple([groups[place] for place in fixed]) in best:
            found[groups] = numbers
        else:
            rest = [None if at in fixed else each for at, each in enumerate(groups)]
            add(others, [(*rest, *numbers)], len(groups), 0, width)
    return found, others


def narrowed(
    connection: sa.Connection, looks: Sequence[Look], fixed: Collection[int], top: int, width: int
) -> tuple[Sums, Sums]:
    """As :func:`split`, by the database. Raises ValueError: these are more than :data:`MOST`."""
    dialect = connection.dialect.name
    names = [_name(look, fixed, dialect) for look in looks]
    best = _best(
        connection, [pair for pair in zip(looks, names, strict=True) if not pair[0].at], top
    )
    # One parameter, however many they are: a statement can't have more than some thousands.
    listed = sa.literal(msgspec.json.encode(best).decode(), sa.Text)
    each = sa.func.json_each(listed)
    if dialect == "postgresql":
        each = sa.func.json_array_elements_text(sa.cast(listed, sa.JSON))
    among = sa.select(each.table_valued("value").c.value)
    only, rest = [], []
    for look, name in zip(looks, names, strict=True):
        periods = [value for at, value in enumerate(look.groups) if at not in fixed]
        only.append(look._replace(rows=look.rows.where(name.in_(among))))
        rest.append(look._replace(rows=look.rows.where(name.not_in(among)), groups=periods))
    found: Sums = {}
    others: Sums = {}
    if not (read(connection, only, found, width, MOST) and read(connection, rest, others, width)):
        raise ValueError(
            f"These are more than {MOST:,} sums: ask for fewer groups (top), a shorter time, or "
            "longer periods."
        )
    return found, {
        _between(periods, fixed): numbers for periods, numbers in others.items() if numbers[0]
    }


def _between(periods: tuple[Any, ...], fixed: Collection[int]) -> tuple[Any, ...]:
    """Periods at their places, with nothing at those of other groups."""
    left = iter(periods)
    return tuple([None if at in fixed else next(left) for at in range(len(periods) + len(fixed))])


def _best(
    connection: sa.Connection, looks: Iterable[tuple[Look, sa.ColumnElement[str]]], top: int
) -> list[str]:
    """Names of the groups that cost most."""
    parts = []
    for look, name in looks:
        sums = [sa.func.coalesce(look.numbers[at], 0) for at in (0, _MICRO, _MICRO + 1)]
        shown = zip(("name", "calls", "micro", "rest"), [name, *sums], strict=True)
        columns = [each.label(title) for title, each in shown]
        parts.append(look.rows.add_columns(*columns).group_by(name))
    every = sa.union_all(*parts).subquery()
    calls, micro, rest = (sa.func.sum(every.c[each]) for each in ("calls", "micro", "rest"))
    whole: sa.ColumnElement[Any] = sa.literal_column(str(MICRO), sa.BigInteger)
    spent = [micro * whole + rest]
    if connection.dialect.name != "postgresql":  # whose numbers do not end at 2^63
        spent = [micro + rest.op("/")(whole), rest.op("%")(whole)]
    order = [each.desc() for each in (*spent, calls)]
    query = sa.select(every.c.name).group_by(every.c.name).order_by(*order, every.c.name)
    return [str(name) for name in connection.scalars(query.limit(top))]


def _name(look: Look, fixed: Collection[int], dialect: str) -> sa.ColumnElement[str]:
    """What the database calls a group: its values, also those that are null, as one text."""
    values = [look.groups[at] for at in fixed]
    if dialect == "postgresql":
        return sa.cast(sa.func.json_build_array(*values), sa.Text)
    name: sa.ColumnElement[str] = sa.func.json_array(*values, type_=sa.Text)
    return name
