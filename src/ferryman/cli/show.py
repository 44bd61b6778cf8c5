"""Tables, amounts and times for the terminal: narrow ones too, and pipes."""

import sys
from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

UNKNOWN: Final = "?"
_GAP: Final = 2
"""Cells between columns: one of padding, one of the box."""
_LEAST: Final = 6
_PIPE_WIDTH: Final = 10_000


class Column(NamedTuple):
    """A table's column. On a narrow terminal the one with the highest ``drop`` goes first."""

    title: str
    right: bool = False
    drop: int = 0
    """0 = never."""
    style: str = ""


def console() -> Console:
    """Standard output; without a terminal, wide enough that nothing is cut."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=_PIPE_WIDTH)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], out: Console) -> None:
    """Print ``rows``, leaving out what doesn't fit the width of ``out``, and saying so."""
    widths = [
        max(cell_len(column.title), *(cell_len(row[i]) for row in rows), 0)
        for i, column in enumerate(columns)
    ]
    shown = list(range(len(columns)))
    while sum(widths[i] + _GAP for i in shown) - _GAP > out.width:
        droppable = [i for i in shown if columns[i].drop]
        if not droppable:
            break
        shown.remove(max(droppable, key=lambda i: columns[i].drop))
    over = sum(widths[i] + _GAP for i in shown) - _GAP - out.width
    texts = [i for i in shown if not columns[i].right]
    if over > 0 and texts:  # numbers are never cut
        longest = max(texts, key=lambda i: widths[i])
        widths[longest] = max(_LEAST, widths[longest] - over)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for i in shown:
        column = columns[i]
        grid.add_column(
            escape(column.title),
            justify="right" if column.right else "left",
            style=column.style,
            overflow="ellipsis",
            no_wrap=True,
        )
    for row in rows:
        # Text, not markup: names come from callers and may hold brackets.
        grid.add_row(*(_cell(row[i], widths[i]) for i in shown))
    out.print(grid)
    hidden = [column.title for i, column in enumerate(columns) if i not in shown]
    if hidden:
        out.print(
            Text(f"Not shown in this width: {', '.join(hidden)} (--json has all)"), style="dim"
        )


def _cell(text: str, width: int) -> Text:
    cell = Text(printable(text))
    cell.truncate(width, overflow="ellipsis")
    return cell


def printable(text: str) -> str:
    """``text`` without control characters: a model name must not drive the terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)


def at_least(known: str | None, unknown: int) -> str:
    """What something cost, in dollars: ``≥`` where it may have been more than is known."""
    return f"≥ {money(known)}" if known is not None and unknown else money(known)


def money(amount: str | None) -> str:
    """An exact decimal in dollars → ``$12.34``, ``$0.0123``, ``$0.000123``; None → ``?``."""
    if amount is None:
        return UNKNOWN
    value = Decimal(amount)
    if value == 0:
        return "$0"
    if abs(value) >= 1:
        return "$" + _rounded(value, 2)
    # Three significant digits: what single calls cost starts far behind the point.
    places = 2 - value.adjusted()
    text = _rounded(value, places).rstrip("0")
    return "$" + text.ljust(text.index(".") + 3, "0")


def _rounded(value: Decimal, places: int) -> str:
    return f"{value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):,f}"


def count(number: int | None) -> str:
    """``1234567`` → ``1,234,567``; None → ``?``."""
    return UNKNOWN if number is None else f"{number:,}"


def duration(milliseconds: float | None) -> str:
    """``840 ms``, ``1.2 s``, ``2 min 5 s``; None → ``?``."""
    if milliseconds is None:
        return UNKNOWN
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 59_950:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} min {seconds} s"


def local_time(rfc3339: str | None, now: datetime | None = None) -> str:
    """An RFC 3339 time in this machine's zone: the clock for today, else the date as well."""
    if not rfc3339:
        return ""
    moment = datetime.fromisoformat(rfc3339).astimezone()
    today = (now or datetime.now().astimezone()).date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M")
