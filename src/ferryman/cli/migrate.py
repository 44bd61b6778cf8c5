"""``ferryman migrate``: from SQLite to PostgreSQL, with a progress bar."""

import sys

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from ferryman.cli.show import console
from ferryman.config.options import Options, drafted
from ferryman.store.db import DatabaseError, open_engine, where_is
from ferryman.store.moving import move


def run(options: Options, target: str) -> int:
    """Move the database to ``target``. Returns the exit code: 0 = everything is there."""
    place = options.paths.database
    if not options.database_url and not place.exists():
        sys.stderr.write(f"ferryman: {place} is not there: is --data-dir the right one?\n")
        return 1
    try:
        source, new = open_engine(options.database_url or f"sqlite:///{place}"), open_engine(target)
        with Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console()
        ) as bar:
            rows = move(source, new, _Shown(bar))
    except DatabaseError as error:
        sys.stderr.write(f"ferryman: {error}\n")
        return 1
    if not options.database_url:
        # For the control plane alone: it may have a password.
        drafted(options.paths.moved_to, target).replace(options.paths.moved_to)
    print(f"Moved {rows:,} rows to {where_is(new)}: counts and sums are equal.")
    if options.database_url:
        print("Start the control plane with it: --database-url, or FERRYMAN_DATABASE_URL.")
    else:
        print(f"The control plane goes on with it. {place} is not used any more.")
    return 0


class _Shown:
    """A line for each table."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._lines: dict[str, TaskID] = {}

    def __call__(self, table: str, done: int, total: int) -> None:
        if total and table not in self._lines:
            self._lines[table] = self._bar.add_task(table, total=total)
        if total:
            self._bar.update(self._lines[table], completed=done)
