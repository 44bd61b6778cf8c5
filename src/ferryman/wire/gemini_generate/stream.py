"""Streams of the generateContent format, read into events.

https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent (``alt=sse``): every
event is a whole response object whose parts go on where the last ones ended. The stream has no end
mark but the end of its body; every candidate must have named its ``finishReason`` by then.
"""

import contextlib
import hashlib
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import (
    Begin,
    Beside,
    Cite,
    Close,
    Count,
    Data,
    Delta,
    End,
    Event,
    Failed,
    Finish,
    Open,
    Probs,
    Seal,
)
from ferryman.ir.request import Citation, Media, Source, Text, Thinking, ToolCall
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.framing import BOM, EventTooLargeError, Splitter, event_data
from ferryman.wire.gemini_generate.blocks import (
    compact,
    file_source,
    given,
    kind_of,
    opaque_of,
    signature_of,
)
from ferryman.wire.gemini_generate.errors import failed
from ferryman.wire.gemini_generate.grounding import citations_of, tokens_of
from ferryman.wire.gemini_generate.stops import blocked, finish_of
from ferryman.wire.gemini_generate.types import NAME, Candidate, Response, SaidCall, SaidPart
from ferryman.wire.gemini_generate.usage import queries_of, read_usage, with_searches

_read = msgspec.json.Decoder(Response).decode
_object = msgspec.json.Decoder(dict[str, Raw]).decode
_NOTHING = (b"null", b"{}", b"[]", b"false", b'""')
TRUNCATED = "the stream ended before the answer was complete"
_TEXT, _THOUGHT = 1, 2


class ProtocolError(Exception):
    """Something of a reply that cannot be true; the message says what."""


class _Choice:
    """One answer so far."""

    __slots__ = ("calls", "cited", "count", "finish", "given", "grounding", "index", "kind", "over",
                 "visited", "words")  # fmt: skip

    def __init__(self, index: int) -> None:
        self.index = index
        self.count = 0
        self.kind = 0
        """Of the open block: text or thought; 0 = none is open."""
        self.over = False
        """True when the open block has its signature: what comes next is another one."""
        self.words: list[str] = []
        """Of the open text, for the citations that come after it."""
        self.calls = 0
        self.finish: tuple[str, str] | None = None
        self.given: set[Citation] = set()
        self.grounding = Raw()
        self.cited = Raw()
        self.visited = Raw()

    def beside(self) -> tuple[Beside, ...]:
        """The metadata; sources reach others as citations, if they came with the text at all."""
        carried = "citations" if self.given else ""
        said = (
            ("groundingMetadata", self.grounding, carried),
            ("citationMetadata", self.cited, carried),
            ("urlContextMetadata", self.visited, ""),
        )
        return tuple(
            Beside(origin=NAME, name=name, raw=raw, carried=how) for name, raw, how in said if raw
        )


