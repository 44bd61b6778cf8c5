"""One connection to Valkey or Redis on which many commands are under way at a time (RESP2).

Protocol: https://valkey.io/topics/protocol/. Commands of one turn of the loop go out in one write;
answers come in the order of the commands. Where none comes for a while the connection is given up.
"""

import asyncio
import hashlib
import ssl
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from ferryman.config.secret import PLACEHOLDER

LOOK_SECONDS: Final = 0.05
"""How often it is looked for late answers."""
CROWD: Final = 10
"""Times the patience that an answer may take while others come: many may have asked at once."""
PORT: Final = 6379
_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder().decode


class StateError(Exception):
    """The server can't be used; the message says why."""


class Server(NamedTuple):
    """Where a Valkey or Redis is, and what it wants to know."""

    host: str
    port: int
    secure: bool
    """Whether it speaks TLS."""
    user: str
    password: str
    database: int


def server_of(setting: str, env: Mapping[str, str]) -> Server:
    """What ``server.state`` names: ``valkey://`` or ``redis://`` (with an s: over TLS),
    ``user:{PASSWORD}@``, ``/database``. Raises :class:`StateError` if a variable is missing."""
    parts = urlsplit(setting)
    names = PLACEHOLDER.findall(parts.password or "")
    for name in names:
        if not env.get(name):
            raise StateError(f"server.state needs the variable {name}")
    return Server(
        parts.hostname or "", parts.port or PORT, parts.scheme in ("valkeys", "rediss"),
        parts.username or "", env[names[0]] if names else "", int(parts.path.strip("/") or 0),
    )  # fmt: skip


def shown(setting: str) -> str:
    """Host and port, without what may be secret."""
    return urlsplit(setting).netloc.rpartition("@")[2]


class AwayError(Exception):
    """The server can't be reached, or is too slow; whether a command was done is not known."""


class RefusedError(Exception):
    """The server answered a command with an error."""


class Link(asyncio.Protocol):
    """A connection. Everything on it happens on the loop that opened it."""

    def __init__(self, patience: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._patience = patience
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[list[float], asyncio.Future[Any]]] = deque()
        """With when their command was written, once it was: a turn of the loop may take long."""
        self._written: list[float] = []
        """The same of the commands of this turn."""
        self._heard = 0.0
        """When the last answer came."""
        self._out: list[bytes] = []
        self._in = bytearray()
        self._look: asyncio.TimerHandle | None = None
        self._late: asyncio.Future[Any] | None = None
        self._sha = ""
        self.lost = asyncio.Event()
        """Set when it is over."""

    def call(self, *words: str | bytes) -> "asyncio.Future[Any]":
        """Send a command. The future may raise :class:`AwayError` and :class:`RefusedError`."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        if self.lost.is_set():
            answer.set_exception(AwayError("the connection is lost"))
            return answer
        if not self._out:
            self._written = []
            self._loop.call_soon(self._flush)
        raw = [word if isinstance(word, bytes) else word.encode() for word in words]
        parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in raw]
        self._out.append(b"*%d\r\n%b" % (len(parts), b"".join(parts)))
        self._waiting.append((self._written, answer))
        if self._look is None:
            self._look = self._loop.call_later(LOOK_SECONDS, self._look_at_time)
        return answer

    async def load(self, script: str) -> None:
        """Give the server the script that :meth:`run` runs."""
        self._sha = (await self.call("SCRIPT", "LOAD", script)).decode()
        assert self._sha == hashlib.sha1(script.encode()).hexdigest()  # noqa: S324 - their name

    async def run(self, key: str, operation: str, *arguments: object) -> Any:
        """Run the script. Arguments and answer go as msgpack."""
        return _unpack(await self.call("EVALSHA", self._sha, "1", key, operation, _pack(arguments)))

    def close(self) -> None:
        """End it; what is under way fails."""
        if self._transport is not None:
            self._transport.abort()
        self._end("the connection was closed")

    # -- asyncio's side

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(str(exc or "the server hung up"))

    def data_received(self, data: bytes) -> None:
        self._in += data
        at = 0
        try:
            while self._waiting:
                found, at = _parse(self._in, at)
                _, answer = self._waiting.popleft()
                self._heard = self._loop.time()
                if answer.done():
                    continue
                if isinstance(found, RefusedError):
                    answer.set_exception(found)
                else:
                    answer.set_result(found)
        except _MoreError:
            pass
        except ValueError as error:
            self.close()
            self._end(str(error))
        del self._in[:at]

    def _flush(self) -> None:
        data, self._out = b"".join(self._out), []
        self._written.append(self._loop.time())
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _look_at_time(self) -> None:
        self._look = None
        if not self._waiting:
            return
        written, answer = self._waiting[0]
        now, most = self._loop.time(), self._patience
        sent = written[0] if written else now
        silent = now - max(sent, self._heard) > most or now - sent > CROWD * most
        late = answer if silent else None
        if late is not None and late is self._late:
            if self._transport is not None:
                self._transport.abort()
            self._end(f"no answer within {self._patience:g} s")
            return
        # Looked at twice: if it was the loop that was late, the answer is read in between.
        self._late = late
        self._look = self._loop.call_later(LOOK_SECONDS, self._look_at_time)

    def _end(self, why: str) -> None:
        self.lost.set()
        if self._look is not None:
            self._look.cancel()
        waiting, self._waiting = self._waiting, deque()
        for _, answer in waiting:
            if not answer.done():
                answer.set_exception(AwayError(why))
                answer.exception()  # those who asked may be gone


async def connect(server: Server, patience: float) -> Link:
    """Open a connection. Raises :class:`AwayError`, :class:`RefusedError`."""
    secure = ssl.create_default_context() if server.secure else None
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(10 * patience):
            _, link = await loop.create_connection(
                lambda: Link(patience), server.host, server.port, ssl=secure
            )
    except (OSError, TimeoutError) as error:
        raise AwayError(str(error) or f"no connection within {10 * patience:g} s") from None
    try:
        if server.password:
            await link.call("AUTH", *([server.user] if server.user else []), server.password)
        if server.database:
            await link.call("SELECT", str(server.database))
    except BaseException:
        link.close()
        raise
    return link


class _MoreError(Exception):
    """The answer is not whole yet."""


def _parse(data: bytearray, at: int) -> tuple[Any, int]:
    """The answer that begins at ``at``, and where it ends. Raises ``_MoreError``, ValueError."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise _MoreError
    kind, line, at = data[at : at + 1], bytes(data[at + 1 : end]), end + 2
    if kind == b"+":
        return line, at
    if kind == b"-":
        return RefusedError(line.decode("utf-8", "replace")), at
    if kind == b":":
        return int(line), at
    if kind == b"$":
        size = int(line)
        if size < 0:
            return None, at
        if len(data) < at + size + 2:
            raise _MoreError
        return bytes(data[at : at + size]), at + size + 2
    if kind != b"*":
        raise ValueError("what answers there is no Valkey or Redis")
    found = []
    for _ in range(int(line)):
        one, at = _parse(data, at)
        found.append(one)
    return found, at
