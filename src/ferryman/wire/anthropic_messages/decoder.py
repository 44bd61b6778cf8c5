"""A provider's stream into events: https://platform.claude.com/docs/en/build-with-claude/streaming.

Events and kinds of blocks that are new are no fault: an unknown block is put together from its
start and its deltas, and comes as :class:`~ferryman.ir.request.Opaque` once it is whole.
"""

from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import (
    Cite,
    Close,
    Count,
    Delta,
    End,
    Event,
    Failed,
    Open,
    Seal,
)
from ferryman.ir.request import Opaque, Refusal, Signature, Text, Thinking, ToolCall
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.anthropic_messages.beside import beside_of
from ferryman.wire.anthropic_messages.citations import citation_of
from ferryman.wire.anthropic_messages.content import is_direct
from ferryman.wire.anthropic_messages.errors import failed_of
from ferryman.wire.anthropic_messages.reply import begin_of
from ferryman.wire.anthropic_messages.stops import finish_of
from ferryman.wire.anthropic_messages.types import (
    NAME,
    ReplyBlock,
    StreamEvent,
    WireDelta,
    WireUsage,
)
from ferryman.wire.anthropic_messages.usage import merged, read_usage, usage_of
from ferryman.wire.framing import EventTooLargeError, Splitter, event_data

_event = msgspec.json.Decoder(StreamEvent)
_block = msgspec.json.Decoder(ReplyBlock)
_members = msgspec.json.Decoder(dict[str, Raw])
_texts = msgspec.json.Decoder(str | None)
_encode = msgspec.json.Encoder().encode
_EMPTY_TEXT, _EMPTY_THOUGHT, _EMPTY_REFUSAL = Text(text=""), Thinking(), Refusal(text="")
_NOTHING = (b"", b"null", b"{}")
MAX_BROKEN = 1
"""Events that may be unreadable before the stream is given up."""


