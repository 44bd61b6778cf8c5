"""A receiver of OTLP over HTTP and gRPC, made of the official messages."""

import gzip
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces_grpc

REQUESTS: dict[str, Any] = {
    "/v1/traces": traces.ExportTraceServiceRequest,
    "/v1/metrics": metrics.ExportMetricsServiceRequest,
    "/v1/logs": logs.ExportLogsServiceRequest,
}


class Receiver:
    """Keeps what it gets. ``statuses`` are answered first, ``rejected`` spans of each message are
    not wanted, and each answer takes ``delay`` seconds."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Any]] = []
        self.headers: dict[str, str] = {}
        self.statuses: list[int] = []
        self.refused = 0
        self.rejected = 0
        self.delay = 0.0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self._grpc = grpc.server(ThreadPoolExecutor(4))
        for add, module in (
            (traces_grpc.add_TraceServiceServicer_to_server, traces.ExportTraceServiceResponse),
            (
                metrics_grpc.add_MetricsServiceServicer_to_server,
                metrics.ExportMetricsServiceResponse,
            ),
            (logs_grpc.add_LogsServiceServicer_to_server, logs.ExportLogsServiceResponse),
        ):
            register: Any = add
            register(_Servicer(self, module), self._grpc)
        self.grpc_url = f"http://127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._grpc.start()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        time.sleep(self.delay)
        status = self.statuses.pop(0) if self.statuses else 200
        said = b""
        if status == 200:
            if handler.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert handler.headers["content-type"] == "application/x-protobuf"
            self.headers = {name.lower(): value for name, value in handler.headers.items()}
            self.messages.append((handler.path, REQUESTS[handler.path].FromString(body)))
            if self.rejected and handler.path == "/v1/traces":
                answer = traces.ExportTraceServiceResponse()
                answer.partial_success.rejected_spans = self.rejected
                answer.partial_success.error_message = "too old"
                said = answer.SerializeToString()
        else:
            self.refused += 1
        handler.send_response(status)
        handler.send_header("content-length", str(len(said)))
        handler.end_headers()
        handler.wfile.write(said)

    def end(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(None)

    # -- what it has got

    def spans(self) -> list[Any]:
        return [
            span
            for _, message in list(self.messages)
            for resource in getattr(message, "resource_spans", ())
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def logs(self) -> list[Any]:
        return [
            record
            for _, message in list(self.messages)
            for resource in getattr(message, "resource_logs", ())
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def metrics(self) -> dict[str, Any]:
        """The newest of each name."""
        return {
            metric.name: metric
            for _, message in list(self.messages)
            for resource in getattr(message, "resource_metrics", ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


class _Servicer:
    def __init__(self, receiver: Receiver, answer: Any) -> None:
        self._receiver, self._reply = receiver, answer

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        receiver = self._receiver
        if receiver.statuses:
            receiver.statuses.pop(0)
            receiver.refused += 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        receiver.headers = dict(context.invocation_metadata())
        receiver.messages.append(("grpc", request))
        return self._reply()


def said(item: Any) -> dict[str, Any]:
    """The attributes of a span and the like."""
    found: dict[str, Any] = {}
    for each in item.attributes:
        kind = each.value.WhichOneof("value")
        value = getattr(each.value, kind)
        found[each.key] = [v.string_value for v in value.values] if kind == "array_value" else value
    return found
