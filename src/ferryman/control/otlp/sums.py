"""What calls add up to, as OTLP metrics: histograms by operation, provider, model and error."""

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA,
    Metric,
)

from ferryman.control.otlp.names import Names
from ferryman.control.otlp.spans import Value, operation, provider, put
from ferryman.telemetry.metrics import bucket
from ferryman.telemetry.record import Closed

MAX_SERIES: Final = 2000
"""Most sets of attributes; what comes later counts under ``otel.metric.overflow``:
https://opentelemetry.io/docs/specs/otel/metrics/sdk/#cardinality-limits"""
SECONDS: Final = tuple(0.01 * 2**power for power in range(14))
"""The bounds that the conventions ask for, like the next two."""
TOKENS: Final = tuple(float(4**power) for power in range(14))
FIRST: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0
)  # fmt: skip
Which = tuple[str, str, str, str, str]
"""Operation, provider, model asked for, model that answered, error."""
OTHER: Final[Which] = ("", "", "", "", "")


class Histogram:
    """Counts of values by bucket."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bucket(self.bounds, value)] += 1
        self.total += value


class Series:
    """What is counted of one set of attributes."""

    __slots__ = ("cost", "failed", "first", "input", "output", "seconds")

    def __init__(self) -> None:
        self.seconds = Histogram(SECONDS)
        self.first = Histogram(FIRST)
        self.input = Histogram(TOKENS)
        self.output = Histogram(TOKENS)
        self.cost = 0
        self.failed = 0


class Sums:
    """All series; one thread at a time uses them."""

    def __init__(self) -> None:
        self.since = time.time_ns()
        self.series: dict[Which, Series] = {}

    def add(self, call: Closed) -> None:
        """Count a call."""
        which = (operation(call), provider(call), call.model, call.target, call.error)
        series = self.series.get(which)
        if series is None:
            if len(self.series) >= MAX_SERIES:
                which = OTHER
            series = self.series.setdefault(which, Series())
        series.seconds.add(max(call.duration_us, 0) / 1e6)
        if call.first_token_us >= 0:
            series.first.add(call.first_token_us / 1e6)
        if (used := call.usage) is not None and used.total_input + used.total_output:
            series.input.add(used.total_input)
            series.output.add(used.total_output)
        series.cost += call.cost or 0
        series.failed += sum(bool(each.error) for each in call.attempts)


class _Point(NamedTuple):
    """What all points of a sending have in common."""

    since: int
    now: int
    names: Names


def metrics_of(sums: Sums, names: Names, *, delta: bool) -> list[Metric]:
    """``sums`` as metrics; ``delta``: they begin anew after each sending."""
    kind = AGGREGATION_TEMPORALITY_DELTA if delta else AGGREGATION_TEMPORALITY_CUMULATIVE
    point = _Point(sums.since, time.time_ns(), names)
    tokens = Metric(name=names.token_usage, unit="{token}")
    duration = Metric(name=names.duration, unit="s")
    first = Metric(name=names.time_to_first, unit="s")
    spent = Metric(name=names.spent, unit="{USD}")
    failed = Metric(name=names.failed_attempts, unit="{attempt}")
    for histogram in (tokens, duration, first):
        histogram.histogram.aggregation_temporality = kind
    for total in (spent, failed):
        total.sum.aggregation_temporality = kind
        total.sum.is_monotonic = True
    for which, series in sums.series.items():
        said = _said(which, names)
        _measured(tokens, series.input, {**said, names.token_type: "input"}, point)
        _measured(tokens, series.output, {**said, names.token_type: "output"}, point)
        _measured(duration, series.seconds, said, point)
        _measured(first, series.first, said, point)
        _counted(spent, said, point).as_double = series.cost / 1e12
        _counted(failed, said, point).as_int = series.failed
    return [tokens, duration, first, spent, failed]


def _said(which: Which, names: Names) -> dict[str, Value]:
    if which == OTHER:
        return {names.overflow: True}
    keys: Sequence[str] = (
        names.operation, names.provider, names.request_model, names.response_model, names.error
    )  # fmt: skip
    return dict(zip(keys, which, strict=True))


def _measured(metric: Metric, found: Histogram, said: dict[str, Value], point: _Point) -> None:
    count = sum(found.counts)
    if not count:
        return
    made = metric.histogram.data_points.add(
        start_time_unix_nano=point.since,
        time_unix_nano=point.now,
        count=count,
        sum=found.total,
        bucket_counts=found.counts,
        explicit_bounds=found.bounds,
    )
    put(made.attributes, said)


def _counted(metric: Metric, said: dict[str, Value], point: _Point) -> Any:
    made = metric.sum.data_points.add(start_time_unix_nano=point.since, time_unix_nano=point.now)
    put(made.attributes, said)
    return made
