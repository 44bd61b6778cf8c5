"""Results into words: the summary on the terminal and docs/benchmarks.md."""

from collections.abc import Callable, Mapping, Sequence
from math import comb
from pathlib import Path
from statistics import median
from typing import Any

from bench import guards
from bench.gateways import ROOT

Results = Mapping[str, Any]
Rounds = Sequence[Mapping[str, float]]
PAGE = ROOT / "docs" / "benchmarks.md"
PLOT = ROOT / "docs" / "benchmarks.svg"
BASE = "limits"
"""The row of parts that the others are compared with (``bench/parts.py``)."""
PART_BARS = (
    ("bare", "Limits and budgets in memory: CPU ≤ 10 µs a request", "data_us", 10, -1),
    ("observed", "Traces, metrics and logs sent: ≤ 6 µs a request", "data_us", 6, 1),
    (
        "guards",
        "Guards that are there, but not for the call: nothing measurable (≤ 2 µs)",
        "data_us",
        2,
        1,
    ),
    ("shared", "Limits in Valkey on loopback: ≤ 1 ms added at p99", "p99_1", 1000, 1),
)
RELAY = "openai_chat → openai_chat"
"""The row of translated streams that the others are compared with."""


def middle(rounds: Rounds, key: str) -> float:
    """Median over the rounds."""
    return median(r[key] for r in rounds)


def spread(rounds: Rounds, key: str, digits: int = 1) -> str:
    """``median (min–max)``."""
    values = [r[key] for r in rounds]
    text = f"{median(values):,.{digits}f}"
    if len(values) < 2:
        return text
    return f"{text} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def ratio(section: Mapping[str, Rounds], name: str, key: str, base: str = "nginx") -> float | None:
    """Median over the rounds of ``name``'s number over ``base``'s of the same round."""
    pairs = list(zip(section.get(name, []), section.get(base, []), strict=False))
    if not pairs or any(not b[key] for _, b in pairs):
        return None
    return median(a[key] / b[key] for a, b in pairs)


def times(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}×"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned so that it reads well in a terminal too."""
    width = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(width[0])
        return (
            "| "
            + " | ".join([first, *(c.rjust(w) for c, w in zip(cells[1:], width[1:], strict=True))])
            + " |"
        )

    rule = "|" + "|".join(["-" * (width[0] + 2), *("-" * (w + 1) + ":" for w in width[1:])]) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in rows)])


def whole_table(results: Results) -> str:
    """CPU, rate and latency of whole answers."""
    section = results["whole"]
    rows = []
    for name, rounds in section.items():
        direct = name == "direct"
        rows.append(
            [
                name,
                "–" if direct else spread(rounds, "data_us"),
                "–" if direct else times(ratio(section, name, "data_us")),
                f"{middle(rounds, 'control_us'):.1f}"
                if middle(rounds, "control_us") > 0.05
                else "–",
                f"{middle(rounds, 'rps_64'):,.0f}",
                f"{middle(rounds, 'p50_64'):,.0f} / {middle(rounds, 'p99_64'):,.0f}",
                f"{middle(rounds, 'p50_1'):,.0f} / {middle(rounds, 'p99_1'):,.0f}",
                "–" if direct else f"{middle(rounds, 'rss_mb'):,.0f}",
                f"{middle(rounds, 'load_busy'):.0%}" + ("" if direct else _hot(rounds)),
            ]
        )
    head = [
        "gateway", "CPU µs a request", "to nginx", "control plane µs", "requests/s, 64 conn.",
        "p50 / p99 µs, 64 conn.", "p50 / p99 µs, 1 conn.", "RSS MB", "load core",
    ]  # fmt: skip
    return table(head, rows)


def parts_table(section: Mapping[str, Rounds]) -> str:
    """What parts of Ferryman cost on top of each other."""
    keys = ("data_us", "p50_1", "p99_1")
    rows = []
    for name, rounds in section.items():
        apart = name != BASE and BASE in section
        added = [difference(section, name, key, BASE) for key in keys] if apart else []
        low, high = certain(section, name, "data_us", BASE) if apart else (0.0, 0.0)
        rows.append(
            [
                name,
                spread(rounds, "data_us"),
                f"{added[0]:+.1f} ({low:+.1f} to {high:+.1f})" if apart else "–",
                f"{middle(rounds, 'p50_1'):,.0f} / {middle(rounds, 'p99_1'):,.0f}",
                f"{added[1]:+,.0f} / {added[2]:+,.0f}" if apart else "–",
            ]
        )
    head = [
        "Ferryman with", "CPU µs a request", f"to {BASE}", "p50 / p99 µs, 1 conn.", f"to {BASE}",
    ]  # fmt: skip
    return table(head, rows)


def _hot(rounds: Rounds) -> str:
    return " ⚠" if middle(rounds, "load_busy") > 0.85 else ""


