"""A caller that notes what it received: whole or not, the request id, and how long it waited.

Built on the parser's callbacks, so that one process can hold thousands of streams.
"""

import asyncio
import socket
import time
from collections.abc import Sequence
from typing import Any

import httptools
from msgspec import Struct

DONE = b"data: [DONE]\n\n"


class Answer(Struct):
    """What came back for one request. Times are seconds."""

    status: int = 0
    id: str = ""
    """``x-ferryman-request-id``, empty if no head came."""
    cost: str = ""
    """``x-ferryman-cost-usd`` as it was sent."""
    provider: str = ""
    attempts: int = 0
    stream: bool = False
    """The reply is a stream of events."""
    body: bytes = b""
    ended: bool = False
    """The reply is complete by the rules of HTTP."""
    failure: str = ""
    """``refused``: nobody listens. ``broken``: the connection ended early. ``left``: we did."""
    first: float = 0.0
    """From sending to the first byte of the body."""
    gap: float = 0.0
    """Longest silence between two pieces of the body."""

    @property
    def whole(self) -> bool:
        """Received to its end; a stream's end is its ``[DONE]``."""
        return self.ended and (not self.stream or self.body.endswith(DONE))


class Address(Struct, frozen=True):
    """Where to call, and as whom."""

    host: str
    port: int
    key: str


def request(address: Address, path: str, body: bytes, headers: Sequence[str] = ()) -> bytes:
    """The bytes of a POST."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"host: {address.host}:{address.port}",
        f"authorization: Bearer {address.key}",
        "content-type: application/json",
        *headers,
        f"content-length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Link(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer = Answer()
        self._parts: list[bytes] = []
        self._size = 0
        self._leave_after: int | None = None
        self._sent = self._last = 0.0
        self._waits: asyncio.Future[None] | None = None
        self._keep = True
        self.open = False
        """Another request may be sent."""

    # -- asyncio's side

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._finish("broken")

    def data_received(self, data: bytes) -> None:
        if self._waits is None:
            self.close()  # bytes that nobody asked for
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._finish("broken")
            self.close()

    # -- the parser's side

    def on_message_begin(self) -> None:
        self._answer = Answer()

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower == b"x-ferryman-request-id":
            self._answer.id = value.decode()
        elif lower == b"x-ferryman-cost-usd":
            self._answer.cost = value.decode()
        elif lower == b"x-ferryman-provider":
            self._answer.provider = value.decode()
        elif lower == b"x-ferryman-attempts":
            self._answer.attempts = int(value)
        elif lower == b"content-type":
            self._answer.stream = value.startswith(b"text/event-stream")

    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        now = time.monotonic()
        if not self._size:
            self._answer.first = now - self._sent
        else:
            self._answer.gap = max(self._answer.gap, now - self._last)
        self._last = now
        self._size += len(data)
        self._parts.append(data)
        if self._leave_after is not None and self._size >= self._leave_after:
            self._finish("left")
            self.close()

    def on_message_complete(self) -> None:
        self._answer.ended = True
        if not self._parser.should_keep_alive():
            self.close()
        self._finish("")

    # -- the caller's side

    async def ask(self, data: bytes, leave_after: int | None = None) -> Answer:
        """Send a request and wait for all of its answer, or leave after so many bytes of it."""
        assert self._transport is not None
        self._answer, self._parts, self._size = Answer(), [], 0
        self._leave_after = leave_after
        self._sent = self._last = time.monotonic()
        waits = self._waits = asyncio.get_running_loop().create_future()
        if self.open:
            self._transport.write(data)
        else:
            self._finish("broken")
        try:
            await waits
        finally:
            self._waits = None
        return self._answer

    def close(self) -> None:
        """Leave at once."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def silent_for(self, now: float) -> float:
        """Seconds without a byte of the reply that is under way; 0 when none is."""
        return now - self._last if self._waits is not None else 0.0

    def _finish(self, failure: str) -> None:
        waits = self._waits
        if waits is None or waits.done():
            return
        self._answer.failure = failure
        self._answer.body = b"".join(self._parts)
        waits.set_result(None)


async def connect(address: Address) -> Link:
    """A new connection. Raises OSError."""
    loop = asyncio.get_running_loop()
    _, link = await loop.create_connection(Link, address.host, address.port)
    return link


async def call(address: Address, path: str, body: bytes, headers: Sequence[str] = ()) -> Answer:
    """One request on a connection of its own."""
    try:
        link = await connect(address)
    except ConnectionRefusedError:
        return Answer(failure="refused")
    except OSError:
        return Answer(failure="broken")
    try:
        return await link.ask(request(address, path, body, headers))
    finally:
        link.close()
