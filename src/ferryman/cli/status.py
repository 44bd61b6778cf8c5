"""``ferryman status``: what goes on, which data planes follow, and how the ledger is."""

from rich.text import Text

from ferryman.cli.journal import OFF
from ferryman.cli.output import print_json
from ferryman.cli.show import Column, at_least, console, count, duration, local_time, table
from ferryman.client import Client
from ferryman.client.status import Now, PlaneStatus, Status

DAY = 86_400


def run(client: Client, *, as_json: bool) -> None:
    """Print how the installation is. Raises ``ApiError``."""
    found, now = client.status(), client.now()
    if as_json:
        print_json({"status": found, "now": now})
        return
    out = console()
    for line in (*_now(now), *_ledger(found)):
        out.print(Text(line))
    if not found.planes:
        out.print(Text("No data plane follows. Start one: ferryman up"))
        return
    columns = [Column(name) for name in ("Data plane", "Configuration", "Keys", "Clock")]
    table([*columns, Column("Asked last", drop=1)], [_plane(p, found) for p in found.planes], out)


def _now(now: Now) -> list[str]:
    minutes = now.seconds // 60
    said = [
        f"{count(now.calls)} calls in {minutes} minutes, {count(now.errors)} failed, "
        f"{count(now.under_way)} under way; {at_least(now.cost_usd, now.unknown_cost)}"
    ]
    for what, spans in (("Whole answer", now.duration), ("First token", now.first_token)):
        if spans:
            times = ", ".join(f"{n.removesuffix('_ms')} {duration(ms)}" for n, ms in spans.items())
            said.append(f"{what}: {times}")
    return said


def _ledger(found: Status) -> list[str]:
    ledger = found.ledger
    said = [
        f"Ferryman {found.software}, configuration {found.version}; ledger: "
        f"{count(ledger.calls)} calls in {ledger.bytes / 1e6:,.1f} MB ({ledger.database})"
    ]
    kept = [f"{name} {_days(seconds)}" for name, seconds in ledger.keeps.items()]
    if kept:
        said.append(f"Kept: {', '.join(kept)}")
    if ledger.failing:
        said.append(f"The ledger takes nothing in: {ledger.failing}")
    return said


def _days(seconds: int | None) -> str:
    return "for good" if seconds is None else f"{seconds / DAY:g} d"


def _plane(plane: PlaneStatus, found: Status) -> list[str]:
    ahead = plane.clock_ahead_seconds
    clock = "–" if ahead is None else "right" if abs(ahead) < OFF else f"{ahead:+,.0f} s"
    version = str(found.version) if plane.current else "an older one" if plane.snapshot else "none"
    keys = "all" if plane.keys_current else "behind"
    return [plane.name, version, keys, clock, local_time(plane.asked_at)]
