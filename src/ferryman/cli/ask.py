"""The commands that ask the running control plane, and how their answers look."""

import csv
import sys
from typing import Any, Final

from rich.text import Text

from ferryman.cli.api import Api
from ferryman.cli.output import print_json
from ferryman.cli.show import (
    UNKNOWN,
    Column,
    at_least,
    console,
    count,
    duration,
    local_time,
    money,
    printable,
    table,
)
from ferryman.ir.usage import CLASSES

Row = dict[str, Any]
INPUT: Final = (
    "input", "cache_read", "cache_write", "cache_write_1h", "audio_input", "audio_cache_read",
    "image_input",
)  # fmt: skip
WHEN: Final = "Calls show up here within a second of their end."
OUTPUT: Final = ("output", "reasoning", "audio_output", "image_output")
"""The disjoint classes that make up all input and all output tokens (``ir.usage.Usage``)."""


def create_key(api: Api, name: str, expires: str | None, *, as_json: bool) -> None:
    """``ferryman keys create``: the only time the key itself is shown."""
    body: Row = {"name": name}
    if expires:
        # 30d counts from now; anything else is a point in time.
        body["expires_in" if expires.strip()[-1:].isalpha() else "expires_at"] = expires
    made = api.call("POST", "/admin/v1/keys", body=body)
    if as_json:
        print_json(made)
        return
    out = console()
    until = f", until {made['expires_at']}" if made.get("expires_at") else ""
    if out.is_terminal:
        out.print(Text(f"Key for {printable(made['name'])} ({made['id']}){until}. Keep it safe:"))
        out.print(Text("it can't be shown again."))
    # On a line of its own, and alone on standard output in a pipe: KEY=$(ferryman keys create x)
    sys.stdout.write(("\n" if out.is_terminal else "") + made["key"] + "\n")


def list_keys(api: Api, *, as_json: bool) -> None:
    """``ferryman keys list``."""
    keys: list[Row] = api.call("GET", "/admin/v1/keys")["data"]
    if as_json:
        print_json(keys)
        return
    out = console()
    if not keys:
        out.print("No keys yet. Make one: ferryman keys create NAME")
        return
    columns = [
        Column("Name", style="bold"),
        Column("Id", drop=2),
        Column("State"),
        Column("Created", drop=3),
        Column("Expires", drop=1),
    ]
    rows = [
        [
            key["name"],
            key["id"],
            key["state"],
            local_time(key["created_at"]),
            local_time(key.get("expires_at")) or "never",
        ]
        for key in keys
    ]
    table(columns, rows, out)


def revoke_key(api: Api, key: str, *, as_json: bool) -> None:
    """``ferryman keys revoke``."""
    from urllib.parse import quote

    gone = api.call("DELETE", f"/admin/v1/keys/{quote(key, safe='')}")
    if as_json:
        print_json(gone)
    else:
        console().print(Text(f"Revoked {printable(gone['name'])} ({gone['id']})."))


def show_usage(api: Api, query: Row, *, as_json: bool, as_csv: bool) -> None:
    """``ferryman usage``."""
    answer = api.call("GET", "/admin/v1/usage", query)
    rows: list[Row] = answer["data"]
    if as_json:
        print_json(rows)
        return
    groups: list[str] = answer["by"]
    if as_csv:
        _csv(groups, rows)
        return
    out = console()
    if not rows:
        out.print(Text(f"No calls since {local_time(answer['since'])}. {WHEN}"))
        return
    columns = [
        Column(group.capitalize(), style="bold" if i == 0 else "") for i, group in enumerate(groups)
    ]
    columns += [
        Column("Calls", right=True, drop=2),
        Column("Errors", right=True, drop=4),
        Column("Input", right=True, drop=1),
        Column("Cached", right=True, drop=5),
        Column("Output", right=True, drop=1),
        Column("Unpriced", right=True, drop=3),
        Column("Cost", right=True, style="green"),
    ]
    total = answer["total"]
    if total["repeated"]:
        columns += [Column("Repeated", right=True, drop=6), Column("Saved", right=True, drop=3)]
    body = [[str(row[group]) for group in groups] + _amounts(row) for row in rows]
    if len(rows) > 1:
        body.append((["Total"] + [""] * (len(groups) - 1) if groups else []) + _amounts(total))
    body = [row[: len(columns)] for row in body]
    table(columns, body, out)
    if total["unknown_cost"]:
        out.print(
            Text(
                f"The cost of {total['unknown_cost']} of {total['calls']} calls is not, or not "
                "wholly, known (no price for the model, or the provider told no usage). In the "
                "sums is what is known."
            ),
            style="yellow",
        )


