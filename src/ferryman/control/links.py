"""Connections that the control plane opens: to where the configuration says, and nowhere else."""

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

from ferryman.wire.addresses import admits

PATIENCE: Final = 10.0
"""Seconds that a receiver has for each step of an answer."""


def reached(host: str, port: int, reach: int, seconds: float = PATIENCE) -> socket.socket:
    """A connection to ``host``, which has ``seconds`` for each step.

    ``reach`` is how far its name may lead (``wire/addresses.py``). What is connected to is what has
    been looked at: a name can't change its mind in between. Raises ``OSError``, also where it leads
    to a private address only.
    """
    last: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        if not admits(str(address[0]), reach):
            last = PermissionError(
                f"{host} leads to the private address {address[0]}; private: true allows that"
            )
            continue
        link = socket.socket(family, kind, protocol)
        link.settimeout(seconds)
        try:
            link.connect(address)
        except OSError as error:
            link.close()
            last = error
            continue
        return link
    raise last


@contextmanager
def within(seconds: float, link: socket.socket) -> Iterator[None]:
    """Cut ``link`` when that time is over: each step may be quick, and all of them slow."""
    twin = link.dup()  # TLS takes the socket itself over

    def cut() -> None:
        with suppress(OSError):
            twin.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        twin.close()


class Link(http.client.HTTPConnection):
    """A connection like the standard library's, by :func:`reached`; redirects are not followed."""

    def __init__(
        self,
        host: str,
        port: int | None,
        reach: int,
        tls: ssl.SSLContext | None,
        seconds: float = PATIENCE,
    ) -> None:
        """``tls`` is None for one without it."""
        self.default_port = 443 if tls is not None else 80
        super().__init__(host, port, timeout=seconds)
        self._reach, self._tls, self._seconds = reach, tls, seconds

    def connect(self) -> None:
        """Open it. Raises ``OSError``."""
        link = reached(self.host, self.port, self._reach, self._seconds)
        try:
            self.sock = link if self._tls is None else self._tls.wrap_socket(
                link, server_hostname=self.host
            )  # fmt: skip
        except BaseException:
            link.close()
            raise


def trusting(ca_files: tuple[str, ...]) -> ssl.SSLContext:
    """Trusts these authorities beside the system's. Raises ``OSError``."""
    context = ssl.create_default_context()
    for file in ca_files:
        context.load_verify_locations(file)
    return context


def fetched(
    url: str, reach: int, most: int, *, ca_files: tuple[str, ...] = (), body: bytes | None = None,
    headers: dict[str, str] | None = None, seconds: float = PATIENCE,
) -> tuple[int, bytes]:  # fmt: skip
    """Status and body of what ``url`` answers in ``seconds`` to a GET; or a POST of ``body``.

    ``reach`` as in :func:`reached`; redirects are not followed. Raises ``OSError``,
    ``HTTPException``, ``ValueError``, the last also for a body of more than ``most`` bytes.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it is no URL of HTTP")
    tls = trusting(ca_files) if parts.scheme == "https" else None
    sock = reached(parts.hostname, parts.port or (443 if tls else 80), reach, seconds)
    link = http.client.HTTPConnection(parts.hostname, parts.port)
    with within(seconds, sock):
        try:
            link.sock = tls.wrap_socket(sock, server_hostname=parts.hostname) if tls else sock
            path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
            link.request("GET" if body is None else "POST", path, body, headers or {})
            answer = link.getresponse()
            data = answer.read(most + 1)
        finally:
            link.close()
            sock.close()
    if len(data) > most:
        raise ValueError(f"it answered more than {most} bytes")
    return answer.status, data
