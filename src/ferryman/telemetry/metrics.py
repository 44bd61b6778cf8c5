"""Counters of a data plane: plain integers, rendered only when somebody asks.

Exposition format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Callable, Iterator
from typing import Final

from ferryman.ir.tally import Tally
from ferryman.ir.usage import CLASSES, EXTRA_COUNTS
from ferryman.telemetry import native

# Typed as tuples of any length: compiled, one of a known length is copied at every use.
BUCKETS: Final[tuple[float, ...]] = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0
)  # fmt: skip
"""Upper bounds in seconds."""
OVERHEAD_BUCKETS: Final[tuple[float, ...]] = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25
)  # fmt: skip
_COUNTS: Final[tuple[str, ...]] = (*CLASSES, *EXTRA_COUNTS)
ESTIMATE_BUCKETS: Final[tuple[float, ...]] = (0.5, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 2.0)
"""Upper bounds of estimated / counted input tokens."""
MAX_SERIES: Final = 2000
"""Most label sets; what comes later is counted under ``other``, so that memory stays bounded."""
SLICE = 100
"""Label sets rendered in one go: a millisecond or so."""


class Series:
    """Counts of one label set."""

    __slots__ = ("calls", "cost", "cost_unknown", "failed_attempts", "first", "first_native",
                 "first_sum", "overhead", "overhead_native", "overhead_sum", "seconds",
                 "seconds_native", "seconds_sum", "tokens", "usage_unknown")  # fmt: skip

    def __init__(self) -> None:
        self.calls = 0
        self.failed_attempts = 0
        self.cost = 0
        self.cost_unknown = 0
        self.usage_unknown = 0
        self.tokens = [0] * len(_COUNTS)
        self.seconds = [0] * (len(BUCKETS) + 1)
        self.seconds_sum = 0.0
        self.overhead = [0] * (len(OVERHEAD_BUCKETS) + 1)
        self.first = [0] * (len(BUCKETS) + 1)
        self.first_sum = 0.0
        self.seconds_native: native.Buckets = {}
        self.overhead_native: native.Buckets = {}
        self.overhead_sum = 0.0
        """Of those in the native buckets."""
        self.first_native: native.Buckets = {}


Writer = Callable[[list[str], str, str, Series], None]
"""Adds the lines of one label set to a page: lines, name of the family, labels, counts."""


class Metrics:
    """All counters of the process."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, str, int], Series] = {}
        self._estimates = [0] * (len(ESTIMATE_BUCKETS) + 1)
        self._estimates_sum = 0.0
        self._left_out: dict[str, int] = {}
        self._odd: dict[str, int] = {}
        self._judged: dict[tuple[str, str, str], int] = {}
        self._tried: dict[tuple[str, str], int] = {}
        self._failed: dict[tuple[str, str], int] = {}
        self.native = False
        """Whether times are counted in the buckets of native histograms, too."""
        self.in_flight = 0
        self.streams = 0

    def closed(
        self,
        labels: tuple[str, str, str, int],
        seconds: float,
        overhead: float,
        usage: Tally | None,
        cost: int | None,
        unknown_cost: bool,
        failed_attempts: int,
        first_token: float = -1.0,
        error: str = "",
    ) -> None:
        """Count one finished call; ``labels`` = endpoint, provider, target model, status.

        ``unknown_cost``: it may have cost more than ``cost``, as far as that is known;
        ``first_token``: seconds until then, less than 0 = it was no stream, or there was none.
        """
        series = self._series.get(labels)
        if series is None:
            series = self._make(labels)
        series.calls += 1
        if failed_attempts:
            series.failed_attempts += failed_attempts
        series.seconds[bucket(BUCKETS, seconds)] += 1
        series.seconds_sum += seconds
        series.overhead[bucket(OVERHEAD_BUCKETS, overhead)] += 1
        if usage is None:
            series.usage_unknown += 1
        else:
            tokens = series.tokens
            tokens[0] += usage.input
            tokens[5] += usage.output
            # Most calls use few of the classes.
            if usage.cache_read:
                tokens[1] += usage.cache_read
            if usage.reasoning:
                tokens[6] += usage.reasoning
            if usage.cache_write:
                tokens[2] += usage.cache_write
            if usage.cache_write_1h:
                tokens[3] += usage.cache_write_1h
            if usage.audio_input:
                tokens[4] += usage.audio_input
            if usage.audio_output:
                tokens[7] += usage.audio_output
            if (extras := usage.extras) is not None:
                for place, name in enumerate(EXTRA_COUNTS, len(CLASSES)):
                    tokens[place] += getattr(extras, name)
        if unknown_cost:
            series.cost_unknown += 1
        if cost is not None:
            series.cost += cost
        if first_token >= 0:
            series.first[bucket(BUCKETS, first_token)] += 1
            series.first_sum += first_token
        if self.native:
            native.count(series.seconds_native, seconds)
            native.count(series.overhead_native, overhead)
            series.overhead_sum += overhead
            if first_token >= 0:
                native.count(series.first_native, first_token)
        if error:
            which = (labels[1], error)
            self._failed[which] = self._failed.get(which, 0) + 1

    def tried(self, provider: str, error: str) -> None:
        """Count one attempt, and how it failed; empty = it did not."""
        which = (provider, error)
        self._tried[which] = self._tried.get(which, 0) + 1

    def judged(self, guard: str, stage: str, action: str) -> None:
        """Count a call that a guard has looked at, and what came of it."""
        which = (guard, stage, action)
        self._judged[which] = self._judged.get(which, 0) + 1

    def left_out(self, provider: str, events: int) -> None:
        """Count events of a provider's stream that could not be read."""
        self._left_out[provider] = self._left_out.get(provider, 0) + events

    def odd_usage(self, provider: str) -> None:
        """Count usage that a provider can't mean."""
        self._odd[provider] = self._odd.get(provider, 0) + 1

    def estimated(self, ratio: float) -> None:
        """Count how an estimate of input tokens (``ratio`` = estimate / count) turned out."""
        self._estimates[bucket(ESTIMATE_BUCKETS, ratio)] += 1
        self._estimates_sum += ratio

    def _make(self, labels: tuple[str, str, str, int]) -> Series:
        if len(self._series) >= MAX_SERIES:
            labels = (labels[0], "other", "other", labels[3])
        return self._series.setdefault(labels, Series())

    def render(self, connections: int) -> Iterator[bytes]:
        """The page that a Prometheus server scrapes, in pieces of at most ``SLICE`` label sets.

        With thousands of label sets it takes a tenth of a second in all: let calls go on between
        the pieces.
        """
        lines: list[str] = []
        for name, text, value in (
            ("in_flight_calls", "Calls being served now.", self.in_flight),
            ("open_streams", "Streamed replies being relayed now.", self.streams),
            ("client_connections", "Open client connections.", connections),
        ):
            lines += [*family(name, "gauge", text), f"ferryman_{name} {value}"]
        lines += family("token_estimate_ratio", "histogram", "Input tokens, estimated / counted.")
        ratio = "ferryman_token_estimate_ratio"
        count = buckets(lines, ratio, "", ESTIMATE_BUCKETS, self._estimates)
        lines.append(f"{ratio}_sum {self._estimates_sum:.6f}")
        lines.append(f"{ratio}_count {count}")
        text = "Events of providers' streams that could not be read; a second one ends its stream."
        lines += family("broken_events_total", "counter", text)
        for provider, number in sorted(self._left_out.items()):
            lines.append(f'ferryman_broken_events_total{{provider="{escape(provider)}"}} {number}')
        text = "Calls of which a provider said to have used what can't be."
        lines += family("odd_usage_total", "counter", text)
        for provider, number in sorted(self._odd.items()):
            lines.append(f'ferryman_odd_usage_total{{provider="{escape(provider)}"}} {number}')
        for name, text, found in (
            ("attempts_total", "Attempts at providers, by what went wrong.", self._tried),
            ("call_errors_total", "Calls that failed, by provider and error.", self._failed),
        ):
            lines += family(name, "counter", text)
            for (provider, error), number in sorted(found.items()):
                labels = f'provider="{escape(provider)}",error="{error}"'
                lines.append(f"ferryman_{name}{{{labels}}} {number}")
        text = "Calls that guards have looked at, by what came of it."
        lines += family("guard_verdicts_total", "counter", text)
        for (guard, stage, action), number in sorted(self._judged.items()):
            labels = f'guard="{escape(guard)}",stage="{stage}",action="{action}"'
            lines.append(f"ferryman_guard_verdicts_total{{{labels}}} {number}")
        named = [
            (f'endpoint="{e}",provider="{escape(p)}",model="{escape(m)}",status="{s}"', series)
            for (e, p, m, s), series in sorted(self._series.items())
        ]
        for name, kind, text, write in FAMILIES:
            lines += family(name, kind, text)
            for start in range(0, len(named), SLICE):
                for labels, series in named[start : start + SLICE]:
                    write(lines, f"ferryman_{name}", labels, series)
                yield _text(lines)
                lines = []
        yield _text(lines)


