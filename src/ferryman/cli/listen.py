"""Listening sockets, bound by ``ferryman up`` so that they outlive a crash of who serves them."""

import contextlib
import errno
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ferryman.config.options import variable

BACKLOG: Final = 4096
"""Connections the kernel holds while a crashed plane restarts (it caps this at its own limit)."""


class ListenError(Exception):
    """An address can't be listened on; the message names the flag, the reason and what to do."""


def bind_tcp(host: str, port: int, flag: str) -> list[socket.socket]:
    """Listen on every address of ``host`` (a name such as ``localhost`` may have two), same port.

    ``port`` 0 takes a free one. Errors name ``flag`` (``--port``). Raises :class:`ListenError`.
    """
    name_flag = flag.replace("port", "host")
    try:
        infos = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise ListenError(
            f"{name_flag} {host!r} is no address of this machine ({error.strerror}). "
            f"Give an IP address such as 127.0.0.1 or ::1."
        ) from None
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    # IPv4 first: with port 0 its free port is then asked for on IPv6 too.
    for family, address in dict.fromkeys((i[0], str(i[4][0])) for i in sorted(infos)):
        try:
            sock = _bind(family, address, port, host)
        except OSError as error:
            failure = error
            if error.errno != errno.EADDRNOTAVAIL:
                break
            continue  # a name's IPv6 address on a machine without IPv6
        sockets.append(sock)
        port = sock.getsockname()[1]
        failure = None
    if failure or not sockets:
        for sock in sockets:
            sock.close()
        raise ListenError(_explain(host, port, flag, failure)) from None
    return sockets


def _bind(family: int, address: str, port: int, host: str, *, joins: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if joins:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # "::" serves IPv4 as well; beside an IPv4 socket of the same name it must not.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def beside(sock: socket.socket) -> socket.socket:
    """Another socket on the address of one of ours: the kernel deals connections out to them.

    ``SO_REUSEPORT`` is not set before ``sock`` is bound: so it was found out that nobody else
    listens there, and nobody who does not know of it can join. A Unix socket is used by all.
    """
    if sock.family == socket.AF_UNIX:
        return sock
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    host, port = sock.getsockname()[:2]
    return _bind(sock.family, host, port, host, joins=True)


def _explain(host: str, port: int, flag: str, error: OSError | None) -> str:
    where = f"{host}:{port}" if ":" not in host else f"[{host}]:{port}"
    env = variable(flag.lstrip("-").replace("-", "_"))
    if error is not None and error.errno == errno.EADDRINUSE:
        holder = port_holder(port)
        by = f" by {holder}" if holder else ""
        return (
            f"{where} is already in use{by}. Stop it, or choose another port with {flag} "
            f"(or {env}); 0 takes a free one."
        )
    if error is not None and error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"This user may not listen on {where} (ports below 1024 need privileges). "
            f"Choose a higher port with {flag} (or {env})."
        )
    if error is not None and error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine. Set {flag.replace('port', 'host')}."
    return f"Can't listen on {where}: {error}."


def bind_unix(path: str) -> socket.socket:
    """Listen on the Unix socket ``path`` (``--uds``), replacing one that nobody serves any more.

    Raises :class:`ListenError` when somebody serves it, or it is some other kind of file.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            raise ListenError(f"--uds {path} exists and is not a socket. Choose another path.")
        if _answers(path):
            raise ListenError(f"--uds {path} is in use by a running server. Stop it first.")
        Path(path).unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(f"Can't listen on --uds {path}: {error.strerror or error}.") from None
    sock.setblocking(False)
    return sock


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except TimeoutError:
            return True  # its backlog is full: it is busy, not dead
        except OSError:
            return False
    return True


def port_holder(port: int) -> str:
    """``"nginx" (process 123)``: who listens on TCP ``port``; empty where we can't see it."""
    inodes = set(_listening_inodes(port))
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        if inodes & _open_files(process):
            with contextlib.suppress(OSError):
                name = (process / "comm").read_text().strip()
                return f"{name!r} (process {process.name})"
    return "a process of another user"


def _open_files(process: Path) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):  # not ours to look into, or gone
        for fd in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(fd.readlink()))
    return found


def _listening_inodes(port: int) -> Iterator[str]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with contextlib.suppress(OSError):
            for row in table.read_text().splitlines()[1:]:
                cells = row.split()
                # local address ends in the port in hex; state 0A = LISTEN; cell 9 = inode
                if cells[3] == "0A" and int(cells[1].rpartition(":")[2], 16) == port:
                    yield f"socket:[{cells[9]}]"