class Pieces:
    """Turns response objects into events: those of a stream, or the one that a whole reply is."""

    __slots__ = ("_begun", "_choices", "_feedback", "_queries", "_seed", "_told", "_usage")

    def __init__(self) -> None:
        self._begun = False
        self._choices: dict[int, _Choice] = {}
        self._feedback: Finish | None = None
        self._seed = ""
        self._usage = b""
        self._queries: frozenset[str] = frozenset()
        """What the provider has searched for,"""
        self._told = 0
        """and how many of them have been counted."""

    def take(self, said: Response, out: list[Event]) -> None:
        """Add the events of ``said`` to ``out``. Raises :class:`ProtocolError`."""
        if not self._begun:
            self._begin(said, out)
        if said.candidates:
            for candidate in said.candidates:
                self._candidate(candidate, out)
        elif said.prompt_feedback is not None and said.prompt_feedback.block_reason:
            feedback = said.prompt_feedback
            message = feedback.block_reason_message or ""
            self._feedback = blocked(feedback.block_reason or "", message)
        raw = bytes(said.usage_metadata)
        if raw and raw != self._usage:
            self._usage = raw
            self._count(out)

    def _count(self, out: list[Event]) -> None:
        usage = with_searches(read_usage(self._usage), self._queries)
        if usage is not None:
            self._told = len(self._queries)
            out.append(Count(usage=usage))

    def _begin(self, said: Response, out: list[Event]) -> None:
        self._begun = True
        self._seed = said.response_id or ""
        created = 0
        if said.create_time:
            try:
                created = int(datetime.fromisoformat(said.create_time).timestamp())
            except (ValueError, OverflowError):
                created = 0
        out.append(
            Begin(id=said.response_id or "", model=said.model_version or "", created=created)
        )

    def end(self, out: list[Event]) -> None:
        """Add the events of the end. Raises :class:`ProtocolError` when it has not come."""
        waiting = [choice for choice in self._choices.values() if choice.finish is None]
        if waiting or not (self._choices or self._feedback):
            raise ProtocolError(TRUNCATED)
        if len(self._queries) > self._told:
            self._count(out)
        for choice in self._choices.values():
            self._stop(choice, out, last=True)
            word, message = choice.finish or ("", "")
            finish = finish_of(word, message, choice.calls > 0, choice.index)
            beside = choice.beside()
            out.append(replace(finish, beside=beside) if beside else finish)
        if self._feedback is not None and 0 not in self._choices:
            out.append(self._feedback)
        out.append(End())

    def _candidate(self, said: Candidate, out: list[Event]) -> None:
        index = said.index or 0
        choice = self._choices.get(index)
        if choice is None:
            if index < 0:
                raise ProtocolError(f"a candidate has the index {index}")
            choice = self._choices[index] = _Choice(index)
        if given(said.logprobs_result):
            tokens = tokens_of(said.logprobs_result)
            if tokens:
                place = choice.count - 1 if choice.kind else choice.count
                out.append(Probs(index=place, tokens=tokens, choice=index))
        if given(said.grounding_metadata):
            choice.grounding = Raw(bytes(said.grounding_metadata))
            self._queries |= queries_of(choice.grounding)
        if given(said.citation_metadata):
            choice.cited = Raw(bytes(said.citation_metadata))
        if given(said.url_context_metadata):
            choice.visited = Raw(bytes(said.url_context_metadata))
        if said.content is not None and said.content.parts:
            for part in said.content.parts:
                self._part(part, choice, out)
        if said.finish_reason:
            choice.finish = (said.finish_reason, said.finish_message or "")

    # --- parts ------------------------------------------------------------------------------------

    def _part(self, part: SaidPart, choice: _Choice, out: list[Event]) -> None:
        text = part.text
        if text is not None:
            kind = _THOUGHT if part.thought else _TEXT
            signed = part.thought_signature
            if not text and not signed:
                return
            if choice.kind != kind or choice.over:
                self._stop(choice, out)
                block = Thinking() if part.thought else Text(text="")
                out.append(Open(index=choice.count, block=block, choice=choice.index))
                choice.kind = kind
                choice.count += 1
            place = choice.count - 1
            if text:
                out.append(Delta(index=place, text=text, choice=choice.index))
                if kind == _TEXT:
                    choice.words.append(text)
            if signed:
                self._seal(signed, choice, out)
                choice.over = True
            return
        if part.function_call is not None:
            self._call(part.function_call, part, choice, out)
        elif part.inline_data is not None or part.file_data is not None:
            self._medium(part, choice, out)
        else:
            self._rest(part, choice, out)

    def _seal(self, signed: str | None, choice: _Choice, out: list[Event]) -> None:
        signature = signature_of(signed)
        if signature is not None:
            out.append(Seal(index=choice.count - 1, signature=signature, choice=choice.index))

    def _call(self, call: SaidCall, part: SaidPart, choice: _Choice, out: list[Event]) -> None:
        if call.partial_args or call.will_continue:
            raise ProtocolError("a function call came in pieces, which was not asked for")
        args = compact(call.args)
        if args[:1] != "{":
            raise ProtocolError(f"the arguments of {call.name or 'a function call'} are no object")
        self._stop(choice, out)
        name = call.name or ""
        call_id = call.id or self._new_id(name, args, choice)
        choice.calls += 1
        place = choice.count
        choice.count += 1
        block = ToolCall(id=call_id, name=name, arguments="")
        out.append(Open(index=place, block=block, choice=choice.index))
        out.append(Delta(index=place, text=args, choice=choice.index))
        self._seal(part.thought_signature, choice, out)
        out.append(Close(index=place, choice=choice.index))

    def _new_id(self, name: str, args: str, choice: _Choice) -> str:
        """The same for the same reply, another one for another: older models give no ids."""
        seed = self._seed or f"{name}\0{args}"
        place = f"{seed}\0{choice.index}\0{choice.calls}"
        return "call_" + hashlib.sha256(place.encode("utf-8", "replace")).hexdigest()[:24]

    def _medium(self, part: SaidPart, choice: _Choice, out: list[Event]) -> None:
        self._stop(choice, out)
        place = choice.count
        choice.count += 1
        blob, file = part.inline_data, part.file_data
        data = ""
        if blob is not None:
            media_type = blob.mime_type or ""
            block = Media(kind=kind_of(media_type), source=Source(media_type=media_type))
            data = blob.data or ""
        else:
            uri, media_type = (file.file_uri or "", file.mime_type or "") if file else ("", "")
            kind, source = file_source(uri, media_type)
            block = Media(kind=kind, source=source)
        out.append(Open(index=place, block=block, choice=choice.index))
        if data:
            out.append(Data(index=place, data=data, choice=choice.index))
        self._seal(part.thought_signature, choice, out)
        out.append(Close(index=place, choice=choice.index))

    def _rest(self, part: SaidPart, choice: _Choice, out: list[Event]) -> None:
        block = opaque_of(part)
        if block is not None:
            self._stop(choice, out)
            out.append(Open(index=choice.count, block=block, choice=choice.index))
            out.append(Close(index=choice.count, choice=choice.index))
            choice.count += 1
        elif part.thought_signature:
            part.text = ""
            self._part(part, choice, out)

    def _stop(self, choice: _Choice, out: list[Event], *, last: bool = False) -> None:
        """Close the open block, with the citations that came for it; ``last``: none comes after."""
        if not choice.kind:
            return
        place = choice.count - 1
        if choice.kind == _TEXT:
            if choice.grounding or choice.cited:
                text = "".join(choice.words)
                for citation in citations_of(choice.grounding, choice.cited, text):
                    if citation in choice.given or (citation.start < 0 and not last):
                        continue  # another text of the answer may be what it is about
                    choice.given.add(citation)
                    out.append(Cite(index=place, citation=citation, choice=choice.index))
            choice.words = []
        out.append(Close(index=place, choice=choice.index))
        choice.kind = 0
        choice.over = False


