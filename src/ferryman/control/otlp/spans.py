"""Calls as spans and log records: one span for the call, a child for each attempt."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ferryman.catalog.semconv import PROVIDER_NAMES
from ferryman.control.otlp.names import OPERATIONS, Names
from ferryman.telemetry.record import Attempt, Closed, Labels
from ferryman.telemetry.spans import attempt_span, call_span, trace_id

Value = str | bool | int | float | Sequence[str] | None
LONGEST: Final = 1000
"""Characters of a value."""
MOST_EVENTS: Final = 64
_LATEST: Final = 2**63 - 1
_REMOTE_PARENT: Final = 0x300
"""Flags of a span: that it is known whether the parent is elsewhere, and that it is."""


def trace_of(call: Closed) -> str:
    """The trace that a call belongs to, as hexadecimal digits."""
    return call.trace.id if call.trace is not None else trace_id(call.id)


def spans_of(call: Closed, names: Names) -> Iterator[Span]:
    """The span of ``call``, and those of its attempts."""
    start = _nanoseconds(call.at_us)
    trace = bytes.fromhex(trace_of(call))
    span = Span(
        trace_id=trace,
        span_id=bytes.fromhex(call_span(call.id)),
        name=f"{operation(call)} {call.model}"[:LONGEST].strip(),
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=start,
        end_time_unix_nano=_after(start, call.duration_us),
        status=_status(call.error),
    )
    if call.trace is not None:
        span.parent_span_id = bytes.fromhex(call.trace.parent)
        span.trace_state = call.trace.state
        span.flags = call.trace.flags | _REMOTE_PARENT
    if call.labels is not None and call.labels.parent:
        # Who passes on our id, but no trace context, gets no trace of both: but a way from one to
        # the other.
        parent = call.labels.parent
        trace_there = call.trace.id if call.trace is not None else trace_id(parent)
        span.links.add(
            trace_id=bytes.fromhex(trace_there), span_id=bytes.fromhex(call_span(parent))
        )
    put(span.attributes, _of_call(call, names))
    for at_us, name, said in list(_events(call, names))[:MOST_EVENTS]:
        event = span.events.add(name=name, time_unix_nano=_after(start, at_us))
        put(event.attributes, said)
    yield span
    for attempt in call.attempts:
        yield _of_attempt(call, attempt, trace, start, names)


def log_of(call: Closed, names: Names) -> LogRecord:
    """The record of a call that failed."""
    ours = call.status >= 500
    record = LogRecord(
        time_unix_nano=_after(_nanoseconds(call.at_us), call.duration_us),
        severity_number=(
            SeverityNumber.SEVERITY_NUMBER_ERROR if ours else SeverityNumber.SEVERITY_NUMBER_WARN
        ),
        severity_text="ERROR" if ours else "WARN",
        event_name=names.call_failed,
        trace_id=bytes.fromhex(trace_of(call)),
        span_id=bytes.fromhex(call_span(call.id)),
    )
    target = f" at {call.provider}/{call.target}" if call.provider else ""
    text = f"call {call.id} failed{target}: {call.error} ({call.status})"
    record.body.string_value = text[:LONGEST]
    put(record.attributes, _of_call(call, names))
    return record


def operation(call: Closed) -> str:
    """What the conventions call an endpoint."""
    return OPERATIONS.get(call.endpoint, call.endpoint)


def provider(of: Closed | Attempt) -> str:
    """What they call its provider."""
    return PROVIDER_NAMES.get(of.provider, of.provider)


def put(into: Any, said: Mapping[str, Value]) -> None:
    """Add attributes to those of a span, resource and so on; None and empty texts are left out."""
    for name, value in said.items():
        if value is None or value == "" or value == ():
            continue
        held = into.add(key=name).value
        if isinstance(value, bool):
            held.bool_value = value
        elif isinstance(value, int):
            held.int_value = max(-_LATEST, min(value, _LATEST))
        elif isinstance(value, float):
            held.double_value = value
        elif isinstance(value, str):
            held.string_value = value[:LONGEST]
        else:
            held.array_value.SetInParent()
            for each in value:
                held.array_value.values.add(string_value=each[:LONGEST])


def _of_call(call: Closed, names: Names) -> dict[str, Value]:
    usage, cost = call.usage, call.cost
    said: dict[str, Value] = {
        names.operation: operation(call),
        names.provider: provider(call),
        names.request_model: call.model,
        names.response_model: call.target,
        names.error: call.error,
        names.status: call.status,
        names.stream: call.stream,
        names.first_chunk: call.first_token_us / 1e6 if call.first_token_us >= 0 else None,
        names.cost_usd: None if cost is None else cost / 1e12,
        names.cost: cost,
        names.unknown_cost: call.unknown_cost or None,
        names.saved: call.saved,
        names.request_id: call.id,
        names.key: call.key,
        names.endpoint: call.endpoint,
        names.policy: call.policy,
        names.cache: call.cache,
        names.overhead: call.overhead_us / 1e6 if call.overhead_us >= 0 else None,
        names.attempts: len(call.attempts),
        names.client: call.client,
    }
    if usage is not None:
        said |= {
            names.input_tokens: usage.total_input,
            names.output_tokens: usage.total_output,
            names.cache_read: usage.total_cache_read or None,
            names.cache_write: usage.cache_write + usage.cache_write_1h or None,
            names.reasoning: usage.reasoning or None,
        }
    return said if call.labels is None else said | _of_labels(call.labels, names)


def _of_labels(labels: Labels, names: Names) -> dict[str, Value]:
    said: dict[str, Value] = {
        names.run: labels.run,
        names.end_user: labels.end_user,
        names.organisation: labels.organisation,
        names.team: labels.team,
        names.user: labels.user,
        names.task: labels.task,
        names.parent: labels.parent,
        names.tags: labels.tags,
    }
    return said | {names.metadata + name: value for name, value in labels.metadata.items()}


def _of_attempt(call: Closed, attempt: Attempt, trace: bytes, start: int, names: Names) -> Span:
    ident = attempt_span(call.id, attempt.provider, attempt.model, attempt.start_us)
    began = _after(start, attempt.start_us)
    ended = attempt.end_us
    if attempt is call.attempts[-1] and not attempt.error:  # its answer came until the call's end
        ended = max(ended, call.duration_us)
    span = Span(
        trace_id=trace,
        span_id=bytes.fromhex(ident),
        parent_span_id=bytes.fromhex(call_span(call.id)),
        name=f"attempt {attempt.provider}/{attempt.model}"[:LONGEST],
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=began,
        end_time_unix_nano=max(_after(start, ended), began),
        status=_status(attempt.error),
    )
    said: dict[str, Value] = {
        # What was used stands at the call alone, so that nobody adds it up twice.
        names.operation: operation(call),
        names.provider: provider(attempt),
        names.request_model: attempt.model,
        names.stream: call.stream,
        names.tried: attempt.provider,
        names.model: attempt.model,
        names.status: attempt.status or None,
        names.error: attempt.error,
        names.upstream_key: attempt.key,
        names.upstream_id: attempt.upstream_id,
        names.retry_after: attempt.retry_after_ms / 1e3 if attempt.retry_after_ms >= 0 else None,
        names.format: attempt.format,
        names.dropped: attempt.dropped,
        names.altered: attempt.altered,
        names.region: attempt.region,
        names.data_policy: tuple(attempt.data_policy.split()),
    }
    put(span.attributes, said | _times(attempt, names))
    return span


def _times(attempt: Attempt, names: Names) -> dict[str, Value]:
    """How far the attempt had got when, in seconds since it began; None = it never did."""
    dial = attempt.dial
    reached = {
        names.resolved: -1 if dial is None else dial.resolved_us,
        names.connected: -1 if dial is None else dial.connected_us,
        names.secured: -1 if dial is None else dial.secured_us,
        names.sent: attempt.sent_us,
        names.first_byte: attempt.first_byte_us,
        names.first_token: attempt.first_token_us,
        names.last_token: attempt.last_token_us,
    }
    said: dict[str, Value] = {
        name: max(at - attempt.start_us, 0) / 1e6 if at >= 0 else None
        for name, at in reached.items()
    }
    return said | {names.queued: attempt.queued_us / 1e6 or None}


def _events(call: Closed, names: Names) -> Iterator[tuple[int, str, dict[str, Value]]]:
    """(microseconds since the beginning, name, attributes) of what decided where the call went."""
    for each in call.plan:
        if each.rests_us:
            rests: dict[str, Value] = {
                names.rests: each.rests_us / 1e6,
                names.because: each.because,
            }
            yield 0, names.target_rests, {names.target: each.target, **rests}
        if each.left_out:
            said: dict[str, Value] = {names.target: each.target, names.because: each.left_out}
            yield 0, names.target_left_out, said
    if call.cache:
        yield (
            call.duration_us if call.saved is not None else 0,
            names.cache,
            {names.cache: call.cache},
        )
    for verdict in call.verdicts:
        yield (
            0 if verdict.stage == "request" else call.duration_us,
            names.verdict,
            {
                names.guard: verdict.check,
                names.stage: verdict.stage,
                names.action: verdict.action,
                names.found: verdict.count,
                names.score: verdict.score or None,
                names.reasons: verdict.reasons,
                names.took: verdict.took_us / 1e6,
            },
        )
    for before, each_next in zip(call.attempts, call.attempts[1:], strict=False):
        yield (
            each_next.start_us,
            names.fallback,
            {
                names.before: f"{before.provider}/{before.model}",
                names.because: before.error,
                names.target: f"{each_next.provider}/{each_next.model}",
            },
        )


def _status(error: str) -> Status | None:
    return Status(code=Status.STATUS_CODE_ERROR, message=error) if error else None


def _nanoseconds(at_us: int) -> int:
    return max(0, min(at_us, _LATEST // 1000)) * 1000


def _after(start: int, us: int) -> int:
    """``us`` microseconds after ``start``, never before it: a clock may have been set."""
    return min(start + max(us, 0) * 1000, _LATEST)
