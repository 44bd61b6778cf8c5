"""Streams of the Cohere format: https://docs.cohere.com/reference/chat-stream.

Server-sent events, or one JSON object a line, as the first byte tells: no line of the former begins
with a brace. Citations of a text may come after its end, so a text is closed only when something
else begins; those that come later still stand at the end, with a text of no words.
"""

import msgspec
from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import (
    Begin,
    Cite,
    Close,
    Count,
    Delta,
    End,
    Event,
    Failed,
    Open,
    Probs,
)
from ferryman.ir.request import Block, Citation, Text, Thinking, ToolCall
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.cohere_chat.blocks import Cited, finish_of, token_of
from ferryman.wire.cohere_chat.types import (
    AnyEvent,
    CallEnd,
    CallMore,
    CallStart,
    CitationStart,
    Content,
    ContentEnd,
    ContentMore,
    ContentStart,
    KnownEvent,
    MessageEnd,
    MessageStart,
    PlanMore,
    WireCall,
)
from ferryman.wire.cohere_chat.usage import usage_of
from ferryman.wire.framing import BOM, MAX_EVENT_BYTES, EventTooLargeError, Splitter, event_data
from ferryman.wire.openai_chat.errors import LONGEST_MESSAGE, failed

_known = msgspec.json.Decoder(KnownEvent)
_any = msgspec.json.Decoder(AnyEvent)
_items = msgspec.json.Decoder(list[msgspec.Raw])
_DONE = b"[DONE]"
_BLANKS = b" \t\r\n"


