"""One attempt's reply: collected whole, or peeked at until it may be handed on event by event."""

from collections.abc import Callable
from typing import Final

from ferryman.http1.client import ClientConnection, Fault, FaultKind
from ferryman.http1.drive import Gate
from ferryman.http1.exchange import Exchange, Headers
from ferryman.ir.usage import Usage
from ferryman.wire.framing import EventTooLargeError, only_alive
from ferryman.wire.tap import StreamTap

MAX_WHOLE_BYTES = 256 << 20
MAX_HELD_BYTES = 16 << 20
"""Most that a stream may bring before it says anything, or while it is judged."""
EVENT_END: Final = b"\n\n"
END_GRACE_SECONDS = 2.0
"""How long an upstream may take to close its framing after the stream's own end."""


class Reply:
    """The sink of one attempt (:class:`ferryman.http1.client.Sink`).

    ``ready`` opens once it can be decided what to do with the reply: it is whole, or failed, or its
    first content event is here. After :meth:`commit` the rest goes straight to the caller and
    ``over`` opens at the end.
    """

    connection: ClientConnection | None = None
    status = 0
    headers: Headers
    fault: Fault | None = None
    usage: Usage | None = None
    """Usage of a reply that came whole."""
    ended = False
    """True once the upstream's framing says that the reply is complete."""
    streaming = False
    first_byte = -1.0
    first_token = -1.0
    last_token = -1.0
    """When the last event of a stream came; -1 also where it fell silent."""
    place = -1
    """Where its attempt stands among the call's; -1 = it has none yet."""
    over_budget: Callable[[], bool] | None = None
    """Says after each part of a stream whether it has used up what it may."""
    spent = False
    """True: it has, and was ended."""
    judged = False
    """True for an answer that came well and is passed over all the same."""
    came = 0
    """Bytes of a stream so far,"""
    events = 0
    """how many events they are,"""
    last = b""
    """and the last of them as they came: so that one that breaks off can be estimated."""
    _size = 0
    _said = False
    """True once something of a whole body has come."""
    _committed = False
    _exchange: Exchange | None = None

    def __init__(self, now: Callable[[], float], tap: StreamTap | None) -> None:
        self.now = now
        self.tap = tap
        self.ready: Gate[None] = Gate()
        self._parts: list[bytes] = []
        if tap is None:
            self.over = self.ready
        else:
            self.over = Gate()
            self._held: list[bytes] = []

    @property
    def body(self) -> bytes:
        """The whole body, or what came of it."""
        parts = self._parts
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def used(self) -> Usage | None:
        """Its usage, as far as it says."""
        return self.usage or (self.tap.usage if self.tap is not None else None)

    def rewrite(self, body: bytes) -> None:
        """Put ``body`` in the place of the one that came."""
        self._parts = [body]

    # -- the connection's side

    def on_head(self, status: int, headers: Headers) -> None:
        self.first_byte = self.now()
        self.status = status
        self.headers = headers
        media_type = b""
        for name, value in headers:
            if name == b"content-type":
                media_type = value.lower()
            elif name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
                # Fields that it names are of this hop only (RFC 9110 §7.6.1).
                named = {part.strip() for part in value.lower().split(b",")}
                self.headers = [pair for pair in self.headers if pair[0] not in named]
        if self.tap is not None and 200 <= status < 300:
            self.streaming = self.tap.takes(media_type)
        if self.connection is not None:
            self.connection.await_content()

    def on_data(self, data: bytes) -> None:
        if not self.streaming:
            self._parts.append(data)
            if not self._said and self.connection is not None:
                if data.isspace():  # blank lines only keep the connection open
                    self.connection.only_alive()
                else:
                    self._said = True
                    self.connection.content_came()
            self._size += len(data)
            if self._size > MAX_WHOLE_BYTES:
                self._cut(f"a reply over {MAX_WHOLE_BYTES} bytes")
            return
        tap = self.tap
        assert tap is not None
        self.came += len(data)
        self.events += data.count(EVENT_END)
        self.last = data
        try:
            out = tap.feed(data)
        except EventTooLargeError as error:
            self._cut(str(error))
            return
        if only_alive(data) and self.connection is not None:
            self.connection.only_alive()
        if self._committed:
            if out:
                exchange = self._exchange
                if exchange is not None and not exchange.write(out):
                    self._pause(exchange)
            if tap.done or tap.failure is not None:
                self._stream_over()
            elif self.over_budget is not None and self.over_budget():
                self.spent = True
                if self.connection is not None:
                    self.connection.cancel()
                self._open_all()
            return
        self._held.append(out)
        self._size += len(out)
        if self._size > MAX_HELD_BYTES and (not tap.content or self.first_token >= 0):
            when = "that have to be judged first" if tap.content else "before it said anything"
            self._cut(f"over {MAX_HELD_BYTES} bytes {when}")
            return
        if tap.content or tap.done or tap.failure is not None:
            if tap.content and self.first_token < 0:
                self.first_token = self.now()
                if self.connection is not None:
                    self.connection.content_came()
            if tap.done or tap.failure is not None:
                self._stream_over()
            self.ready.open(None)

    def on_whole(self, status: int, headers: Headers, body: bytes) -> None:
        if self.tap is not None:
            self.on_head(status, headers)
            self.on_data(body)
            self.on_end()
            return
        self.first_byte = self.now()
        self.status = status
        self.headers = headers
        self._parts.append(body)
        self.ended = True
        self.ready.open(None)

    def on_end(self) -> None:
        self.ended = True
        if self.streaming and self.tap is not None:
            self.tap.close()
        self._open_all()

    def on_fault(self, fault: Fault) -> None:
        if self.first_token >= 0 > self.last_token and fault.kind is FaultKind.CLOSED:
            self.last_token = self.now()
        if self.tap is None or not self.tap.done:
            self.fault = fault
        self._open_all()

    # -- the flow's side

    def commit(self, exchange: Exchange) -> None:
        """Hand what was held, and from now on all that comes, to the caller."""
        self._committed = True
        self._exchange = exchange
        held, self._held = b"".join(self._held), []
        if held and not exchange.write(held) and not self.over.opened:
            self._pause(exchange)

    def again(self) -> None:
        """Make ready for a second sending, after a first that brought nothing."""
        self.fault = None
        self.connection = None
        self.ready = Gate()
        self.over = self.ready if self.tap is None else Gate()

    def leave(self) -> None:
        """The caller is gone: cut the upstream's connection, which stops its work."""
        if self.ended or self.over.opened:
            return
        self.fault = Fault(FaultKind.CANCELLED, "the caller left")
        if self.connection is not None:
            self.connection.cancel()
        self._open_all()

    def _open_all(self) -> None:
        # Both first: opening one resumes the flow, which may have replaced them when it returns.
        ready, over = self.ready, self.over
        ready.open(None)
        over.open(None)

    def _pause(self, exchange: Exchange) -> None:
        connection = self.connection
        if connection is not None:
            connection.pause()
            exchange.on_resume = connection.resume

    def _stream_over(self) -> None:
        """The stream has said its last word; its framing may take a moment more."""
        self.last_token = self.now()
        if self._exchange is not None:
            self._exchange.on_resume = None
        if self.connection is not None:
            self.connection.hurry(END_GRACE_SECONDS)
        self.over.open(None)

    def _cut(self, why: str) -> None:
        self.fault = Fault(FaultKind.PROTOCOL, why)
        if self.connection is not None:
            self.connection.cancel()
        self._open_all()
