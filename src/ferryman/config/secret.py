"""Secrets on the data plane: references become keys here, and nowhere else.

The data plane imports this module; it stays free of YAML and of the catalogue.
"""

import hmac
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from msgspec.structs import replace

from ferryman.config.guard_row import Guard
from ferryman.config.seal import SealError, unseal
from ferryman.config.snapshot import Provider, RateLimit, Secret, Snapshot
from ferryman.wire.addresses import is_private

ENV: Final = "env"
FILE: Final = "file"
SEALED: Final = "sealed"
VAULT: Final = "vault"
"""A secret of the vault that is not there: others reach the data plane sealed."""
ALERTS: Final = "alerts"
"""What secrets of alerts' channels are sealed for."""
SIGN_IN: Final = "sign-in"
"""The same of the secret that the dashboard has with a provider of accounts."""
OTLP: Final = "otlp"
"""And of headers for receivers of OTLP, in place of a provider's name."""
REFERENCES: Final = (ENV, FILE, VAULT)

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""``{VAR}`` in a base URL: filled from the environment."""
MAX_KEY_FILE = 65_536
_SENDABLE = re.compile(r"[\x21-\x7e]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


class Redacted:
    """Holds a secret text. ``repr``, ``str`` and formatting never show it; ``reveal`` does."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself."""
        return self._text

    def __repr__(self) -> str:
        return "[redacted]"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format("[redacted]", spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Redacted):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> Any:
        raise TypeError("a secret is not pickled")


def sendable(text: str) -> bool:
    """Whether ``text`` can be sent as a key in an HTTP header: visible ASCII, not empty."""
    return _SENDABLE.fullmatch(text) is not None


def withheld(variable: str) -> str:
    """What stands in the environment of a process that is told that the variable is set, and not
    what it says (``cli/withheld.py``)."""
    return f"withheld:{variable}"


def is_there(secret: Secret, name: str, env: Mapping[str, str], open_key: bytes | None) -> bool:
    """Whether there is a text behind ``secret``, here or where it is needed."""
    return _is_withheld(secret, env) or resolve(secret, name, env, open_key) is not None


def _is_withheld(secret: Secret, env: Mapping[str, str]) -> bool:
    return secret.kind == ENV and env.get(secret.value) == withheld(secret.value)


def resolve(
    secret: Secret, name: str, env: Mapping[str, str], open_key: bytes | None
) -> str | None:
    """The text behind ``secret``, stripped; ``None`` when it is missing, unreadable or empty.

    ``name`` is what a sealed text was sealed for. Reads a file for ``file``
    references, so call it outside the event loop or when a snapshot arrives, not per request.
    """
    if secret.kind == ENV:
        text = "" if _is_withheld(secret, env) else env.get(secret.value, "")
    elif secret.kind == FILE:
        text = _read(Path(secret.value)) or ""
    elif secret.kind == SEALED and open_key is not None:
        try:
            text = unseal(secret.value, key=open_key, name=name)
        except SealError:
            return None
    else:
        return None
    return text.strip() or None


def _read(path: Path) -> str | None:
    try:
        if not path.is_file():  # a named pipe would wait for its writer
            return None
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE + 1)
        return data.decode() if len(data) <= MAX_KEY_FILE else None
    except (OSError, ValueError):
        return None


class PoolKey(NamedTuple):
    """One of a provider's keys."""

    text: str
    """The key itself."""
    name: str
    """What people know it by: its reference, or its place in the configuration."""
    weight: float = 1.0
    calls: int = 0
    pays: tuple[int, int] = (1, 1)
    rates: tuple[RateLimit, ...] = ()
    """All four as in ``snapshot.Secret``."""


def name_of(secret: Secret, place: int) -> str:
    """What people know a provider's key by, which stands at ``place``, counted from 1."""
    known = secret.kind in REFERENCES
    return f"{secret.kind}:{secret.value}" if known else f"number {place}"


