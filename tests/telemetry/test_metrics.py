"""The page of counters, read by the rules of the text format."""

import re
from collections import defaultdict
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.ir.tally import Tally
from ferryman.ir.usage import Usage
from ferryman.telemetry.metrics import MAX_SERIES, Metrics
from ferryman.telemetry.record import Attempt, Closed, Labels, Opened

LABELS = ("chat.completions", "lab", "m", 200)
_SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$')
_LABEL = re.compile(r'(\w+)="((?:[^"\\\n]|\\["\\n])*)"')

Page = dict[str, dict[tuple[tuple[str, str], ...], float]]


def read(page: bytes) -> Page:
    """Samples by name and labels. Fails on anything that the text format forbids:
    https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    text = page.decode()
    assert text.endswith("\n")
    kinds: dict[str, str] = {}
    found: Page = defaultdict(dict)
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            assert len(line.split(" ", 3)) == 4
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds, "a family stands in one place"
            assert kind in ("counter", "gauge", "histogram")
            kinds[name] = kind
            continue
        sample = _SAMPLE.match(line)
        assert sample, line
        name, labels, value = sample[1], sample[2] or "", float(sample[3])
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        kind = kinds[name] if name in kinds else kinds[family]
        assert list(kinds)[-1] in (name, family), "after its own TYPE line"
        assert kind != "counter" or name.endswith("_total")
        key = tuple((n, _plain(v)) for n, v in _LABEL.findall(labels))
        assert key not in found[name], "every sample once"
        found[name][key] = value
    for family, kind in kinds.items():
        if kind == "histogram":
            _check_histogram(found, family)
    return found


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value)


def _check_histogram(found: Page, family: str) -> None:
    series: dict[Any, list[tuple[float, float]]] = defaultdict(list)
    for key, value in found[f"{family}_bucket"].items():
        bound = dict(key)["le"]
        series[tuple(p for p in key if p[0] != "le")].append((float(bound), value))
    assert set(series) == set(found[f"{family}_count"])
    for key, buckets in series.items():
        assert buckets == sorted(buckets), "bounds grow, and counts with them"
        assert buckets[-1][0] == float("inf")
        assert buckets[-1][1] == found[f"{family}_count"][key]


def page(metrics: Metrics) -> Page:
    return read(b"".join(metrics.render(3)))


def test_an_empty_page_is_sound() -> None:
    found = page(Metrics())
    assert found["ferryman_client_connections"] == {(): 3}
    assert found["ferryman_in_flight_calls"] == {(): 0}


def test_calls_are_counted_by_what_became_of_them() -> None:
    metrics = Metrics()
    usage = Tally(Usage(input=10, cache_read=2, output=3, reasoning=4))
    metrics.closed(LABELS, 0.3, 0.0002, usage, 700, False, 1)
    metrics.closed(LABELS, 7.0, 0.0002, usage, 300, False, 0)
    metrics.closed(("embeddings", "lab", "e", 502), 0.001, 5.0, None, None, True, 2)
    found = page(metrics)
    chat = (
        ("endpoint", "chat.completions"),
        ("provider", "lab"),
        ("model", "m"),
        ("status", "200"),
    )
    lost = (("endpoint", "embeddings"), ("provider", "lab"), ("model", "e"), ("status", "502"))
    assert found["ferryman_calls_total"] == {chat: 2, lost: 1}
    assert found["ferryman_cost_picodollars_total"] == {chat: 1000, lost: 0}
    assert found["ferryman_cost_unknown_calls_total"] == {chat: 0, lost: 1}
    assert found["ferryman_usage_unknown_calls_total"] == {chat: 0, lost: 1}
    assert found["ferryman_failed_attempts_total"] == {chat: 1, lost: 2}
    tokens = {key[-1][1]: value for key, value in found["ferryman_tokens_total"].items()}
    assert tokens == {"input": 20, "cache_read": 4, "output": 6, "reasoning": 8}
    seconds = found["ferryman_call_seconds_bucket"]
    assert seconds[(*chat, ("le", "0.25"))] == 0
    assert seconds[(*chat, ("le", "0.5"))] == 1
    assert seconds[(*chat, ("le", "10.0"))] == 2
    assert found["ferryman_call_seconds_sum"][chat] == 7.3
    assert found["ferryman_overhead_seconds_bucket"][(*lost, ("le", "0.25"))] == 0
    assert found["ferryman_overhead_seconds_bucket"][(*lost, ("le", "+Inf"))] == 1


def test_a_time_on_a_bound_belongs_to_its_bucket() -> None:
    metrics = Metrics()
    metrics.closed(LABELS, 0.005, 0.0001, None, None, True, 0)
    for name, bound in (("call_seconds", "0.005"), ("overhead_seconds", "0.0001")):
        buckets = page(metrics)[f"ferryman_{name}_bucket"]
        [value] = [v for key, v in buckets.items() if dict(key)["le"] == bound]
        assert value == 1


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_name_breaks_the_page(provider: str, model: str) -> None:
    metrics = Metrics()
    try:
        (provider + model).encode()
    except UnicodeEncodeError:
        return  # JSON decoders let no lone surrogates in
    metrics.closed(("chat.completions", provider, model, 200), 1, 0, None, 5, False, 0)
    [key] = page(metrics)["ferryman_calls_total"]
    assert dict(key)["provider"] == provider
    assert dict(key)["model"] == model


def test_callers_cannot_make_endless_labels() -> None:
    metrics = Metrics()
    for number in range(MAX_SERIES + 500):
        metrics.closed(("chat.completions", "lab", f"m{number}", 404), 0, 0, None, None, True, 1)
    calls = page(metrics)["ferryman_calls_total"]
    assert len(calls) == MAX_SERIES + 1
    assert sum(calls.values()) == MAX_SERIES + 500
    [other] = [value for key, value in calls.items() if dict(key)["model"] == "other"]
    assert other == 500


def test_the_page_comes_in_pieces_that_are_not_long() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.closed(
            ("chat.completions", "lab", f"m{number}", 200), 0, 0, Tally(Usage(1)), 1, False, 0
        )
    pieces = list(metrics.render(0))
    assert len(pieces) > 20
    assert max(piece.count(b"\n") for piece in pieces) < 2500
    read(b"".join(pieces))


@pytest.mark.parametrize(
    "record",
    [
        Opened("req_1", 5, "key_1", "chat.completions", "fast", "lab", "m", 2**63 - 1),
        Closed("req_1", 5, 7, "key_1", "embeddings", "fast", "lab", "m", True, 200, "",
               Usage(1, 2, 3, 4, 5, 6, 7, 8), 9, (Attempt("lab", "m", 200, "", 1, 2, 3),), 4, 5),
        Closed("req_1", 5, 7, "key_1", "embeddings", "fast", "", "", False, 499),
    ],
)  # fmt: skip
def test_records_survive_the_journals_encoding(record: Opened | Closed) -> None:
    encoded = msgspec.msgpack.encode(record)
    assert msgspec.msgpack.decode(encoded, type=type(record)) == record


def test_records_of_older_versions_are_still_read() -> None:
    old = ["req_1", 5, 7, "key_1", "embeddings", "fast", "lab", "m", True, 200, "", None, 9,
           [["lab", "m", 200, "", 1, 2, 3, "", [], [], None, None, True, "", None]], 4, 5, "", [],
           0, "", None, None, "", [*[""] * 3, [], {}, *[""] * 3], None]  # fmt: skip
    read_again = msgspec.msgpack.decode(msgspec.msgpack.encode(old), type=Closed)
    assert read_again.labels == Labels()
    assert read_again.attempts == (Attempt("lab", "m", 200, "", 1, 2, 3),)
    assert (read_again.client, read_again.trace, read_again.verdicts) == ("", None, ())