class StreamDecoder:
    """A provider's stream, byte by byte."""

    __slots__ = ("_over", "_pieces", "_splitter", "broken")

    def __init__(self) -> None:
        self._splitter = Splitter()
        self._pieces = Pieces()
        self._over = False
        self.broken = 0
        """Events that were no JSON of the format: one is skipped, a second ends the answer."""

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""
        out: list[Event] = []
        if self._over:
            return out
        try:
            events = self._splitter.feed(data)
        except EventTooLargeError as error:
            return [self._failed(ErrorKind.UPSTREAM_PROTOCOL, str(error))]
        for event in events:
            self._take(event, out)
            if self._over:
                break
        return out

    def close(self) -> list[Event]:
        """The body is over: the last events and End, or Failed where it came too soon."""
        out: list[Event] = []
        if self._over:
            return out
        tail = self._splitter.tail
        if tail.strip(b"\r\n" + BOM):
            self._tail(tail, out)
            if self._over:
                return out
        self._over = True
        try:
            self._pieces.end(out)
        except ProtocolError as error:
            out.append(Failed(kind=ErrorKind.UPSTREAM_TRUNCATED, message=str(error)))
        return out

    def _tail(self, tail: bytes, out: list[Event]) -> None:
        """An event without its blank line counts if it is whole; a piece of one does not."""
        data = event_data(tail + b"\n\n") or tail
        try:
            _object(data)
        except UNREADABLE:
            return
        self._take(tail + b"\n\n", out)

    def _take(self, event: bytes, out: list[Event]) -> None:
        data = event_data(event)
        if not data:
            plain = event.removeprefix(BOM).strip()
            if plain[:1] not in (b"{", b"["):
                return  # a comment
            data = plain  # an error, told without the framing of events
        try:
            said = _read(data)
        except UNREADABLE:
            self._odd(data, out)
            return
        if said.error and bytes(said.error) not in _NOTHING:
            self._fail(failed(data), out)
            return
        try:
            self._pieces.take(said, out)
        except ProtocolError as error:
            self._fail(self._failed(ErrorKind.UPSTREAM_PROTOCOL, str(error)), out)

    def _odd(self, data: bytes, out: list[Event]) -> None:
        """An event that is not as the format says."""
        said: dict[str, Any] = {}
        with contextlib.suppress(*UNREADABLE):
            said = _object(data.removeprefix(b"[").removesuffix(b"]"))
        if bytes(said.get("error", b"null")) not in _NOTHING:
            self._fail(failed(data), out)
            return
        self.broken += 1
        if self.broken > 1:
            message = "two events of the stream are not as the format says"
            self._fail(self._failed(ErrorKind.UPSTREAM_PROTOCOL, message), out)

    def _fail(self, event: Failed, out: list[Event]) -> None:
        self._over = True
        out.append(event)

    def _failed(self, kind: ErrorKind, message: str) -> Failed:
        self._over = True
        return Failed(kind=kind, message=message)
