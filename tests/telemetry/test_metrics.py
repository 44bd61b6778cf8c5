"""The metrics page: right numbers, bounded label sets, rendered in pieces."""

import re

from ferryman.ir.usage import Usage
from ferryman.telemetry.metrics import MAX_SERIES, SLICE, Metrics


def _page(metrics: Metrics) -> dict[str, float]:
    """Value by name and labels."""
    found = {}
    for line in b"".join(metrics.render(3)).decode().splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            assert name not in found, f"twice: {name}"
            found[name] = float(value)
    return found


def test_a_call_is_counted_in_every_family() -> None:
    metrics = Metrics()
    labels = ("chat.completions", "lab", "small", 200)
    metrics.closed(labels, 0.02, 0.0002, Usage(10, 3, 0, 0, 0, 5, 2), 77, 1)
    metrics.closed(labels, 300.0, 0.5, None, None, 0)
    page = _page(metrics)
    where = 'endpoint="chat.completions",provider="lab",model="small",status="200"'
    assert page[f"ferryman_calls_total{{{where}}}"] == 2
    assert page[f"ferryman_failed_attempts_total{{{where}}}"] == 1
    assert page[f"ferryman_cost_picodollars_total{{{where}}}"] == 77
    assert page[f"ferryman_cost_unknown_calls_total{{{where}}}"] == 1
    assert page[f"ferryman_usage_unknown_calls_total{{{where}}}"] == 1
    tokens = {
        re.findall('class="(\\w+)"', name)[0]: value
        for name, value in page.items()
        if "class" in name
    }
    assert tokens == {"input": 10, "cache_read": 3, "output": 5, "reasoning": 2}
    buckets = [v for name, v in page.items() if name.startswith("ferryman_call_seconds_bucket")]
    assert buckets == [0, 0, *[1] * 12, 2], "cumulative, the slow call in +Inf only"
    assert page[f"ferryman_call_seconds_count{{{where}}}"] == 2
    assert page[f"ferryman_call_seconds_sum{{{where}}}"] == 300.02
    assert page["ferryman_client_connections"] == 3


def test_what_callers_invent_does_not_grow_the_page_for_ever() -> None:
    metrics = Metrics()
    for number in range(MAX_SERIES + 500):
        metrics.closed(("embeddings", "lab", f"m{number}", 404), 0.01, 0.001, None, None, 0)
    page = _page(metrics)
    counts = {name: v for name, v in page.items() if name.startswith("ferryman_calls_total")}
    assert len(counts) == MAX_SERIES + 1
    assert sum(counts.values()) == MAX_SERIES + 500, "none is lost"
    assert counts[next(name for name in counts if 'model="other"' in name)] == 500


def test_a_name_can_not_break_the_page() -> None:
    metrics = Metrics()
    metrics.closed(("embeddings", "lab", 'a"b\\c\nd', 200), 0.01, 0.001, None, 0, 0)
    lines = b"".join(metrics.render(0)).decode().splitlines()
    assert any('model="a\\"b\\\\c\\nd"' in line for line in lines)


def test_no_piece_holds_more_than_a_slice() -> None:
    metrics = Metrics()
    for number in range(3 * SLICE):
        metrics.closed(("embeddings", "lab", f"m{number}", 200), 0.01, 0.001, None, 0, 0)
    pieces = list(metrics.render(0))
    assert len(pieces) > 3
    assert all(len(set(re.findall(b"m\\d+", piece))) <= SLICE for piece in pieces)
