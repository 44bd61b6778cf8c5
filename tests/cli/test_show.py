"""Tables, amounts and times for the terminal."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from ferryman.cli.show import Column, count, duration, local_time, money, printable, table


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "?"),
        ("0", "$0"),
        ("0.000000000000", "$0"),
        ("0.000123", "$0.000123"),
        ("0.000123456", "$0.000123"),
        ("0.0000000004", "$0.0000000004"),
        ("0.0123", "$0.0123"),
        ("0.5", "$0.50"),
        ("0.9999", "$1.00"),
        ("12.345", "$12.35"),
        ("1234567.8", "$1,234,567.80"),
    ],
)
def test_money(amount: str | None, shown: str) -> None:
    assert money(amount) == shown


def test_counts_and_durations() -> None:
    assert [count(n) for n in (None, 0, 1234567)] == ["?", "0", "1,234,567"]
    shown = [duration(n) for n in (None, 0, 999.4, 999.6, 1234, 59_949, 59_960, 125_000)]
    assert shown == ["?", "0 ms", "999 ms", "1.0 s", "1.2 s", "59.9 s", "1 min 0 s", "2 min 5 s"]


def test_local_time_shows_the_date_of_other_days_only() -> None:
    now = datetime.now().astimezone()
    today = now.replace(hour=12, minute=34, second=56)
    assert local_time(today.astimezone(UTC).isoformat(), now) == "12:34:56"
    other = today - timedelta(days=3)
    assert local_time(other.isoformat(), now) == other.strftime("%Y-%m-%d 12:34")
    assert local_time(None) == ""


COLUMNS = [
    Column("Model"),
    Column("Provider", drop=2),
    Column("Cost", right=True),
    Column("T", drop=1),
]
ROWS = [["a/very-long-model-name", "somebody", "$0.000123", "1 s"], ["[red]m", "x", "?", "2 s"]]


def _printed(width: int) -> list[str]:
    out = Console(file=io.StringIO(), width=width, highlight=False)
    table(COLUMNS, ROWS, out)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


def test_a_wide_table_has_everything_and_names_are_no_markup() -> None:
    lines = _printed(100)
    assert lines[0].split() == ["Model", "Provider", "Cost", "T"]
    assert any(line.startswith("[red]m") for line in lines)
    assert "Not shown" not in " ".join(lines)


def test_a_narrow_table_drops_columns_and_says_so() -> None:
    lines = _printed(40)
    assert lines[0].split() == ["Model", "Cost", "T"]
    assert "Not shown in this width: Provider" in " ".join(lines)
    assert all(len(line) <= 40 for line in lines)
    narrow = _printed(20)
    assert narrow[0].split() == ["Model", "Cost"]
    assert any("$0.000123" in line for line in narrow), "the amount is never cut"


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[31mb\n") == "a�[31mb�"
