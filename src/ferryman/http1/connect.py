"""Making connections: DNS with a cache, happy eyeballs (RFC 8305), TLS, CONNECT proxies."""

import asyncio
import base64
import contextlib
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from ferryman.http1.client import ClientConnection, Fault, FaultKind

STAGGER_SECONDS = 0.25
"""RFC 8305 §5: how long one address has before the next is tried beside it."""
DNS_SECONDS = 30.0
DNS_STALE_SECONDS = 3600.0
"""How long an old answer serves while the resolver fails."""

SLOW = "no connection within"
"""How a fault begins that says so."""
MAX_PROXY_HEAD = 16_384
_CONNECTED = re.compile(rb"HTTP/1\.[01] (\d\d\d)[ \r]")

Address = tuple[socket.AddressFamily, tuple[Any, ...]]
"""A family and its socket address, as ``getaddrinfo`` gives them."""


class Origin(Struct, frozen=True):
    """Where a pool's connections go: scheme, host and port (or a Unix socket's path)."""

    scheme: str
    host: str
    port: int
    uds: str = ""
    reach: int = 0
    """Where its name may lead to: whatever the connector's ``admits`` makes of it."""

    @classmethod
    def of(cls, url: str) -> "Origin":
        """The origin of ``url``. Raises ValueError when it isn't http(s) with a host."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http(s) URL with a host: {url!r}")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.scheme, parts.hostname, port)

    @property
    def authority(self) -> str:
        """The value of the Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"


class Resolver:
    """Caches answers for ``DNS_SECONDS``; serves a stale one rather than none."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._cache: dict[tuple[str, int], tuple[float, list[Address]]] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[list[Address]]] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Addresses in the order to try, families interleaved. Raises OSError."""
        known = self._cache.get((host, port))
        if known is not None and self._loop.time() - known[0] < DNS_SECONDS:
            return known[1]
        asking = self._asking.get((host, port))
        if asking is None:
            asking = self._loop.create_task(self._ask(host, port))
            self._asking[host, port] = asking
            asking.add_done_callback(lambda _: self._asking.pop((host, port), None))
        # Whoever gives up waiting must not take the answer from all who wait for the same.
        return await asyncio.shield(asking)

    async def _ask(self, host: str, port: int) -> list[Address]:
        known = self._cache.get((host, port))
        try:
            infos = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            if known is not None and self._loop.time() - known[0] < DNS_STALE_SECONDS:
                return known[1]
            raise
        addresses = interleave([(info[0], info[4]) for info in infos])
        if len(self._cache) > 1000:
            self._cache.clear()
        self._cache[host, port] = (self._loop.time(), addresses)
        return addresses


def interleave(addresses: list[Address]) -> list[Address]:
    """Alternate address families, keeping the resolver's order within each (RFC 8305 §4)."""
    first = addresses[0][0] if addresses else socket.AF_INET
    a = [x for x in addresses if x[0] == first]
    b = [x for x in addresses if x[0] != first]
    out: list[Address] = []
    for i in range(max(len(a), len(b))):
        out += a[i : i + 1] + b[i : i + 1]
    return out


