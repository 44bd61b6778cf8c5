"""An exchange that keeps what its caller gets, for the callers who ask the same."""

import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ferryman.cache.answer import Answer, calls_tools
from ferryman.cache.key import digest
from ferryman.cache.shelf import Flight, Landing, Outcome, Shelf
from ferryman.http1.exchange import Exchange, Headers
from ferryman.wire.multipart import FormReader

_LASTING: Final = frozenset(
    b"content-type x-ferryman-provider x-ferryman-model x-ferryman-dropped x-ferryman-altered"
    b" cache-control x-accel-buffering".split()
)
"""Header lines that hold for others who get the answer."""
_SUMMARY: Final = b": ferryman "


def form_mark(mark: bytes, form: bytes) -> bytes:
    """The mark of a form with the digest ``form``."""
    return digest(mark, form)


class Sink(NamedTuple):
    """Where an answer goes once it is whole, and who waits for it."""

    shelf: Shelf
    key: bytes
    seconds: float
    """How long it is kept."""
    flight: Flight | None
    mark: bytes
    tools: bool
    """Whether an answer that calls tools may be given to others."""
    once: bool
    """True: for an Idempotency-Key, so that it must be known that there was an answer."""
    since: int = 0
    """``Shelf.cleared`` when the answer was asked for."""
    form: FormReader | None = None
    """Of whose digest the mark is, too: known at the end of the answer, if its end has come."""

    @property
    def wanted(self) -> bool:
        """Whether the call is to go on when its caller, with whom a form goes, has left."""
        awaited = self.flight is not None and self.flight.awaited
        return self.form is None and (self.once or awaited)

    @property
    def known(self) -> bool:
        """Whether it is known what was asked."""
        return self.form is None or bool(self.form.digest)

    @property
    def full_mark(self) -> bytes:
        """The mark of the answer."""
        return self.mark if self.form is None else form_mark(self.mark, self.form.digest)

    def put(self, answer: Answer) -> None:
        self.shelf.put(self.key, answer, self.since)
        self.land(answer)

    def land(self, outcome: Outcome) -> None:
        if self.flight is not None:
            self.shelf.land(self.key, self.flight, outcome)


