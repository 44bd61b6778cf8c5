"""``ferryman explain``: what would become of a request; asks the running data plane."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ferryman.cli.api import ApiError, decoded, exchange, secret
from ferryman.cli.output import print_json
from ferryman.cli.show import Column, console, count, duration, money, printable, table
from ferryman.config.options import DEFAULT_PORT, Options

Row = dict[str, Any]
CHAT = "/v1/chat/completions"


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
    """Print the plan. ``url`` is the data plane's; empty = as it has said.

    ``file`` is a path, ``-`` for standard input, or empty for a plain question to ``model``. Raises
    :class:`ApiError`.
    """
    request = _request(file, model)
    where = path or _path(request, model)
    if "/models/" not in where and model:
        request["model"] = model
    asked = {"request": request, "path": where, "headers": _headers(headers), "key": key}
    said = _ask(options, url, asked)
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


def _path(request: Row, model: str) -> str:
    """Where such a body is sent, as far as it shows."""
    if "contents" in request:
        return f"/v1beta/models/{model or request.get('model', '')}:generateContent"
    if "messages" in request:
        return CHAT
    return "/v1/rerank" if "query" in request else "/v1/responses" if "input" in request else CHAT


def _headers(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for line in given:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ApiError(f"--header {line!r}: write it as 'name: value'.")
        found[name.strip()] = value.strip()
    return found


def _ask(options: Options, url: str, asked: Row) -> Row:
    said = ask_gateway(options, url, "POST", "/internal/explain", asked, "who rests")
    return said if isinstance(said, dict) else {}


def ask_gateway(
    options: Options, url: str, method: str, target: str, body: Row | None, what: str
) -> Any:
    """What the running data plane answers; ``what`` only it knows. Raises :class:`ApiError`."""
    at = (url or _where(options)).rstrip("/")
    token = secret(options.data_dir, "feed-token")
    try:
        status, answer = exchange(at, method, target, token, body, {})
    except OSError as error:
        raise ApiError(
            f"No gateway answers at {at} ({error}), and {what} is known there only. Start it "
            "with `ferryman up`; if it runs elsewhere, say where with --gateway-url."
        ) from None
    said = decoded(answer)
    if status == 200 and said is not None:
        return said
    if isinstance(said, dict) and isinstance(said.get("error"), dict):
        raise ApiError(str(said["error"].get("message")), status)
    raise ApiError(f"{at} answers ({status}), but not as a Ferryman gateway does.", status)


def _where(options: Options) -> str:
    try:
        return options.paths.gateway_url.read_text().strip()
    except OSError:
        return f"http://127.0.0.1:{DEFAULT_PORT}"


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
    if said.get("targets"):
        _targets(said["targets"], out)
    for each in said.get("left_out", ()):
        _line(out, "Left out", f"{each['target']}: {each['left_out']}")
    if "refused" in said:
        refused = said["refused"]
        text = f"\nRefused: {refused['status']} {refused['code']}: {refused['message']}"
        out.print(Text(printable(text[1:]), style="yellow"))


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