class _Lines:
    """Cuts JSON lines; the same shape as :class:`Splitter`."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def tail(self) -> bytes:
        """Bytes of a line that is not complete yet."""
        return b"".join(self._parts)

    def feed(self, data: bytes) -> list[bytes]:
        """Whole lines. Raises :class:`EventTooLargeError`."""
        if b"\n" not in data:
            self._keep(data)
            return []
        *lines, rest = (self.tail + data).split(b"\n")
        self._parts, self._size = [], 0
        self._keep(rest)
        return lines

    def _keep(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_EVENT_BYTES:
            raise EventTooLargeError(f"an event is longer than {MAX_EVENT_BYTES} bytes")


class StreamDecoder:
    """One answer; see :class:`ferryman.wire.format.StreamDecoder`."""

    def __init__(self) -> None:
        self.broken = 0
        """Events that could not be read: the first is skipped, a second ends the answer."""
        self._splitter: Splitter | _Lines | None = None
        self._head = b""
        """Bytes before it is known which of the two it is."""
        self._over = False
        self._begun = False
        self._index = -1
        """Of the block last opened, in our count."""
        self._kind = ""
        """Of the open block: ``text``, ``thinking``, ``plan``, ``call``; empty = none is open."""
        self._place = -1
        """The provider's index of the open block."""
        self._left: set[tuple[bool, int]] = set()
        """Blocks that are complete: whether it was a call, and the provider's index."""
        self._said = False
        """The open call has arguments."""
        self._owed: list[Citation] = []
        """Citations that came when their text was no longer the open block."""

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""
        events: list[Event] = []
        if self._over:
            return events
        splitter = self._splitter
        try:
            if splitter is None:
                data, splitter = self._begin_bytes(data)
                if splitter is None:
                    return events
            for event in splitter.feed(data):
                self._take(event, events)
                if self._over:
                    break
        except EventTooLargeError as error:
            self._fail(events, f"The provider's stream is broken: {error}.")
        return events

    def _begin_bytes(self, data: bytes) -> tuple[bytes, Splitter | _Lines | None]:
        head = self._head + data
        bare = (head[3:] if head.startswith(BOM) else head).lstrip(_BLANKS)
        if not bare or (BOM.startswith(head) and len(head) < len(BOM)):
            self._head = head[-MAX_EVENT_BYTES:]
            return b"", None
        self._head = b""
        self._splitter = _Lines() if bare.startswith(b"{") else Splitter()
        return bare, self._splitter

    def close(self) -> list[Event]:
        """The body is over: the last line may lack its end."""
        events: list[Event] = []
        if self._over:
            return events
        tail = self._splitter.tail if self._splitter is not None else b""
        if tail.strip(_BLANKS):
            self._take(tail, events)
        if not self._over:
            self._over = True
            events.append(
                Failed(
                    kind=ErrorKind.UPSTREAM_TRUNCATED,
                    message="The provider's stream ended before its end.",
                )
            )
        return events

    def _fail(self, events: list[Event], message: str) -> None:
        self._over = True
        events.append(Failed(kind=ErrorKind.UPSTREAM_PROTOCOL, message=message[:LONGEST_MESSAGE]))

    def _take(self, event: bytes, events: list[Event]) -> None:
        data = event if isinstance(self._splitter, _Lines) else event_data(event)
        data = data.strip(_BLANKS)
        if not data or data == _DONE:
            return
        try:
            try:
                self._event(_known.decode(data), events)
            except msgspec.ValidationError:
                self._odd(data, events)
        except UNREADABLE as error:
            self.broken += 1
            if self.broken > 1:
                self._fail(events, f"The provider's stream can't be read: {error}.")

    def _odd(self, data: bytes, events: list[Event]) -> None:
        """An event of a new type is skipped, an error ends the answer, the rest is broken."""
        said = _any.decode(data)
        if said.type is None and isinstance(said.message, str):
            self._over = True
            events.append(failed(data))
        elif said.type is None or said.type in _TYPES:
            raise msgspec.ValidationError(f"an event of type {said.type} is malformed")

    def _event(self, wire: KnownEvent, events: list[Event]) -> None:
        if isinstance(wire, ContentMore):
            said = wire.delta.message.content if wire.delta and wire.delta.message else None
            if said is not None:
                self._content(wire.index, said, events)
            if wire.logprobs is not None and self._kind in ("text", "thinking"):
                events.append(Probs(index=self._index, tokens=(token_of(wire.logprobs),)))
        elif isinstance(wire, CallMore | CallStart):
            call = wire.delta.message.tool_calls if wire.delta and wire.delta.message else None
            if call is not None:
                self._call(wire, call, events)
        elif isinstance(wire, ContentStart):
            said = wire.delta.message.content if wire.delta and wire.delta.message else None
            if said is not None:
                self._content_start(wire.index, said, events)
        elif isinstance(wire, PlanMore):
            plan = wire.delta.message.tool_plan if wire.delta and wire.delta.message else None
            if plan:
                if self._kind != "plan":
                    self._open(events, "plan", -1, Thinking())
                events.append(Delta(index=self._index, text=plan))
        elif isinstance(wire, CitationStart):
            self._cite(wire, events)
        elif isinstance(wire, ContentEnd | CallEnd):
            if self._kind == "call" or self._kind == "thinking":
                self._close(events)
        elif isinstance(wire, MessageStart):
            if not self._begun:
                self._begun = True
                events.append(Begin(id=wire.id or ""))
        else:
            self._end(wire, events)

    def _open(self, events: list[Event], kind: str, place: int, block: Block) -> None:
        self._close(events)
        if not self._begun:
            self._begun = True
            events.append(Begin())
        self._index += 1
        self._kind, self._place = kind, place
        events.append(Open(index=self._index, block=block))

    def _close(self, events: list[Event]) -> None:
        if not self._kind:
            return
        if self._kind == "call" and not self._said:
            events.append(Delta(index=self._index, text="{}"))  # no arguments
        events.append(Close(index=self._index))
        if self._kind != "plan":
            self._left.add((self._kind == "call", self._place))
        self._kind, self._place, self._said = "", -1, False

    def _late(self, call: bool, place: int, events: list[Event]) -> bool:
        """True for a fragment of a block that was left: blocks come one after another."""
        if (call, place) not in self._left:
            return False
        self._fail(events, f"The provider's stream goes back to block {place}, which was complete.")
        return True

    def _content_start(self, index: int | None, said: Content, events: list[Event]) -> None:
        place = index or 0
        self._left.discard((False, place))
        if self._kind in ("text", "thinking") and self._place == place:
            self._close(events)  # the same index again is another block
            self._left.discard((False, place))
        thinks = said.type == "thinking" or (said.type is None and said.thinking is not None)
        self._open(events, "thinking" if thinks else "text", place,
                   Thinking() if thinks else Text(text=""))  # fmt: skip
        text = said.thinking if thinks else said.text
        if text:
            events.append(Delta(index=self._index, text=text))

    def _content(self, index: int | None, said: Content, events: list[Event]) -> None:
        place = self._place if index is None and self._place >= 0 else index or 0
        for kind, text in (("thinking", said.thinking), ("text", said.text)):
            if not text:
                continue
            if self._kind != kind or self._place != place:
                if self._late(False, place, events):
                    return
                self._open(events, kind, place, Thinking() if kind == "thinking" else Text(text=""))
            events.append(Delta(index=self._index, text=text))

    def _call(self, wire: CallStart | CallMore, call: WireCall, events: list[Event]) -> None:
        said = call.function
        place = wire.index or 0
        if isinstance(wire, CallStart):
            self._close(events)
            self._left.discard((True, place))
            name = said.name if said else None
            block = ToolCall(id=call.id or "", name=name or "", arguments="")
            self._open(events, "call", place, block)
        elif self._kind != "call" or (wire.index is not None and self._place != place):
            if not self._late(True, place, events):
                self._fail(
                    events,
                    "The provider's stream has arguments of a tool call that did not begin.",
                )
            return
        text = said.arguments if said else None
        if text:
            self._said = True
            events.append(Delta(index=self._index, text=text))

    def _cite(self, wire: CitationStart, events: list[Event]) -> None:
        raw = wire.delta.message.citations if wire.delta and wire.delta.message else b""
        data = bytes(raw)
        if data in (b"", b"null"):
            return
        for item in _items.decode(data) if data.startswith(b"[") else [msgspec.Raw(data)]:
            cited = Cited(item)
            if not cited.of_text:
                continue  # of a plan or a thought: those have no citations in the common language
            if self._kind == "text" and cited.place in (-1, self._place):
                events += [Cite(index=self._index, citation=one) for one in cited.citations]
            else:
                self._owed += [replace(one, start=-1, end=-1) for one in cited.citations]

    def _end(self, wire: MessageEnd, events: list[Event]) -> None:
        delta = wire.delta
        self._over = True
        if delta is not None and delta.error:
            events.append(
                Failed(
                    kind=ErrorKind.UPSTREAM_ERROR,
                    message=delta.error[:LONGEST_MESSAGE],
                    code=delta.finish_reason or "",
                )
            )
            return
        if not self._begun:
            self._begun = True
            events.append(Begin(id=wire.id or ""))
        self._close(events)
        if self._owed:  # their text is said: its place is lost, but not what it rests on
            self._open(events, "text", -1, Text(text=""))
            events += [Cite(index=self._index, citation=one) for one in self._owed]
            self._close(events)
        events.append(finish_of((delta.finish_reason if delta else None) or ""))
        usage = usage_of(delta.usage) if delta is not None else None
        if usage is not None:
            events.append(Count(usage=usage))
        events.append(End())


_TYPES = frozenset(
    str(kind.__struct_config__.tag)
    for kind in (
        MessageStart, ContentStart, ContentMore, ContentEnd, PlanMore, CallStart, CallMore, CallEnd,
        CitationStart, MessageEnd,
    )
)  # fmt: skip