def pool(
    provider: Provider, env: Mapping[str, str] = os.environ, open_key: bytes | None = None
) -> list[PoolKey] | None:
    """The provider's keys in the order of its configuration; ``None`` = it is not active here.

    An empty list means active without a key. Keys that are missing, empty, or cannot be sent in a
    header are left out. A base URL or header with a reference that this environment cannot fill
    makes the provider inactive.
    """
    if fill(base_url(provider, env), env) is None or headers(provider, env, open_key) is None:
        return None
    keys: dict[str, PoolKey] = {}
    sealed_for = key_seal_name(provider.name, provider.owner)
    for place, secret in enumerate(provider.keys, 1):
        text = resolve(secret, sealed_for, env, open_key)
        if _is_withheld(secret, env):
            text = withheld(secret.value)
        if text is not None and sendable(text) and text not in keys:
            name = name_of(secret, place)
            keys[text] = PoolKey(text, name, secret.weight, secret.calls, secret.pays, secret.rates)
    if keys:
        return list(keys.values())[: 1 if provider.alternatives else None]
    return [] if provider.keyless and provider.enabled else None


def activate(
    provider: Provider, env: Mapping[str, str] = os.environ, open_key: bytes | None = None
) -> list[str] | None:
    """The texts of :func:`pool`."""
    keys = pool(provider, env, open_key)
    return None if keys is None else [key.text for key in keys]


def localise(
    snapshot: Snapshot, env: Mapping[str, str] = os.environ, open_key: bytes | None = None
) -> Snapshot:
    """``snapshot`` with base URLs and headers as they are sent from here.

    A data plane does this once per snapshot, before it compiles it. Providers with a reference that
    has no value here keep it, and :func:`activate` calls them inactive.
    """
    providers = {}
    for name, provider in snapshot.providers.items():
        provider = moved(provider, env)
        url = fill(provider.base_url, env)
        sent = headers(provider, env, open_key)
        if url is not None and sent is not None:
            provider = replace(provider, base_url=url, headers=sent)
        providers[name] = provider
    return replace(snapshot, providers=providers)


def meant_for(known: str, url: str) -> bool:
    """Whether the key that the catalogue knows for the base URL ``known`` may be sent to ``url``.

    It is, within the vendor's own domain, and to servers of one's own network; anybody else gets no
    key but the one that is given for them.
    """
    theirs, host = (urlsplit(each).hostname or "" for each in (known, url))
    if "{" in theirs or is_private(host):
        return True
    domain = ".".join(theirs.split(".")[-2:])
    secure = urlsplit(url).scheme == "https" or urlsplit(known).scheme == "http"
    return secure and (host == domain or host.endswith(f".{domain}"))


def base_url_variable(name: str) -> str:
    """``my-lab`` → ``FERRYMAN_MY_LAB_BASE_URL``."""
    return "FERRYMAN_" + re.sub(r"[^A-Z0-9]", "_", name.upper()) + "_BASE_URL"


def base_url(provider: Provider, env: Mapping[str, str]) -> str:
    """The provider's base URL, unless ``FERRYMAN_<NAME>_BASE_URL`` says otherwise."""
    return env.get(base_url_variable(provider.name), "").rstrip("/") or provider.base_url


def moved(provider: Provider, env: Mapping[str, str]) -> Provider:
    """``provider`` with the base URL that holds here.

    What a host offers beside its base URL is not known of another host, nor where that computes.
    """
    url = base_url(provider, env)
    if url == provider.base_url:
        return provider
    region = provider.region if provider.region_stated else ""
    return replace(provider, base_url=url, paths=below(provider.paths), region=region)


