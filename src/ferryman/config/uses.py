"""Which secret goes where, by a configuration: so that nobody sends one elsewhere who may not."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from ferryman.config.model import Config, Ref
from ferryman.config.secret import SEALED, VAULT, header_secret
from ferryman.config.snapshot import KEYLESS, Provider, Secret, Snapshot

Use = tuple[str, str]
"""A secret by its reference, or as it is sealed, and the origin that it is sent to."""
WRITTEN: Final = f"{SEALED}:"
"""What secrets begin with that stand in the configuration itself."""


def uses(config: Config, snapshot: Snapshot) -> tuple[Use, ...]:
    """All of them. ``config`` is as it was before the vault filled it, ``snapshot`` what became of
    it with the catalogue."""
    return tuple(sorted(set(_uses(config, snapshot))))


def _uses(config: Config, snapshot: Snapshot) -> Iterator[Use]:
    for provider in snapshot.providers.values():
        given = config.providers.get(provider.name)
        refs = () if given is None else (*given.keys, *(ref for _, ref in given.headers))
        yield from ((each, _origin(provider.base_url)) for each in _sent(provider, refs))
    otlp = config.telemetry.otlp
    collector = _origin("" if otlp is None else otlp.endpoint)
    yield from ((_named(ref.kind, ref.value), collector) for _, ref in config.otlp_headers)
    if not config.otlp_headers:  # then the standard's variable says them
        yield "env:OTEL_EXPORTER_OTLP_HEADERS", collector
    for channel in config.alerts.channels:
        if channel.mail is not None and channel.mail.password is not None:
            place = f"smtp://{channel.mail.host}:{channel.mail.port}"
            yield _of(channel.mail.password), place
        if channel.secret is not None:
            yield _of(channel.secret), _origin(channel.url)
    for guard in config.guards:
        if (secret := header_secret(guard.secret)) is not None:
            yield _of(secret), _origin(guard.url)
    if config.sign_in is not None and config.sign_in.secret is not None:
        issuers = {each.name: each.issuer for each in config.issuers}
        yield _of(config.sign_in.secret), _origin(issuers.get(config.sign_in.issuer, ""))


def _sent(provider: Provider, refs: tuple[Ref, ...]) -> Iterator[str]:
    """What a provider is sent. What the vault filled is sealed by now, so ``refs`` name that."""
    yield from (_named(ref.kind, ref.value) for ref in refs if ref.kind == VAULT)
    yield from map(_of, provider.keys)
    found = (header_secret(value) for _, value in provider.headers)
    yield from (_of(secret) for secret in found if secret is not None)
    if provider.auth in KEYLESS and provider.auth != "none":
        yield f"the machine's own ({provider.auth})"


def _of(secret: Secret) -> str:
    return _named(secret.kind, secret.value)


def _named(kind: str, value: str) -> str:
    return f"{kind}:{value}"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