def bucket(bounds: tuple[float, ...], value: float) -> int:
    """Index of the first bound that is not below ``value``."""
    at = 0
    for bound in bounds:
        if value <= bound:
            break
        at += 1
    return at


def family(name: str, kind: str, text: str) -> list[str]:
    """The two lines above a family of metrics; ``name`` without the ``ferryman_`` of all."""
    return [f"# HELP ferryman_{name} {text}", f"# TYPE ferryman_{name} {kind}"]


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode() if lines else b""


def _counter(field: str) -> Writer:
    def write(lines: list[str], name: str, labels: str, series: Series) -> None:
        lines.append(f"{name}{{{labels}}} {getattr(series, field)}")

    return write


def _tokens(lines: list[str], name: str, labels: str, series: Series) -> None:
    for token_class, count in zip(_COUNTS, series.tokens, strict=True):
        if count:
            lines.append(f'{name}{{{labels},class="{token_class}"}} {count}')


def _call_seconds(lines: list[str], name: str, labels: str, series: Series) -> None:
    count = buckets(lines, name, labels, BUCKETS, series.seconds)
    lines.append(f"{name}_sum{{{labels}}} {series.seconds_sum:.6f}")
    lines.append(f"{name}_count{{{labels}}} {count}")
    native.write(lines, name, labels, series.seconds_native)


