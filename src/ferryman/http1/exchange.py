"""What the request path sees of HTTP: one request in, one reply out, is the caller gone."""

from collections.abc import Callable
from typing import Any, Protocol

from ferryman.http1.spool import Spool

Headers = list[tuple[bytes, bytes]]
"""Field names in lower case, in wire order."""


class Exchange(Protocol):
    """One request and its reply. Everything happens on the event loop's thread.

    Exactly one of: ``respond`` once; or ``start``, any number of ``write``, then ``finish`` or
    ``abort``. Calls after the peer has gone do nothing.

    ``headers`` of a reply are pairs, or a ready-made block of ``name: value\\r\\n`` lines where the
    caller has built one anyway (the hot path does).
    """

    method: bytes
    target: bytes
    """Origin-form request target: path and query as sent."""
    headers: Headers
    """All fields but content-length, which ``body`` says better."""
    body: bytes
    incoming: Spool | None
    """An upload's body as it comes, when the handler was called before all of it was there; then
    ``body`` is empty."""
    peer: str
    """Peer's address, or ``unix``."""
    began: float
    """``time.monotonic()`` when the request was complete, or the head of an upload."""
    shared: dict[str, Any]
    """What the handler has worked out from ``headers``, for itself. Exchanges of one connection
    whose heads are the same, byte for byte, share it."""
    gone: bool
    """True once the caller has disconnected."""
    on_gone: Callable[[], None] | None
    """Called once when the caller disconnects before the reply is complete."""
    on_resume: Callable[[], None] | None
    """Called when the caller can take more after ``write`` returned False."""

    def header(self, name: bytes) -> bytes | None:
        """First value of the field ``name`` (lower case), or None."""

    def respond(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        """Send a whole reply; adds content-length and date."""

    def start(self, status: int, headers: Headers | bytes) -> None:
        """Send the head of a streamed reply, chunked (or ended by close for HTTP/1.0 callers)."""

    def write(self, data: bytes) -> bool:
        """Send a piece; False asks the caller to wait for ``on_resume``."""

    def finish(self, data: bytes = b"") -> None:
        """End the streamed reply, after a last piece."""

    def instead(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        """Send a whole reply in place of the one that has not left yet; ``status`` 0: ``body`` in
        place of the end of a streamed one. Cuts the connection where there is no ``body``, or no
        end yet; does nothing once it has left."""

    def abort(self) -> None:
        """End the reply so that the peer can tell that it is incomplete (connection cut)."""


Handler = Callable[[Exchange], None]
"""Called synchronously as soon as a request is complete, or when a large upload begins."""
