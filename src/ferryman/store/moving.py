"""Moves everything from SQLite to PostgreSQL, all of it or nothing.

Meanwhile nobody else can write to the file: the data plane goes on, its journal grows, and control
planes wait. Once all is there and compared, the file is marked: whoever opens it from then on is
told where everything is. So no record can get into the wrong one of the two.
"""

from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ferryman.store import retention
from ferryman.store.db import (
    DatabaseError,
    in_turn,
    mark_moved,
    migrate,
    moved_to,
    where_is,
    writing,
)
from ferryman.store.schema import DAY_US, calls, metadata

_BATCH: Final = 2000
Sums = dict[str, int]
"""Column → the sum of its numbers, or the length of its texts together."""
Progress = Callable[[str, int, int], None]
"""Told the table, how many of its rows are there, and how many it has."""


class MoveError(DatabaseError):
    """It can't be moved, or was not; the message says why, and nothing has changed."""


_DAY: Final = calls.c.at_us.op("/")(sa.literal_column(str(DAY_US))).label("day")


def move(source: sa.Engine, target: sa.Engine, progress: Progress) -> int:
    """Copy all tables of ``source`` (SQLite) to ``target`` (PostgreSQL); returns the rows.

    ``target`` must be empty. Of a source that was moved there before nothing is done. Raises
    :class:`MoveError` and what :func:`~ferryman.store.db.migrate` does.
    """
    if (source.dialect.name, target.dialect.name) != ("sqlite", "postgresql"):
        raise MoveError(
            "Only from SQLite to PostgreSQL: give the target as postgresql://user:password@host/name."
        )
    there = moved_to(source)
    if there is not None:
        if there == where_is(target):
            return 0
        raise MoveError(f"This database was moved to {there} before.")
    migrate(source)
    migrate(target)
    try:
        with writing(source) as old:
            with writing(target) as new:
                in_turn(new)
                _check_empty(new, target)
                retention.make_months(new, retention.months_of(_days(old)))
                rows = sum(_copy(old, new, table, progress) for table in metadata.sorted_tables)
            mark_moved(old, where_is(target))
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise MoveError(f"Not moved: {cause}. The database is as it was.") from error
    return rows


def _check_empty(new: sa.Connection, target: sa.Engine) -> None:
    for table in metadata.sorted_tables:
        new.exec_driver_sql(f"LOCK TABLE {table.name} IN ACCESS EXCLUSIVE MODE")
        if new.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None:
            raise MoveError(
                f"{where_is(target)} is not empty: the table {table.name} has rows. Make an empty "
                "database for it, which no control plane has used."
            )


def _days(old: sa.Connection) -> list[int]:
    """Days since 1970 that have calls."""
    return list(old.scalars(sa.select(_DAY).distinct()))


def _columns(table: sa.Table) -> list[sa.ColumnElement[Any]]:
    """What is copied: in PostgreSQL ``calls.day`` is one, in SQLite most often a slot."""
    return [_DAY if each is calls.c.day else each for each in table.c]


def _copy(old: sa.Connection, new: sa.Connection, table: sa.Table, progress: Progress) -> int:
    """Copy a table, and compare what is there then with what was sent."""
    total = int(old.scalar(sa.select(sa.func.count()).select_from(table)) or 0)
    progress(table.name, 0, total)
    columns = ", ".join(f'"{column.name}"' for column in table.c)
    sums: Sums = dict.fromkeys(table.c.keys(), 0)
    rows = 0
    driver: Any = new.connection.driver_connection
    found = old.execute(sa.select(*_columns(table)), execution_options={"yield_per": _BATCH})
    with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN") as to:
        for part in found.partitions():
            for row in part:
                to.write_row(row)
            for name, values in zip(sums, zip(*part, strict=True), strict=True):
                sums[name] += sum(map(_measure, values))
            rows += len(part)
            progress(table.name, rows, total)
    there = _sums(new, table)
    if (rows, sums) != (total, there[1]) or there[0] != total:
        wrong = [name for name in sums if sums[name] != there[1][name]]
        raise MoveError(
            f"Not moved: the table {table.name} has {total} rows, of which {there[0]} arrived"
            + (f", and the sums of {', '.join(wrong)} differ" if wrong else "")
            + ". The database is as it was."
        )
    return rows


def _measure(value: Any) -> int:
    if value is None:
        return 0
    return int(value) if isinstance(value, int) else len(value)


def _sums(new: sa.Connection, table: sa.Table) -> tuple[int, Sums]:
    """Rows, and the sums of each column, as the database has them."""
    measured = []
    for column in table.c:
        if isinstance(column.type, sa.Boolean):
            value: sa.ColumnElement[Any] = sa.case((column, 1), else_=0)
        elif isinstance(column.type, sa.Text | sa.LargeBinary):
            value = sa.func.length(column)
        else:
            value = column
        measured.append(sa.func.sum(value))
    count, *sums = new.execute(sa.select(sa.func.count(), *measured).select_from(table)).one()
    names = table.c.keys()
    return int(count), {name: int(sum_ or 0) for name, sum_ in zip(names, sums, strict=True)}
