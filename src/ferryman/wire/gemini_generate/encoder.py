"""Answers for callers of the generateContent format: whole, or as a stream of response objects.

https://ai.google.dev/api/generate-content#generatecontentresponse. Text and thoughts go out as they
come; calls, media and other parts when they are complete, since the format has no pieces of them.
Usage, finish reasons and sources stand in the last object.
"""

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
    Finish,
    Open,
    Probs,
    Seal,
)
from ferryman.ir.fold import Piece
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Block,
    Media,
    Opaque,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.usage import Usage
from ferryman.wire.carry import is_object
from ferryman.wire.format import ReplyContext, ReplyError
from ferryman.wire.gemini_generate.blocks import wire_blob, wire_file, wire_signature
from ferryman.wire.gemini_generate.grounding import Sources, logprobs_result
from ferryman.wire.gemini_generate.stops import wire_finish
from ferryman.wire.gemini_generate.types import NAME, FunctionCall, Part
from ferryman.wire.gemini_generate.usage import wire_usage

_encode = msgspec.json.Encoder().encode
_EMPTY = Part(text="")


class _Choice:
    """One answer so far."""

    __slots__ = ("finish", "parts", "piece", "probs", "sources")

    def __init__(self) -> None:
        self.piece: Piece | None = None
        self.parts = 0
        """Blocks that became parts."""
        self.sources = Sources()
        self.probs: list[Raw] = []
        self.finish: Finish | None = None


class Answer:
    """What whole replies and streams have in common."""

    __slots__ = ("_choices", "_id", "_model", "_receipt", "_unsigned", "_usage")

    def __init__(self, context: ReplyContext) -> None:
        self._unsigned = context.unsigned()
        self._receipt: Receipt = context.receipt
        self._id = context.request_id
        self._model = context.request.model
        self._usage: Usage | None = None
        self._choices: dict[int, _Choice] = {}

    def _note(self, event: Event) -> None:
        """Remember what does not go out at once."""
        if isinstance(event, Begin):
            self._id = event.id or self._id
            self._model = event.model or self._model
            self._usage = event.usage
        elif isinstance(event, Count):
            self._usage = event.usage
        elif isinstance(event, Finish):
            self._choice(event.choice).finish = event
        elif isinstance(event, Probs):
            self._choice(event.choice).probs.extend(event.tokens)
        elif isinstance(event, Open):
            self._choice(event.choice).piece = Piece(event.block)
        elif isinstance(event, Delta | Data | Cite | Seal):
            piece = self._choice(event.choice).piece
            if piece is not None:
                piece.take(event)

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
        return choice

    def _closed(self, choice: _Choice) -> Part | Raw | None:
        """The part for the block that is complete now. Raises :class:`ReplyError`."""
        piece, choice.piece = choice.piece, None
        if piece is None:
            return None
        block = piece.whole()
        part = self._part(block)
        if isinstance(block, Text):
            for citation in block.citations:
                if not choice.sources.add(citation, block.text, choice.parts):
                    self._receipt.drop("citations")
        if part is not None:
            choice.parts += 1
        return part

    def _part(self, block: Block) -> Part | Raw | None:
        if isinstance(block, Opaque):
            if block.origin == NAME:
                return Raw(block.raw)
            self._receipt.drop(block.kind)
            return None
        if isinstance(block, Refusal):
            return Part(text=block.text) if block.text else None
        if isinstance(block, Text | Thinking):
            thought = block if isinstance(block, Thinking) else None
            signed = wire_signature(block.signature, thought)
            if not block.text and not signed:
                return None
            shown = True if thought is not None else None
            return Part(text=block.text, thought=shown, thought_signature=signed)
        if isinstance(block, ToolCall):
            return _call(block, block.signature or self._unsigned)
        if isinstance(block, Media):
            return self._media(block)
        return None

    def _media(self, block: Media) -> Part | None:
        if block.transcript:
            self._receipt.drop("audio.transcript")
        blob = wire_blob(block)
        foreign = block.source.file_id and block.source.origin != NAME
        file = wire_file(block) if blob is None and not foreign else None
        if file is None and blob is None:
            self._receipt.drop(block.kind)
            return None
        signed = wire_signature(block.signature)
        return Part(inline_data=blob, file_data=file, thought_signature=signed)

    def _last(self, choice: _Choice, index: int, parts: list[Part | Raw] | None) -> dict[str, Any]:
        """A candidate with all that is said at the end."""
        out: dict[str, Any] = {}
        if parts:
            out["content"] = {"parts": parts, "role": "model"}
        if choice.finish is not None:
            out["finishReason"], message = wire_finish(choice.finish)
            if message:
                out["finishMessage"] = message
        out["index"] = index
        grounding = choice.sources.metadata()
        if grounding is not None:
            out["groundingMetadata"] = grounding
        if choice.finish is not None:  # a provider's own words win over what we made of them
            out |= {each.name: each.raw for each in choice.finish.beside if each.origin == NAME}
        if choice.probs:
            out["logprobsResult"] = logprobs_result(choice.probs)
        return out

    def _object(self, candidates: list[dict[str, Any]], *, ends: bool) -> bytes:
        out: dict[str, Any] = {"candidates": candidates}
        if ends and self._usage is not None:
            out["usageMetadata"] = wire_usage(self._usage)
        out["modelVersion"] = self._model
        out["responseId"] = self._id
        return _encode(out)


