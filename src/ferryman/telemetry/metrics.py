"""Counters of a data plane: plain integers, rendered only when somebody asks.

Exposition format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from bisect import bisect_left
from operator import add

from msgspec.structs import astuple

from ferryman.ir.usage import Usage

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds in seconds."""
OVERHEAD_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)
MAX_SERIES = 2000
"""Most label sets; what comes later is counted under ``other``, so that memory stays bounded."""


class Series:
    """Counts of one label set."""

    __slots__ = ("calls", "cost", "cost_unknown", "failed_attempts", "overhead", "seconds",
                 "seconds_sum", "tokens", "usage_unknown")  # fmt: skip

    def __init__(self) -> None:
        self.calls = 0
        self.failed_attempts = 0
        self.cost = 0
        self.cost_unknown = 0
        self.usage_unknown = 0
        self.tokens = [0] * len(Usage.__struct_fields__)
        self.seconds = [0] * (len(BUCKETS) + 1)
        self.seconds_sum = 0.0
        self.overhead = [0] * (len(OVERHEAD_BUCKETS) + 1)


class Metrics:
    """All counters of the process."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, str, int], Series] = {}
        self.in_flight = 0
        self.streams = 0

    def closed(
        self,
        labels: tuple[str, str, str, int],
        seconds: float,
        overhead: float,
        usage: Usage | None,
        cost: int | None,
        failed_attempts: int,
    ) -> None:
        """Count one finished call; ``labels`` = endpoint, provider, target model, status."""
        series = self._series.get(labels)
        if series is None:
            series = self._make(labels)
        series.calls += 1
        if failed_attempts:
            series.failed_attempts += failed_attempts
        series.seconds[bisect_left(BUCKETS, seconds)] += 1
        series.seconds_sum += seconds
        series.overhead[bisect_left(OVERHEAD_BUCKETS, overhead)] += 1
        if usage is None:
            series.usage_unknown += 1
        else:
            series.tokens = list(map(add, series.tokens, astuple(usage)))
        if cost is None:
            series.cost_unknown += 1
        else:
            series.cost += cost

    def _make(self, labels: tuple[str, str, str, int]) -> Series:
        if len(self._series) >= MAX_SERIES:
            labels = (labels[0], "other", "other", labels[3])
        return self._series.setdefault(labels, Series())

    def render(self, connections: int) -> bytes:
        """The page that a Prometheus server scrapes."""
        page = _Page()
        named = [
            (f'endpoint="{e}",provider="{_escape(p)}",model="{_escape(m)}",status="{s}"', series)
            for (e, p, m, s), series in sorted(self._series.items())
        ]
        page.gauge("in_flight_calls", "Calls being served now.", self.in_flight)
        page.gauge("open_streams", "Streamed replies being relayed now.", self.streams)
        page.gauge("client_connections", "Open client connections.", connections)
        page.counter("calls_total", "Finished calls.", [(n, s.calls) for n, s in named])
        page.counter(
            "failed_attempts_total",
            "Attempts at an upstream that failed, under the call that made them.",
            [(n, s.failed_attempts) for n, s in named],
        )
        page.counter(
            "tokens_total",
            "Tokens by class; the classes are disjoint.",
            [
                (f'{n},class="{name}"', s.tokens[i])
                for n, s in named
                for i, name in enumerate(Usage.__struct_fields__)
                if s.tokens[i]
            ],
        )
        page.counter(
            "cost_picodollars_total", "Cost in 1e-12 USD.", [(n, s.cost) for n, s in named]
        )
        page.counter(
            "cost_unknown_calls_total",
            "Calls whose cost is unknown: unpriced model or no usage.",
            [(n, s.cost_unknown) for n, s in named],
        )
        page.counter(
            "usage_unknown_calls_total",
            "Calls whose usage the provider did not say.",
            [(n, s.usage_unknown) for n, s in named],
        )
        page.histogram(
            "call_seconds", "Whole duration of calls.", BUCKETS,
            [(n, s.seconds, s.seconds_sum) for n, s in named],
        )  # fmt: skip
        page.histogram(
            "overhead_seconds", "Time spent in the gateway itself.", OVERHEAD_BUCKETS,
            [(n, s.overhead, None) for n, s in named],
        )  # fmt: skip
        return page.text()


class _Page:
    def __init__(self) -> None:
        self._lines: list[str] = []

    def _head(self, name: str, kind: str, text: str) -> str:
        self._lines += [f"# HELP ferryman_{name} {text}", f"# TYPE ferryman_{name} {kind}"]
        return f"ferryman_{name}"

    def gauge(self, name: str, text: str, value: int) -> None:
        self._lines.append(f"{self._head(name, 'gauge', text)} {value}")

    def counter(self, name: str, text: str, values: list[tuple[str, int]]) -> None:
        full = self._head(name, "counter", text)
        self._lines += [f"{full}{{{labels}}} {value}" for labels, value in values]

    def histogram(
        self,
        name: str,
        text: str,
        bounds: tuple[float, ...],
        values: list[tuple[str, list[int], float | None]],
    ) -> None:
        full = self._head(name, "histogram", text)
        for labels, counts, total in values:
            running = 0
            for bound, count in zip((*bounds, "+Inf"), counts, strict=True):
                running += count
                self._lines.append(f'{full}_bucket{{{labels},le="{bound}"}} {running}')
            if total is not None:
                self._lines.append(f"{full}_sum{{{labels}}} {total:.6f}")
            self._lines.append(f"{full}_count{{{labels}}} {running}")

    def text(self) -> bytes:
        return ("\n".join(self._lines) + "\n").encode()


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
