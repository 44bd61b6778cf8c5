"""What receivers of OTLP get, over HTTP and gRPC, from a whole Ferryman; and what becomes of it
when they are slow, refuse, or are not there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ferryman.telemetry.spans import attempt_span, call_span, trace_id
from tests.control.receiver import Receiver, said
from tests.flow.test_tracing import ID, PARENT, SPAN
from tests.gateway import KEY, LAB_KEY, Stack
from tests.processes import request, until
from tests.telemetry.test_metrics import Page, read

CONFIG = """\
telemetry:
  otlp:
    endpoint: RECEIVER
    protocol: PROTOCOL
    headers: { x-team: ferry, authorization: env:OTLP_AUTH }
    metrics_every: 1s
    attributes: { deployment.environment.name: test }
    SAMPLING
providers:
  lab: { base_url: SIM/v1, key: env:LAB_KEY, prices: { sim: { input: 1, output: 2 } } }
  dead: { base_url: "http://127.0.0.1:1/v1", auth: none }
models:
  two: { targets: [dead/sim, lab/sim] }
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.end()


def configured(url: str, protocol: str = "http/protobuf", sampling: str = "") -> str:
    config = CONFIG.replace("RECEIVER", url).replace("PROTOCOL", protocol)
    return config.replace("SAMPLING", sampling)


def control_page(stack: Stack) -> Page:
    url = (stack.data / "admin-url").read_text().strip()
    return read(request(url, "GET", "/metrics", token=stack.metrics_token).body)


def count(stack: Stack, name: str, **labels: str) -> float:
    return control_page(stack)[f"ferryman_otlp_{name}"].get(tuple(labels.items()), 0)


def by_name(spans: list[Any], request_id: str | None) -> list[Any]:
    """The spans of a call: its own first."""
    assert request_id
    [mine] = [span for span in spans if said(span).get("ferryman.request_id") == request_id]
    return [mine, *(span for span in spans if span.parent_span_id == mine.span_id)]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_calls_arrive_as_spans_metrics_and_logs(
    tmp_path: Path, receiver: Receiver, protocol: str
) -> None:
    grpc = protocol == "grpc"
    config = configured(receiver.grpc_url if grpc else receiver.url, protocol, "compression: gzip")
    opted = {} if grpc else {"OTEL_SEMCONV_STABILITY_OPT_IN": "http,gen_ai_latest_experimental"}
    canary = "canary-of-a-prompt"
    with Stack(tmp_path, config, OTLP_AUTH="Basic c2VjcmV0", **opted).served() as stack:
        sent = {
            "traceparent": PARENT, "tracestate": "a=1", "x-ferryman-run-id": "run-7",
            "x-ferryman-metadata": '{"task": "sum", "tier": 2}',
        }  # fmt: skip
        asked: dict[str, Any] = {"messages": [{"role": "user", "content": canary}]}
        good = stack.stream("two", headers=sent, **asked)
        bad = stack.chat("lab/sim-500", **asked)
        assert (good.status, bad.status) == (200, 500)
        names = ("gen_ai.client.token.usage", "ferryman.cost")
        until(lambda: receiver.logs() and len(receiver.spans()) >= 5, "spans and logs")
        until(lambda: all(name in receiver.metrics() for name in names), "metrics")
        good_id = good.header("x-ferryman-request-id") or ""
        row = stack.row(good)
        until(lambda: len(receiver.metrics()["ferryman.cost"].sum.data_points) == 2, "both")
        assert stack.up.stop() == 0

    _check_spans(receiver, good_id, row, latest=bool(opted))
    _check_failure(receiver, bad.header("x-ferryman-request-id") or "")
    _check_metrics(receiver, row, latest=bool(opted))
    resource = next(
        m.resource_spans[0].resource for _, m in receiver.messages if hasattr(m, "resource_spans")
    )
    assert said(resource)["service.name"] == "ferryman"
    assert said(resource)["deployment.environment.name"] == "test"
    assert receiver.headers["authorization"] == "Basic c2VjcmV0"
    everything = str(receiver.messages) + "".join(stack.up.lines)
    for secret in (canary, KEY, LAB_KEY):
        assert secret not in everything


def _check_spans(receiver: Receiver, good_id: str, row: dict[str, Any], *, latest: bool) -> None:
    call, first, second = by_name(receiver.spans(), good_id)
    assert (call.trace_id.hex(), call.parent_span_id.hex(), call.trace_state) == (ID, SPAN, "a=1")
    assert call.span_id.hex() == call_span(good_id)
    assert call.name == "chat two"
    found = said(call)
    system = "gen_ai.provider.name" if latest else "gen_ai.system"
    assert found[system] == "lab"
    assert ("gen_ai.system" in found) != latest
    assert (found["gen_ai.request.model"], found["gen_ai.response.model"]) == ("two", "sim")
    assert found["gen_ai.usage.input_tokens"] == row["tokens"]["input"]
    assert found["ferryman.cost_picodollars"] == round(float(row["cost_usd"]) * 1e12)
    assert found["gen_ai.conversation.id" if latest else "session.id"] == "run-7"
    assert found["ferryman.metadata.tier"] == "2"
    assert found["gen_ai.request.stream"] is True
    assert [event.name for event in call.events] == ["ferryman.fallback"]
    assert said(call.events[0])["ferryman.because"] == "upstream_unreachable"
    assert [said(span).get("ferryman.provider") for span in (first, second)] == ["dead", "lab"]
    assert said(first)["error.type"] == "upstream_unreachable"
    assert first.status.code == 2
    assert call.start_time_unix_nano <= first.start_time_unix_nano <= second.start_time_unix_nano
    assert second.end_time_unix_nano <= call.end_time_unix_nano
    start_us = (second.start_time_unix_nano - call.start_time_unix_nano) // 1000
    assert second.span_id.hex() == attempt_span(good_id, "lab", "sim", start_us)


