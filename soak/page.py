"""Keeps the last results in ``soak/results.json``, and shows them in ``docs/durability.md``."""

import datetime
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "soak" / "results.json"
PAGE = ROOT / "docs" / "durability.md"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
TITLES = {
    "kills": "Killed processes",
    "kills-postgres": "Killed processes, PostgreSQL's too",
    "counting": "Killed processes, with counters in Valkey",
    "counting-postgres": "Killed processes, with counters in Valkey, over PostgreSQL",
    "budgets": "Budgets that are used up while processes are killed",
    "budgets-local": "The same with one data plane that goes on alone",
    "hosts": "Two hosts, PostgreSQL and Valkey",
    "writes": "Every write fails once",
    "denied": "Tables that can't be written while calls are served",
    "backlog": "A backlog of a million records",
    "disk": "A full disk",
    "keys": "Keys",
    "streams": "A crowd of streams",
    "idle": "A crowd of silent connections",
    "files": "Too few open files",
    "outages": "Outages",
    "failover": "Providers that die, slow down and recover",
    "overload": "Three times too many calls",
    "steady": "Mixed load for a long time",
    "year": "The pages of a year",
    "pages": "Pages of a large ledger",
    "viewers": "Viewers",
    "fuzz": "An hour of fuzzing",
}


def record(name: str, facts: dict[str, str], *, seed: int, seconds: float) -> None:
    """Note what the proof ``name`` found, and renew the page."""
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    now = datetime.datetime.now(datetime.UTC)
    known[name] = {
        "date": now.strftime("%Y-%m-%d"),
        "commit": _commit(),
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "seed": seed,
        "seconds": round(seconds),
        "facts": facts,
    }
    RESULTS.write_text(json.dumps(known, indent=2, ensure_ascii=False) + "\n")
    head, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n\n{render(known)}{END}{tail}")


def render(known: dict[str, Any]) -> str:
    """The results as Markdown."""
    parts = []
    for name, title in TITLES.items():
        run = known.get(name)
        if run is None:
            continue
        parts.append(f"### {title}\n\n")
        parts.append(
            f"`make soak ARGS={name}`, {run['date']}, commit {run['commit']}, {run['machine']}, "
            f"seed {run['seed']}, {run['seconds']} s.\n\n| | |\n|---|---|\n"
        )
        parts += [f"| {what} | {value} |\n" for what, value in run["facts"].items()]
        parts.append("\n")
    return "".join(parts)


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
