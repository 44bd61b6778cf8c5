"""``ferryman limits``: how limits and budgets stand."""

from ferryman.cli.api import ask_gateway, control_plane
from ferryman.cli.output import print_json
from ferryman.cli.show import Column, console, count, duration, money, table
from ferryman.client.documents import Limit
from ferryman.config.options import Options


def run(options: Options, url: str, *, as_json: bool) -> None:
    """Print the state of every limit. ``url``: of a gateway to ask itself. Raises ``ApiError``."""
    rows: list[Limit]
    if url:
        rows = ask_gateway(options, url, "GET", "/internal/limits", list[Limit], None)
    else:
        rows = control_plane(options).limits()
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


def _cells(row: Limit) -> list[str]:
    left, most = (
        money(str(each)) if row.measure == "usd" else count(int(each))
        for each in (row.left, row.most)
    )
    again = duration(row.resets_in_s * 1000) if row.resets_in_s else ""
    return [row.key, row.measure.replace("_", " "), left, most, row.per or "", again]
