"""A second provider's answer, joined to what the caller has of a first one's that broke off."""

from typing import Final

from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import (
    Begin,
    Close,
    Count,
    Delta,
    End,
    Event,
    Failed,
    Finish,
    FinishReason,
    Open,
)
from ferryman.ir.request import Text, Thinking
from ferryman.wire.format import ClientSide, ReplyError, StreamDecoder, StreamEncoder
from ferryman.wire.tap import StreamTap
from ferryman.wire.translate import gave_up
from ferryman.wire.watch import Watch

_DIVERGES: Final = "the second answer is not the same up to where the first one broke off"


class SplicingTap(StreamTap):
    """Reads the second provider's stream and gives the caller what is new in it.

    ``watch`` has followed what the caller has; its last text is open. ``lead`` is how the second
    answer has to begin, and what is left out of it: all that was said, when it was asked ``afresh``
    (another beginning is a failure); else the blanks at its end, which it may repeat.
    """

    __slots__ = ("_afresh", "_client", "_decoder", "_hidden", "_indexes", "_joined", "_lead",
                 "_next", "_seen")  # fmt: skip

    def __init__(
        self,
        decoder: StreamDecoder,
        client: ClientSide,
        encoder: StreamEncoder,
        watch: Watch,
        lead: str,
        *,
        afresh: bool,
        media_types: tuple[bytes, ...],
    ) -> None:
        super().__init__(hide_usage=False)
        self.media_types = media_types
        self.encoder = encoder
        self.watch = watch
        self._decoder = decoder
        self._client = client
        self._lead = lead
        self._afresh = afresh
        self._seen = ""
        self._joined = -1
        """The index of the text that goes on, as the second answer counts; -1 = not yet begun."""
        self._hidden: set[int] = set()
        """Those of its thoughts before, which nobody gets to see."""
        self._indexes: dict[int, int] = {}
        self._next = watch.open + 1

    @property
    def broken(self) -> int:
        """Events that could not be read."""
        return self._decoder.broken

    def feed(self, data: bytes) -> bytes:
        """See :meth:`StreamTap.feed`."""
        if self.done or self.failure is not None:
            return b""
        return self._take(self._decoder.feed(data))

    def close(self) -> None:
        """See :meth:`StreamTap.close`."""
        if not self.done and self.failure is None:
            self.ending = self._take(self._decoder.close()) + self.ending

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        failed = Failed(kind=error.kind, message=error.message)
        assert self.encoder is not None
        return self.encoder.encode(failed) or self._client.error_event(error, request_id)

    def _take(self, events: list[Event]) -> bytes:
        out: list[bytes] = []
        encoder, watch = self.encoder, self.watch
        assert encoder is not None and watch is not None
        for event in events:
            if isinstance(event, Begin | Count):
                self.usage = event.usage or self.usage
            for told in self._joins(event):
                if isinstance(told, Failed):
                    self.failure = told
                    return b"".join(out)
                try:
                    data = encoder.encode(told)
                except ReplyError as error:
                    self.failure = Failed(kind=error.kind, message=error.message)
                    return b"".join(out)
                watch.take(told)
                if isinstance(told, End):
                    self.done = True
                    self.ending = data
                    return b"".join(out)
                out.append(data)
        return b"".join(out)

    def _joins(self, event: Event) -> list[Event]:
        """What the caller is told of an event."""
        if isinstance(event, Failed | Count | End):
            return [event]
        if isinstance(event, Begin) or event.choice:
            return []
        if isinstance(event, Finish):
            return self._finish(event)
        index = event.index
        if isinstance(event, Open):
            return self._open(event)
        if index in self._hidden:
            return []
        if index == self._joined:
            return self._within(event)
        if index not in self._indexes:
            return []
        return [_moved(event, self._indexes[index])]

    def _open(self, event: Open) -> list[Event]:
        block = event.block
        if self._joined < 0 and isinstance(block, Thinking):
            self._hidden.add(event.index)
            return []
        if self._joined < 0 and isinstance(block, Text):
            self._joined = event.index
            return self._words(block.text)
        if self._joined < 0 or self._unmet():
            return [Failed(kind=ErrorKind.UPSTREAM_PROTOCOL, message=_DIVERGES)]
        self._indexes[event.index] = self._next
        self._next += 1
        return [_moved(event, self._next - 1)]

    def _within(self, event: Event) -> list[Event]:
        if isinstance(event, Delta):
            return self._words(event.text)
        if isinstance(event, Close):
            if self._unmet():
                return [Failed(kind=ErrorKind.UPSTREAM_PROTOCOL, message=_DIVERGES)]
            return [Close(index=self._place())]
        return []

    def _finish(self, event: Finish) -> list[Event]:
        if event.reason is FinishReason.ERROR:
            return [Failed(kind=ErrorKind.UPSTREAM_ERROR, message=gave_up(event))]
        self._content = True
        if self._joined >= 0 and not self._unmet():
            return [event]
        if self._afresh:
            return [Failed(kind=ErrorKind.UPSTREAM_PROTOCOL, message=_DIVERGES)]
        return [Close(index=self._place()), event]  # there was nothing more to say

    def _unmet(self) -> bool:
        return self._afresh and bool(self._lead)

    def _place(self) -> int:
        watch = self.watch
        assert watch is not None
        return watch.open

    def _words(self, text: str) -> list[Event]:
        lead = self._lead
        if lead and self._afresh:
            seen = self._seen = self._seen + text
            if lead.startswith(seen):
                if len(seen) == len(lead):
                    self._lead = ""
                return []
            if not seen.startswith(lead):
                return [Failed(kind=ErrorKind.UPSTREAM_PROTOCOL, message=_DIVERGES)]
            text = seen[len(lead) :]
        elif lead and text:
            text = text.removeprefix(lead)
        if not text:
            return []
        self._lead = ""
        self._content = True
        return [Delta(index=self._place(), text=text)]


def _moved(event: Event, index: int) -> Event:
    return replace(event, index=index)