def _call(block: ToolCall, signature: Signature | None) -> Part:
    arguments = block.arguments if block.arguments.strip() else "{}"
    if not is_object(arguments):
        raise ReplyError(
            ErrorKind.UPSTREAM_PROTOCOL,
            f"the model's arguments for {block.name} are no JSON object, which is all that the"
            " format of this request can carry",
        )
    call = FunctionCall(block.id or None, block.name, Raw(arguments))
    return Part(function_call=call, thought_signature=wire_signature(signature))


class Gathered(Answer):
    """Puts a whole reply together."""

    __slots__ = ("_parts",)

    def __init__(self, context: ReplyContext) -> None:
        super().__init__(context)
        self._parts: dict[int, list[Part | Raw]] = {}

    def take(self, event: Event) -> None:
        """The next event. Raises :class:`ReplyError`."""
        if isinstance(event, Close):
            part = self._closed(self._choice(event.choice))
            if part is not None:
                self._parts.setdefault(event.choice, []).append(part)
        else:
            self._note(event)

    def whole(self) -> bytes:
        """The reply."""
        candidates = [
            self._last(choice, index, self._parts.get(index))
            for index, choice in sorted(self._choices.items())
        ]
        return self._object(candidates, ends=True)


class StreamEncoder(Answer):
    """Events into server-sent response objects."""

    __slots__ = ("_tail",)

    def __init__(self, context: ReplyContext) -> None:
        super().__init__(context)
        self._tail = b""
        """What follows the candidates of an object."""

    def encode(self, event: Event) -> bytes:
        """The bytes for ``event``. Raises :class:`ReplyError` for what the format can't carry."""
        if isinstance(event, Delta):
            choice = self._choice(event.choice)
            piece = choice.piece
            if piece is None:
                return b""
            piece.texts.append(event.text)
            block = piece.block
            if not event.text or choice.probs or not isinstance(block, Text | Thinking | Refusal):
                return self._said(choice, event) if choice.probs and event.text else b""
            thought = b',"thought":true' if isinstance(block, Thinking) else b""
            return (
                b'data: {"candidates":[{"content":{"parts":[{"text":%b%b}],"role":"model"},'
                b'"index":%d}]%b'
                % (_encode(event.text), thought, event.choice, self._tail or self._make_tail())
            )
        if isinstance(event, Close):
            return self._close(self._choice(event.choice), event.choice)
        if isinstance(event, End):
            return self._end()
        self._note(event)
        if isinstance(event, Open) and isinstance(event.block, Text | Thinking | Refusal):
            said = event.block.text
            if said:
                shown = True if isinstance(event.block, Thinking) else None
                return self._sent(self._choice(event.choice), event.choice, Part(said, shown))
        return b""

    def _said(self, choice: _Choice, event: Delta) -> bytes:
        """Text with the log-probabilities that came before it."""
        piece = choice.piece
        if piece is None or not isinstance(piece.block, Text | Thinking | Refusal):
            return b""
        thought = True if isinstance(piece.block, Thinking) else None
        return self._sent(choice, event.choice, Part(event.text, thought))

    def _close(self, choice: _Choice, index: int) -> bytes:
        piece = choice.piece
        part = self._closed(choice)
        if isinstance(part, Part) and part.text is not None:
            if not part.thought_signature:
                return b""  # all of it went out as it came
            whole = piece is not None and (piece.texts or not isinstance(piece.block, Refusal))
            part.text = "" if whole else part.text
        return self._sent(choice, index, part) if part is not None else b""

    def _sent(self, choice: _Choice, index: int, part: Part | Raw) -> bytes:
        candidate: dict[str, Any] = {"content": {"parts": [part], "role": "model"}, "index": index}
        if choice.probs:
            candidate["logprobsResult"] = logprobs_result(choice.probs)
            choice.probs = []
        return b'data: {"candidates":[%b]%b' % (
            _encode(candidate), self._tail or self._make_tail()
        )  # fmt: skip

    def _make_tail(self) -> bytes:
        facts = _encode({"modelVersion": self._model, "responseId": self._id})
        self._tail = b"," + facts[1:] + b"\r\n\r\n"
        return self._tail

    def _end(self) -> bytes:
        candidates = []
        for index, choice in sorted(self._choices.items()):
            word = wire_finish(choice.finish)[0] if choice.finish is not None else ""
            # A last object without parts would make the SDKs' chats forget the whole answer.
            parts: list[Part | Raw] = [_EMPTY] if word in ("STOP", "MAX_TOKENS") else []
            candidates.append(self._last(choice, index, parts))
        return b"data: %b\r\n\r\n" % self._object(candidates, ends=True)