async def race(addresses: list[Address], loop: asyncio.AbstractEventLoop) -> socket.socket:
    """The first socket that connects, each address starting ``STAGGER_SECONDS`` after the last."""
    pending: set[asyncio.Task[socket.socket]] = set()
    errors: list[BaseException] = []
    waiting = list(addresses)
    try:
        while waiting or pending:
            if waiting:
                pending.add(asyncio.ensure_future(_connect_one(waiting.pop(0), loop)))
            done, pending = await asyncio.wait(
                pending,
                timeout=STAGGER_SECONDS if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            errors += [error for task in done if (error := task.exception()) is not None]
            won = [task.result() for task in done if task.exception() is None]
            for late in won[1:]:
                late.close()
            if won:
                return won[0]
    finally:
        for task in pending:
            task.cancel()
            task.add_done_callback(_close_late)
    raise errors[0] if errors else OSError("the name has no address")


def _close_late(task: "asyncio.Task[socket.socket]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect_one(address: Address, loop: asyncio.AbstractEventLoop) -> socket.socket:
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def tls_context(ca_files: tuple[str, ...]) -> ssl.SSLContext:
    """Trusts the system's certificate authorities and those in ``ca_files``.

    Raises :class:`Fault` of kind CONNECT when a file can't be used.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    for path in ca_files:
        try:
            context.load_verify_locations(cafile=path)
        except OSError as error:  # ssl.SSLError is one
            text = f"certificate authorities in {path}: {error.strerror or error}"
            raise Fault(FaultKind.CONNECT, text) from None
    return context


class Connector:
    """Makes connections for pools. One for the whole process: it holds DNS and TLS state."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        ca_files: tuple[str, ...] = (),
        proxy_for: Callable[[Origin], str] = lambda origin: "",
        admits: Callable[[str, int], bool] = lambda address, reach: True,
    ) -> None:
        """``admits`` says of an address whether an origin with that ``reach`` may lead to it. It is
        asked of what is connected to: a name can't lead elsewhere in between. Proxies look names up
        themselves; of them it is asked about origins that are addresses."""
        self._admits = admits
        self._loop = loop
        self._resolver = Resolver(loop)
        self._proxy_for = proxy_for
        self._ca_files = ca_files
        self._tls: asyncio.Future[ssl.SSLContext] | None = None

    def set_ca_files(self, ca_files: tuple[str, ...]) -> None:
        """Trust these certificate authorities too, from the next connection on."""
        if ca_files != self._ca_files:
            self._ca_files = ca_files
            self._tls = None

    async def connect(
        self,
        origin: Origin,
        make: Callable[[], ClientConnection],
        seconds: float,
        steps: list[float],
    ) -> ClientConnection:
        """A new connection to ``origin``. Raises :class:`Fault` of kind CONNECT.

        ``steps`` is given the monotonic times when the name was known, when the other end (or the
        proxy) took the connection, and when TLS was agreed upon, as far as it gets.
        """
        # Neither wait_for nor timeout: both need a current task, which a driven coroutine is not.
        task = self._loop.create_task(self._connect(origin, make, steps))
        try:
            await asyncio.wait((task,), timeout=seconds)
        finally:
            if not task.done():
                task.cancel()
                task.add_done_callback(_abort_late)
        if not task.done():
            raise Fault(FaultKind.CONNECT, f"{SLOW} {seconds:g} s")
        try:
            return task.result()
        except ssl.SSLCertVerificationError as error:
            raise Fault(FaultKind.CONNECT, f"TLS: {error.verify_message or error}") from None
        except ssl.SSLError as error:
            raise Fault(FaultKind.CONNECT, f"TLS: {error.reason or error}") from None
        except OSError as error:
            raise Fault(FaultKind.CONNECT, _words(error)) from None
        except UnicodeError:
            raise Fault(FaultKind.CONNECT, f"{origin.host!r} is no host name") from None

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            # In a thread: reading a hundred certificates takes as many milliseconds.
            self._tls = self._loop.run_in_executor(None, tls_context, self._ca_files)
        made = self._tls
        try:
            return await asyncio.shield(made)
        except Fault:
            if self._tls is made:
                self._tls = None  # the file may be there the next time
            raise

    async def _connect(
        self, origin: Origin, make: Callable[[], ClientConnection], steps: list[float]
    ) -> ClientConnection:
        if origin.uds:
            steps.append(monotonic())
            _, made = await self._loop.create_unix_connection(make, origin.uds)
            steps.append(monotonic())
            return made
        proxy = self._proxy_for(origin) if origin.scheme == "https" else ""
        target = Origin.of(proxy) if proxy else origin
        addresses = await self._resolver.resolve(target.host, target.port)
        if not proxy:
            addresses = self._admitted(origin, addresses)
        elif _is_address(origin.host) and not self._admits(origin.host, origin.reach):
            raise _barred(origin)
        steps.append(monotonic())
        tls = await self._context() if origin.scheme == "https" else None
        sock = await race(addresses, self._loop)
        steps.append(monotonic())
        try:
            if proxy:
                await self._tunnel(sock, origin, proxy)
            _, made = await self._loop.create_connection(
                make,
                sock=sock,
                ssl=tls,
                server_hostname=origin.host if tls is not None else None,
            )
        except BaseException:
            sock.close()
            raise
        if tls is not None:
            steps.append(monotonic())
        return made

    def _admitted(self, origin: Origin, addresses: list[Address]) -> list[Address]:
        """Those that the origin may lead to. Raises :class:`Fault` when there is none."""
        found = [each for each in addresses if self._admits(str(each[1][0]), origin.reach)]
        if addresses and not found:
            raise _barred(origin)
        return found

    async def _tunnel(self, sock: socket.socket, origin: Origin, proxy: str) -> None:
        parts = urlsplit(proxy)
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        request = f"CONNECT {host}:{origin.port} HTTP/1.1\r\nhost: {host}:{origin.port}\r\n"
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            request += f"proxy-authorization: Basic {base64.b64encode(login.encode()).decode()}\r\n"
        await self._loop.sock_sendall(sock, request.encode() + b"\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            data = await self._loop.sock_recv(sock, 1)  # not one byte of what follows the head
            head += data
            if not data or len(head) > MAX_PROXY_HEAD:
                raise Fault(FaultKind.CONNECT, "the proxy gave no answer to CONNECT")
        found = _CONNECTED.match(head)
        if found is None:
            raise Fault(FaultKind.CONNECT, "the proxy does not answer in HTTP")
        if not found[1].startswith(b"2"):
            text = f"the proxy refused CONNECT with status {found[1].decode()}"
            raise Fault(FaultKind.CONNECT, text)


def _barred(origin: Origin) -> Fault:
    return Fault(FaultKind.CONNECT, f"{origin.host} leads to an address that it may not lead to")


def _is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False


def _words(error: OSError) -> str:
    """The system's words; loops say less, and name lookups have numbers of their own."""
    if error.errno is not None and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or str(error)


def _abort_late(task: "asyncio.Task[ClientConnection]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().cancel()


def environment_proxy(env: dict[str, str]) -> Callable[[Origin], str]:
    """``HTTPS_PROXY`` and ``NO_PROXY`` (either case; lower case wins), as curl reads them.

    The result gives the proxy's URL for an origin, or nothing. ``NO_PROXY`` holds names (which
    stand for all names below them, too), addresses, networks such as ``10.0.0.0/8``, or ``*``.
    Raises ValueError for a proxy that isn't one of http://.
    """
    proxy = env.get("https_proxy") or env.get("HTTPS_PROXY") or ""
    bypass = env.get("no_proxy") or env.get("NO_PROXY") or ""
    names = [n.strip().lstrip(".").strip("[]").lower() for n in bypass.split(",") if n.strip()]
    networks = []
    for name in names:
        with contextlib.suppress(ValueError):
            networks.append(ipaddress.ip_network(name, strict=False))
    if proxy and "://" not in proxy:
        proxy = "http://" + proxy
    if proxy and Origin.of(proxy).scheme != "http":
        raise ValueError("HTTPS_PROXY must be an http:// URL")

    def choose(origin: Origin) -> str:
        host = origin.host.lower()
        for name in names:
            if name == "*" or host == name or host.endswith("." + name):
                return ""
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(host)
            if any(address in network for network in networks):
                return ""
        return proxy

    return choose
