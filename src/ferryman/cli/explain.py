"""``ferryman explain``: what would become of a request."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ferryman.cli.api import ask_gateway, control_plane
from ferryman.cli.output import print_json
from ferryman.cli.show import Column, console, count, duration, money, printable, table
from ferryman.client import ApiError
from ferryman.client.documents import Explain, Row
from ferryman.config.options import Options
from ferryman.wire.paths import path_of


def run(
    options: Options,
    url: str,
    *,
    file: str,
    model: str,
    path: str,
    headers: Sequence[str],
    key: str,
    as_json: bool,
) -> None:
    """Print the plan. ``url``: of a gateway to ask itself.

    ``file`` is a path, ``-`` for standard input, or empty for a plain question to ``model``. Raises
    :class:`ApiError`.
    """
    request = _request(file, model)
    where = path or path_of(request, model)
    if "/models/" not in where and model:
        request["model"] = model
    asked = Explain(request=request, path=where, headers=_headers(headers), key=key)
    said: Row
    if url:
        said = ask_gateway(options, url, "POST", "/internal/explain", dict, asked)
    else:
        said = control_plane(options).explain(asked)
    if as_json:
        print_json(said)
    else:
        _draw(said, console())


def _request(file: str, model: str) -> Row:
    if not file and not model and not sys.stdin.isatty():
        file = "-"
    if not file:
        if not model:
            raise ApiError(
                "Give a file with the request's JSON, '-' for standard input, or --model."
            )
        return {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        found = json.loads(text)
    except OSError as error:
        raise ApiError(f"Can't read {file}: {error.strerror}.") from None
    except ValueError as error:
        name = "standard input" if file == "-" else file
        raise ApiError(f"{name} is not JSON: {error}.") from None
    if not isinstance(found, dict):
        name = "Standard input" if file == "-" else file
        raise ApiError(f"{name} must hold a JSON object: the body of a call.")
    return found


def _headers(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for line in given:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ApiError(f"--header {line!r}: write it as 'name: value'.")
        found[name.strip()] = value.strip()
    return found


def _draw(said: Row, out: Console) -> None:
    served = said.get("served_by", said["model"])
    how = f", strategy {said['strategy']}" if "strategy" in said else ""
    _line(out, "Call", f"{said['endpoint']} for {said['model']}")
    if served != said["model"] or how:
        _line(out, "Served by", f"{served}{how}")
    _line(out, "Policy", said["policy"] or "none")
    if said.get("altered"):
        _line(out, "Altered", ", ".join(said["altered"]))
    if said.get("counted_here"):
        _line(out, "Note", "the tokens are counted by Ferryman itself; no target is asked")
    if said.get("policies"):
        out.print(Text("\nPolicies", style="bold"))
        rows = [
            [each["name"], "matches" if each["matches"] else "no", each["because"]]
            for each in said["policies"]
        ]
        table([Column("Name"), Column("Matches"), Column("Because")], rows, out)
    if said.get("limits"):
        _limits(said["limits"], out)
    if said.get("targets"):
        _targets(said["targets"], out)
    for each in said.get("left_out", ()):
        _line(out, "Left out", f"{each['target']}: {each['left_out']}")
    if "refused" in said:
        refused = said["refused"]
        text = f"\nRefused: {refused['status']} {refused['code']}: {refused['message']}"
        out.print(Text(printable(text[1:]), style="yellow"))


def _limits(rows: list[Row], out: Console) -> None:
    out.print(Text("\nLimits", style="bold"))
    columns = [
        Column("Limit", style="bold"),
        Column("Measure"),
        Column("Most", right=True, drop=2),
        Column("Left", right=True),
        Column("Takes", right=True, drop=1),
        Column("Passes"),
    ]
    cells = [
        [
            row["key"],
            f"{row['measure']} per {row['per']}" if row["per"] else row["measure"],
            str(row["most"]),
            str(row["left"]),
            str(row["takes"]),
            "yes" if row["passes"] else "no",
        ]
        for row in rows
    ]
    table(columns, cells, out)


def _line(out: Console, title: str, text: str) -> None:
    out.print(Text.assemble((f"{title:<11}", "dim"), printable(text)))


def _targets(rows: list[Row], out: Console) -> None:
    out.print(Text("\nTargets, in the order in which they would be asked", style="bold"))
    columns = [
        Column("#", right=True),
        Column("Target", style="bold"),
        Column("Role", drop=3),
        Column("State"),
        Column("First byte", right=True, drop=4),
        Column("In flight", right=True, drop=5),
        Column("Weight", right=True, drop=7),
        Column("Expected cost", right=True, drop=2, style="green"),
        Column("Tokens", right=True, drop=6),
        Column("Window", right=True, drop=6),
        Column("Fits", drop=1),
    ]
    table(columns, [_target(row) for row in rows], out)
    for row in rows:
        for word in ("dropped", "altered"):
            if row.get(word):
                _line(out, word.capitalize(), f"{row['target']}: {', '.join(row[word])}")
        if "unfit" in row:
            _line(out, "Unfit", f"{row['target']}: {row['unfit']['message']}")


def _target(row: Row) -> list[str]:
    state = row["state"]
    if "rests_seconds" in row:
        state += f" {duration(row['rests_seconds'] * 1000)}: {row['because']}"
    elif row["share"] < 1:
        state += f" ({row['share']:.0%})"
    if row.get("full"):
        state += ", full"
    seconds = row["expected_seconds"]
    return [
        str(row["place"]),
        row["target"],
        row["role"],
        state,
        duration(seconds * 1000) if seconds else "?",
        str(row["in_flight"]),
        f"{row['weight']:g}",
        money(row["expected_cost_usd"]),
        count(row["input_tokens"]),
        count(row["context"]),
        ("translated" if row["translated"] else "yes") if row["fits"] else "no",
    ]
