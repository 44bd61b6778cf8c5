"""``ferryman usage``: sums and forecasts as a table, JSON, CSV or Parquet."""

from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec import to_builtins
from rich.text import Text

from ferryman.cli import sheet
from ferryman.cli.ask import INPUT, OUTPUT, WHEN, total
from ferryman.cli.output import print_json
from ferryman.cli.show import UNKNOWN, Column, at_least, console, count, local_time, money, table
from ferryman.client import Client
from ferryman.ir.usage import CLASSES

Row = dict[str, Any]
NUMBERS: Final = (
    "calls", "errors", "lost", "unknown_usage", "unknown_cost", "repeated", "estimated_calls",
    "scored",
)  # fmt: skip
TOKENS: Final = (*CLASSES, *(name for name in (*INPUT, *OUTPUT) if name not in CLASSES))
UNITS: Final = ("usd_per_call", "usd_per_run", "usd_per_1000_tokens")
OTHER: Final = "other"


class How(NamedTuple):
    """How the answer is shown."""

    as_json: bool
    as_csv: bool
    parquet: Path | None


def usage(client: Client, query: Row, how: How) -> None:
    """Ask for sums, and show them."""
    answer = client.usage(**query)
    rows = answer.data
    groups = list(answer.by)
    if _elsewhere(how, rows, _fields(groups, answer.units is not None)):
        return
    out = console()
    if not rows:
        out.print(Text(f"No calls since {local_time(answer.since)}. {WHEN}"))
        return
    sums = to_builtins(answer.total) | (answer.units or {})
    columns = _grouped(groups) + _columns(sums)
    body = [_names(row, groups) + _amounts(row, sums) for row in rows]
    if len(rows) > 1:
        body.append(["Total"] + [""] * (len(groups) - 1) + _amounts(sums, sums))
    table(columns, body, out)
    if sums["unknown_cost"]:
        text = (
            f"The cost of {sums['unknown_cost']} of {sums['calls']} calls is not, or not "
            "wholly, known (no price for the model, or the provider told no usage). In the "
            "sums is what is known."
        )
        if sums["estimated_calls"]:
            about = money(sums["estimated_usd"])
            text += f" {sums['estimated_calls']} of them have probably cost {about} more."
        out.print(Text(text), style="yellow")


def forecast(client: Client, query: Row, how: How) -> None:
    """Ask what the month will cost, and show it."""
    answer = client.forecast(**query)
    rows = answer.data
    whole: Row = to_builtins(answer.total)
    groups = query["by"].split(",")
    amounts = {f"{name}_usd": "decimal" for name in ("spent", "expected", "low", "high")}
    fields = dict.fromkeys(groups, "text") | amounts | {"days": "int", "method": "text"}
    if how.as_json:
        print_json(answer)
        return
    if _elsewhere(how, rows, fields):
        return
    out = console()
    if whole["expected_usd"] is None:
        out.print(Text("There are less than two whole days of calls to go by."))
        return
    columns = _grouped(groups)
    columns += [Column(name, right=True) for name in ("So far", "Expected", "From", "To")]
    body = [_names(row, groups) + [money(row[name]) for name in amounts] for row in rows]
    body.append(["Total"] + [""] * (len(groups) - 1) + [money(whole[name]) for name in amounts])
    table(columns, body, out)
    means = "of each day of the week" if whole["method"] == "weekday" else "of all days"
    out.print(
        Text(
            f"{answer.month} ({answer.zone}) by the averages {means} in the {whole['days']} "
            "days before today. The range holds with 80 %, if days go on as they did."
        ),
        style="dim",
    )


def _elsewhere(how: How, rows: list[Row], fields: dict[str, str]) -> bool:
    """Whether the rows were wanted in another form than a table."""
    if how.as_json:
        print_json(rows)
        return True
    if not how.as_csv and how.parquet is None:
        return False
    flat = [[_value(row, name) for name in fields] for row in rows]
    path = "-" if how.parquet is None else str(how.parquet.with_suffix(".parquet"))
    sheet.write(path, fields, flat)
    return True


def _fields(groups: list[str], units: bool) -> dict[str, str]:
    """Column → type, of the flat forms."""
    named = [f for group in groups for f in ([group, "key_id"] if group == "key" else [group])]
    fields = dict.fromkeys(named, "text") | dict.fromkeys(NUMBERS, "int")
    fields |= {f"tokens_{name}": "int" for name in TOKENS}
    fields |= {"cost_usd": "decimal", "saved_usd": "decimal", "estimated_usd": "decimal"}
    fields["score"] = "float"
    return fields | ({"runs": "int"} | dict.fromkeys(UNITS, "decimal") if units else {})


def _value(row: Row, name: str) -> object:
    if name.startswith("tokens_"):
        return row["tokens"].get(name.removeprefix("tokens_"), 0)
    if row.get("other") and name in row and row[name] is None and name not in UNITS:
        return OTHER
    return row.get(name)


def _grouped(groups: list[str]) -> list[Column]:
    return [
        Column(group.replace("_", " ").capitalize(), style="bold" if i == 0 else "")
        for i, group in enumerate(groups)
    ]


def _names(row: Row, groups: list[str]) -> list[str]:
    none = OTHER if row.get("other") else "-"
    return [none if row[group] is None else str(row[group]) for group in groups]


def _columns(sums: Row) -> list[Column]:
    columns = [
        Column("Calls", right=True, drop=2),
        Column("Errors", right=True, drop=4),
        Column("Input", right=True, drop=1),
        Column("Cached", right=True, drop=5),
        Column("Output", right=True, drop=1),
        Column("Unpriced", right=True, drop=3),
        Column("Cost", right=True, style="green"),
    ]
    if sums["repeated"]:
        columns += [Column("Repeated", right=True, drop=6), Column("Saved", right=True, drop=3)]
    if sums["estimated_calls"]:
        columns.append(Column("Estimated", right=True, drop=3))
    if sums["scored"]:
        columns.append(Column("Score", right=True, drop=4))
    if "runs" in sums:
        columns.append(Column("Runs", right=True, drop=7))
        columns += [Column(name, right=True) for name in ("Per call", "Per run", "Per 1k tokens")]
    return columns


def _amounts(row: Row, sums: Row) -> list[str]:
    tokens = row["tokens"]
    found = [
        count(row["calls"]),
        count(row["errors"]),
        count(total(tokens, INPUT)),
        count(tokens["cache_read"]),
        count(total(tokens, OUTPUT)),
        count(row["unknown_cost"]),
        _cost(row),
    ]
    if sums["repeated"]:
        found += [count(row["repeated"]), money(row["saved_usd"])]
    if sums["estimated_calls"]:
        found.append("+ " + money(row["estimated_usd"]) if row["estimated_calls"] else "")
    if sums["scored"]:
        found.append("" if row["score"] is None else f"{row['score']:+.2f}")
    if "runs" in sums:
        found.append(count(row["runs"]))
        found += [money(row[name]) if row[name] is not None else "-" for name in UNITS]
    return found


def _cost(row: Row) -> str:
    """The sum of what is known; ``?`` when nothing is, ``≥`` when something isn't."""
    nothing = row["unknown_cost"] == row["calls"] and row["cost_usd"] == "0"
    return (
        UNKNOWN
        if row["unknown_cost"] and nothing
        else at_least(row["cost_usd"], row["unknown_cost"])
    )
