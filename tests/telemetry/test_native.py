"""Native histograms: bounds by their definition, and pages as protobuf's own library reads them."""

import io
import math
from collections import defaultdict
from fractions import Fraction
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.proto import parse_length_prefixed
from hypothesis import given
from hypothesis import strategies as st

from ferryman.edge.exposition import prefers_protobuf
from ferryman.edge.siblings import counters, merged
from ferryman.ir.tally import Tally
from ferryman.ir.usage import Usage
from ferryman.telemetry.metrics import Metrics
from ferryman.telemetry.native import HIGHEST, ZERO, ZERO_THRESHOLD, number_of, without
from ferryman.telemetry.protobuf import encoded
from ferryman.telemetry.queues import QueueCounts, render
from tests.telemetry.test_metrics import read

MESSAGES = {
    "LabelPair": "1 name string, 2 value string",
    "Gauge": "1 value double",
    "Counter": "1 value double",
    "Bucket": "1 cumulative_count uint64, 2 upper_bound double",
    "BucketSpan": "1 offset sint32, 2 length uint32",
    "Histogram": "1 sample_count uint64, 2 sample_sum double, 3 bucket Bucket, 5 schema sint32, "
    "6 zero_threshold double, 7 zero_count uint64, 12 positive_span BucketSpan, "
    "13 positive_delta sint64",
    "Metric": "1 label LabelPair, 2 gauge Gauge, 3 counter Counter, 7 histogram Histogram",
    "MetricFamily": "1 name string, 2 help string, 3 type int32, 4 metric Metric",
}
"""Of https://github.com/prometheus/client_model, as far as we send them."""
REPEATED = ("label", "bucket", "positive_span", "positive_delta", "metric")
KINDS = ("counter", "gauge", "", "", "histogram")
CHAT = ("chat.completions", "lab", 'a "model"\n\\', 200)
SECONDS = st.floats(0, 20_000, allow_subnormal=False) | st.floats(0, 1e-3) | st.floats(0.5, 2)


def _family() -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="m.proto", package="m", syntax="proto2")
    for message, text in MESSAGES.items():
        made = file.message_type.add(name=message)
        for number, name, kind in (each.split() for each in text.split(", ")):
            label = field.LABEL_REPEATED if name in REPEATED else field.LABEL_OPTIONAL
            added = made.field.add(name=name, number=int(number), label=label)
            if kind in MESSAGES:
                added.type, added.type_name = field.TYPE_MESSAGE, f".m.{kind}"
            else:
                added.type = field.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("m.MetricFamily"))


FAMILY = _family()


def families(page: bytes) -> dict[str, Any]:
    """The messages of a page by name; nothing in them may be unknown."""
    stream, found = io.BytesIO(page), {}
    while stream.tell() < len(page):
        family = parse_length_prefixed(FAMILY, stream)
        again = family.SerializeToString()
        family.DiscardUnknownFields()
        assert family.SerializeToString() == again
        assert family.name not in found
        found[family.name] = family
    return found


def buckets(histogram: Any) -> dict[int, int]:
    """Bucket → values, as https://prometheus.io/docs/specs/native_histograms/ says."""
    assert histogram.schema == 3
    assert histogram.zero_threshold == ZERO_THRESHOLD
    found, number, count = {}, 0, 0
    deltas = iter(histogram.positive_delta)
    for span in histogram.positive_span:
        number += span.offset
        for _ in range(span.length):
            count += next(deltas)
            found[number] = count
            number += 1
    assert next(deltas, None) is None
    if histogram.zero_count:
        found[ZERO] = histogram.zero_count
    assert sum(found.values()) == histogram.sample_count
    return found