def below(paths: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Those of ``paths`` that lie below the base URL."""
    return tuple(pair for pair in paths if not pair[1].startswith("//"))


def fill(url: str, env: Mapping[str, str]) -> str | None:
    """``url`` with every ``{VAR}`` filled from ``env``; ``None`` when a variable is missing."""
    if any(not env.get(name) for name in PLACEHOLDER.findall(url)):
        return None
    return PLACEHOLDER.sub(lambda found: _bare_host(env[found.group(1)]), url)


def _bare_host(value: str) -> str:
    """Hosts are often given as URLs; what belongs between the slashes is the host alone."""
    return re.sub(r"^https?://", "", value.strip()).rstrip("/")


def header_secret(value: str) -> Secret | None:
    """The reference in a header value of the snapshot: ``env:…``, ``file:…``, ``vault:…`` or
    ``sealed:…``."""
    kind, colon, rest = value.partition(":")
    return Secret(kind, rest) if colon and kind in (*REFERENCES, SEALED) else None


def header_seal_name(provider: str, header: str) -> str:
    """What a sealed header value is sealed for."""
    return f"{provider}\n{header.lower()}"


def key_seal_name(provider: str, owner: str) -> str:
    """What a provider's key is sealed for: one of an organisation opens for that alone, and not at
    all where nobody knows of owners."""
    return f"organisation\n{owner}\n{provider}" if owner else provider


def guard_seal_name(guard: str) -> str:
    """What the secret of a guard's webhook is sealed for."""
    return f"guard\n{guard}"


def guard_secret(guard: Guard, env: Mapping[str, str], open_key: bytes | None) -> bytes | None:
    """What signs the requests to a guard's webhook; None: it is not there, or not wanted."""
    secret = header_secret(guard.secret)
    found = resolve(secret, guard_seal_name(guard.name), env, open_key) if secret else None
    return None if found is None else found.encode()


def headers(
    provider: Provider, env: Mapping[str, str], open_key: bytes | None
) -> tuple[tuple[str, str], ...] | None:
    """The provider's extra headers as sent; ``None`` when a reference among them has no value."""
    out = []
    for name, value in provider.headers:
        secret = header_secret(value)
        if secret is not None:
            found = resolve(secret, header_seal_name(provider.name, name), env, open_key)
            if found is None or not _HEADER_VALUE.fullmatch(found):
                return None
            value = found
        out.append((name, value))
    return tuple(out)


def own_secrets(snapshot: Snapshot, env: Mapping[str, str], open_key: bytes | None) -> set[str]:
    """What the gateway knows as secrets beside its providers' keys, as far as it is here: values of
    headers (providers', OTLP's) that are referred to or sealed, and what alerts' channels, guards'
    webhooks and the sign-in have. ``snapshot`` as it came."""
    named = _beside_keys(snapshot)
    texts = (resolve(secret, name, env, open_key) for secret, name in named if secret is not None)
    # Of a header such as "Bearer …" the last word is the secret.
    return {text.split()[-1] for text in texts if text}


def sealed(snapshot: Snapshot) -> list[tuple[Secret, str]]:
    """Its sealed secrets, each with what it is sealed for. ``snapshot`` as it came."""
    named: list[tuple[Secret | None, str]] = [
        (secret, key_seal_name(provider.name, provider.owner))
        for provider in snapshot.providers.values()
        for secret in provider.keys
    ]
    named += _beside_keys(snapshot)
    return [(each, name) for each, name in named if each is not None and each.kind == SEALED]


def _beside_keys(snapshot: Snapshot) -> Iterator[tuple[Secret | None, str]]:
    """Secrets that are not keys of providers, and what each would be sealed for."""
    for provider in snapshot.providers.values():
        for header, value in provider.headers:
            yield header_secret(value), header_seal_name(provider.name, header)
    if snapshot.telemetry.otlp is not None:
        for header, value in snapshot.telemetry.otlp.headers:
            yield header_secret(value), header_seal_name(OTLP, header)
    for channel in snapshot.alerts.channels:
        yield channel.secret, ALERTS
        yield channel.mail.password if channel.mail is not None else None, ALERTS
    if snapshot.sign_in is not None:
        yield snapshot.sign_in.secret, SIGN_IN
    for guard in snapshot.guards:
        yield header_secret(guard.secret), guard_seal_name(guard.name)
