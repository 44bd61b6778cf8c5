"""Parts of the exporter: the standard's variables, chance, bounds, what a journal may hold."""

import time
from typing import Any

import msgspec
import pytest

from ferryman.config.snapshot import Otlp, Snapshot, Telemetry
from ferryman.control.ingest import Exports
from ferryman.control.otlp import exporter
from ferryman.control.otlp.exporter import MOST_QUEUED, Exporter, sampled
from ferryman.control.otlp.messages import metrics, traces
from ferryman.control.otlp.names import LATEST, V1_36, names
from ferryman.control.otlp.settings import Sampling, Settings, SettingsError, settings_of
from ferryman.control.otlp.sums import MAX_SERIES, Sums
from ferryman.ir.usage import Usage
from ferryman.telemetry.record import Attempt, Closed, Dial, Labels, Trace, Verdict
from tests.control.receiver import Receiver, said
from tests.processes import until

BASE = "OTEL_EXPORTER_OTLP_ENDPOINT"


def call(number: int = 0, **more: Any) -> Closed:
    told: dict[str, Any] = {
        "id": f"req_{number}", "at_us": time.time_ns() // 1000, "duration_us": 1_500_000,
        "key": "key_1", "endpoint": "chat.completions", "model": "m", "provider": "lab",
        "target": "m", "stream": False, "status": 200, "usage": Usage(input=3, output=2),
        "cost": 5, "attempts": (Attempt("lab", "m", 200, "", 10, 20, 30),),
    }  # fmt: skip
    return Closed(**told | more)


def settings(env: dict[str, str], otlp: Otlp | None = None) -> Settings:
    found = settings_of(otlp, env, None)
    assert found is not None
    return found