def flat(page: bytes) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """The samples of a page as the text format has them."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = defaultdict(dict)
    for name, family in families(page).items():
        for metric in family.metric:
            key = tuple((label.name, label.value) for label in metric.label)
            kind = KINDS[family.type]
            if kind != "histogram":
                found[name][key] = getattr(metric, kind).value
                continue
            found[f"{name}_count"][key] = metric.histogram.sample_count
            found[f"{name}_sum"][key] = metric.histogram.sample_sum
            for bucket in metric.histogram.bucket:
                bound = str(bucket.upper_bound).replace("inf", "+Inf")
                found[f"{name}_bucket"][(*key, ("le", bound))] = bucket.cumulative_count
    return found


def text(metrics: Metrics) -> bytes:
    return b"".join(metrics.render(3))


def metrics_of(times: list[tuple[float, float, float]], *, native: bool = True) -> Metrics:
    """What calls count that took so long, with so much overhead, and so long to the first token."""
    metrics = Metrics()
    metrics.native = native
    for seconds, overhead, first in times:
        metrics.closed(CHAT, seconds, overhead, Tally(Usage(5)), 10**17, False, 1, first, "timeout")
    return metrics


# -- bounds ---------------------------------------------------------------------------------------


def holds(number: int, seconds: float) -> bool:
    """Whether the value is in that bucket, by the definition and exactly."""
    eighth = Fraction(seconds) ** 8
    return Fraction(2) ** (number - 1) < eighth <= Fraction(2) ** number


@given(st.floats(ZERO_THRESHOLD, 2.0**13, exclude_min=True))
def test_a_value_is_in_the_bucket_that_the_definition_says(seconds: float) -> None:
    assert holds(number_of(seconds), seconds)


@pytest.mark.parametrize("number", range(ZERO, HIGHEST))
def test_the_bounds_are_exact(number: int) -> None:
    bound = 2.0 ** (number / 8)
    while Fraction(bound) ** 8 > Fraction(2) ** number:
        bound = math.nextafter(bound, 0)
    while Fraction(math.nextafter(bound, 9e9)) ** 8 <= Fraction(2) ** number:
        bound = math.nextafter(bound, 9e9)
    assert (number_of(bound), number_of(math.nextafter(bound, 9e9))) == (number, number + 1)


def test_values_past_the_ends_are_in_the_outermost_buckets() -> None:
    assert {number_of(value) for value in (-1, 0, 5e-324, ZERO_THRESHOLD)} == {ZERO}
    assert {number_of(value) for value in (2.0**13, 9e9, math.inf)} == {HIGHEST}


# -- pages ----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(SECONDS, SECONDS, st.just(-1.0) | SECONDS), max_size=30))
def test_protobuf_says_all_that_the_text_says_and_each_native_bucket(times: Any) -> None:
    page = text(metrics_of(times))
    plain, binary = read(without(page)), b"".join(encoded(page))
    assert without(page) == text(metrics_of(times, native=False))
    found = flat(binary)
    for name, samples in plain.items():
        assert found.pop(name, {}) == samples, name
    left = {name for name, samples in found.items() if samples}
    assert left <= {"ferryman_overhead_seconds_sum"}  # the text has none
    for place, name in enumerate(("call_seconds", "overhead_seconds", "first_token_seconds")):
        wanted: dict[int, int] = defaultdict(int)
        values = [each[place] for each in times if each[place] >= 0]
        for value in values:
            wanted[number_of(value)] += 1
        metric = families(binary)[f"ferryman_{name}"].metric
        assert [buckets(each.histogram) for each in metric] == ([wanted] if values else [])
        for each in metric:
            assert each.histogram.sample_sum == pytest.approx(sum(values), abs=1e-6)
    if times:
        [ratio] = families(binary)["ferryman_token_estimate_ratio"].metric
        assert not ratio.histogram.positive_span


def test_what_waited_in_queues_is_there_too() -> None:
    counts, idle = QueueCounts(), QueueCounts()
    for seconds in (0.3, 0.3, 7.0):
        counts.waited(seconds, finely=True)
    page = render({"lab": (1, 2, counts), "spare": (0, 0, idle)}, 4)
    lab, spare = families(b"".join(encoded(page)))["ferryman_queue_seconds"].metric
    assert buckets(lab.histogram) == {number_of(0.3): 2, number_of(7.0): 1}
    assert lab.histogram.sample_sum == 7.6
    assert buckets(spare.histogram) == {}
    read(without(page))


def test_workers_are_added_up_also_those_that_are_gone() -> None:
    one = text(metrics_of([(0.3, 0.0, -1), (0.3, 0.001, -1)]))
    two = text(metrics_of([(0.3, 0.0, 2.0), (8.0, 0.0, -1)]))
    other = text(metrics_of([(0.3, 0.0, -1)])).replace(b'provider="lab"', b'provider="spare"')
    page = merged([one, counters(merged([two, other])), b""])
    found = families(b"".join(encoded(page)))
    lab, spare = found["ferryman_call_seconds"].metric
    assert buckets(lab.histogram) == {number_of(0.3): 3, number_of(8.0): 1}
    assert buckets(spare.histogram) == {number_of(0.3): 1}
    lab, spare = found["ferryman_overhead_seconds"].metric
    assert buckets(lab.histogram) == {ZERO: 3, number_of(0.001): 1}
    assert lab.histogram.sample_sum == 0.001
    assert without(page) == merged([without(one), without(counters(merged([two, other]))), b""])


def test_what_was_counted_without_native_buckets_is_in_the_zero_bucket() -> None:
    metrics = metrics_of([(0.3, 0.1, 0.2)] * 5, native=False)
    metrics.native = True
    metrics.closed(CHAT, 0.3, 0.1, None, None, True, 0)
    [metric] = families(b"".join(encoded(text(metrics))))["ferryman_call_seconds"].metric
    assert buckets(metric.histogram) == {ZERO: 5, number_of(0.3): 1}


def test_names_with_odd_line_ends_break_no_page() -> None:
    metrics = metrics_of([(0.3, 0.1, -1)])
    metrics.closed(("embeddings", "lab", "a\u2028b\x85c\rd", 200), 1, 0, None, 5, False, 0)
    page = merged([text(metrics), counters(text(metrics))])
    odd, _ = sorted(families(b"".join(encoded(page)))["ferryman_calls_total"].metric,
                    key=lambda metric: str(metric.label[0].value), reverse=True)  # fmt: skip
    assert odd.label[2].value == "a\u2028b\x85c\rd"
    assert odd.counter.value == 2


# -- who gets them --------------------------------------------------------------------------------

ASKED = (
    b"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (ASKED, True),
        (ASKED + b",application/openmetrics-text;version=1.0.0;q=0.8,"
         b"application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,"
         b"*/*;q=0.1", True),
        (b"text/plain; version=0.0.4; q=0.5, " + ASKED.replace(b";", b" ; ") + b"; Q=0.6", True),
        (ASKED + b";q=0.3, text/plain;q=0.2, */*", True),
        (ASKED + b";q=0.3, text/*;q=0.4, */*;q=0", False),
        (ASKED + b", */*", False),
        (ASKED + b";q=0", False),
        (ASKED + b";q=2", False),
        (ASKED.replace(b"delimited", b"text"), False),
        (ASKED.replace(b"MetricFamily", b"Metric"), False),
        (b"application/vnd.google.protobuf, text/plain;q=0.1", False),
        (b"text/plain", False),
        (b"*/*", False),
        (b"", False),
        (b";;q=,=;,\xff", False),
    ],
)  # fmt: skip
def test_protobuf_is_for_who_prefers_it(accept: bytes, wanted: bool) -> None:
    assert prefers_protobuf(accept) == wanted
