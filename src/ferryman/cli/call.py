"""``ferryman calls show``: one call, drawn so that its way can be followed."""

from typing import Any, Final

from rich.console import Console
from rich.text import Text

from ferryman.cli.api import Api, ApiError
from ferryman.cli.show import (
    Column,
    at_least,
    console,
    count,
    duration,
    local_time,
    printable,
    table,
)

Row = dict[str, Any]
BAR: Final = 24
"""Cells of a timeline."""


def show(api: Api, request_id: str) -> None:
    """Print the call with this id. Raises :class:`ApiError` if there is none."""
    rows: list[Row] = api.call("GET", "/admin/v1/calls", {"request_id": request_id})["data"]
    if not rows:
        raise ApiError(
            f"No call has the id {request_id!r}. `ferryman calls` lists the last ones; a call "
            "shows up within a second of its end."
        )
    out = console()
    for title, text in _facts(rows[0]):
        if text:
            out.print(Text.assemble((f"{title:<11}", "dim"), printable(text)))
    _considered(rows[0]["considered"], out)
    _attempts(rows[0], out)


def _facts(row: Row) -> list[tuple[str, str]]:
    tokens: Row | None = row["tokens"]
    used = ", ".join(f"{count} {name}" for name, count in (tokens or {}).items() if count)
    status = str(row["status"] or row["state"])
    took = duration(row["duration_ms"])
    if row["ttft_ms"] is not None:
        took += f", first token after {duration(row['ttft_ms'])}"
    if row["overhead_ms"] is not None:
        took += f", {row['overhead_ms']:g} ms of it in Ferryman"
    served = f"{row['provider']}/{row['target']}" if row["provider"] else ""
    return [
        ("Call", f"{row['request_id']}  {local_time(row['time'])}  {row['endpoint']}"),
        ("Key", row["key"]),
        ("Model", f"{row['model']}  →  {served}" if served else row["model"]),
        ("Policy", row["policy"] or ""),
        ("Status", f"{status} {row['error']}" if row["error"] else status),
        ("Took", took),
        ("Tokens", used),
        ("Cost", at_least(row)),
    ]


def _considered(candidates: list[Row], out: Console) -> None:
    if not candidates:
        return
    out.print(Text("\nWho came into question, in this order", style="bold"))
    columns = [Column("#", right=True), Column("Target"), Column("Role", drop=1), Column("How")]
    rows = [
        [str(place), each["target"], each.get("role", ""), _standing(each)]
        for place, each in enumerate(candidates, 1)
    ]
    table(columns, rows, out)


def _standing(each: Row) -> str:
    found = [f"left out: {each['left_out']}"] if "left_out" in each else []
    if "rests_seconds" in each:
        rest = duration(each["rests_seconds"] * 1000)
        found.append(f"rested for {rest} more: {each['because']}")
    if each.get("full"):
        found.append("full")
    return "; ".join(found) or "well"


def _attempts(row: Row, out: Console) -> None:
    tries: list[Row] = row["tries"]
    if not tries:
        return
    out.print(Text("\nWhat was tried", style="bold"))
    columns = [
        Column("#", right=True),
        Column("Target"),
        Column("Result"),
        Column("From", right=True, drop=2),
        Column("First byte", right=True, drop=3),
        Column("To", right=True, drop=1),
        Column("Tokens", right=True, drop=5),
        Column("Cost", right=True, drop=4),
        Column("", drop=6),
    ]
    whole = max(*(each["end_us"] for each in tries), (row["duration_ms"] or 0) * 1000, 1)
    rows = [
        [
            str(place),
            f"{each['provider']}/{each['model']}",
            f"{each['status'] or 'no reply'} {each['error'] or 'good'}",
            _moment(each["start_us"]),
            _moment(each["first_byte_us"]),
            _moment(each["end_us"]),
            count(None if each["tokens"] is None else sum(each["tokens"].values())),
            at_least(each),
            _bar(each["start_us"] / whole, each["end_us"] / whole),
        ]
        for place, each in enumerate(tries, 1)
    ]
    table(columns, rows, out)


def _moment(us: int) -> str:
    return f"{us / 1000:.1f} ms" if us >= 0 else "-"


def _bar(start: float, end: float) -> str:
    """When, within the whole call (0 to 1)."""
    first = min(int(start * BAR), BAR - 1)
    last = max(first + 1, min(round(end * BAR), BAR))
    return "·" * first + "█" * (last - first) + "·" * (BAR - last)
