"""``ferryman journal``: what waits to be taken into the ledger, and what of it is damaged."""

from ferryman.cli.output import print_json
from ferryman.cli.show import Column, console, count, table
from ferryman.client import Client


def run(client: Client, *, as_json: bool) -> None:
    """Print how the journals stand. Raises ``ApiError``."""
    found = client.journal()
    if as_json:
        print_json(found)
        return
    out = console()
    if found.failing:
        out.print(f"The ledger takes nothing in: {found.failing}", markup=False)
    columns = [Column("Plane"), *(Column(n, right=True) for n in ("Files", "Bytes", "Waiting"))]
    rows = [
        [each.plane, count(each.segments), count(each.bytes), count(each.waiting_bytes)]
        for each in found.planes
    ]
    table(columns, rows, out)
    if found.met:
        met = [[name.replace("_", " "), count(number)] for name, number in found.met.items()]
        table([Column("Met so far"), Column("", right=True)], met, out)
    damaged = [each for plane in found.planes for each in plane.damaged]
    if damaged:
        columns = [Column("Damaged"), Column("At", right=True), Column("Bytes", right=True)]
        rows = [[each.file, count(each.offset), count(each.bytes)] for each in damaged]
        table(columns, rows, out)
        out.print("These files are kept to be looked at. Delete them when you are done.")
