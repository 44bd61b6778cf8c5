"""Streams of the Converse format.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html: binary
messages (:mod:`ferryman.wire.eventstream`). Blocks of text and thoughts have no start, only deltas;
``metadata`` with the usage comes after ``messageStop``.
"""

import base64
from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import (
    Begin,
    Cite,
    Close,
    Count,
    Data,
    Delta,
    End,
    Event,
    Failed,
    Open,
    Seal,
)
from ferryman.ir.request import (
    Block,
    Media,
    MediaKind,
    Opaque,
    Signature,
    Source,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import served
from ferryman.wire.bedrock_converse.citations import citation_of
from ferryman.wire.bedrock_converse.errors import kind_of_exception
from ferryman.wire.bedrock_converse.media import media_type
from ferryman.wire.bedrock_converse.reply import SERVER_TOOL, finish_of, not_made
from ferryman.wire.bedrock_converse.types import (
    ORIGIN,
    BlockDelta,
    BlockStart,
    BlockStop,
    MessageStop,
    Metadata,
    ReasoningDelta,
    WireDelta,
    WireMedia,
    Words,
)
from ferryman.wire.bedrock_converse.usage import usage_of
from ferryman.wire.eventstream import Frame, FrameDecoder
from ferryman.wire.openai_chat.errors import LONGEST_MESSAGE

_start = msgspec.json.Decoder(BlockStart)
_delta = msgspec.json.Decoder(BlockDelta)
_stop = msgspec.json.Decoder(BlockStop)
_message_stop = msgspec.json.Decoder(MessageStop)
_metadata = msgspec.json.Decoder(Metadata)
_words = msgspec.json.Decoder(Words)
_any = msgspec.json.Decoder(Raw)
_encode = msgspec.json.Encoder().encode


class StreamDecoder:
    """One answer; see :class:`ferryman.wire.format.StreamDecoder`."""

    def __init__(self) -> None:
        self.broken = 0
        """Messages that could not be read: the first is skipped, a second ends the answer."""
        self._frames = FrameDecoder()
        self._over = False
        self._begun = False
        self._finished = False
        self._index = -1
        """Of the block last opened, in our count."""
        self._place = -1
        """The provider's index of the open block, -1 = none is open."""
        self._last = -1
        """The highest index the provider has closed."""
        self._kind = ""
        """Of the open block: ``text``, ``thinking``, ``redacted``, ``tool``, ``image``,
        ``opaque``."""
        self._said = False
        """The open call has arguments."""
        self._proof = ""
        self._bytes = b""
        """Of the open redacted block, all; of an image, those that are no whole base64 group."""
        self._opaque: dict[str, Any] = {}
        self._parts: list[Any] = []

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""
        events: list[Event] = []
        if self._over:
            return events
        frames, error = self._frames.feed(data)
        for frame in frames:
            self._frame(frame, events)
            if self._over:
                return events
        if error is not None:
            self._fail(events, ErrorKind.UPSTREAM_PROTOCOL, f"The stream is broken: {error}.")
        return events

    def close(self) -> list[Event]:
        """The body is over."""
        events: list[Event] = []
        if self._over:
            return events
        if self._finished and not self._frames.pending:
            self._over = True
            return [End()]  # the answer is whole, only its usage is missing
        self._fail(
            events, ErrorKind.UPSTREAM_TRUNCATED, "The provider's stream ended before its end."
        )
        return events

    def _fail(self, events: list[Event], kind: ErrorKind, message: str, code: str = "") -> None:
        self._over = True
        events.append(Failed(kind=kind, message=message[:LONGEST_MESSAGE], code=code))

    def _frame(self, frame: Frame, events: list[Event]) -> None:
        kind = frame.text(":message-type")
        if kind in ("exception", "error"):
            self._exception(frame, events)
            return
        name = frame.text(":event-type")
        try:
            if name == "contentBlockDelta":
                self._on_delta(_delta.decode(frame.payload), events)
            elif name == "contentBlockStart":
                self._on_start(_start.decode(frame.payload), events)
            elif name == "contentBlockStop":
                self._on_stop(_stop.decode(frame.payload).contentBlockIndex, events)
            elif name == "messageStart":
                _any.decode(frame.payload)
                self._begin(events)
            elif name == "messageStop":
                self._on_message_stop(_message_stop.decode(frame.payload), events)
            elif name == "metadata":
                self._on_metadata(_metadata.decode(frame.payload), events)
        except (*UNREADABLE, ValueError) as error:
            self.broken += 1
            if self.broken > 1:
                self._fail(
                    events,
                    ErrorKind.UPSTREAM_PROTOCOL,
                    f"The provider's stream can't be read: {name}: {error}.",
                )

    def _exception(self, frame: Frame, events: list[Event]) -> None:
        name = frame.text(":exception-type") or frame.text(":error-code")
        try:
            words = _words.decode(frame.payload).message
        except UNREADABLE:
            words = ""
        words = words or frame.text(":error-message") or name or "it did not say why"
        self._fail(events, kind_of_exception(name, words), words, name)

    def _begin(self, events: list[Event]) -> None:
        if not self._begun:
            self._begun = True
            events.append(Begin())

    def _open(self, events: list[Event], place: int, kind: str, block: Block) -> None:
        self._close(events)
        self._begin(events)
        self._index += 1
        self._place, self._kind = place, kind
        events.append(Open(index=self._index, block=block))

    def _close(self, events: list[Event]) -> None:
        if self._place < 0:
            return
        self._last = max(self._last, self._place)
        kind, index = self._kind, self._index
        self._place = -1
        if kind == "opaque":
            self._close_opaque(events)
            return
        if kind == "tool" and not self._said:
            events.append(Delta(index=index, text="{}"))  # the format's word for no arguments
        elif kind == "redacted":
            self._proof = base64.b64encode(self._bytes).decode()
        elif kind == "image" and self._bytes:
            events.append(Data(index=index, data=base64.b64encode(self._bytes).decode()))
        if self._proof:
            events.append(Seal(index=index, signature=Signature(self._proof, ORIGIN)))
        self._proof, self._bytes, self._said = "", b"", False
        events.append(Close(index=index))

    def _close_opaque(self, events: list[Event]) -> None:
        opaque, parts = self._opaque, self._parts
        name = next(iter(opaque))
        if name == "toolUse":
            joined = "".join(parts).encode() or b"{}"
            try:
                _any.decode(joined)
            except UNREADABLE:
                joined = _encode(joined.decode())
            opaque[name]["input"] = Raw(joined)
        else:
            opaque[name]["content"] = parts
        self._index += 1
        kind = SERVER_TOOL if name == "toolUse" else name
        block = Opaque(origin=ORIGIN, kind=kind, raw=_encode(opaque))
        events.append(Open(index=self._index, block=block))
        events.append(Close(index=self._index))
        self._opaque, self._parts = {}, []

    def _on_start(self, wire: BlockStart, events: list[Event]) -> None:
        place, start = wire.contentBlockIndex, wire.start
        if self._late(place, events):
            return
        if start.toolUse is not None and start.toolUse.type != SERVER_TOOL:
            call = start.toolUse
            block = ToolCall(id=call.toolUseId, name=call.name, arguments="")
            self._open(events, place, "tool", block)
        elif start.image is not None:
            self._open_image(events, place, start.image)
        elif start.toolUse is not None or start.toolResult is not None:
            self._close(events)
            self._begin(events)
            self._place, self._kind = place, "opaque"
            name = "toolUse" if start.toolUse is not None else "toolResult"
            said = start.toolResult
            if start.toolUse is not None:
                call = start.toolUse
                self._opaque = {name: {"toolUseId": call.toolUseId, "name": call.name,
                                       "type": call.type}}  # fmt: skip
            else:
                self._opaque = {name: msgspec.to_builtins(said)}

    def _open_image(self, events: list[Event], place: int, wire: WireMedia) -> None:
        source = Source(media_type=media_type(wire.format, MediaKind.IMAGE))
        self._open(events, place, "image", Media(kind=MediaKind.IMAGE, source=source))

    def _late(self, place: int, events: list[Event]) -> bool:
        """True for a fragment of a block that was left: blocks come one after another."""
        if self._finished or place < max(self._last, self._place):
            self._fail(
                events,
                ErrorKind.UPSTREAM_PROTOCOL,
                f"The provider's stream goes back to block {place}, which was complete.",
            )
            return True
        return False

    def _on_stop(self, place: int, events: list[Event]) -> None:
        if place == self._place:
            self._close(events)

    def _on_delta(self, wire: BlockDelta, events: list[Event]) -> None:
        place, delta = wire.contentBlockIndex, wire.delta
        if place != self._place and self._late(place, events):
            return
        if delta.text is not None:
            if place != self._place or self._kind != "text":
                self._open(events, place, "text", Text(text=""))
            if delta.text:
                events.append(Delta(index=self._index, text=delta.text))
        elif delta.toolUse is not None:
            self._on_input(place, delta.toolUse.input, events)
        elif delta.reasoningContent is not None:
            self._on_reasoning(place, delta.reasoningContent, events)
        elif bytes(delta.citation) not in (b"", b"null"):
            citation = citation_of(delta.citation)
            if place != self._place or self._kind != "text":
                self._open(events, place, "text", Text(text=""))
            events.append(Cite(index=self._index, citation=citation))
        else:
            self._on_rare(place, delta, events)

    def _on_input(self, place: int, text: str | None, events: list[Event]) -> None:
        if not text:
            return
        if place == self._place and self._kind == "opaque" and "toolUse" in self._opaque:
            self._parts.append(text)
        elif place != self._place or self._kind != "tool":
            self._fail(
                events,
                ErrorKind.UPSTREAM_PROTOCOL,
                "The provider's stream has arguments of a tool call that did not begin.",
            )
        else:
            self._said = True
            events.append(Delta(index=self._index, text=text))

    def _on_reasoning(self, place: int, wire: ReasoningDelta, events: list[Event]) -> None:
        kind = "redacted" if wire.redactedContent is not None else "thinking"
        hidden = base64.b64decode(wire.redactedContent or "", validate=True)
        if place != self._place or self._kind != kind:
            self._open(events, place, kind, Thinking(encrypted=kind == "redacted"))
        self._bytes += hidden
        if wire.text:
            events.append(Delta(index=self._index, text=wire.text))
        if wire.signature:
            self._proof += wire.signature

    def _on_rare(self, place: int, delta: WireDelta, events: list[Event]) -> None:
        if delta.image is not None:
            image = delta.image
            if image.error is not None:
                message = not_made(MediaKind.IMAGE, image.error)
                self._fail(events, ErrorKind.UPSTREAM_ERROR, message)
                return
            said = image.source.bytes if image.source else None
            more = base64.b64decode(said or "", validate=True)
            if place != self._place or self._kind != "image":
                self._open_image(events, place, image)
            whole = self._bytes + more
            cut = len(whole) - len(whole) % 3
            self._bytes = whole[cut:]
            if cut:
                text = base64.b64encode(whole[:cut]).decode()
                events.append(Data(index=self._index, data=text))
        elif delta.toolResult is not None and self._kind == "opaque" and place == self._place:
            self._parts += delta.toolResult

    def _on_message_stop(self, wire: MessageStop, events: list[Event]) -> None:
        if self._finished:
            return
        self._begin(events)
        self._close(events)
        self._finished = True
        events.append(finish_of(wire.stopReason, wire.additionalModelResponseFields))

    def _on_metadata(self, wire: Metadata, events: list[Event]) -> None:
        self._begin(events)
        usage = served(usage_of(wire.usage), wire.serviceTier.type if wire.serviceTier else "")
        if usage is not None:
            events.append(Count(usage=usage))
        if self._finished:
            self._over = True
            events.append(End())