def _amounts(row: Row) -> list[str]:
    tokens = row["tokens"]
    return [
        count(row["calls"]),
        count(row["errors"]),
        count(_sum(tokens, INPUT)),
        count(tokens["cache_read"]),
        count(_sum(tokens, OUTPUT)),
        count(row["unknown_cost"]),
        _cost(row),
        count(row["repeated"]),
        money(row["saved_usd"]),
    ]


def _cost(row: Row) -> str:
    """The sum of what is known; ``?`` when nothing is, ``≥`` when something isn't."""
    nothing = row["unknown_cost"] == row["calls"] and row["cost_usd"] == "0"
    return UNKNOWN if row["unknown_cost"] and nothing else at_least(row)


def _sum(tokens: Row | None, classes: tuple[str, ...]) -> int | None:
    return None if tokens is None else sum(tokens.get(name, 0) for name in classes)


def show_calls(api: Api, query: Row, *, as_json: bool) -> None:
    """``ferryman calls``."""
    rows: list[Row] = api.call("GET", "/admin/v1/calls", query)["data"]
    if as_json:
        print_json(rows)
        return
    out = console()
    if not rows:
        chosen = any(query[name] for name in ("key", "model", "status", "request_id"))
        out.print(Text("No such calls." if chosen else f"No calls yet. {WHEN}"))
        return
    columns = [
        Column("Time", drop=4),
        Column("Request", drop=7, style="dim"),
        Column("Key", drop=3),
        Column("Model", style="bold"),
        Column("Provider", drop=5),
        Column("Status"),
        Column("Tries", right=True, drop=8),
        Column("Input", right=True, drop=2),
        Column("Output", right=True, drop=2),
        Column("Took", right=True, drop=1),
        Column("Cost", right=True, style="green"),
    ]
    table(columns, [_call(row) for row in rows], out)


def _call(row: Row) -> list[str]:
    tokens: Row | None = row["tokens"]
    status = str(row["status"] or row["state"])
    return [
        local_time(row["time"]),
        row["request_id"],
        row["key"],
        row["model"],
        row["provider"],
        f"{status} {row['error']}" if row["error"] else status,
        count(row["attempts"]),
        count(_sum(tokens, INPUT)),
        count(_sum(tokens, OUTPUT)),
        duration(row["duration_ms"]),
        at_least(row),
    ]


def _plain(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula: model names come from callers."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t") else cell


def _csv(groups: list[str], rows: list[Row]) -> None:
    """One row per group; token classes as ``tokens_input`` and so on."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    classes = (*CLASSES, *(name for name in (*INPUT, *OUTPUT) if name not in CLASSES))
    numbers = ("calls", "errors", "lost", "unknown_usage", "unknown_cost", "repeated")
    fields = [
        field for group in groups for field in ([group, "key_id"] if group == "key" else [group])
    ]
    writer.writerow(
        [*fields, *numbers, *(f"tokens_{name}" for name in classes), "cost_usd", "saved_usd"]
    )
    for row in rows:
        writer.writerow(
            [
                *(_plain(row[field]) for field in fields),
                *(row[name] for name in numbers),
                *(row["tokens"].get(name, 0) for name in classes),
                row["cost_usd"],
                row["saved_usd"],
            ]
        )
