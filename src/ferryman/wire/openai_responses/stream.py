"""A provider's Responses stream, as events of the common language.

https://platform.openai.com/docs/api-reference/responses-streaming. Output items come one after the
other, each as fragments between ``added`` and ``done``; what ``done`` says beyond the fragments is
given out then. Items that only this API has are taken whole from their ``done``. Unknown events are
passed over.
"""

import msgspec
from msgspec import Raw
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
    Seal,
)
from ferryman.ir.fold import unfold_block
from ferryman.ir.request import Block, Refusal, Text, Thinking
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.carry import NOTHING
from ferryman.wire.framing import EventTooLargeError, Splitter, event_data
from ferryman.wire.openai_chat.errors import failed
from ferryman.wire.openai_responses.parts import citation_of
from ferryman.wire.openai_responses.reply import (
    CALLS,
    READ,
    SAID,
    begin_of,
    blocks_of_item,
    call_of,
    finish_of,
    odd_parts,
    tokens_of,
)
from ferryman.wire.openai_responses.types import (
    EventType,
    Logprob,
    Tagged,
    WireEvent,
    WireItem,
    WirePart,
    WireResponse,
)
from ferryman.wire.openai_responses.usage import usage_in

_event = msgspec.json.Decoder(WireEvent).decode
_type = msgspec.json.Decoder(EventType).decode
_item = msgspec.json.Decoder(WireItem).decode
_tagged = msgspec.json.Decoder(Tagged).decode
_response = msgspec.json.Decoder(WireResponse).decode
_NO_ERROR = (b"", *NOTHING)

Place = tuple[int, int]
"""Number of an item, and of a part in its content; -1 for an item without parts."""


class _LateError(Exception):
    """A fragment of something that was taken for complete."""


