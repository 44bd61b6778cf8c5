"""What one choice of a provider's reply says, as events: a stream's deltas, or a whole message.

https://platform.openai.com/docs/api-reference/chat-streaming, and what compatible servers do beyond
it: thoughts as ``reasoning_content`` (https://api-docs.deepseek.com), ``reasoning``
(https://console.groq.com/docs/reasoning), ``reasoning_details`` and images
(https://openrouter.ai/docs), or parts of the content
(https://docs.mistral.ai/capabilities/reasoning); calls without index, or all of index 0
(https://ai.google.dev/gemini-api/docs/openai).
"""

import hashlib
from enum import IntEnum

import msgspec
from msgspec import Raw

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import Cite, Close, Data, Delta, Event, Finish, Open, Probs, Seal
from ferryman.ir.request import (
    Block,
    Citation,
    Media,
    MediaKind,
    Opaque,
    Refusal,
    Signature,
    Source,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.carry import from_data_url, is_data_url
from ferryman.wire.format import ReplyError
from ferryman.wire.openai_chat.decode_messages import citation_of, type_of
from ferryman.wire.openai_chat.finish import read_finish
from ferryman.wire.openai_chat.thoughts import NAME, packed, signature_in
from ferryman.wire.openai_chat.types import (
    Detail,
    ImagePart,
    Piece,
    Said,
    SaidAudio,
    SaidCall,
    SaidChoice,
    SaidFunction,
)

_encode = msgspec.json.Encoder().encode
_image = msgspec.json.Decoder(ImagePart)


_piece = msgspec.json.Decoder(Piece)


class _Kind(IntEnum):
    """Of the block that is open."""

    NONE = 0
    TEXT = 1
    THINKING = 2
    REFUSAL = 3
    CALL = 4
    NAMELESS = 5
    """A call whose name has not come yet: the block opens with it."""
    AUDIO = 6


class _Whose(IntEnum):
    """Which call a fragment belongs to."""

    OPEN = 0
    NEW = 1
    CLOSED = 2


class ChoiceReader:
    """Turns what one choice says, piece by piece, into events."""

    __slots__ = (
        "_call", "_called", "_count", "_id", "_ids", "_indexes", "_kind", "_made", "_name",
        "_number", "_place", "_refused", "_sealed", "_seed", "_spoken",
        "_thought_length", "_thoughts", "_waiting", "finished",
    )  # fmt: skip

    def __init__(self, number: int, seed: str) -> None:
        self._number = number
        self._seed = seed
        """What makes ids of calls that come without one differ from those of other answers."""
        self._count = 0
        self._kind = _Kind.NONE
        self._sealed = False
        self._place: int | None = None
        """``index`` of the thoughts that are open."""
        self._thoughts: list[str] = []
        self._thought_length = 0
        self._call: int | None = None
        """``index`` of the call that is open."""
        self._id = ""
        self._name = ""
        self._spoken = False
        """Whether the call that is open has arguments."""
        self._indexes: set[int] = set()
        self._ids: set[str] = set()
        self._waiting = ""
        self._made = 0
        self._called = False
        self._refused = False
        self.finished = False

    def take(self, choice: SaidChoice, said: Said | None, out: list[Event]) -> None:
        """Add the events for ``said`` to ``out``. Raises :class:`ReplyError`."""
        if self.finished:
            if said is not None and _has_words(said):
                raise _broken("a choice went on after its end")
            return
        if choice.logprobs is not None:
            tokens = (*(choice.logprobs.content or ()), *(choice.logprobs.refusal or ()))
            if tokens:
                index = self._count - (1 if self._kind else 0)
                out.append(Probs(index=index, tokens=tokens, choice=self._number))
        if said is not None:
            self._said(said, out)
        if choice.finish_reason:
            self.finish(choice, out)

    def finish(self, choice: SaidChoice, out: list[Event]) -> None:
        """The choice is over, with the reason that ``choice`` gives. Raises :class:`ReplyError`."""
        self._close(out)
        finish: Finish = read_finish(
            choice, self._number, called=self._called, refused=self._refused
        )
        out.append(finish)
        self.finished = True

    def _said(self, said: Said, out: list[Event]) -> None:
        if said.reasoning_details:
            self._details(said, out)
        elif said.reasoning_content or said.reasoning:
            self._thought(said, out)
        content = said.content
        if content:
            if isinstance(content, str):
                self._text(content, out)
            else:
                for raw in content:
                    self._part(raw, out)
        if said.refusal:
            self._refuse(said.refusal, out)
        if said.annotations:
            self._annotations(said.annotations, out)
        if said.audio is not None:
            self._audio(said.audio, out)
        for raw in said.images or ():
            self._picture(raw, out)
        if said.tool_calls:
            for call in said.tool_calls:
                self._fragment(call, out)
        if said.function_call is not None:
            self._fragment(SaidCall(0, None, said.function_call), out)
        if said.extra_content is not None:
            signature = signature_in(said.extra_content, wrapped=False)
            if signature is not None:
                self._seal_text(signature, out)

    # --- blocks ---------------------------------------------------------------------------------

    def _open(self, block: Block, kind: _Kind, out: list[Event]) -> None:
        if self._kind:
            self._close(out)
        out.append(Open(index=self._count, block=block, choice=self._number))
        self._count += 1
        self._kind = kind
        self._sealed = False

    def _close(self, out: list[Event]) -> None:
        if self._kind is _Kind.NONE:
            return
        if self._kind is _Kind.NAMELESS:
            raise _broken("a tool call has no name")
        out.append(Close(index=self._count - 1, choice=self._number))
        self._kind = _Kind.NONE

    def _single(self, block: Block, out: list[Event]) -> None:
        """A block that has come whole."""
        self._open(block, _Kind.AUDIO, out)
        self._close(out)

    def _delta(self, text: str, out: list[Event]) -> None:
        out.append(Delta(index=self._count - 1, text=text, choice=self._number))

    def _seal(self, signature: Signature, out: list[Event]) -> None:
        out.append(Seal(index=self._count - 1, signature=signature, choice=self._number))
        self._sealed = True

    def _text(self, text: str, out: list[Event]) -> None:
        if self._kind is not _Kind.TEXT:
            self._open(Text(text=""), _Kind.TEXT, out)
        out.append(Delta(index=self._count - 1, text=text, choice=self._number))

    def _refuse(self, words: str, out: list[Event]) -> None:
        self._refused = True
        if self._kind is not _Kind.REFUSAL:
            self._open(Refusal(text=""), _Kind.REFUSAL, out)
        self._delta(words, out)

    def _seal_text(self, signature: Signature, out: list[Event]) -> None:
        if self._kind is not _Kind.TEXT or self._sealed:
            self._open(Text(text=""), _Kind.TEXT, out)
        self._seal(signature, out)

    def _part(self, raw: Raw, out: list[Event]) -> None:
        """A part of the content: text, thoughts, an image, or what only this format knows."""
        try:
            part = _piece.decode(raw)
        except UNREADABLE:
            raise _broken("a part of the content is not an object with a type") from None
        if part.type in ("text", "output_text") and isinstance(part.text, str):
            if part.text:
                self._text(part.text, out)
        elif part.type == "thinking":
            words = _words(part.thinking)
            if words:
                self._think(words, None, "", out)
        elif part.type == "refusal" and isinstance(part.refusal, str):
            self._refuse(part.refusal, out)
        elif part.type == "image_url":
            self._picture(raw, out)
        else:
            self._single(Opaque(origin=NAME, kind=part.type or "part", raw=bytes(raw)), out)

    def _picture(self, raw: Raw, out: list[Event]) -> None:
        try:
            link = _image.decode(raw).image_url
            url = link if isinstance(link, str) else link.url
            source = Source(url=url)
            if is_data_url(url):
                head, _, data = url[5:].partition(",")
                media_type, _, coding = head.partition(";")
                source = Source(media_type=media_type, data=data)
                if coding != "base64":
                    media_type, data = from_data_url(url, "image_url")
                    source = Source(media_type=media_type, data=data)
        except (*UNREADABLE, GatewayError):
            self._single(Opaque(origin=NAME, kind=type_of(raw) or "image", raw=bytes(raw)), out)
            return
        self._single(Media(kind=MediaKind.IMAGE, source=source), out)

    def _audio(self, said: SaidAudio, out: list[Event]) -> None:
        if self._kind is not _Kind.AUDIO:
            source = Source(file_id=said.id or "", origin=NAME)
            self._open(Media(kind=MediaKind.AUDIO, source=source), _Kind.AUDIO, out)
        if said.transcript:
            self._delta(said.transcript, out)
        if said.data:
            out.append(Data(index=self._count - 1, data=said.data, choice=self._number))

    def _annotations(self, raws: list[Raw], out: list[Event]) -> None:
        for raw in raws:
            citation = citation_of(raw) or Citation(origin=NAME, raw=bytes(raw))
            if self._kind is not _Kind.TEXT:  # its numbers count in a text that is closed
                self._open(Text(text=""), _Kind.TEXT, out)
                citation = msgspec.structs.replace(citation, start=-1, end=-1)
            out.append(Cite(index=self._count - 1, citation=citation, choice=self._number))

    # --- thoughts -------------------------------------------------------------------------------

    def _thought(self, said: Said, out: list[Event]) -> None:
        words = said.reasoning_content or said.reasoning
        if isinstance(words, str) and words:
            self._think(words, None, "", out)

    def _think(self, words: str, place: int | None, ident: str, out: list[Event]) -> None:
        if not self._thinks(place):
            self._open(Thinking(text="", id=ident), _Kind.THINKING, out)
            self._place, self._thoughts, self._thought_length = place, [], 0
        elif self._place is None:
            self._place = place
        if words:
            self._thoughts.append(words)
            self._thought_length += len(words)
            self._delta(words, out)

    def _thinks(self, place: int | None) -> bool:
        """Whether the open block is the thoughts that more with the index ``place`` belong to."""
        if self._kind is not _Kind.THINKING or self._sealed:
            return False
        return place is None or self._place is None or place == self._place

    def _details(self, said: Said, out: list[Event]) -> None:
        found = said.reasoning_details or ()
        if not any(detail.text or detail.summary for detail in found):
            self._thought(said, out)
        for detail in found:
            self._detail(detail, out)

    def _detail(self, detail: Detail, out: list[Event]) -> None:
        words = detail.text or detail.summary or ""
        if words and not self._repeats(words):
            self._think(words, detail.index, detail.id or "", out)
        if not (detail.signature or detail.data):
            return
        beside = self._thinks(detail.index)
        if detail.data and not beside:
            signature = packed(detail, False)
            block = Thinking(signature=signature, encrypted=True, id=detail.id or "")
            self._single(block, out)
            return
        if not beside:
            self._think("", detail.index, detail.id or "", out)
        proof = packed(detail, bool(detail.data))
        if proof is not None:
            self._seal(proof, out)

    def _repeats(self, words: str) -> bool:
        """Whether an item tells anew, whole, what came before it by another name."""
        if self._kind is not _Kind.THINKING or self._place is not None or self._sealed:
            return False
        return len(words) == self._thought_length and words == "".join(self._thoughts)

    # --- calls ----------------------------------------------------------------------------------

    def _fragment(self, said: SaidCall, out: list[Event]) -> None:
        function = said.function or said.custom or SaidFunction()
        text = _arguments(function)
        whose = self._whose(said, function, text)
        if whose is _Whose.CLOSED:
            if text:
                raise _broken("a piece of a tool call came after the next block had begun")
            return
        if whose is _Whose.NEW:
            self._close(out)
            self._kind = _Kind.NAMELESS
            self._call, self._id, self._name, self._waiting = said.index, "", "", ""
            self._called = True
            if said.index is not None:
                self._indexes.add(said.index)
        if said.id and not self._id:
            self._id = said.id
            self._ids.add(said.id)
        if self._kind is _Kind.NAMELESS:
            self._waiting += text
            if not function.name:
                return
            self._name, text, self._kind = function.name, self._waiting, _Kind.NONE
            call = ToolCall(
                id=self._id or self._own_id(),
                name=self._name,
                arguments="",
                free=said.custom is not None,
            )
            self._made += 1
            self._open(call, _Kind.CALL, out)
            self._spoken = False
        if text:
            self._spoken = True
            self._delta(text, out)
        signature = signature_in(said.extra_content, wrapped=False)
        if signature is not None and not self._sealed:
            self._seal(signature, out)

    def _whose(self, said: SaidCall, function: SaidFunction, text: str) -> _Whose:
        """Which call a fragment belongs to.

        A new index begins another call, and so does a new id. Where a server gives no ids, or one
        index to all, another name does, or the same name with the beginning of an object.
        """
        index, ident, name = said.index, said.id or "", function.name or ""
        if index is not None and index not in self._indexes:
            return _Whose.NEW if ident or name or text else _Whose.CLOSED
        is_open = self._kind is _Kind.CALL or self._kind is _Kind.NAMELESS
        if is_open and (index is None or index == self._call):
            if ident and self._id and ident != self._id:
                return _Whose.CLOSED if ident in self._ids else _Whose.NEW
            if ident or not name or self._kind is _Kind.NAMELESS:
                return _Whose.OPEN
            again = name != self._name or (self._spoken and text.startswith("{"))
            return _Whose.NEW if again else _Whose.OPEN
        if ident:
            return _Whose.CLOSED if ident in self._ids else _Whose.NEW
        return _Whose.NEW if name and index is None else _Whose.CLOSED

    def _own_id(self) -> str:
        """An id for a call that came without: the same for the same answer, unlike others'."""
        seed = f"{self._seed}:{self._number}:{self._made}"
        return "call_" + hashlib.sha256(seed.encode("utf-8", "replace")).hexdigest()[:24]


def _broken(what: str) -> ReplyError:
    return ReplyError(ErrorKind.UPSTREAM_PROTOCOL, what)


def _has_words(said: Said) -> bool:
    calls = said.tool_calls or ()
    return bool(
        said.content
        or said.refusal
        or said.reasoning_content
        or any(call.id or (call.function and call.function.arguments) for call in calls)
    )


def _words(value: object) -> str:
    """Text, or the joined texts of an array of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        texts = (part.get("text") for part in value if isinstance(part, dict))
        return "".join(text for text in texts if isinstance(text, str))
    return ""


def _arguments(function: SaidFunction) -> str:
    said = function.arguments
    if said is None:
        return function.input or ""
    return said if isinstance(said, str) else _encode(said).decode()