def _check_failure(receiver: Receiver, bad_id: str) -> None:
    failed, *_ = by_name(receiver.spans(), bad_id)
    assert (failed.trace_id.hex(), failed.parent_span_id) == (trace_id(bad_id), b"")
    [log] = receiver.logs()
    assert (log.trace_id, log.span_id) == (failed.trace_id, failed.span_id)
    assert log.severity_text == "ERROR"
    assert said(log)["error.type"] == said(failed)["error.type"]


def _check_metrics(receiver: Receiver, row: dict[str, Any], *, latest: bool) -> None:
    metrics = receiver.metrics()
    [tokens] = [
        point.sum
        for point in metrics["gen_ai.client.token.usage"].histogram.data_points
        if said(point)["gen_ai.token.type"] == "input"
    ]
    assert tokens == row["tokens"]["input"]
    first = "gen_ai.client.operation.time_to_first_chunk"
    first = first if latest else "gen_ai.server.time_to_first_token"
    for name, count in ((first, 1), ("gen_ai.client.operation.duration", 2)):
        assert sum(point.count for point in metrics[name].histogram.data_points) == count
    cost = sum(point.as_double for point in metrics["ferryman.cost"].sum.data_points)
    assert cost == pytest.approx(float(row["cost_usd"]))


def test_what_is_sampled(tmp_path: Path, receiver: Receiver) -> None:
    """Nothing by chance; what the caller records, what failed, what was dear."""
    sampling = "sample: 0\n    signals: [traces]\n    always: { dearer_than: 0.001 }"
    config = configured(receiver.url, sampling=sampling)
    with Stack(tmp_path, config, OTLP_AUTH="x").served() as stack:
        plain = stack.chat("lab/sim")
        unrecorded = stack.chat("lab/sim", headers={"traceparent": PARENT[:-1] + "0"})
        kept = [
            stack.chat("lab/sim", headers={"traceparent": PARENT}),
            stack.chat("lab/sim-400"),
            stack.chat("lab/sim", messages=[{"role": "user", "content": "word " * 2000}]),
        ]
        assert [call.status for call in (plain, unrecorded)] == [200, 200]
        ids = {call.header("x-ferryman-request-id") for call in kept}
        found: set[str | None] = set()

        def arrived() -> bool:
            found.update(said(s).get("ferryman.request_id") for s in receiver.spans())
            return ids <= found

        until(arrived, "what is to be kept")
        assert found - {None} == ids
        assert {path for path, _ in receiver.messages} == {"/v1/traces"}


def test_a_receiver_that_fails_is_told_of_once_and_costs_no_row(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.statuses = [503, 429]
    receiver.rejected = 1
    sampling = "signals: [traces]"
    with Stack(
        tmp_path, configured(receiver.url, sampling=sampling), OTLP_AUTH="x"
    ).served() as stack:
        first = stack.chat("lab/sim")
        until(lambda: receiver.spans(), "the third try")
        assert receiver.refused == 2
        until(
            lambda: count(stack, "dropped_total", signal="traces", reason="rejected") == 1, "count"
        )
        assert count(stack, "sent_total", signal="traces") == 1, "of two spans"
        assert sum("does not take traces" in line for line in stack.up.lines) == 1
        receiver.rejected = 0
        receiver.statuses = [400]
        stack.chat("lab/sim")
        until(lambda: count(stack, "dropped_total", signal="traces", reason="refused") == 2, "gone")
        stack.chat("lab/sim")
        stack.up.wait_for("takes traces again")
        assert count(stack, "failing", signal="traces") == 0
        stack.write(configured("http://127.0.0.1:1", sampling=sampling))
        stack.up.wait_for("serving configuration", 2)
        last = stack.chat("lab/sim")
        until(lambda: count(stack, "failing", signal="traces") == 1, "nobody is there")
        for call in (first, last):
            assert stack.row(call)["status"] == 200
        assert sum("does not take traces" in line for line in stack.up.lines) == 2
        assert not any("Basic" in line for line in stack.up.lines)


def test_the_standard_variables_alone_are_enough(tmp_path: Path, receiver: Receiver) -> None:
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-team=ferry%20man",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_SERVICE_NAME": "kiosk",
    }
    config = "providers: { lab: { base_url: SIM/v1, auth: none } }"
    with Stack(tmp_path, config, **env).served() as stack:
        stack.chat("lab/sim-400")
        until(lambda: receiver.spans(), "a span")
        assert receiver.headers["x-team"] == "ferry man"
        [resource] = receiver.messages[0][1].resource_spans
        assert said(resource.resource)["service.name"] == "kiosk"
        assert {path for path, _ in receiver.messages} == {"/v1/traces"}
        assert json.loads(stack.get("/readyz").body)["status"] == "ready"
