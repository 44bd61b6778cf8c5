"""What a stream has said so far, in the common language, for those who may have to go on."""

from ferryman.ir.errors import GatewayError
from ferryman.ir.events import Begin, Close, Count, Data, Delta, Event, Failed, Finish, Open
from ferryman.ir.request import Refusal, Text, Thinking
from ferryman.wire.format import StreamDecoder
from ferryman.wire.tap import StreamTap


class Watch:
    """Follows one answer, event by event. ``picky``: only words, calls and media are content, not
    a refusal or a mere end. ``keep``: remember all that was said."""

    __slots__ = ("_keep", "_refuses", "_texts", "begin", "decoder", "events", "finish", "lost",
                 "open", "picky", "plain", "said", "size", "speaks", "words")  # fmt: skip

    def __init__(self, *, picky: bool, keep: bool) -> None:
        self.picky = picky
        self._keep = keep
        self.decoder: StreamDecoder | None = None
        """Who reads it, where it is relayed as it is."""
        self._refuses = False
        self.speaks = False
        """Whether the open block, or else the last one, is a text."""
        self._texts: list[str] = []
        """What the open block has said that is not in ``events`` yet."""
        self.begin = Begin()
        self.events: list[Event] = []
        """All that came; of fragments only their sum, once their block is complete."""
        self.finish: Finish | None = None
        self.said = False
        """True once something has come that an answer is made of."""
        self.open = -1
        """Index of the open block; -1 = none is."""
        self.plain = True
        """False once there is more than one choice of thoughts and texts."""
        self.lost = False
        """True when the stream could not be followed."""
        self.size = 0
        """Characters of all that was said: words, thoughts, calls."""
        self.words: list[str] = []
        """The texts so far, in pieces."""

    def take(self, event: Event) -> None:
        """The next event."""
        if isinstance(event, Delta):
            self._more(event)
            return
        if isinstance(event, Open):
            self._begins(event)
        elif isinstance(event, Data):
            self.said = True
        elif isinstance(event, Finish):
            self.finish = event
        elif isinstance(event, Failed):
            self.lost = True
        elif isinstance(event, Begin):
            self.begin = event
        if not self._keep or isinstance(event, Count | Failed):
            return
        if isinstance(event, Close):
            self.join()
            self.open = -1
        self.events.append(event)

    def join(self) -> None:
        """Put what the open block has said so far into ``events``."""
        if self._texts:
            self.events.append(Delta(index=self.open, text="".join(self._texts)))
            self._texts.clear()

    def _begins(self, event: Open) -> None:
        block = event.block
        self.open = event.index
        if event.choice or not isinstance(block, Text | Thinking):
            self.plain = False
        if isinstance(block, Text):
            if block.text:
                self.said = True
                self.words.append(block.text)
        elif not isinstance(block, Refusal):
            self.said = True
        self._refuses = isinstance(block, Refusal)
        self.speaks = isinstance(block, Text)

    def _more(self, event: Delta) -> None:
        self.size += len(event.text)
        if not self._refuses:
            self.said = True
        if self._keep:
            self._texts.append(event.text)
            if self.speaks:
                self.words.append(event.text)


class WatchedTap(StreamTap):
    """Lets another tap relay a stream, and follows what it says."""

    __slots__ = ("_decoder", "_inner")

    def __init__(self, inner: StreamTap, decoder: StreamDecoder, watch: Watch) -> None:
        super().__init__(hide_usage=inner.hide_usage)
        self.media_types = inner.media_types
        self.watch = watch
        watch.decoder = decoder
        self._inner = inner
        self._decoder = decoder

    def feed(self, data: bytes) -> bytes:
        """See :meth:`StreamTap.feed`."""
        out = self._inner.feed(data)
        watch = self.watch
        assert watch is not None
        for event in self._decoder.feed(data):
            if not isinstance(event, Failed) or self._inner.failure is None:
                watch.take(event)
        self._say(watch)
        return out

    def close(self) -> None:
        """See :meth:`StreamTap.close`."""
        self._inner.close()
        watch = self.watch
        assert watch is not None
        for event in self._decoder.close():
            if not isinstance(event, Failed):
                watch.take(event)
        self._say(watch)

    def _say(self, watch: Watch) -> None:
        inner = self._inner
        self._content = watch.said if watch.picky and not watch.lost else inner.content
        self._broken = inner.broken
        self.usage = inner.usage
        self.done = inner.done
        self.ending = inner.ending
        self.failure = inner.failure

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        return self._inner.error_event(error, request_id)