def test_endpoints_are_as_the_standard_says() -> None:
    found = settings({BASE: "http://c:4318/otel/"}).receivers
    assert found["traces"].url == "http://c:4318/otel/v1/traces"
    assert set(found) == {"traces", "metrics", "logs"}
    own = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/x", "OTEL_EXPORTER_OTLP_TIMEOUT": "500"}
    found = settings(own).receivers
    assert {signal: each.url for signal, each in found.items()} == {"traces": "https://c/x"}
    assert found["traces"].timeout == 0.5
    grpc = {BASE: "c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert settings(grpc).receivers["logs"].url == "https://c:4317"
    insecure = grpc | {"OTEL_EXPORTER_OTLP_INSECURE": "true"}
    assert settings(insecure).receivers["logs"].url == "http://c:4317"
    file = Otlp(endpoint="http://file", protocol="http/protobuf")
    assert settings(grpc | own, file).receivers["traces"].url == "http://file/v1/traces"
    assert settings_of(None, {}, None) is None
    assert settings_of(file, {"OTEL_SDK_DISABLED": "true"}, None) is None


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ({BASE: "c:4318"}, "endpoint"),
        ({BASE: "http://c:port"}, "endpoint"),
        ({BASE: "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "PROTOCOL"),
        ({BASE: "http://c", "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "TIMEOUT"),
        ({BASE: "http://c", "OTEL_EXPORTER_OTLP_HEADERS": "a=b%0d%0ac"}, "header"),
    ],
)
def test_what_is_wrong_is_named(env: dict[str, str], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        settings_of(None, env, None)


def test_samplers_of_the_standard() -> None:
    def sampling(**env: str) -> Sampling:
        return settings({BASE: "http://c", **env}).sampling

    assert sampling() == Sampling()
    assert sampling(OTEL_TRACES_SAMPLER="always_off").share == 0
    ratio = sampling(OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.25")
    assert (ratio.share, ratio.follow_caller) == (0.25, False)
    assert sampling(OTEL_TRACES_SAMPLER="parentbased_traceidratio").follow_caller


def test_chance_keeps_the_part_that_is_wanted_and_the_same_everywhere() -> None:
    quarter = Sampling(share=0.25)
    kept = {number for number in range(4000) if sampled(call(number), quarter)}
    assert 850 < len(kept) < 1150
    assert kept < {number for number in range(4000) if sampled(call(number), Sampling(share=0.5))}
    unrecorded = Trace("0" * 16 + "f" * 16, "1" * 16, 0)
    assert not sampled(call(trace=unrecorded), Sampling())
    assert sampled(call(trace=unrecorded), Sampling(follow_caller=False, share=0.01))
    assert sampled(call(error="upstream_error"), Sampling(share=0))
    assert not sampled(call(error="upstream_error"), Sampling(share=0, errors=False))
    assert sampled(call(), Sampling(share=0, slower=1.5))
    assert not sampled(call(), Sampling(share=0, slower=1.6, dearer=6))
    assert sampled(call(), Sampling(share=0, dearer=5))


def test_opting_in() -> None:
    assert names("") == names("http") == V1_36
    assert names("http, gen_ai_latest_experimental") == LATEST


def test_series_and_queue_are_bounded_whatever_callers_make_up() -> None:
    sums = Sums()
    for number in range(MAX_SERIES + 300):
        labels = Labels(metadata={f"k{number}": f"v{number}"})
        sums.add(call(number, model=f"made-up-{number}", labels=labels))
    assert len(sums.series) == MAX_SERIES + 1
    message, _ = metrics(sums, settings({BASE: "http://c"}))
    [cost] = [m for m in message.resource_metrics[0].scope_metrics[0].metrics
              if m.name == "ferryman.cost"]  # fmt: skip
    [rest] = [p for p in cost.sum.data_points if said(p).get("otel.metric.overflow")]
    assert rest.as_double == 300 * 5e-12
    assert sum(p.as_double for p in cost.sum.data_points) == pytest.approx(2300 * 5e-12)


def test_a_slow_receiver_fills_a_queue_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "LAST", 0.1)
    receiver = Receiver()
    receiver.delay = 30
    made = Exporter({BASE: receiver.url}, b"")
    wants: Exports = made
    assert not wants.on
    made.adopt(_packed(Telemetry(otlp=Otlp(signals=("traces",)))))
    assert wants.on
    began = time.monotonic()
    for number in range(0, MOST_QUEUED + 2000, 100):
        made.take([call(number + i) for i in range(100)])
    assert time.monotonic() - began < 20, "nobody waits for the receiver"
    page = "\n".join(made.page())
    assert 'ferryman_otlp_dropped_total{signal="traces",reason="queue_full"}' in page
    assert f'ferryman_otlp_queue{{signal="traces"}} {MOST_QUEUED}' in page
    made.stop()
    receiver.end()


def test_delta_counts_each_call_once(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver()
    receiver.statuses = [503]
    made = Exporter({BASE: receiver.url}, b"")
    otlp = Otlp(signals=("metrics",), temporality="delta", metrics_every=1.0)
    made.adopt(_packed(Telemetry(otlp=otlp)))

    def sent() -> Any:
        return sum(
            point.as_double
            for _, message in receiver.messages
            for metric in message.resource_metrics[0].scope_metrics[0].metrics
            if metric.name == "ferryman.cost"
            for point in metric.sum.data_points
        )

    made.take([call(1, cost=10**12)])
    until(lambda: receiver.refused, "a refusal")
    made.take([call(2, cost=2 * 10**12)])
    until(lambda: sent() == 3, "both")
    made.take([call(3, cost=10**12)])
    made.stop()
    assert sent() == 4, "the end sends what is left"
    receiver.end()


def test_times_that_cannot_be_make_sound_spans() -> None:
    """Clocks are set, and journals may hold anything."""
    odd = call(
        duration_us=-5, at_us=-1, status=0, cost=2**80, model="a\0" + "x" * 5000,
        attempts=(Attempt("lab", "m", 200, "", 10, -1, 5), Attempt("lab", "n", 0, "x", -7, -1, -9)),
    )  # fmt: skip
    lone = call(1, model="\ud800")
    message, items, unfit = traces([odd, lone, call(2)], settings({BASE: "http://c"}))
    assert (items, unfit) == (5, 1)
    for span in message.resource_spans[0].scope_spans[0].spans:
        assert span.end_time_unix_nano >= span.start_time_unix_nano
        assert len(span.name) <= 1000
        assert len(span.SerializeToString()) < 5000


def test_an_attempt_says_how_far_it_had_got_when() -> None:
    tried = Attempt(
        "lab", "m", 200, "", 100_000, 400_000, 900_000, queued_us=50_000, sent_us=250_000,
        dial=Dial(100_500, 150_000), first_token_us=500_000, last_token_us=890_000,
        key="env:LAB_KEY", upstream_id="theirs-1", retry_after_ms=1500,
    )  # fmt: skip
    message, _, _ = traces([call(attempts=(tried,))], settings({BASE: "http://c"}))
    _, span = message.resource_spans[0].scope_spans[0].spans
    found = {name: value for name, value in said(span).items() if "ferryman" in name}
    assert found == {
        "ferryman.provider": "lab", "ferryman.model": "m", "ferryman.queued_seconds": 0.05,
        "ferryman.time_to_resolved": 0.0005, "ferryman.time_to_connected": 0.05,
        "ferryman.time_to_sent": 0.15, "ferryman.time_to_first_byte": 0.3,
        "ferryman.time_to_first_token": 0.4, "ferryman.time_to_last_token": 0.79,
        "ferryman.provider_key": "env:LAB_KEY", "ferryman.upstream_id": "theirs-1",
        "ferryman.retry_after_seconds": 1.5,
    }  # fmt: skip

    assert {name: value for name, value in said(span).items() if "gen_ai" in name} == {
        "gen_ai.operation.name": "chat", "gen_ai.system": "lab", "gen_ai.request.model": "m",
        "gen_ai.request.stream": False,
    }  # fmt: skip


def test_what_guards_said_who_asked_and_which_call_led_to_it() -> None:
    """A call that another one caused is in a trace of its own, with a link to that one's span."""
    verdicts = (
        Verdict("pii", "request", "redacted", 1500, 2, reasons=("email",)),
        Verdict("judge", "reply", "blocked", score=0.5),
    )
    caused = call(1, verdicts=verdicts, client="agent/1", labels=Labels(run="r", parent="req_0"))
    message, _, unfit = traces([call(0), caused], settings({BASE: "http://c"}))
    spans = message.resource_spans[0].scope_spans[0].spans
    assert not unfit
    first, second = spans[0], spans[2]
    assert not first.links
    [link] = second.links
    assert (link.trace_id, link.span_id) == (first.trace_id, first.span_id)
    assert second.trace_id != first.trace_id
    found = said(second)
    assert found["ferryman.parent_request_id"] == "req_0"
    assert (found["user_agent.original"], found["session.id"]) == ("agent/1", "r")
    asked, answered = second.events
    assert (asked.name, asked.time_unix_nano) == ("ferryman.guard", second.start_time_unix_nano)
    assert said(asked) == {
        "ferryman.guard.name": "pii", "ferryman.guard.stage": "request",
        "ferryman.guard.action": "redacted", "ferryman.guard.found": 2,
        "ferryman.guard.reasons": ["email"], "ferryman.guard.seconds": 0.0015,
    }  # fmt: skip
    assert answered.time_unix_nano == second.end_time_unix_nano
    assert said(answered)["ferryman.guard.score"] == 0.5
    [link] = next(traced(call(2, trace=Trace("a" * 32, "b" * 16, 1), labels=caused.labels))).links
    assert (link.trace_id.hex(), link.span_id) == ("a" * 32, first.span_id)


def traced(one: Closed) -> Any:
    """Its spans."""
    return iter(
        traces([one], settings({BASE: "http://c"}))[0].resource_spans[0].scope_spans[0].spans
    )


def _packed(telemetry: Telemetry) -> bytes:
    return msgspec.msgpack.encode(Snapshot(version="v", telemetry=telemetry))