class Recording:
    """Stands in front of another exchange (:class:`ferryman.http1.exchange.Exchange`)."""

    def __init__(self, inner: Exchange, most: int) -> None:
        """``most``: bytes of an answer that is kept."""
        self.inner = inner
        self.method = inner.method
        self.target = inner.target
        self.headers = inner.headers
        self.body = inner.body
        self.incoming = inner.incoming
        self.peer = inner.peer
        self.began = inner.began
        self.shared: dict[str, Any] = inner.shared
        self.label = b""
        """Header lines that the reply gets beside those it is started with."""
        self._most = most
        self._sinks: list[Sink] = []
        self._parts: list[bytes] = []
        self._size = 0
        self._head = b""
        self._stream = False
        self._good = False
        self._target = ""
        self._cost: int | None = None
        self._on_gone: Callable[[], None] | None = None
        self._on_resume: Callable[[], None] | None = None

    def add(self, sink: Sink) -> None:
        """Keep the answer there."""
        self._sinks.append(sink)
        if sink.flight is not None:
            sink.flight.on_join = self._go_on
            sink.flight.on_empty = self._perhaps_gone

    def settled(self, good: bool, target: str, cost: int | None) -> None:
        """The call is in the journal, or will be; ``good``: its answer is one to keep."""
        self._good, self._target, self._cost = good, target, cost

    def over(self) -> None:
        """The call has ended: whoever still waits for its answer gets none."""
        now = time.time()
        for sink in self._taken():
            if self._good and sink.once and sink.known:  # given, but too large to keep
                note = Answer(b"", b"", self._stream, self._target, self._cost, now,
                              now + sink.seconds, sink.full_mark, whole=False)  # fmt: skip
                sink.put(note)
            else:
                sink.land(Landing.FAILED)

    # -- the caller, and those who wait beside it

    @property
    def gone(self) -> bool:
        """True once nobody wants the answer any more."""
        return self.inner.gone and not self._wanted()

    @gone.setter
    def gone(self, gone: bool) -> None:
        self.inner.gone = gone

    @property
    def on_gone(self) -> Callable[[], None] | None:
        return self._on_gone

    @on_gone.setter
    def on_gone(self, call: Callable[[], None] | None) -> None:
        self._on_gone = call
        self.inner.on_gone = self._left if call is not None else None

    @property
    def on_resume(self) -> Callable[[], None] | None:
        return self._on_resume

    @on_resume.setter
    def on_resume(self, call: Callable[[], None] | None) -> None:
        self._on_resume = call
        self.inner.on_resume = call

    def _wanted(self) -> bool:
        return any(sink.wanted for sink in self._sinks)

    def _left(self) -> None:
        if self._wanted():
            self._go_on()
        else:
            self._perhaps_gone()

    def _go_on(self) -> None:
        """Don't let a slow caller, or one that has left, hold up the others."""
        if self._on_resume is not None:
            self._on_resume()

    def _perhaps_gone(self) -> None:
        if self.gone and self._on_gone is not None:
            call, self._on_gone = self._on_gone, None
            call()

    # -- the reply

    def header(self, name: bytes) -> bytes | None:
        return self.inner.header(name)

    def respond(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        block = _block(headers)
        self._note_head(block)
        self._record(body)
        self._complete()
        self.inner.respond(status, block + self.label, body)

    def start(self, status: int, headers: Headers | bytes) -> None:
        block = _block(headers)
        self._note_head(block)
        self._stream = True
        self.inner.start(status, block + self.label)

    def write(self, data: bytes) -> bool:
        self._record(data)
        awaited = any(sink.flight is not None and sink.flight.awaited for sink in self._sinks)
        return self.inner.write(data) or awaited

    def finish(self, data: bytes = b"") -> None:
        # A summary is of this call; the one who asks for it gets the others' own.
        self._record(data.partition(b"\n\n")[2] if data.startswith(_SUMMARY) else data)
        self._complete()
        self.inner.finish(data)

    def instead(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        self.inner.instead(status, _block(headers) + self.label, body)

    def abort(self) -> None:
        self._good = False
        self.over()
        self.inner.abort()

    # -- the record

    def _note_head(self, block: bytes) -> None:
        if self._sinks:
            lines = block.split(b"\r\n")
            kept = [line for line in lines if line.partition(b":")[0].lower() in _LASTING]
            self._head = b"".join([line + b"\r\n" for line in kept])

    def _record(self, data: bytes) -> None:
        if not self._sinks:
            return
        self._size += len(data)
        if self._size <= self._most:
            self._parts.append(data)
            return
        self._parts.clear()
        for sink in self._taken():
            if sink.once:
                self._sinks.append(sink)
            else:
                sink.land(Landing.APART)
        self._perhaps_gone()

    def _complete(self) -> None:
        if not self._good or self._size > self._most:
            self.over()
            return
        sinks = self._taken()
        if not sinks:
            return
        body, now = b"".join(self._parts), time.time()
        calls = calls_tools(body)
        for sink in sinks:
            if calls and not sink.tools:
                sink.land(Landing.APART)
                continue
            if not sink.known:  # answered before all of the form had come
                sink.land(Landing.FAILED)
                continue
            answer = Answer(self._head, body, self._stream, self._target, self._cost, now,
                            now + sink.seconds, sink.full_mark)  # fmt: skip
            sink.put(answer)

    def _taken(self) -> list[Sink]:
        sinks, self._sinks = self._sinks, []
        return sinks


def _block(headers: Headers | bytes) -> bytes:
    if isinstance(headers, bytes):
        return headers
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])