def _first_token_seconds(lines: list[str], name: str, labels: str, series: Series) -> None:
    if any(series.first):
        count = buckets(lines, name, labels, BUCKETS, series.first)
        lines.append(f"{name}_sum{{{labels}}} {series.first_sum:.6f}")
        lines.append(f"{name}_count{{{labels}}} {count}")
        native.write(lines, name, labels, series.first_native)


def _overhead_seconds(lines: list[str], name: str, labels: str, series: Series) -> None:
    count = buckets(lines, name, labels, OVERHEAD_BUCKETS, series.overhead)
    lines.append(f"{name}_count{{{labels}}} {count}")
    native.write(lines, name, labels, series.overhead_native, series.overhead_sum)


def buckets(
    lines: list[str], name: str, labels: str, bounds: tuple[float, ...], counts: list[int]
) -> int:
    """Add the buckets of one histogram to a page; returns how many values it has counted."""
    running = 0
    before = f"{labels}," if labels else ""
    for bound, count in zip((*bounds, "+Inf"), counts, strict=True):
        running += count
        lines.append(f'{name}_bucket{{{before}le="{bound}"}} {running}')
    return running


FAMILIES: tuple[tuple[str, str, str, Writer], ...] = (
    ("calls_total", "counter", "Finished calls.", _counter("calls")),
    (
        "failed_attempts_total",
        "counter",
        "Attempts at an upstream that failed, under the call that made them.",
        _counter("failed_attempts"),
    ),
    ("tokens_total", "counter", "Tokens by class; the classes are disjoint.", _tokens),
    ("cost_picodollars_total", "counter", "Cost in 1e-12 USD.", _counter("cost")),
    (
        "cost_unknown_calls_total",
        "counter",
        "Calls whose cost is unknown: unpriced model or no usage.",
        _counter("cost_unknown"),
    ),
    (
        "usage_unknown_calls_total",
        "counter",
        "Calls whose usage the provider did not say.",
        _counter("usage_unknown"),
    ),
    ("call_seconds", "histogram", "Whole duration of calls.", _call_seconds),
    (
        "first_token_seconds",
        "histogram",
        "Time to the first token of streams.",
        _first_token_seconds,
    ),
    ("overhead_seconds", "histogram", "Time spent in the gateway itself.", _overhead_seconds),
)


def escape(label: str) -> str:
    """``label`` as the value of a label."""
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
