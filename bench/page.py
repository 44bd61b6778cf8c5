"""docs/benchmarks.md, written from the results of one full run."""

from collections.abc import Mapping
from typing import Any

from bench import report
from bench.report import table

INTRO = """\
# Benchmarks

This page is written by `make bench` from one run; `bench/results.json` holds the raw numbers. To
repeat it with other gateways on your machine: `make bench-peers`, then `make bench`.

![CPU per request and per chunk, by gateway](benchmarks.svg)
"""

METHOD = """\
## How it is measured

- Every gateway is pinned with all of its processes to one core; load generator and upstream to the
  other. Each is started fresh for its turn and warmed up; turns go round by round (A B C A B C …),
  so that a slow minute of the machine hits all of them. Tables show medians over the rounds, in
  brackets the least and the most; ratios compare within a round.
- **CPU** is user and system time of the gateway's processes from `/proc`, over requests (or chunks)
  that arrived. Other processes hardly change it, while they do change rates and delays; but on a
  shared host it includes time that the hypervisor took away, which stands under "Machine".
- **Whole answers**: a chat request of 250 bytes, a reply of {reply} bytes with its usage, served by
  nginx from memory, keep-alive on both sides. "direct" is the load generator on the upstream; "load
  core" says how busy those two were (⚠ above 85 %: then rates are theirs, not the gateway's).
- **Streams**: 1,000 open streams, 50 tokens a second each, 200 tokens a stream, then the next one.
  Each chunk carries the time it was sent; "added" is the gateway's percentile minus that of the
  direct way. "Chunks a read" above 1 means that chunks ran together on the way, because the gateway
  was too busy to pass each on in time: its CPU per chunk then looks lower than it is. One that is
  at its limit delivers fewer than 50,000 chunks/s; "stalled" counts streams silent for 5 s.
- **Streams between formats**: 1,000 open streams, 10 tokens a second each, 100 tokens a stream, so
  that the gateway isn't at its limit. "On top of relay" is the CPU per event less that of the same
  gateway when caller and provider speak the same format; "added" is the gateway's percentile minus
  that of the direct way.
- **Translations** are timed in process, on one core: bytes of one format in, bytes of the other
  out, without the network and the rest of the call.
- **Guards** are timed in process, on 2,048 characters that hold an address, a number and a link
  every 180: the whole text, and the same in tokens of 4 characters. A token of a stream waits until
  it is certain that it is not the beginning of something; "waits" is for 50 tokens a second, the
  guard's own time included.
- **Ingestion**: a journal of {calls:,} calls of {keys} virtual keys, {open} of them open at any
  time, is drained by the control plane's ingester into an empty database with all of its syncs: a
  SQLite file, or a PostgreSQL server with its default settings on the same machine. A call is two
  records (opened, closed) and one row, so there are half as many calls as records.
- **Parts**: whole answers as above, of Ferryman with limits and a budget in memory, without them
  ("bare"), with three guards of which none is for these calls ("guards"), with limits counted in a
  redis-server on the load core ("shared"), and with traces, metrics and a line of the log of every
  call sent, to a receiver of OTLP and a file ("observed").
  All of them run all the time, and are measured for a second in turn; differences are of the same
  round, the median with the range in which it is with 95 % certainty. The record of a call, its
  journal and the counters are in all of them: they can't be switched off.
- **Ferryman** runs as `ferryman up` with everything on: the virtual key is checked, the call held
  to limits and a budget and journaled twice, its usage read, priced and entered into the ledger,
  metrics kept. "CPU" is the data plane's; the control plane's share (taking the journal into the
  database, on the same core) stands in a column of its own, its catching-up after the load
  included.
"""


def text(results: Mapping[str, Any]) -> str:
    """The page in Markdown."""
    from bench import ingestion
    from bench.nginx import REPLY

    parts = [INTRO]
    if results.get("quick"):
        parts.append("These are rough numbers, of a short run on a busy machine (`--quick`).\n")
    if verdicts := report.bars(results):
        parts += ["## The bars\n", table(["bar", "measured", "verdict"], verdicts) + "\n"]
    if results.get("whole"):
        parts += ["## Whole answers\n", report.whole_table(results) + "\n"]
    if results.get("parts"):
        parts += ["## What parts cost\n", report.parts_table(results["parts"]) + "\n"]
    if results.get("stream"):
        title = "## Streams: 1,000 at 50 tokens a second\n"
        parts += [title, report.stream_table(results["stream"]) + "\n"]
    if results.get("many"):
        title = "## Streams: 5,000 at 4 tokens a second\n"
        parts += [title, report.stream_table(results["many"]) + "\n"]
    if results.get("translated"):
        title = "## Streams between formats\n"
        parts += [title, report.translated_table(results["translated"]) + "\n"]
    if results.get("formats"):
        title = "## Translating between formats\n"
        parts += [title, report.formats_table(results["formats"]) + "\n"]
    if results.get("guards"):
        parts += ["## Guards\n", report.guards_table(results["guards"]) + "\n"]
    if results.get("ingestion"):
        title = "## Taking the journal into the ledger\n"
        parts += [title, report.ingestion_table(results["ingestion"]) + "\n"]
    if results.get("idle"):
        parts += ["## At rest\n", _idle(results["idle"]) + "\n"]
    method = METHOD.format(
        reply=len(REPLY), calls=ingestion.CALLS, keys=ingestion.KEYS, open=ingestion.OPEN
    )
    parts += [method, _setups(results), _machine(results)]
    return "\n".join(parts)


def _idle(idle: Mapping[str, Any]) -> str:
    """Start and memory."""
    names = {
        "ready_s": ("start to ready, s", 2),
        "data_mb": ("data plane, MB", 0),
        "control_mb": ("control plane and supervisor, MB", 0),
        "p50_us": ("p50 at one connection, µs", 0),
        "p99_us": ("p99 at one connection, µs", 0),
    }
    rows = [
        [text, _three(idle["few"][key], digits), _three(idle["many"][key], digits)]
        for key, (text, digits) in names.items()
    ]
    return table(["Ferryman", "with one key", "with 100,000 keys"], rows)


def _three(values: list[float], digits: int) -> str:
    return report.spread([{"v": value} for value in values], "v", digits)


def _setups(results: Mapping[str, Any]) -> str:
    rows = [
        [name, row["version"] or "–", row["what"]]
        for name, row in results["gateways"].items()
        if name != "direct"
    ]
    lines = ["## What ran\n"]
    lines += [f"- **{name}** {version}: {what}" for name, version, what in rows]
    lines += [f"- {name} was left out: {why}" for name, why in results["left_out"].items()]
    return "\n".join(lines) + "\n"


def _machine(results: Mapping[str, Any]) -> str:
    lines = ["## Machine\n"]
    lines += [f"- {key}: {value}" for key, value in results["machine"].items() if value]
    lines.append(f"- taken by the hypervisor meanwhile: {results.get('stolen_s', 0):.1f} s")
    return "\n".join(lines) + "\n"
