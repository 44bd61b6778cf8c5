"""The stream as a JSON array, for callers who do not ask for ``alt=sse``.

https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent: without it the same
response objects come as items of one array, each as soon as it is there.
"""

from ferryman.wire.framing import Splitter, event_data


class ArrayWriter:
    """Turns server-sent events into items of an array, however the bytes are cut."""

    __slots__ = ("_over", "_splitter", "started")

    def __init__(self, *, started: bool = False) -> None:
        """``started``: the array has items already."""
        self._splitter = Splitter()
        self.started = started
        self._over = False

    def feed(self, data: bytes) -> bytes:
        """What ``data`` completes. Raises :class:`~ferryman.wire.framing.EventTooLargeError`."""
        if self._over:
            return b""
        return b"".join([self._item(event) for event in self._splitter.feed(data)])

    def _item(self, event: bytes) -> bytes:
        data = event_data(event)
        if not data:
            return b""  # a comment
        before = b",\r\n" if self.started else b"["
        self.started = True
        return before + data

    def end(self) -> bytes:
        """The end of the array; an event that lacks only its blank line still counts."""
        if self._over:
            return b""
        tail = self._splitter.tail
        last = self._item(tail + b"\n\n") if tail else b""
        self._over = True
        return last + (b"]" if self.started else b"[]")
