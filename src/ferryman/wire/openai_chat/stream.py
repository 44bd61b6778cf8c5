"""A provider's chat stream, into events.

https://platform.openai.com/docs/api-reference/chat-streaming. Usage is read wherever it comes: in a
chunk of its own, with a choice, or with every chunk. A first chunk without choices only tells of
the prompt (https://learn.microsoft.com/azure/ai-foundry/openai/reference). The end is ``[DONE]``:
without it a stream was cut, whatever it said before.
"""

import msgspec
from msgspec import Raw

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import Begin, Count, End, Event, Failed
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Usage, served
from ferryman.wire.carry import NOTHING
from ferryman.wire.format import ReplyError
from ferryman.wire.framing import EventTooLargeError, Splitter, event_data
from ferryman.wire.openai_chat.errors import failed
from ferryman.wire.openai_chat.read import ChoiceReader
from ferryman.wire.openai_chat.relay import DONE, odd_usage
from ferryman.wire.openai_chat.types import SaidChoice, SaidReply
from ferryman.wire.openai_chat.usage import read_usage, usage_of
from ferryman.wire.tap import Quirks

_chunk = msgspec.json.Decoder(SaidReply)
_NO_ERROR = (*NOTHING, b"false")
_ERROR_EVENT = (b"event: error", b"event:error")


class ChatStreamDecoder:
    """Decodes one stream. ``quirks``: how the provider reports its usage."""

    __slots__ = ("_begin", "_begun", "_over", "_quirks", "_readers", "_splitter", "_usage",
                 "broken")  # fmt: skip

    def __init__(self, quirks: Quirks = ()) -> None:
        self._quirks = quirks
        self._splitter = Splitter()
        self._begin = Begin()
        self._begun = False
        self._over = False
        self._readers: dict[int, ChoiceReader] = {}
        self._usage: Usage | None = None
        self.broken = 0
        """Events that could not be read; the first is skipped, a second ends the stream."""

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""
        out: list[Event] = []
        if self._over:
            return out
        try:
            for event in self._splitter.feed(data):
                self._event(event, out)
                if self._over:
                    break
        except EventTooLargeError as large:
            self._fail(Failed(kind=ErrorKind.UPSTREAM_PROTOCOL, message=str(large)), out)
        except ReplyError as error:
            self._fail(Failed(kind=error.kind, message=error.message), out)
        return out

    def close(self) -> list[Event]:
        """The body is over. An end mark that lacks only its blank line counts."""
        out: list[Event] = []
        if self._over:
            return out
        if event_data(self._splitter.tail + b"\n\n").rstrip() != DONE:
            message = "it ended without its end mark"
            self._fail(Failed(kind=ErrorKind.UPSTREAM_TRUNCATED, message=message), out)
            return out
        try:
            self._done(out)
        except ReplyError as error:
            self._fail(Failed(kind=error.kind, message=error.message), out)
        return out

    def _fail(self, event: Failed, out: list[Event]) -> None:
        out.append(event)
        self._over = True

    def _event(self, event: bytes, out: list[Event]) -> None:
        data = event_data(event)
        if not data:
            return
        if data.rstrip() == DONE:
            self._done(out)
            return
        try:
            said = _chunk.decode(data)
        except UNREADABLE:
            self._unreadable(event, data, out)
            return
        if is_error(said) or (not said.choices and event.startswith(_ERROR_EVENT)):
            self._fail(failed(data), out)
            return
        if not self._begun:
            self._learn(said, out)
        for choice in said.choices or ():
            number = choice.index or 0
            reader = self._readers.get(number)
            if reader is None:
                reader = self._readers[number] = ChoiceReader(number, self._begin.id)
            reader.take(choice, choice.delta or choice.message, out)
        if b'"usage"' in data:
            self._count(said, data, out)

    def _unreadable(self, event: bytes, data: bytes, out: list[Event]) -> None:
        self.broken += 1
        if event.startswith(_ERROR_EVENT):
            self._fail(failed(data), out)
        elif self.broken > 1:
            message = "several of its events are not what the format says"
            self._fail(Failed(kind=ErrorKind.UPSTREAM_PROTOCOL, message=message), out)

    def _learn(self, said: SaidReply, out: list[Event]) -> None:
        """Begin with the first chunk that has a choice; what came before may have told more."""
        found, known = begin_of(said), self._begin
        self._begin = Begin(
            id=found.id or known.id,
            model=found.model or known.model,
            created=found.created or known.created,
            service_tier=found.service_tier or known.service_tier,
            fingerprint=found.fingerprint or known.fingerprint,
            usage=self._usage,
        )
        if said.choices:
            self._begun = True
            out.append(self._begin)

    def _count(self, said: SaidReply, data: bytes, out: list[Event]) -> None:
        usage = usage_in(said, data, self._quirks)
        if usage is not None and usage != self._usage:
            self._usage = usage
            if self._begun:
                out.append(Count(usage=usage))

    def _done(self, out: list[Event]) -> None:
        if not self._begun:
            message = "it ended without an answer"
            self._fail(Failed(kind=ErrorKind.UPSTREAM_PROTOCOL, message=message), out)
            return
        for reader in self._readers.values():
            if not reader.finished:
                reader.finish(SaidChoice(), out)
        out.append(End())
        self._over = True


def is_error(said: SaidReply) -> bool:
    """Whether a reply, or a chunk of one, is an error."""
    return said.object == "error" or (bool(said.error) and bytes(said.error) not in _NO_ERROR)


def begin_of(said: SaidReply) -> Begin:
    """What a reply, or a chunk of one, says of itself."""
    created = said.created
    return Begin(
        id=_text(said.id),
        model=_text(said.model),
        created=int(created) if isinstance(created, int | float) and 0 < created < 1 << 53 else 0,
        service_tier=_text(said.service_tier),
        fingerprint=_text(said.system_fingerprint),
    )


def usage_in(said: SaidReply, data: bytes, quirks: Quirks) -> Usage | None:
    """The usage that a reply, or a chunk of one, tells of, wherever it stands."""
    raw: Raw | None = said.usage
    if quirks:
        try:
            return served(usage_of(odd_usage(data, quirks)), said.service_tier)
        except UNREADABLE:
            return read_usage(raw)
    if not raw or bytes(raw) == b"null":
        raw = said.x_groq.usage if said.x_groq is not None else None
        if not raw:
            raw = next((choice.usage for choice in said.choices or () if choice.usage), None)
    return served(read_usage(raw), said.service_tier)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and value is not True else ""
