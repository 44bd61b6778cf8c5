"""``ferryman limits``: how limits and budgets stand; asks the running data plane."""

from ferryman.cli.explain import Row, ask_gateway
from ferryman.cli.output import print_json
from ferryman.cli.show import Column, console, count, duration, money, table
from ferryman.config.options import Options


def run(options: Options, url: str, *, as_json: bool) -> None:
    """Print the state of every limit. ``url`` is the data plane's; empty = as it has said.

    Raises :class:`~ferryman.cli.api.ApiError`.
    """
    rows: list[Row] = ask_gateway(options, url, "GET", "/internal/limits", None, "how limits stand")
    if as_json:
        print_json(rows)
        return
    out = console()
    if not rows:
        out.print("Nothing counts in a limit now. Limits are set in the configuration (limits:).")
        return
    columns = [
        Column("Limit"),
        Column("Of"),
        Column("Left", right=True),
        Column("Most", right=True),
        Column("Per", drop=2),
        Column("Whole again in", right=True, drop=1),
    ]
    table(columns, [_cells(row) for row in rows], out)


def _cells(row: Row) -> list[str]:
    usd = row["measure"] == "usd"
    left, most = (money(row[name]) if usd else count(row[name]) for name in ("left", "most"))
    again = duration(row["resets_in_s"] * 1000) if row["resets_in_s"] else ""
    return [row["key"], row["measure"].replace("_", " "), left, most, row["per"] or "", again]