def stream_table(section: Mapping[str, Rounds]) -> str:
    """CPU and delays of streams; delays are what the gateway adds to the direct way."""
    base = section.get("direct")

    def added(rounds: Rounds, key: str) -> str:
        value = middle(rounds, key) - (middle(base, key) if base else 0.0)
        return f"{value / 1000:,.2f}"

    rows = []
    for name, rounds in section.items():
        direct = name == "direct"
        rows.append(
            [
                name,
                "–" if direct else spread(rounds, "chunk_us"),
                "–" if direct else times(ratio(section, name, "chunk_us")),
                f"{middle(rounds, 'chunks_per_s'):,.0f}",
                f"{middle(rounds, 'chunks_per_read'):.2f}",
                f"{middle(rounds, 'gateway_busy'):.0%}",
                "–" if direct else f"{added(rounds, 'ttft_p50')} / {added(rounds, 'ttft_p99')}",
                "–" if direct else f"{added(rounds, 'delay_p50')} / {added(rounds, 'delay_p99')}",
                "–" if direct else f"{max(r['rss_mb'] for r in rounds):,.0f}",
                " / ".join(
                    f"{max(r[k] for r in rounds):.0f}" for k in ("cut", "stalled", "refused")
                ),
                f"{middle(rounds, 'load_busy'):.0%}" + ("" if direct else _hot(rounds)),
            ]
        )
    head = [
        "gateway", "CPU µs a chunk", "to nginx", "chunks/s", "chunks a read", "gateway core",
        "first token added ms, p50 / p99",
        "chunk delay added ms, p50 / p99", "RSS MB", "cut / stalled / refused", "load core",
    ]  # fmt: skip
    return table(head, rows)


def translated_table(section: Mapping[str, Rounds]) -> str:
    """Streams by caller and provider, beside the relay and the direct way."""
    rows = []
    for name, rounds in section.items():
        if name == "direct":
            continue
        on_top = difference(section, name, "chunk_us", RELAY)
        rows.append(
            [
                name,
                spread(rounds, "chunk_us"),
                "–" if name == RELAY else f"{on_top:+.1f}",
                " / ".join(
                    f"{difference(section, name, key) / 1000:,.2f}"
                    for key in ("ttft_p50", "ttft_p99")
                ),
                f"{middle(rounds, 'gateway_busy'):.0%}",
                " / ".join(
                    f"{max(r[k] for r in rounds):.0f}" for k in ("cut", "stalled", "refused")
                ),
            ]
        )
    head = [
        "caller → provider", "CPU µs an event", "on top of relay",
        "first token added ms, p50 / p99", "gateway core", "cut / stalled / refused",
    ]  # fmt: skip
    return table(head, rows)


def difference(section: Mapping[str, Rounds], name: str, key: str, base: str = "direct") -> float:
    """Median over the rounds of ``name``'s number less ``base``'s of the same round."""
    return median(a[key] - b[key] for a, b in zip(section[name], section[base], strict=True))


def certain(section: Mapping[str, Rounds], name: str, key: str, base: str) -> tuple[float, float]:
    """Where that median is with 95 % certainty, whatever the numbers are like: between two of the
    differences, as far from either end as heads among so many coins may be."""
    found = sorted(a[key] - b[key] for a, b in zip(section[name], section[base], strict=True))
    out, beyond = 0, 2.0 ** -len(found)
    while beyond <= 0.025 and 2 * out < len(found):
        out += 1
        beyond += comb(len(found), out) * 2.0 ** -len(found)
    skipped = max(out - 1, 0)
    return found[skipped], found[-1 - skipped]


def formats_table(section: Mapping[str, Mapping[str, float]]) -> str:
    """What translations cost, by pair."""
    rows = [
        [name, f"{row['event_us']:.1f}", f"{row['whole_us']:.0f}", f"{row['prompt_ms']:.1f}"]
        for name, row in section.items()
    ]
    head = ["caller → provider", "µs an event", "µs a reply of 4 KB", "ms a request of 1 MB"]
    return table(head, rows)


def guards_table(section: Mapping[str, Mapping[str, float]]) -> str:
    """What guards cost, and how long they hold a stream's tokens."""
    keys = ("whole_ms", "streamed_ms", "wait_p50_ms", "wait_p99_ms")
    rows = [
        [name, *(f"{row[key]:.2f}" if key in row else "–" for key in keys)]
        for name, row in section.items()
    ]
    head = ["guard", "ms for 2 KB", "in tokens", "a token waits ms, p50", "p99"]
    return table(head, rows)


def ingestion_table(section: Mapping[str, Rounds]) -> str:
    """Records that are taken into each database."""
    rows = [
        [name, *(spread(rounds, key, digits) for key, digits in _INGESTION)]
        for name, rounds in section.items()
    ]
    head = ["database", "records/s", "CPU µs a record, ingester", "the database's processes"]
    return table(head, rows)


_INGESTION = (("records", 0), ("cpu_us", 1), ("server_us", 1))


