"""``ferryman journal``: what waits to be taken into the ledger, and what of it is damaged."""

from typing import Final

from ferryman.cli.output import print_json
from ferryman.cli.show import Column, console, count, table
from ferryman.client import Client

OFF: Final = 5.0
"""Seconds that a clock may be off before that is said."""


def run(client: Client, *, as_json: bool) -> None:
    """Print how the journals stand. Raises ``ApiError``."""
    found = client.journal()
    if as_json:
        print_json(found)
        return
    out = console()
    if found.failing:
        out.print(f"The ledger takes nothing in: {found.failing}", markup=False)
    names = ("Files", "Bytes", "Waiting", "Clock")
    columns = [Column("Plane"), *(Column(name, right=True) for name in names)]
    rows = [
        [each.plane, count(each.segments), count(each.bytes), count(each.waiting_bytes),
         _clock(each.clock_ahead_seconds)]
        for each in found.planes
    ]  # fmt: skip
    table(columns, rows, out)
    if any(abs(each.clock_ahead_seconds or 0) >= OFF for each in found.planes):
        out.print("A clock is off, and times of that plane's calls with it: let NTP set it.")
    if found.met:
        met = [[name.replace("_", " "), count(number)] for name, number in found.met.items()]
        table([Column("Met so far"), Column("", right=True)], met, out)
    damaged = [each for plane in found.planes for each in plane.damaged]
    if damaged:
        columns = [Column("Damaged"), Column("At", right=True), Column("Bytes", right=True)]
        rows = [[each.file, count(each.offset), count(each.bytes)] for each in damaged]
        table(columns, rows, out)
        out.print("These files are kept to be looked at. Delete them when you are done.")


def _clock(ahead: float | None) -> str:
    if ahead is None:
        return "–"
    return "right" if abs(ahead) < OFF else f"{ahead:+,.0f} s"
