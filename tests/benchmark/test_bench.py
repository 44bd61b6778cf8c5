"""Its parts, against a real simulator where sockets are involved; no figure is asserted."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import anthropic
import pytest
from bench import machine, plot, procs, report, stream_load, streams, translated, whole_load
from bench.gateways import request_body
from bench.page import text

from tests.processes import Process


def whole_round(cpu: float, **more: float) -> dict[str, float]:
    names = "rps_64 p50_64 p99_64 rps_1 p50_1 p99_1 control_us gateway_busy load_busy upstream_us"
    numbers = dict.fromkeys([*names.split(), "rss_mb", "ready_s"], 0.5)
    return numbers | {"data_us": cpu} | more


def stream_round(cpu: float, **more: float) -> dict[str, float]:
    names = "control_us chunks_per_read chunks_per_s gateway_busy load_busy delay_p50 delay_p99"
    names += " ttft_p50 ttft_p99 open finished cut stalled refused rss_mb"
    return dict.fromkeys(names.split(), 0.0) | {"chunk_us": cpu} | more


RESTING = ("ready_s", "data_mb", "control_mb", "p50_us", "p99_us")
RESULTS = {
    "machine": {"processor": "abacus"},
    "gateways": {"nginx": {"version": "1", "what": "a proxy"}},
    "left_out": {"bifrost": "not there"},
    "whole": {
        "direct": [whole_round(0)] * 3,
        "nginx": [whole_round(cpu, p99_1=100) for cpu in (20, 10, 30)],
        "ferryman": [whole_round(cpu, p99_1=300) for cpu in (50, 30, 75)],
    },
    "parts": {
        "bare": [whole_round(cpu) for cpu in (30, 40, 50)],
        "limits": [whole_round(cpu, p99_1=300) for cpu in (41, 49, 70)],
        "shared": [whole_round(90, p99_1=late) for late in (900, 1200, 5000)],
        "guards": [whole_round(cpu) for cpu in (41, 52, 70)],
        "observed": [whole_round(cpu) for cpu in (48, 56, 71)],
    },
    "stream": {
        "direct": [stream_round(0, delay_p99=1000)],
        "nginx": [stream_round(20, delay_p99=3000)],
        "ferryman": [stream_round(22, delay_p99=4000)],
    },
    "translated": {
        "direct": [stream_round(0, ttft_p99=500)] * 2,
        report.RELAY: [stream_round(cpu, ttft_p99=700) for cpu in (20, 10)],
        "gemini_generate → openai_chat": [
            stream_round(cpu, ttft_p99=late) for cpu, late in ((30, 1700), (24, 2100))
        ],
    },
    "guards": {
        "pii": {"whole_ms": 2.5, "streamed_ms": 9.0, "wait_p50_ms": 20.0, "wait_p99_ms": 99.0},
        "injection": {"whole_ms": 7.25},
    },
    "instructions": {
        "bare": {"instructions": 200_000.0},
        "limits": {"instructions": 250_000.0},
    },
    "ingestion": {
        "sqlite": [{"records": 30_000, "cpu_us": 9.5, "server_us": 0.0}] * 3,
        "postgresql": [
            {"records": rate, "cpu_us": 9.5, "server_us": 8.5} for rate in (9_000, 30_000, 8_000)
        ],
    },
    "many": {"ferryman": [stream_round(30, open=5000, rss_mb=300)]},
    "idle": {
        kind: {key: [1.0, 2.0, 9.0] for key in RESTING}
        for kind in ("few", "many")
    }
    | {"keys_start": 0.1, "keys_latency": 0.3},
}  # fmt: skip


def test_ratios_compare_within_a_round() -> None:
    # 2.5, 3.0 and 2.5 in the three rounds
    assert report.ratio(RESULTS["whole"], "ferryman", "data_us") == 2.5
    assert report.ratio(RESULTS["whole"], "ferryman", "data_us", base="nobody") is None


def test_bars_are_judged() -> None:
    found = {name.split(":")[0]: (shown, verdict) for name, shown, verdict in report.bars(RESULTS)}
    assert found["Whole answers"] == ("2.50×", "met")
    assert found["p99 at one connection ≤ 2× nginx"] == ("3.00×", "**not met**")
    assert found["Streams"] == ("1.10×", "met")
    assert found["Start to ready ≤ 1.5 s"] == ("2.00 s", "**not met**")
    assert found["100,000 keys change the start by ≤ 20 %"] == ("+10%", "met")
    assert found["100,000 keys change the latency by ≤ 20 %"] == ("+30%", "**not met**")
    assert found["5,000 streams through one process"] == ("none", "met")
    assert found["Limits and budgets in memory"] == ("11.0 µs", "**not met**")
    assert found["Traces, metrics and logs sent"] == ("7.0 µs", "**not met**")
    assert found["Guards that are there, but not for the call"] == ("0.0 µs", "met")
    assert found["Guards by rules"] == ("2.50 ms at worst", "**not met**")
    assert found["Guards by models"] == ("7.25 ms at worst", "met")
    assert found["Limits in Valkey on loopback"] == ("900.0 µs", "met")
    assert found["Ingestion into sqlite ≥ 20,000 records/s"] == ("30,000", "met")
    assert found["Ingestion into postgresql ≥ 10,000 records/s"] == ("9,000", "**not met**")
    assert found["Translated streams through the gateway"] == ("12.0 µs at worst", "met")
    assert found["… their first token"] == ("1.20 ms at worst", "**not met**")
    cut = RESULTS | {"many": {"ferryman": [stream_round(30, open=4990, cut=3)]}}
    assert ("13 broken or missing", "**not met**") in [row[1:] for row in report.bars(cut)]


def test_page_and_terminal_tell_the_same_numbers() -> None:
    page, terminal = text(RESULTS), report.summary(RESULTS)
    for part in ("50.0 (30.0–75.0)", "2.50×", "3.00 |", "300 MB", "+12.0", "9,000 (8,000–30,000)",
                 "| observed ", "+7.0", "99.00", "-20.0%"):  # fmt: skip
        assert part in page
        assert part in terminal
    assert "bifrost was left out: not there" in page


def test_plot_has_a_bar_for_each_gateway_and_no_ground(tmp_path: Path) -> None:
    plot.draw(RESULTS, tmp_path / "plot.svg")
    words = " ".join(ElementTree.parse(tmp_path / "plot.svg").getroot().itertext())
    assert words.count("ferryman") == words.count("nginx") == 2
    assert "direct" not in words


@pytest.mark.parametrize("model", ["m", "some/much-longer-model-name"])
def test_request_is_json_of_exactly_the_wanted_size(model: str) -> None:
    body = request_body(model, stream=True)
    assert len(body) == 250
    assert json.loads(body)["stream"] is True


def test_histogram_percentiles() -> None:
    histogram = stream_load.Histogram()
    for milliseconds in range(1, 101):
        histogram.add(milliseconds * 1_000_000)
    assert histogram.percentile(0.5) == pytest.approx(50_000, abs=20)
    assert histogram.percentile(0.99) == pytest.approx(99_000, abs=20)


def test_cpu_of_a_process_tree_counts_the_children() -> None:
    child = "[sys.executable, '-c', 'while True: pass']"
    spin = f"import subprocess, sys; subprocess.Popen({child}).wait()"
    popen = subprocess.Popen([sys.executable, "-c", spin])
    try:
        deadline = time.monotonic() + 30
        while procs.cpu_seconds(procs.tree(popen.pid)) < 0.5:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len(procs.tree(popen.pid)) == 2
        assert procs.rss_mb([popen.pid]) > 1
    finally:
        for pid in procs.tree(popen.pid):
            os.kill(pid, 9)
        popen.wait()


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[str]:
    process = Process(["ferryman.simulator", "--port", "0"], os.environ, tmp_path)
    yield process.wait_for(r"(http://\S+)/v1$")[1]
    process.end()


def test_own_generator_counts_what_arrived(
    simulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_load.shutil, "which", lambda name: None)
    url, body = simulator + "/v1/chat/completions", request_body("sim")
    load = whole_load.run(url, body, {}, connections=4, seconds=0.5, work=tmp_path)
    status, raw = procs.http(simulator + "/sim/stats")
    assert status == 200
    counted = json.loads(raw)["requests"]
    assert (
        load.requests <= counted <= load.requests + 4
    )  # at most one on the way on each connection
    assert (load.refused, load.failed) == (0, 0)
    assert load.p50_us <= load.p99_us
    refused = whole_load.run(
        url, request_body("sim-503"), {}, connections=2, seconds=0.2, work=tmp_path
    )
    assert refused.refused == refused.requests


PLAN = streams.Plan(rounds=1, streams=20, rate=50, tokens=10, ramp=0.2, warm=0.2, seconds=1)


def run_streams(port: int, model: str = "bench-1", plan: streams.Plan = PLAN) -> dict[str, float]:
    body = request_body(model, stream=True).decode()
    argv = [sys.executable, "-m", "bench.stream_load", "--port", str(port), "--body", body]
    for option in ("rate", "tokens", "ramp", "warm", "seconds"):
        argv += [f"--{option}", str(getattr(plan, option))]
    out = subprocess.run(
        [*argv, "--connections", str(plan.streams)], capture_output=True, text=True, check=True
    )
    assert out.stdout.splitlines()[:2] == ["start", "end"]
    found: dict[str, float] = json.loads(out.stdout.splitlines()[2])
    return found


def test_stream_upstream_and_load_agree(tmp_path: Path) -> None:
    upstream, port = streams.start_upstream(PLAN, tmp_path)
    try:
        found = run_streams(port)
        status, answer = procs.http(f"http://127.0.0.1:{port}/v1", body=b'{"include_usage": true}')
    finally:
        upstream.stop()
    assert not upstream.alive()
    assert (found["cut"], found["stalled"], found["refused"]) == (0, 0, {})
    assert found["most_open"] == 20
    assert found["chunks"] > 0
    assert found["finished"] > 0
    assert (status, answer.count(b"~")) == (200, 10)
    assert b'"completion_tokens":10' in answer


def test_the_streams_of_the_messages_format_are_such_to_its_sdk(tmp_path: Path) -> None:
    upstream, port = streams.start_upstream(PLAN, tmp_path, "anthropic_messages")
    sdk = anthropic.Anthropic(base_url=f"http://127.0.0.1:{port}", api_key="k", max_retries=0)
    asked: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    try:
        with sdk.messages.stream(**asked) as stream:
            words = list(stream.text_stream)
            message = stream.get_final_message()
    finally:
        upstream.stop()
    assert len(words) == 10
    assert all(re.fullmatch(r"#\d{16}~", word) for word in words)
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 10)


def test_translated_streams_arrive_whole_from_each_format_to_each(tmp_path: Path) -> None:
    found = translated.measure(PLAN, tmp_path)
    assert len(found) == 1 + len(translated.PAIRS)
    for rounds in found.values():
        [sample] = rounds
        assert (sample["cut"], sample["stalled"], sample["refused"]) == (0, 0, 0)
        assert sample["finished"] > 0
        assert sample["ttft_p99"] > 0


def test_load_notices_cut_and_refused_streams(simulator: str) -> None:
    port = int(simulator.rpartition(":")[2])
    assert run_streams(port, "sim-cut?tps=50&tokens=10")["cut"] > 0
    assert "HTTP/1.1 503 Service Unavailable" in run_streams(port, "sim-503")["refused"]


def test_machine_is_described() -> None:
    found = machine.describe()
    assert found["processor"]
    assert found["cores"][0].isdigit()
