"""Connections that the control plane opens: to where the configuration says, and nowhere else."""

import http.client
import socket
import ssl
from typing import Final

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