class MessagesDecoder:
    """See :class:`~ferryman.wire.format.StreamDecoder`."""

    __slots__ = ("_begun", "_block", "_count", "_finished", "_parts", "_place", "_seal",
                 "_silent", "_splitter", "_usage", "broken", "over")  # fmt: skip

    def __init__(self) -> None:
        self._splitter = Splitter()
        self._begun = False
        self._place = -1
        """The open block's index as the provider counts; -1 = none is open."""
        self._count = -1
        """The last block's as we count; one that comes once it is whole counts then."""
        self._block: ReplyBlock | None = None
        """How the open block began; None for one that comes once it is whole."""
        self._parts: list[str] = []
        """What has come for a block that comes once it is whole: its start, and fragments."""
        self._seal = ""
        self._silent = False
        """The open call of a tool has no arguments yet."""
        self._usage: WireUsage | None = None
        self._finished = False
        self.broken = 0
        """Events that could not be read."""
        self.over = False

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""
        out: list[Event] = []
        if self.over:
            return out
        try:
            whole = self._splitter.feed(data)
        except EventTooLargeError as error:
            self._fail(out, f"{error}")
            return out
        for event in whole:
            self._take(event_data(event), out)
            if self.over:
                break
        return out

    def close(self) -> list[Event]:
        """The body is over."""
        out: list[Event] = []
        if self.over:
            return out
        tail = self._splitter.tail
        if tail.lstrip()[:1] == b"{" and b'"error"' in tail:
            self.over = True  # no stream at all, but an error as a whole reply
            return [failed_of(tail)]
        if tail:  # an end that lacks only its blank line counts
            broken = self.broken
            self._take(event_data(tail + b"\n\n"), out)
            if self.over and broken == self.broken:
                return out
        self.over = True
        if out and isinstance(out[-1], Failed):
            out.pop()
        message = "it ended without its end mark"
        out.append(Failed(kind=ErrorKind.UPSTREAM_TRUNCATED, message=message))
        return out

    def _fail(self, out: list[Event], message: str) -> None:
        self.over = True
        out.append(Failed(kind=ErrorKind.UPSTREAM_PROTOCOL, message=message))

    def _take(self, data: bytes, out: list[Event]) -> None:
        if not data:
            return
        try:
            event = _event.decode(data)
            if event.type == "content_block_delta":
                self._delta(event, out)
            elif event.type in _HANDLERS:
                _HANDLERS[event.type](self, event, out, data)
            elif not event.type and bytes(event.error) not in _NOTHING:
                self._error(event, out, data)  # an error without a type: from a host in between
        except UNREADABLE as error:
            self._break(out, str(error))

    def _break(self, out: list[Event], why: str) -> None:
        self.broken += 1
        if self.broken > MAX_BROKEN:
            self._fail(out, f"its events are not as the format has them: {why}")

    def _start(self, event: StreamEvent, out: list[Event], data: bytes) -> None:
        if self._begun or event.message is None:
            self._break(out, "message_start comes twice, or without its message")
            return
        self._begun = True
        self._usage = read_usage(event.message.usage)
        out.append(begin_of(event.message, with_usage=True))

    def _open(self, event: StreamEvent, out: list[Event], data: bytes) -> None:
        if not self._begun or self._finished:
            self._fail(out, "a block begins where none may")
            return
        if event.index < 0:
            self._break(out, "content_block_start without its index")
            return
        block = _block.decode(event.content_block)
        citations = [citation_of(each) for each in block.citations or ()]
        if not self._close_block(out):
            return
        self._place = event.index
        if block.type not in _WORDED or not is_direct(block.caller, block.toolset_name):
            self._block, self._parts = None, [bytes(event.content_block).decode()]
            return
        self._block, self._seal = block, block.signature
        place = self._count = self._count + 1
        text = ""
        if block.type == "text":
            out.append(Open(index=place, block=_EMPTY_TEXT))
            text = block.text
        elif block.type == "thinking":
            out.append(Open(index=place, block=_EMPTY_THOUGHT))
            text = block.thinking
        elif block.type == "redacted_thinking":
            hidden = Thinking(encrypted=True, signature=Signature(block.data, NAME))
            out.append(Open(index=place, block=hidden))
        else:
            call = ToolCall(id=block.id, name=block.name, arguments="")
            out.append(Open(index=place, block=call))
            self._silent = True
        if text:
            out.append(Delta(index=place, text=text))
        out += [Cite(index=place, citation=each) for each in citations]

    def _delta(self, event: StreamEvent, out: list[Event]) -> None:
        delta, block = event.delta, self._block
        if delta is None:
            self._break(out, "content_block_delta without its delta")
            return
        if event.index != self._place or event.index < 0:
            self._fail(out, f"a fragment for block {event.index}, which is not open")
            return
        if block is None:
            self._more(delta)
        elif delta.type == "text_delta" and block.type == "text":
            if delta.text:
                out.append(Delta(index=self._count, text=delta.text))
        elif delta.type == "input_json_delta" and block.type == "tool_use":
            if delta.partial_json:
                self._silent = False
                out.append(Delta(index=self._count, text=delta.partial_json))
        elif delta.type == "thinking_delta" and block.type == "thinking":
            if delta.thinking:
                out.append(Delta(index=self._count, text=delta.thinking))
        elif delta.type == "signature_delta" and block.type == "thinking":
            self._seal = delta.signature
        elif delta.type == "citations_delta" and block.type == "text":
            out.append(Cite(index=self._count, citation=citation_of(delta.citation)))
        elif delta.type in _DELTAS:
            self._break(out, f"a {delta.type} for a block of type {block.type}")

    def _more(self, delta: WireDelta) -> None:
        """A fragment of a block that only this format has: what it adds to its start."""
        parts = self._parts
        if delta.type == "input_json_delta":
            parts.append(delta.partial_json)
        elif delta.type == "compaction_delta":
            members = _members.decode(parts[0])
            for name, said in (
                ("content", delta.content), ("encrypted_content", delta.encrypted_content)
            ):  # fmt: skip
                if said is not None:
                    before = _texts.decode(members.get(name, b"null")) or ""
                    members[name] = Raw(_encode(before + said if name == "content" else said))
            parts[0] = _encode(members).decode()

    def _stop(self, event: StreamEvent, out: list[Event], data: bytes) -> None:
        if event.index == self._place:
            self._close_block(out)

    def _close_block(self, out: list[Event]) -> bool:
        """End the open block, if there is one; False when the stream has failed over it."""
        if self._place < 0:
            return True
        self._place = -1
        block, place = self._block, self._count
        if block is None:
            try:
                whole = _opaque(self._parts[0], "".join(self._parts[1:]))
            except UNREADABLE as error:
                self._fail(out, f"a block's input is no JSON: {error}")
                return False
            place = self._count = place + 1
            out.append(Open(index=place, block=whole))
        elif block.type == "tool_use" and self._silent:
            given = bytes(block.input)
            out.append(Delta(index=place, text=given.decode() if given not in _NOTHING else "{}"))
        elif self._seal and block.type == "thinking":
            out.append(Seal(index=place, signature=Signature(self._seal, NAME)))
        out.append(Close(index=place))
        return True

    def _message(self, event: StreamEvent, out: list[Event], data: bytes) -> None:
        if not self._begun:
            self._fail(out, "message_delta comes before message_start")
            return
        if not self._close_block(out):
            return
        usage = read_usage(event.usage)
        if usage is not None:
            self._usage = merged(self._usage, usage)
            known = usage_of(self._usage)
            if known is not None:
                out.append(Count(usage=known))
        delta = event.delta
        if delta is None or not delta.stop_reason or self._finished:
            return
        if delta.stop_details is not None and delta.stop_details.explanation:
            place = self._count = self._count + 1
            out.append(Open(index=place, block=_EMPTY_REFUSAL))
            out.append(Delta(index=place, text=delta.stop_details.explanation))
            out.append(Close(index=place))
        self._finished = True
        finish = finish_of(delta.stop_reason, delta.stop_sequence, delta.stop_details)
        beside = beside_of(delta.container, event.context_management, self._usage)
        out.append(replace(finish, beside=beside) if beside else finish)

    def _end(self, event: StreamEvent, out: list[Event], data: bytes) -> None:
        if not self._begun:
            self._fail(out, "message_stop comes before message_start")
            return
        if not self._close_block(out):
            return
        if not self._finished:
            out.append(finish_of(None, None, None))
        out.append(End())
        self.over = True

    def _error(self, event: StreamEvent, out: list[Event], data: bytes) -> None:
        self.over = True
        out.append(failed_of(data))


def _opaque(start: str, fragments: str) -> Opaque:
    """A block put together from its start and the fragments of its ``input``."""
    raw = start.encode()
    if fragments:
        members = _members.decode(raw)
        members["input"] = Raw(fragments.encode())
        raw = _encode(members)
        _members.decode(raw)  # the fragments are JSON, or the stream is broken
    return Opaque(origin=NAME, kind=_block.decode(raw).type, raw=raw)


_HANDLERS: dict[str, Any] = {
    "message_start": MessagesDecoder._start,
    "content_block_start": MessagesDecoder._open,
    "content_block_stop": MessagesDecoder._stop,
    "message_delta": MessagesDecoder._message,
    "message_stop": MessagesDecoder._end,
    "error": MessagesDecoder._error,
}
_WORDED = frozenset(("text", "thinking", "redacted_thinking", "tool_use"))
"""Blocks that the common language has words for."""
_DELTAS = frozenset(
    ("text_delta", "input_json_delta", "thinking_delta", "signature_delta", "citations_delta")
)
