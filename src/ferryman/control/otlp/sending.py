"""One message to a receiver of OTLP: https://opentelemetry.io/docs/specs/otlp/."""

import gzip
import http.client
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from ferryman import __version__
from ferryman.control.links import Link
from ferryman.control.otlp.settings import Receiver
from ferryman.wire.addresses import reach

REQUESTS: Final[dict[str, Any]] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
_ANSWERS: Final[dict[str, Any]] = {
    "traces": ExportTraceServiceResponse,
    "metrics": ExportMetricsServiceResponse,
    "logs": ExportLogsServiceResponse,
}
_REJECTED: Final = {
    "traces": "rejected_spans", "metrics": "rejected_data_points", "logs": "rejected_log_records"
}  # fmt: skip
_METHODS: Final = {
    signal: f"/opentelemetry.proto.collector.{package}.v1.{service}Service/Export"
    for signal, package, service in (
        ("traces", "trace", "Trace"), ("metrics", "metrics", "Metrics"), ("logs", "logs", "Logs")
    )
}  # fmt: skip
RETRYABLE: Final = frozenset((429, 502, 503, 504))
RETRYABLE_CODES: Final = frozenset((
    "CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS",
))  # fmt: skip
LONGEST_ANSWER: Final = 65_536
_LONGEST_WHY: Final = 200


class Outcome(NamedTuple):
    """What became of a message."""

    why: str = ""
    """Why it did not arrive, or not all of it; empty = it did."""
    rejected: int = 0
    """How many of its items the receiver did not want."""
    again: bool = False
    """Whether it may be sent again,"""
    after: float = 0.0
    """and after how many seconds, if the receiver says so."""


Send = Callable[[Message], Outcome]


def sender(signal: str, receiver: Receiver) -> Send:
    """What sends messages of ``signal``; nothing that a receiver does makes it raise."""
    if receiver.grpc:
        return _by_grpc(signal, receiver)
    return lambda message: _post(signal, receiver, message)


def _post(signal: str, receiver: Receiver, message: Message) -> Outcome:
    body = message.SerializeToString()
    headers = {
        "content-type": "application/x-protobuf",
        "user-agent": f"ferryman/{__version__}",
        **dict(receiver.headers),
    }
    if receiver.gzip:
        body, headers["content-encoding"] = gzip.compress(body, 1), "gzip"
    parts = urlsplit(receiver.url)
    link: Link | None = None
    try:
        tls = None
        if parts.scheme == "https":
            tls = ssl.create_default_context(cafile=receiver.ca_file or None)
        link = Link(
            parts.hostname or "", parts.port, reach(receiver.url, receiver.private), tls,
            receiver.timeout,
        )  # fmt: skip
        path = parts.path or "/"
        link.request("POST", f"{path}?{parts.query}" if parts.query else path, body, headers)
        answer = link.getresponse()
        said = answer.read(LONGEST_ANSWER)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Outcome(str(error)[:_LONGEST_WHY] or type(error).__name__, again=True)
    finally:
        if link is not None:
            link.close()
    if 200 <= answer.status < 300:
        try:
            return _taken(signal, _ANSWERS[signal].FromString(said))
        except DecodeError:
            return Outcome()  # it has it, whatever it says to that
    again = answer.status in RETRYABLE
    wait = answer.getheader("retry-after", "")
    return Outcome(
        f"it answered {answer.status}", again=again, after=float(wait) if wait.isdigit() else 0.0
    )


def _taken(signal: str, answer: Any) -> Outcome:
    partial = answer.partial_success
    rejected = getattr(partial, _REJECTED[signal])
    if not rejected:
        return Outcome()
    return Outcome(f"it rejected {rejected}: {partial.error_message[:_LONGEST_WHY]}", rejected)


def _by_grpc(signal: str, receiver: Receiver) -> Send:
    import grpc

    parts = urlsplit(receiver.url)
    host = f"{parts.hostname}:{parts.port or 4317}" if parts.hostname else receiver.url
    if ":" in (parts.hostname or ""):
        host = f"[{parts.hostname}]:{parts.port or 4317}"
    if parts.scheme == "https":
        roots = Path(receiver.ca_file).read_bytes() if receiver.ca_file else None
        channel = grpc.secure_channel(host, grpc.ssl_channel_credentials(roots))
    else:
        channel = grpc.insecure_channel(host)
    export = channel.unary_unary(
        _METHODS[signal],
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=_ANSWERS[signal].FromString,
    )
    packed = grpc.Compression.Gzip if receiver.gzip else grpc.Compression.NoCompression

    def send(message: Message) -> Outcome:
        try:
            answer = export(
                message, timeout=receiver.timeout, metadata=receiver.headers, compression=packed
            )
        except grpc.RpcError as error:
            code = error.code().name
            why = f"{code}: {error.details()}"[:_LONGEST_WHY]
            return Outcome(why, again=code in RETRYABLE_CODES)
        return _taken(signal, answer)

    return send
