"""Where lines of the log go. What each does may block and fail: ``logs.py`` has a thread for each.

A plugin is a package with an entry point in the group ``ferryman.sinks``: a function from its
options (a mapping of texts) to a :class:`Sink`.
"""

import datetime
import hashlib
import os
import ssl
import sys
import time
import uuid
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ferryman import __version__
from ferryman.config.contents import SINKS
from ferryman.config.files import located
from ferryman.config.model import SinkConfig
from ferryman.config.secret import ENV, FILE, Redacted, resolve
from ferryman.config.snapshot import Secret
from ferryman.control.links import Link
from ferryman.wire.addresses import reach
from ferryman.wire.sigv4 import Credentials, sign
from ferryman.wire.webhooks import SIGNATURE, signature


class Sink(Protocol):
    """Takes lines, each a JSON object without a line break at its end."""

    def write(self, lines: Sequence[bytes]) -> None:
        """Take all of them; whatever it raises, they come again later."""

    def close(self) -> None:
        """There will be no more."""


class SinkError(Exception):
    """A sink can't be used, or did not take lines; the message says why."""


def made(config: SinkConfig, folder: Path) -> Sink:
    """The sink; relative files are in ``folder``. Raises whatever a plugin does, and
    :class:`SinkError`."""
    if config.kind == "stdout":
        return Stdout()
    if config.kind == "file":
        return LogFile(located(folder, config.path), config.max_size, config.files)
    if config.kind == "webhook":
        return Webhook(config.url, config.secret, config.private)
    if config.kind == "s3":
        return Bucket(config)
    found = list(entry_points(group=SINKS, name=config.kind))
    if not found:
        raise SinkError(f"no package is installed that has a sink {config.kind!r}")
    options = {name: _opened(name, value) for name, value in config.options}
    sink: Sink = found[0].load()(options)
    return sink


def _opened(name: str, text: str) -> str:
    kind, colon, value = text.partition(":")
    return _secret(Secret(kind, value), name).reveal() if colon and kind in (ENV, FILE) else text


def _secret(secret: Secret, name: str) -> Redacted:
    found = resolve(secret, name, os.environ, None)
    if found is None:
        raise SinkError(f"its {name} {secret.kind}:{secret.value} is not there")
    return Redacted(found)


class Stdout:
    """Standard output."""

    def write(self, lines: Sequence[bytes]) -> None:
        sys.stdout.buffer.write(b"\n".join(lines) + b"\n")
        sys.stdout.buffer.flush()

    def close(self) -> None:
        pass


class LogFile:
    """A file; once it is full it is renamed, and another one begun."""

    def __init__(self, path: Path, most: int, kept: int) -> None:
        self._path, self._most, self._kept = path, most, kept

    def write(self, lines: Sequence[bytes]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        data = b"\n".join(lines) + b"\n"
        size = self._path.stat().st_size if self._path.exists() else 0
        if size and size + len(data) > self._most:
            self._rotate()
        # Opened each time: somebody else may have moved it away.
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "ab") as file:
            file.write(data)

    def _rotate(self) -> None:
        for number in range(self._kept, 0, -1):
            older = self._path if number == 1 else self._at(number - 1)
            if older.exists():
                older.replace(self._at(number))

    def _at(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def close(self) -> None:
        pass


class Webhook:
    """A POST with a JSON array for each batch, signed as notices are (docs/limits.md)."""

    def __init__(self, url: str, secret: Secret | None, private: bool | None) -> None:
        self._url, self._reference, self._private = url, secret, private

    def write(self, lines: Sequence[bytes]) -> None:
        body = b"[" + b",".join(lines) + b"]"
        headers = {"content-type": "application/json"}
        if self._reference is not None:
            key = _secret(self._reference, "secret").reveal().encode()
            headers[SIGNATURE] = signature(key, body, int(time.time()))
        _send("POST", self._url, self._private, body, headers)

    def close(self) -> None:
        pass


class Bucket:
    """An object of lines for each batch, in a bucket of S3 or of a server that speaks like it.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
    """

    pause = 10.0
    """Seconds between two objects."""

    def __init__(self, config: SinkConfig) -> None:
        self._config = config
        self._url = config.url.rstrip("/") or f"https://s3.{config.region}.amazonaws.com"

    def write(self, lines: Sequence[bytes]) -> None:
        body = b"\n".join(lines) + b"\n"
        now = datetime.datetime.now(datetime.UTC)
        name = f"{self._config.prefix}{now:%Y/%m/%d/%H%M%S}-{uuid.uuid4().hex}.jsonl"
        url = f"{self._url}/{self._config.bucket}/{name}"
        parts = urlsplit(url)
        headers = (
            ("content-type", "application/x-ndjson"),
            ("x-amz-content-sha256", hashlib.sha256(body).hexdigest()),
        )
        signed = sign(
            "PUT", parts.netloc, parts.path, "", headers, body, self._credentials(),
            self._config.region, "s3", f"{now:%Y%m%dT%H%M%SZ}",
        )  # fmt: skip
        _send("PUT", url, self._config.private, body, dict((*headers, *signed)))

    def _credentials(self) -> Credentials:
        access, secret = self._config.access_key, self._config.secret
        if access is not None and secret is not None:
            token = ""
        else:
            access = Secret(ENV, "AWS_ACCESS_KEY_ID")
            secret = Secret(ENV, "AWS_SECRET_ACCESS_KEY")
            token = os.environ.get("AWS_SESSION_TOKEN", "")
        return Credentials(
            _secret(access, "access_key").reveal(), _secret(secret, "secret").reveal(), token
        )

    def close(self) -> None:
        pass


def _send(
    method: str, url: str, private: bool | None, body: bytes, headers: dict[str, str]
) -> None:
    """Raises ``OSError``, ``HTTPException``, and :class:`SinkError` for an answer that is no 2xx.
    Redirects are not followed: the destination is what is configured."""
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    link = Link(parts.hostname or "", parts.port, reach(url, private), tls)
    try:
        path = parts.path or "/"
        sent = {"user-agent": f"ferryman/{__version__}", **headers}
        link.request(method, f"{path}?{parts.query}" if parts.query else path, body, sent)
        status = link.getresponse().status
    finally:
        link.close()
    if not 200 <= status < 300:
        raise SinkError(f"it answered {status}")