def bars(results: Results) -> list[tuple[str, str, str]]:
    """(bar, measured, verdict) for every bar that this run can speak about."""
    found: list[tuple[str, str, str]] = []

    def bar(text: str, value: float | None, limit: float, shown: Callable[[float], str]) -> None:
        if value is not None:
            found.append((text, shown(value), "met" if value <= limit else "**not met**"))

    whole, stream = results.get("whole", {}), results.get("stream", {})
    bar(
        "Whole answers: CPU of the data plane ≤ 3× nginx (aim 2×)",
        ratio(whole, "ferryman", "data_us"),
        3,
        times,
    )
    bar("p99 at one connection ≤ 2× nginx", ratio(whole, "ferryman", "p99_1"), 2, times)
    bar(
        "Streams: CPU per chunk ≤ 1.4× nginx (aim 1.15×)",
        ratio(stream, "ferryman", "chunk_us"),
        1.4,
        times,
    )
    parts = results.get("parts", {})
    for name, text, key, limit, sign in PART_BARS:
        if name in parts and BASE in parts:
            bar(text, sign * difference(parts, name, key, BASE), limit, lambda v: f"{v:,.1f} µs")
    if idle := results.get("idle"):
        bar(
            "Idle RSS of the data plane ≤ 80 MB",
            median(idle["few"]["data_mb"]),
            80,
            lambda v: f"{v:.0f} MB",
        )
        bar("Start to ready ≤ 1.5 s", median(idle["few"]["ready_s"]), 1.5, lambda v: f"{v:.2f} s")
        for text, key in (
            ("100,000 keys change the start by ≤ 20 %", "keys_start"),
            ("100,000 keys change the latency by ≤ 20 %", "keys_latency"),
        ):
            bar(text, idle.get(key), 0.2, lambda v: f"{v:+.0%}")
    if pairs := results.get("formats"):
        for text, key, limit, unit in (
            ("Translated streams: CPU per event ≤ 15 µs", "event_us", 15, "µs"),
            ("Translated whole answers of 4 KB ≤ 300 µs", "whole_us", 300, "µs"),
            ("Requests of 1 MB hold others up for ≤ 10 ms", "prompt_ms", 10, "ms"),
        ):
            worst = max(row[key] for row in pairs.values())
            bar(text, worst, limit, lambda v, unit=unit: f"{v:.1f} {unit} at worst")
    if rows := results.get("guards"):
        for text, models, limit in (
            ("Guards by rules: ≤ 2 ms for 2 KB", False, 2),
            ("Guards by models: ≤ 20 ms for 2 KB", True, 20),
        ):
            dear = guards.worst(rows, models=models)
            bar(text, dear, limit, lambda v: f"{v:.2f} ms at worst")
    found += _ingested(results.get("ingestion", {}))
    if section := results.get("translated"):
        others = [name for name in section if name not in ("direct", RELAY)]
        dear = [difference(section, name, "chunk_us", RELAY) for name in others]
        late = [difference(section, name, "ttft_p99", RELAY) for name in others]
        text = "Translated streams through the gateway: CPU per event ≤ 15 µs on top of relay"
        bar(text, max(dear), 15, lambda v: f"{v:.1f} µs at worst")
        text = "… their first token: ≤ 1 ms at p99 on top of relay"
        bar(text, max(late), 1000, lambda v: f"{v / 1000:.2f} ms at worst")
    if many := results.get("many", {}).get("ferryman"):
        broken = sum(r["cut"] + r["stalled"] + r["refused"] for r in many)
        short = max(0.0, 5000 - min(r["open"] for r in many))
        text = "5,000 streams through one process: none cut, none stalled"
        bar(text, broken + short, 0, lambda v: "none" if not v else f"{v:.0f} broken or missing")
        bar("… in ≤ 400 MB", max(r["rss_mb"] for r in many), 400, lambda v: f"{v:.0f} MB")
    return found


def _ingested(section: Mapping[str, Rounds]) -> list[tuple[str, str, str]]:
    found = []
    for name, least in (("sqlite", 20_000), ("postgresql", 10_000)):
        if rounds := section.get(name):
            text, rate = f"Ingestion into {name} ≥ {least:,} records/s", middle(rounds, "records")
            verdict = "met" if rate >= least else "**not met**"
            found.append((text, f"{rate:,.0f}", verdict))
    return found


def summary(results: Results) -> str:
    """For the terminal."""
    parts = []
    if results.get("whole"):
        parts += ["Whole answers", whole_table(results)]
    if results.get("parts"):
        parts += ["What parts cost", parts_table(results["parts"])]
    if results.get("stream"):
        parts += ["Streams: 1,000 at 50 tokens/s", stream_table(results["stream"])]
    if results.get("many"):
        parts += ["5,000 streams", stream_table(results["many"])]
    if results.get("translated"):
        parts += ["Translated streams", translated_table(results["translated"])]
    if results.get("formats"):
        parts += ["Translations", formats_table(results["formats"])]
    if results.get("guards"):
        parts += ["Guards", guards_table(results["guards"])]
    if results.get("ingestion"):
        parts += ["Ingestion", ingestion_table(results["ingestion"])]
    if verdicts := bars(results):
        parts += [table(["bar", "measured", "verdict"], verdicts)]
    return "\n\n".join(parts)


def write(results: Results) -> Path:
    """Write docs/benchmarks.md and its plot; returns the page's path."""
    from bench import page, plot

    plot.draw(results, PLOT)
    PAGE.write_text(page.text(results))
    return PAGE
