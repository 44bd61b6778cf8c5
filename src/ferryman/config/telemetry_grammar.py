"""The keys of ``telemetry``: what is told of calls to others, and where it is sent."""

from decimal import Decimal
from typing import Final

from ferryman.config.conditions import Flag
from ferryman.config.kinds import Number, Secret, Word
from ferryman.config.measures import USD, duration
from ferryman.config.shapes import Key, ListOf, MapOf, Table
from ferryman.config.snapshot import SIGNALS

_FLAG: Final = Flag(says="true or false", example="false")
_SHARE: Final = Number(says="a part of all calls", example="0.1", least=Decimal(0), most=Decimal(1))

ALWAYS: Final = Table(
    says="a mapping",
    example="{ slower_than: 30s }",
    keys=(
        Key(name="errors", kind=_FLAG, doc="Calls that failed.", default="true"),
        Key(
            name="slower_than",
            kind=duration("30s", "0.001"),
            doc="Calls that took so long.",
            default="none",
        ),
        Key(name="dearer_than", kind=USD, doc="Calls that cost so many USD.", default="none"),
    ),
)

OTLP: Final = Table(
    says="a mapping",
    example="{ endpoint: http://127.0.0.1:4318 }",
    keys=(
        Key(
            name="endpoint",
            kind=Word(
                says="the URL of an OTLP receiver",
                example="http://127.0.0.1:4318",
                pattern=r"https?://[!-?A-~]{1,2000}",
            ),
            doc="Where it is sent. Over HTTP, /v1/traces, /v1/metrics and /v1/logs are added.",
            default="OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        Key(
            name="private",
            kind=Flag(says="true or false", example="true"),
            doc="Over HTTP: whether the URL may lead to private addresses.",
            default="only if it names a private host",
        ),
        Key(
            name="protocol",
            kind=Word(
                says="http/protobuf or grpc", example="grpc", choices=("http/protobuf", "grpc")
            ),
            doc="How it is sent.",
            default="OTEL_EXPORTER_OTLP_PROTOCOL, or http/protobuf",
        ),
        Key(
            name="headers",
            kind=MapOf(
                says="a mapping of header names to values",
                example="{ authorization: env:OTLP_AUTH }",
                key=Word(
                    says="the name of a header",
                    example="authorization",
                    pattern=r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}",
                ),
                item=Secret(
                    says="a text, vault:NAME, env:NAME or file:/path",
                    example="env:OTLP_AUTH",
                    header=True,
                ),
            ),
            doc="Headers that the receiver wants: vault:NAME, env:NAME, file:/path, or a value.",
            default="OTEL_EXPORTER_OTLP_HEADERS",
        ),
        Key(
            name="compression",
            kind=Word(says="gzip or none", example="gzip", choices=("gzip", "none")),
            doc="Whether it is sent compressed.",
            default="OTEL_EXPORTER_OTLP_COMPRESSION, or none",
        ),
        Key(
            name="timeout",
            kind=duration("10s", "0.1", Decimal(300)),
            doc="How long the receiver has for an answer.",
            default="OTEL_EXPORTER_OTLP_TIMEOUT, or 10s",
        ),
        Key(
            name="signals",
            kind=ListOf(
                says="a list of traces, metrics, logs",
                example="[traces, metrics]",
                item=Word(says="traces, metrics or logs", example="traces", choices=SIGNALS),
            ),
            doc="What is sent: spans of calls, sums over them, a record of each that failed.",
            default="those that the variables give a receiver; with endpoint, all",
        ),
        Key(
            name="metrics_every",
            kind=duration("60s", "1", Decimal(3600)),
            doc="How often metrics are sent.",
            default="OTEL_METRIC_EXPORT_INTERVAL, or 60s",
        ),
        Key(
            name="temporality",
            kind=Word(says="cumulative or delta", example="delta", choices=("cumulative", "delta")),
            doc="Whether metrics count from the start of the control plane, or what is new.",
            default="OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE, or cumulative",
        ),
        Key(
            name="sample",
            kind=_SHARE,
            doc="The part of the calls whose spans are sent.",
            default="OTEL_TRACES_SAMPLER, or 1",
        ),
        Key(
            name="follow_caller",
            kind=_FLAG,
            doc="Whether of callers with a trace those are sent that they record themselves, in "
            "place of such a part.",
            default="true",
        ),
        Key(
            name="always",
            kind=ALWAYS,
            doc="Calls whose spans are sent in any case.",
        ),
        Key(
            name="attributes",
            kind=MapOf(
                says="a mapping of names to texts",
                example="{ deployment.environment.name: production }",
                key=Word(
                    says="the name of an attribute",
                    example="deployment.environment.name",
                    pattern=r"[A-Za-z][A-Za-z0-9_.-]{0,99}",
                ),
                item=Word(
                    says="a text", example="production", pattern=r".{1,500}", any_scalar=True
                ),
            ),
            doc="Attributes of the resource that all of it is of; service.name is ferryman.",
            default="OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME",
        ),
    ),
    hints=(
        ("url", "Write endpoint: http://127.0.0.1:4318."),
        ("sampling", "Write sample: 0.1."),
        ("service_name", "Write attributes: { service.name: NAME }."),
    ),
)

TELEMETRY: Final = Table(
    says="a mapping",
    example="{ otlp: { endpoint: http://127.0.0.1:4318 } }",
    keys=(
        Key(
            name="traceparent",
            kind=_FLAG,
            doc="Whether providers are told of the trace that a call belongs to, if its caller "
            "names one (traceparent, tracestate).",
            default="true",
        ),
        Key(
            name="baggage",
            kind=_FLAG,
            doc="Whether they get its baggage, which may say more of the caller than they need.",
            default="false",
        ),
        Key(
            name="native_histograms",
            kind=Flag(says="true or false", example="true"),
            doc="Whether Prometheus gets native histograms from /metrics, where it asks for them. "
            "See docs/observability.md.",
            default="false",
        ),
        Key(
            name="otlp",
            kind=OTLP,
            doc="Where traces, metrics and logs are sent. See docs/observability.md.",
            default="what the variables OTEL_EXPORTER_OTLP_… say",
        ),
    ),
    hints=(("endpoint", "Write otlp: { endpoint: … }."),),
)
