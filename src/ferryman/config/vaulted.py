"""The references ``vault:NAME`` of a configuration, filled with what the vault holds."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from msgspec.structs import replace

from ferryman.config.guard_row import Guard
from ferryman.config.model import Config, Ref
from ferryman.config.seal import seal
from ferryman.config.secret import (
    ALERTS,
    SEALED,
    SIGN_IN,
    VAULT,
    Redacted,
    guard_seal_name,
    header_secret,
)
from ferryman.config.snapshot import Alerts, Channel, Secret, SignIn


def names(config: Config) -> set[str]:
    """The secrets of the vault that ``config`` refers to."""
    found: set[str] = set()

    def note(ref: Ref) -> Ref:
        if ref.kind == VAULT:
            found.add(ref.value)
        return ref

    def note_secret(secret: Secret) -> Secret:
        if secret.kind == VAULT:
            found.add(secret.value)
        return secret

    _turned(config, note)
    _alerts(config.alerts, note_secret)
    _sign_in(config.sign_in, note_secret)
    for secret in map(header_secret, (guard.secret for guard in config.guards)):
        if secret is not None:
            note_secret(secret)
    return found


def filled(config: Config, texts: Mapping[str, str], seal_key: bytes) -> Config:
    """``config`` with the texts of those that are there, beside their names.

    Those that the control plane opens, of alerts and of sign-in, and those of guards are sealed
    right away.
    """

    def fill(ref: Ref) -> Ref:
        text = texts.get(ref.value) if ref.kind == VAULT else None
        return ref if text is None else replace(ref, literal=Redacted(text.strip()))

    def close(secret: Secret, name: str) -> Secret:
        text = texts.get(secret.value) if secret.kind == VAULT else None
        return (
            secret if text is None else Secret(SEALED, seal(text.strip(), key=seal_key, name=name))
        )

    def shut(guard: Guard) -> Guard:
        secret = header_secret(guard.secret)
        text = texts.get(secret.value) if secret is not None and secret.kind == VAULT else None
        if text is None:
            return guard
        sealed = seal(text.strip(), key=seal_key, name=guard_seal_name(guard.name))
        return replace(guard, secret=f"{SEALED}:{sealed}")

    return replace(
        _turned(config, fill),
        alerts=_alerts(config.alerts, partial(close, name=ALERTS)),
        sign_in=_sign_in(config.sign_in, partial(close, name=SIGN_IN)),
        guards=tuple(map(shut, config.guards)),
    )


def _sign_in(found: SignIn | None, turn: Callable[[Secret], Secret]) -> SignIn | None:
    if found is None or found.secret is None:
        return found
    return replace(found, secret=turn(found.secret))


def _alerts(found: Alerts, turn: Callable[[Secret], Secret]) -> Alerts:
    """``found`` with each secret of its channels turned."""
    return replace(found, channels=tuple(_channel(each, turn) for each in found.channels))


def _channel(channel: Channel, turn: Callable[[Secret], Secret]) -> Channel:
    mail = channel.mail
    if mail is not None and mail.password is not None:
        mail = replace(mail, password=turn(mail.password))
    secret = None if channel.secret is None else turn(channel.secret)
    return replace(channel, secret=secret, mail=mail)


def _turned(config: Config, turn: Callable[[Ref], Ref]) -> Config:
    def headers(pairs: Iterable[tuple[str, Ref]]) -> tuple[tuple[str, Ref], ...]:
        return tuple((name, turn(ref)) for name, ref in pairs)

    providers = {
        name: replace(
            provider,
            keys=tuple(turn(ref) for ref in provider.keys),
            headers=headers(provider.headers),
        )
        for name, provider in config.providers.items()
    }
    return replace(config, providers=providers, otlp_headers=headers(config.otlp_headers))
