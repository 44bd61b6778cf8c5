"""Where telemetry is sent, from the configuration, and from the standard's variables where it is
silent: https://opentelemetry.io/docs/specs/otel/protocol/exporter/ and
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from ferryman import __version__
from ferryman.config.secret import header_seal_name, header_secret, resolve
from ferryman.config.snapshot import SIGNALS, Otlp
from ferryman.control.otlp.names import Names, names

HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"
_PREFIX: Final = "OTEL_EXPORTER_OTLP_"


class SettingsError(Exception):
    """Says what is wrong with a variable or secret, and never its value."""


class Receiver(NamedTuple):
    """Where one signal goes."""

    url: str
    """Of HTTP the whole address; of gRPC scheme, host and port."""
    grpc: bool
    headers: tuple[tuple[str, str], ...]
    gzip: bool
    timeout: float
    """Seconds."""
    ca_file: str
    """PEM, or empty for the system's authorities."""
    private: bool | None = None
    """As in ``snapshot.Otlp``."""


class Sampling(NamedTuple):
    """Whose spans are sent; as in ``snapshot.Otlp``."""

    share: float = 1.0
    follow_caller: bool = True
    errors: bool = True
    slower: float = 0.0
    dearer: int = 0


class Settings(NamedTuple):
    """All of it."""

    receivers: Mapping[str, Receiver]
    """By signal; those without one are not sent."""
    resource: Mapping[str, str]
    names: Names
    sampling: Sampling
    every: float
    """Seconds between two sendings of metrics."""
    delta: bool


def settings_of(
    found: Otlp | None, env: Mapping[str, str], open_key: bytes | None
) -> Settings | None:
    """What is to be done; None = nothing. Raises :class:`SettingsError`."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    otlp = found or Otlp()
    wanted = otlp.signals if otlp.signals is not None else SIGNALS
    receivers = {
        signal: receiver
        for signal in wanted
        if (receiver := _receiver(signal, otlp, env, open_key)) is not None
    }
    if not receivers:
        return None
    every = otlp.metrics_every or _number(env, "OTEL_METRIC_EXPORT_INTERVAL", 60_000) / 1000
    preference = env.get(f"{_PREFIX}METRICS_TEMPORALITY_PREFERENCE", "")
    return Settings(
        receivers=receivers,
        resource=_resource(otlp, env),
        names=names(env.get("OTEL_SEMCONV_STABILITY_OPT_IN", "")),
        sampling=_sampling(otlp, env),
        every=max(every, 1.0),
        delta=(otlp.temporality or preference.strip().lower()) == "delta",
    )


def _receiver(
    signal: str, otlp: Otlp, env: Mapping[str, str], open_key: bytes | None
) -> Receiver | None:
    def said(name: str) -> str:
        return env.get(_variable(env, signal, name), "").strip()

    if env.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() == "none":
        return None
    own = "" if otlp.endpoint else env.get(f"{_PREFIX}{signal.upper()}_ENDPOINT", "").strip()
    base = otlp.endpoint or own or env.get(f"{_PREFIX}ENDPOINT", "").strip()
    if not base:
        return None
    protocol = otlp.protocol or said("PROTOCOL") or HTTP
    if protocol not in (HTTP, GRPC):
        raise SettingsError(f"{_PREFIX}PROTOCOL must be {HTTP} or {GRPC}")
    grpc = protocol == GRPC
    if grpc and "://" not in base:
        base = f"{'http' if said('INSECURE').lower() == 'true' else 'https'}://{base}"
    if not grpc and not own:
        base = f"{base.rstrip('/')}/v1/{signal}"
    try:
        parts = urlsplit(base)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = None
    if not sound:
        raise SettingsError(f"the endpoint of {signal} must be a URL: http://HOST:PORT")
    return Receiver(
        url=base,
        grpc=grpc,
        headers=_headers(otlp, said("HEADERS"), open_key, env),
        gzip=(otlp.compression or said("COMPRESSION").lower()) == "gzip",
        timeout=otlp.timeout or _number(env, _variable(env, signal, "TIMEOUT"), 10_000) / 1000,
        ca_file=said("CERTIFICATE"),
        private=otlp.private,
    )


def _variable(env: Mapping[str, str], signal: str, name: str) -> str:
    """The variable of the signal if it is set, or else that of all."""
    own = f"{_PREFIX}{signal.upper()}_{name}"
    return own if env.get(own, "").strip() else _PREFIX + name


def _headers(
    otlp: Otlp, given: str, open_key: bytes | None, env: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    headers = {}
    for pair in given.split(","):
        name, equals, value = pair.partition("=")
        if equals and name.strip():
            headers[unquote(name.strip()).lower()] = unquote(value.strip())
    for name, text in otlp.headers:
        secret = header_secret(text)
        if secret is None:
            headers[name] = text
            continue
        found = resolve(secret, header_seal_name("otlp", name), env, open_key)
        if found is None:
            raise SettingsError(f"the header {name} has no value: {secret.kind} leads nowhere")
        headers[name] = found
    if not all(value.isprintable() and value.isascii() for value in headers.values()):
        raise SettingsError("the value of a header must be printable ASCII")
    return tuple(headers.items())


def _resource(otlp: Otlp, env: Mapping[str, str]) -> dict[str, str]:
    found = {"service.name": "ferryman", "service.version": __version__}
    for pair in env.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        name, equals, value = pair.partition("=")
        if equals and name.strip():
            found[unquote(name.strip())] = unquote(value.strip())
    if name := env.get("OTEL_SERVICE_NAME", "").strip():
        found["service.name"] = name
    return found | dict(otlp.attributes)


def _sampling(otlp: Otlp, env: Mapping[str, str]) -> Sampling:
    sampler = env.get("OTEL_TRACES_SAMPLER", "").strip().lower() or "parentbased_always_on"
    share = 0.0 if sampler.endswith("always_off") else 1.0
    if sampler.endswith("traceidratio"):
        share = min(_number(env, "OTEL_TRACES_SAMPLER_ARG", 1.0), 1.0)
    follows = otlp.follow_caller and (sampler.startswith("parentbased") or otlp.sample is not None)
    return Sampling(
        share=share if otlp.sample is None else otlp.sample,
        follow_caller=follows,
        errors=otlp.errors,
        slower=otlp.slower,
        dearer=otlp.dearer,
    )


def _number(env: Mapping[str, str], name: str, usual: float) -> float:
    given = env.get(name, "").strip()
    if not given:
        return usual
    try:
        number = float(given)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e12:
        raise SettingsError(f"{name} must be a number")
    return number
