"""``python -m bench``: measure, print, and after a full run write docs/benchmarks.md."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from bench import (
    formats,
    guards,
    idle,
    ingestion,
    instructions,
    machine,
    nginx,
    parts,
    peers,
    report,
    streams,
    translated,
    whole,
)
from bench.gateways import ROOT, Gateway, everything
from bench.procs import BenchError, on_signals_exit, one_core, raise_limits, say, scratch

SECTIONS = (
    "idle", "whole", "parts", "instructions", "stream", "formats", "guards", "ingestion",
)  # fmt: skip
RESULTS = ROOT / "bench" / "results.json"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short and rough: two minutes at most")
    parser.add_argument("--only", default="", metavar="NAMES", help="such as nginx,ferryman")
    parser.add_argument("--section", default="", metavar="NAMES", help=f"of {','.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of each section")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw results here")
    parser.add_argument(
        "--install-peers",
        action="store_true",
        help="install the other gateways (or --only), then end",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="only write docs/benchmarks.md from FILE"
    )
    return parser.parse_args()


def choose(only: str) -> list[Gateway]:
    """The gateways to measure. Raises :class:`BenchError` for a name that is none."""
    rows = everything()
    wanted = {name for name in only.split(",") if name}
    known = [row.name for row in rows]
    if unknown := wanted - set(known):
        raise BenchError(
            f"--only: nothing is called {', '.join(unknown)}; known: {', '.join(known)}"
        )
    chosen = []
    for row in rows:
        if wanted and row.name not in wanted | {"direct"}:
            continue
        if reason := row.absent():
            say(f"{row.name}: left out: {reason}")
        else:
            chosen.append(row)
    return chosen


def measure(args: argparse.Namespace, work: Path) -> dict[str, object]:
    """Run the chosen sections and return everything that is known of the run."""
    sections = {name for name in args.section.split(",") if name} or set(SECTIONS)
    if sections - set(SECTIONS):
        raise BenchError(f"--section: choose of {', '.join(SECTIONS)}")
    rows = choose(args.only)
    results: dict[str, object] = {
        "machine": machine.describe(),
        "gateways": {row.name: {"version": row.version(), "what": row.what} for row in rows},
        "left_out": {row.name: reason for row in everything() if (reason := row.absent())},
        "quick": args.quick,
    }
    stolen = machine.steal_seconds()
    if "idle" in sections and any(row.name == "ferryman" for row in rows):
        results["idle"] = idle.measure(work, quick=args.quick)
    if "formats" in sections and any(row.name == "ferryman" for row in rows):
        results["formats"] = formats.measure(quick=args.quick)
    if "guards" in sections and any(row.name == "ferryman" for row in rows):
        results["guards"] = guards.measure(quick=args.quick)
    if "ingestion" in sections and any(row.name == "ferryman" for row in rows):
        results["ingestion"] = ingestion.measure(quick=args.quick)
    if "whole" in sections:
        plan = whole.QUICK if args.quick else whole.FULL
        plan = replace(plan, rounds=args.rounds or plan.rounds)
        results["whole"] = whole.measure(rows, plan, work)
    if "parts" in sections and any(row.name == "ferryman" for row in rows):
        each = parts.QUICK if args.quick else parts.FULL
        each = replace(each, rounds=args.rounds or each.rounds)
        results["parts"] = parts.measure(each, work)
    if "instructions" in sections and any(row.name == "ferryman" for row in rows):
        if why := instructions.absent():
            say(f"instructions: left out: {why}")
        else:
            results["instructions"] = instructions.measure(work)
    if "stream" in sections:
        stream = streams.QUICK if args.quick else streams.FULL
        stream = replace(stream, rounds=args.rounds or stream.rounds)
        results["stream"] = streams.measure(rows, stream, work, "stream")
        if any(row.name == "ferryman" for row in rows):
            between = translated.QUICK if args.quick else translated.FULL
            between = replace(between, rounds=args.rounds or between.rounds)
            results["translated"] = translated.measure(between, work)
        if not args.quick:
            few = [row for row in rows if row.name in ("direct", "nginx", "ferryman")]
            results["many"] = streams.measure(few, streams.MANY, work, "many")
    results["stolen_s"] = machine.steal_seconds() - stolen
    return results


def main() -> int:
    """Returns the exit code: 0 measured, 1 could not."""
    args = arguments()
    if args.install_peers:
        return 1 if peers.install([name for name in args.only.split(",") if name]) else 0
    if args.report:
        report.write(json.loads(args.report.read_text()))
        return 0
    on_signals_exit()
    raise_limits()
    if one_core():
        say("One core only: gateway and load share it. CPU figures hold; rates and delays do not.")
    if not nginx.require("nginx", "nginx-light"):
        return 1
    nginx.require("wrk", "wrk")
    try:
        with scratch() as work:
            results = measure(args, work)
    except BenchError as error:
        say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        say("bench: stopped")
        return 1
    full = not (args.quick or args.only or args.section)
    target = args.json or (RESULTS if full else None)
    if target:
        target.write_text(json.dumps(results, indent=1) + "\n")
        say(f"raw results: {target}")
    if full:
        say(f"report: {report.write(results)}")
    print(report.summary(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