class ResponsesDecoder:
    """Reads one stream."""

    def __init__(self) -> None:
        self.broken = 0
        """Events that could not be read; the second ends the stream."""
        self.last = WireEvent()
        """The event that came last."""
        self._splitter = Splitter()
        self._events: list[Event] = []
        self._begun = False
        self._over = False
        self._blocks: list[Block] = []
        """Those that came, without their text: by them it shows why the answer ended."""
        self._open: Block | None = None
        self._place: Place = (-1, -1)
        """Of the open block."""
        self._closed: dict[Place, int] = {}
        """Places of blocks that are complete, and how many characters came."""
        self._length = 0
        """Characters of the open block so far."""
        self._cited = 0
        self._probed = False
        """Log-probabilities of the open block have come."""
        self._summary = 0
        """Number of the part of the thoughts that is being told."""
        self._numbers: dict[int, int] = {}
        """Index in the output → number of the item: another for each that is added, since some
        servers give them all the same index."""
        self._items = 0
        self._done: set[int] = set()
        """Numbers of the items that are done."""
        self._thought_id = ""
        """Id of the reasoning item that was added last."""
        self._later: list[Raw] = []
        """Items that were done while a block was open."""

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""
        if self._over:
            return []
        try:
            for event in self._splitter.feed(data):
                self._take(event_data(event))
                if self._over:
                    break
        except EventTooLargeError as error:
            self._fail(ErrorKind.UPSTREAM_PROTOCOL, f"The provider's stream has {error}.")
        return self._given()

    def close(self) -> list[Event]:
        """The body is over: Failed when the stream's own end has not come, else nothing."""
        if self._over:
            return []
        if self._splitter.tail:
            self._take(event_data(self._splitter.tail + b"\n\n"))
        if not self._over:
            self._fail(
                ErrorKind.UPSTREAM_TRUNCATED, "The provider's stream stopped before its end."
            )
        return self._given()

    def _given(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _fail(self, kind: ErrorKind, message: str) -> None:
        self._over = True
        self._events.append(Failed(kind=kind, message=message))

    def _take(self, data: bytes) -> None:
        if not data:
            return
        try:
            said = self.last = _event(data)
            method = _METHODS.get(said.type)
            if method is not None:
                method(self, said, data)
            elif not said.type and bytes(said.error) not in _NO_ERROR:
                self._error(said, data)  # no event of this format, but some servers do
        except _LateError:
            self._fail(
                ErrorKind.UPSTREAM_PROTOCOL,
                "The provider's stream goes on with something that it had left.",
            )
        except UNREADABLE:
            self._odd(data)

    def _odd(self, data: bytes) -> None:
        if data.rstrip() == b"[DONE]":
            return  # some servers end so as well
        try:
            if _type(data).type not in _METHODS:
                return  # a kind that isn't read here may look as it likes
        except UNREADABLE:
            pass
        self.broken += 1
        if self.broken > 1:
            self._fail(
                ErrorKind.UPSTREAM_PROTOCOL, "The provider's stream has events that can't be read."
            )

    # --- the response ---------------------------------------------------------------------------

    def _begin(self, begin: Begin) -> None:
        if not self._begun:
            self._begun = True
            self._events.append(begin)

    def _created(self, said: WireEvent, data: bytes) -> None:
        if not self._begun:
            self._begin(begin_of(_response(said.response)))

    def _ended(self, said: WireEvent, data: bytes) -> None:
        response = _response(said.response)
        self._begin(begin_of(response))
        self._shut()
        if not self._blocks and not self._done:
            for raw in response.output or ():
                self._whole(raw)  # a server that streams nothing but the end
        if response.status is None:
            response.status = said.type.removeprefix("response.")
        self._events.append(finish_of(response, self._blocks))
        usage = usage_in(response)
        if usage is not None:
            self._events.append(Count(usage=usage))
        self._events.append(End())
        self._over = True

    def _error(self, said: WireEvent, data: bytes) -> None:
        self._over = True
        self._events.append(failed(data))

    # --- items ----------------------------------------------------------------------------------

    def _number(self, index: int) -> int:
        """Of the item that stands at ``index`` now."""
        number = self._numbers.get(index)
        return self._new_number(index) if number is None else number

    def _new_number(self, index: int) -> int:
        self._numbers[index] = number = self._items
        self._items += 1
        return number

    def _added(self, said: WireEvent, data: bytes) -> None:
        kind = _tagged(said.item).type
        number = self._new_number(said.output_index)
        if kind in CALLS:
            call = call_of(_item(said.item), kind)
            # Arguments that are here already come again, at the latest when the item is done.
            self._start(replace(call, arguments=""), (number, -1))
        elif kind == "reasoning":
            self._thought_id = _item(said.item).id or ""

    def _item_done(self, said: WireEvent, data: bytes) -> None:
        kind = _tagged(said.item).type
        number = self._number(said.output_index)
        if number in self._done:
            number = self._new_number(said.output_index)  # one that was never added
        self._done.add(number)
        if kind not in READ:
            if self._open is None:
                self._whole(said.item)
            else:
                self._later.append(said.item)
            return
        item = _item(said.item)
        if kind == "message":
            for place, part in enumerate(item.content or ()):
                self._part(part, (number, place))
            self._shut()
            for block in odd_parts(item, said.item):
                self._say(block)
        elif kind == "reasoning":
            self._end_thoughts(item, (number, -1), said.item)
        else:
            whole = call_of(item, kind or "")
            said_before = self._closed.get((number, -1))
            if said_before is not None:
                if said_before != len(whole.arguments):
                    raise _LateError
                return
            if self._place != (number, -1):
                self._start(replace(whole, arguments=""), (number, -1))
            self._delta(whole.arguments[self._length :])
            self._shut()

    def _end_thoughts(self, item: WireItem, place: Place, raw: Raw) -> None:
        if self._place != place and place not in self._closed:
            self._shut()
            self._whole(raw)
            return
        blocks, _ = blocks_of_item(raw)
        whole = blocks[0] if blocks else None
        if not isinstance(whole, Thinking):
            self._shut()
        elif self._place == place:
            self._delta(whole.text[self._length :])
            if whole.signature is not None:
                self._events.append(Seal(index=self._last, signature=whole.signature))
            self._shut()
        elif whole.signature is not None:  # something else came between: its proof still counts
            self._shut()
            self._say(replace(whole, text="", encrypted=True))

    def _whole(self, raw: Raw) -> None:
        """An item of which nothing came before."""
        blocks, tokens = blocks_of_item(raw)
        self._begin(Begin())
        if tokens:
            self._events.append(Probs(index=len(self._blocks), tokens=tuple(tokens)))
        for block in blocks:
            self._say(block)

    def _say(self, block: Block) -> None:
        self._events += unfold_block(block, len(self._blocks))
        self._blocks.append(block)

    # --- parts and fragments --------------------------------------------------------------------

    def _part_added(self, said: WireEvent, data: bytes) -> None:
        part = said.part
        if part is not None and part.type in SAID:
            self._at(SAID[part.type], said)

    def _part_done(self, said: WireEvent, data: bytes) -> None:
        part = said.part
        if part is not None and part.type in SAID:
            self._part(part, (self._number(said.output_index), said.content_index))

    def _part(self, part: WirePart, place: Place) -> None:
        """What a part says when it is done, beyond what came before."""
        kind = SAID.get(part.type)
        if kind is None or place in self._closed:
            return
        if not self._is_open(kind, place):
            self._start(kind(text=""), place)
        if part.logprobs and not self._probed:
            self._probs(part.logprobs)
        text = part.refusal if kind is Refusal else part.text
        self._delta((text or "")[self._length :])
        for raw in (part.annotations or ())[self._cited :]:
            self._cite(raw)

    def _text(self, said: WireEvent, data: bytes) -> None:
        self._at(Text, said)
        if said.logprobs:
            self._probs(said.logprobs)
        self._delta(said.delta)

    def _refusal(self, said: WireEvent, data: bytes) -> None:
        self._at(Refusal, said)
        self._delta(said.delta)

    def _annotation(self, said: WireEvent, data: bytes) -> None:
        self._at(Text, said)
        if bytes(said.annotation) not in (b"", b"null"):
            self._cite(said.annotation)

    def _thinks(self, said: WireEvent, data: bytes) -> None:
        place = (self._number(said.output_index), -1)
        summary = said.summary_index
        if said.type == "response.reasoning_text.delta":
            summary = -1 - said.content_index
        if not said.delta:
            return
        if self._place != place:
            if place in self._closed:
                raise _LateError
            self._start(Thinking(id=self._thought_id), place)
        elif summary != self._summary:
            self._delta("\n\n")
        self._summary = summary
        self._delta(said.delta)

    def _arguments(self, said: WireEvent, data: bytes) -> None:
        place = (self._number(said.output_index), -1)
        if self._place == place:
            self._delta(said.delta)
        elif place in self._closed:
            raise _LateError
        # Else the call was never added: it comes when it is done.

    # --- blocks ---------------------------------------------------------------------------------

    @property
    def _last(self) -> int:
        return len(self._blocks) - 1

    def _at(self, kind: type[Text] | type[Refusal], said: WireEvent) -> None:
        """Make the block of ``said`` the open one."""
        place = (self._number(said.output_index), said.content_index)
        if self._is_open(kind, place):
            return
        if place in self._closed:
            raise _LateError
        self._start(kind(text=""), place)

    def _is_open(self, kind: type[Text] | type[Refusal], place: Place) -> bool:
        """Whether that is the open block; it can't have become one of another kind."""
        if self._place != place:
            return False
        if not isinstance(self._open, kind):
            raise _LateError
        return True

    def _start(self, block: Block, place: Place) -> None:
        self._begin(Begin())
        self._shut()
        self._events.append(Open(index=len(self._blocks), block=block))
        self._blocks.append(block)
        self._open, self._place = block, place
        self._length = self._cited = 0
        self._probed = False

    def _shut(self) -> None:
        if self._open is not None:
            self._events.append(Close(index=self._last))
            self._closed[self._place] = self._length
            self._open, self._place = None, (-1, -1)
        if self._later:
            later, self._later = self._later, []
            for raw in later:
                self._whole(raw)

    def _delta(self, text: str | None) -> None:
        if text:
            self._length += len(text)
            self._events.append(Delta(index=self._last, text=text))

    def _cite(self, raw: Raw) -> None:
        self._cited += 1
        self._events.append(Cite(index=self._last, citation=citation_of(raw)))

    def _probs(self, logprobs: list[Logprob]) -> None:
        self._probed = True
        self._events.append(Probs(index=self._last, tokens=tuple(tokens_of(logprobs))))


_METHODS = {
    "response.created": ResponsesDecoder._created,
    "response.in_progress": ResponsesDecoder._created,
    "response.output_item.added": ResponsesDecoder._added,
    "response.output_item.done": ResponsesDecoder._item_done,
    "response.content_part.added": ResponsesDecoder._part_added,
    "response.content_part.done": ResponsesDecoder._part_done,
    "response.output_text.delta": ResponsesDecoder._text,
    "response.output_text.annotation.added": ResponsesDecoder._annotation,
    "response.refusal.delta": ResponsesDecoder._refusal,
    "response.reasoning_summary_text.delta": ResponsesDecoder._thinks,
    "response.reasoning_text.delta": ResponsesDecoder._thinks,
    "response.function_call_arguments.delta": ResponsesDecoder._arguments,
    "response.custom_tool_call_input.delta": ResponsesDecoder._arguments,
    "response.completed": ResponsesDecoder._ended,
    "response.incomplete": ResponsesDecoder._ended,
    "response.failed": ResponsesDecoder._error,
    "response.cancelled": ResponsesDecoder._error,
    "error": ResponsesDecoder._error,
}
"""Kinds of events that are read; ``…_text.done`` and the like say nothing that others don't."""
