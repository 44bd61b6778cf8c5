"""An exchange whose event stream reaches its caller as a JSON array, item by item."""

from collections.abc import Callable
from typing import Any

from ferryman.http1.exchange import Exchange, Headers
from ferryman.wire.gemini_generate.array import ArrayWriter

_EVENTS = b"content-type: text/event-stream"
_JSON = b"content-type: application/json; charset=utf-8\r\n"


class ArrayExchange:
    """Stands in front of another exchange (:class:`ferryman.http1.exchange.Exchange`)."""

    def __init__(self, inner: Exchange) -> None:
        self._inner = inner
        self._writer = ArrayWriter()
        self._begun = False
        """Whether it had begun before its end."""
        self.method = inner.method
        self.target = inner.target
        self.headers = inner.headers
        self.body = inner.body
        self.incoming = inner.incoming
        self.peer = inner.peer
        self.began = inner.began
        self.shared: dict[str, Any] = inner.shared

    @property
    def gone(self) -> bool:
        return self._inner.gone

    @gone.setter
    def gone(self, gone: bool) -> None:
        self._inner.gone = gone

    @property
    def on_gone(self) -> Callable[[], None] | None:
        return self._inner.on_gone

    @on_gone.setter
    def on_gone(self, call: Callable[[], None] | None) -> None:
        self._inner.on_gone = call

    @property
    def on_resume(self) -> Callable[[], None] | None:
        return self._inner.on_resume

    @on_resume.setter
    def on_resume(self, call: Callable[[], None] | None) -> None:
        self._inner.on_resume = call

    def header(self, name: bytes) -> bytes | None:
        return self._inner.header(name)

    def respond(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        block = _block(headers)
        if _EVENTS in block:  # a stream that came whole
            block, body = _as_json(block), self._writer.feed(body) + self._writer.end()
        self._inner.respond(status, block, body)

    def start(self, status: int, headers: Headers | bytes) -> None:
        self._inner.start(status, _as_json(_block(headers)))

    def write(self, data: bytes) -> bool:
        return self._inner.write(self._writer.feed(data))

    def finish(self, data: bytes = b"") -> None:
        self._begun = self._writer.started
        self._inner.finish(self._writer.feed(data) + self._writer.end())

    def instead(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        if not status and body:
            writer = ArrayWriter(started=self._begun)
            body = writer.feed(body) + writer.end()
        self._inner.instead(status, headers, body)

    def abort(self) -> None:
        self._inner.abort()


def _block(headers: Headers | bytes) -> bytes:
    if isinstance(headers, bytes):
        return headers
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])


def _as_json(block: bytes) -> bytes:
    lines = block.split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(b"content-type:")]
    return _JSON + b"\r\n".join(kept)
