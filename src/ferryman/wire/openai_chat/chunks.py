"""Events into a chat stream for a caller.

https://platform.openai.com/docs/api-reference/chat-streaming: every chunk has the same id; the role
comes first; ``index`` of ``tool_calls`` counts calls only; a choice's ``finish_reason`` comes once,
with an empty delta; usage has a chunk of its own, if asked for; the end is ``[DONE]``.

Thoughts are shown as ``reasoning_content``. Where they are signed or encrypted, a delta with the
whole item of ``reasoning_details`` follows when they are complete: to be sent back as it is. It is
whole, and annotations come all at once, because the SDKs' accumulators join neither pieces of the
one nor several of the other.
"""

from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.errors import GatewayError
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
    Finish,
    Open,
    Probs,
    Seal,
)
from ferryman.ir.request import (
    Block,
    Citation,
    Media,
    MediaKind,
    Opaque,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.usage import Usage
from ferryman.wire.format import ReplyContext
from ferryman.wire.openai_chat.decode import FUNCTIONS
from ferryman.wire.openai_chat.errors import error_event
from ferryman.wire.openai_chat.finish import refusal_words
from ferryman.wire.openai_chat.reply import (
    annotation,
    call_members,
    finish_members,
    function_members,
    hides_thoughts,
    image_part,
    service_tier,
)
from ferryman.wire.openai_chat.thoughts import details, extra_content
from ferryman.wire.openai_chat.usage import usage_members

_encode = msgspec.json.Encoder().encode
DONE = b"data: [DONE]\n\n"
Body = dict[str, Any]


class _Choice:
    """Where one choice of the stream is."""

    __slots__ = (
        "annotations", "block", "calls", "cites", "data", "head", "images", "index", "length",
        "probs", "refused", "signature", "start", "texts",
    )  # fmt: skip

    def __init__(self, head: bytes) -> None:
        self.head = head
        """A chunk of this choice up to its delta."""
        self.block: Block | None = None
        self.index = 0
        self.calls = 0
        self.length = 0
        """Characters of text so far."""
        self.start = 0
        """Those before the open block."""
        self.refused = False
        self.texts: list[str] = []
        """What the open block of thoughts or sound says."""
        self.data: list[str] = []
        self.images = 0
        self.annotations: list[object] = []
        self.cites: list[Citation] = []
        """Citations of the open text that don't say their range."""
        self.signature: Signature | None = None
        self.probs: tuple[Raw, ...] = ()
        """Of tokens whose chunk is still to come."""


class ChunkEncoder:
    """Encodes one stream. Raises :class:`ReplyError` for an answer that the provider gave up."""

    __slots__ = (
        "_choices",
        "_context",
        "_hides",
        "_older",
        "_prefix",
        "_receipt",
        "_tail",
        "_usage",
    )

    def __init__(self, context: ReplyContext) -> None:
        self._context = context
        self._receipt = context.receipt
        self._hides = hides_thoughts(context)
        self._older = context.request.dialect == FUNCTIONS
        """The caller knows no ``tool_calls``, but one ``function_call``."""
        self._choices: dict[int, _Choice] = {}
        self._usage: Usage | None = None
        self._prefix = b""
        self._tail = b""
        self._begin(Begin())

    def encode(self, event: Event) -> bytes:
        """The bytes for ``event``."""
        if isinstance(event, Delta):
            return self._delta(self._choices[event.choice], event.text)
        if isinstance(event, Open):
            return self._open(event)
        if isinstance(event, Close):
            return self._close(self._choices[event.choice])
        if isinstance(event, Begin):
            return self._begin(event)
        if isinstance(event, Probs):
            choice, opening = self._choice(event.choice)
            choice.probs += event.tokens
            return opening
        if isinstance(event, Seal):
            return self._seal(self._choices[event.choice], event.signature)
        if isinstance(event, Count):
            self._usage = event.usage
            return b""
        if isinstance(event, Cite):
            self._cite(self._choices[event.choice], event.citation)
            return b""
        if isinstance(event, Data):
            return self._data(self._choices[event.choice], event.data)
        if isinstance(event, Finish):
            return self._finish(event)
        return self._end(event)

    def _begin(self, begin: Begin) -> bytes:
        context = self._context
        self._usage = begin.usage
        members: Body = {
            "id": begin.id or context.request_id,
            "object": "chat.completion.chunk",
            "created": begin.created or context.now,
            "model": begin.model or context.request.model,
        }
        tier = service_tier(begin.service_tier, self._receipt)
        if tier:
            members["service_tier"] = tier
        if begin.fingerprint:
            members["system_fingerprint"] = begin.fingerprint
        self._prefix = b'data: %b,"choices":[' % _encode(members)[:-1]
        self._tail = b',"usage":null}\n\n' if context.request.include_usage else b"}\n\n"
        return b""

    def _choice(self, number: int) -> tuple[_Choice, bytes]:
        """The choice, and the chunk that opens it if this is the first that is heard of it."""
        choice = self._choices.get(number)
        if choice is not None:
            return choice, b""
        choice = _Choice(b'%b{"index":%d,"delta":' % (self._prefix, number))
        self._choices[number] = choice
        return choice, self._chunk(choice, b'{"role":"assistant","content":""}')

    def _chunk(self, choice: _Choice, delta: bytes, probs: bytes = b"null") -> bytes:
        return b'%b%b,"logprobs":%b,"finish_reason":null}]%b' % (
            choice.head, delta, probs, self._tail,
        )  # fmt: skip

    def _say(self, choice: _Choice, delta: Body) -> bytes:
        return self._chunk(choice, _encode(delta))

    def _words(self, choice: _Choice, name: bytes, text: str) -> bytes:
        """A chunk with words of the answer, and the probabilities of their tokens."""
        probs = b"null"
        if choice.probs:
            probs = self._probabilities(choice)
        return b'%b{"%b":%b},"logprobs":%b,"finish_reason":null}]%b' % (
            choice.head, name, _encode(text), probs, self._tail,
        )  # fmt: skip

    def _probabilities(self, choice: _Choice) -> bytes:
        tokens, choice.probs = choice.probs, ()
        declined = isinstance(choice.block, Refusal)
        said = {"content": None if declined else tokens, "refusal": tokens if declined else None}
        return _encode(said)

    # --- blocks ---------------------------------------------------------------------------------

    def _open(self, event: Open) -> bytes:
        known = self._choices.get(event.choice)
        choice, out = (known, b"") if known is not None else self._choice(event.choice)
        block = event.block
        choice.block, choice.index = block, event.index
        choice.start = choice.length
        choice.texts, choice.data, choice.cites, choice.signature = [], [], [], None
        if isinstance(block, Text | Refusal):
            if isinstance(block, Refusal):
                choice.refused = True
            if block.text:
                out += self._delta(choice, block.text)
            if isinstance(block, Text):
                for citation in block.citations:
                    self._cite(choice, citation)
                if block.signature is not None:
                    out += self._seal(choice, block.signature)
        elif isinstance(block, ToolCall):
            out += self._call(choice, block)
        elif isinstance(block, Thinking):
            choice.signature = block.signature
            if block.text:
                out += self._delta(choice, block.text)
        elif isinstance(block, Media):
            out += self._medium(choice, block)
        else:
            self._receipt.drop(block.kind if isinstance(block, Opaque) else "tool_result")
        return out

    def _delta(self, choice: _Choice, text: str) -> bytes:
        block = choice.block
        if isinstance(block, Text):
            choice.length += len(text)
            return self._words(choice, b"content", text)
        if isinstance(block, ToolCall):
            return self._arguments(choice, block, _encode(text))
        if isinstance(block, Refusal):
            return self._words(choice, b"refusal", text)
        choice.texts.append(text)
        if isinstance(block, Thinking):
            return b"" if self._hides else self._words(choice, b"reasoning_content", text)
        if isinstance(block, Media) and block.kind is MediaKind.AUDIO:
            return self._say(choice, {"audio": {"transcript": text}})
        return b""

    def _call(self, choice: _Choice, block: ToolCall) -> bytes:
        choice.calls += 1
        if not self._older:
            call = {"index": choice.calls - 1, **call_members(block)}
            return self._say(choice, {"tool_calls": [call]})
        if choice.calls > 1:
            self._receipt.drop(f"function_call {block.name}")
            return b""
        return self._say(choice, {"function_call": function_members(block)})

    def _arguments(self, choice: _Choice, block: ToolCall, said: bytes) -> bytes:
        if self._older:
            delta = b'{"function_call":{"arguments":%b}}' % said
            return self._chunk(choice, delta) if choice.calls == 1 else b""
        form = b'"custom":{"input":%b}' if block.free else b'"function":{"arguments":%b}'
        delta = b'{"tool_calls":[{"index":%d,%b}]}' % (choice.calls - 1, form % said)
        return self._chunk(choice, delta)

    def _medium(self, choice: _Choice, block: Media) -> bytes:
        if block.kind is MediaKind.AUDIO:
            ident = block.source.file_id or f"audio_{self._context.request_id}_{choice.index}"
            sound: Body = {"id": ident}
            if block.transcript:
                sound["transcript"] = block.transcript
            if block.source.data:
                sound["data"] = block.source.data
            return self._say(choice, {"audio": sound})
        if block.kind is not MediaKind.IMAGE:
            self._receipt.drop(str(block.kind))
        elif block.source.data:
            choice.data.append(block.source.data)
        return b""

    def _data(self, choice: _Choice, data: str) -> bytes:
        block = choice.block
        if isinstance(block, Media) and block.kind is MediaKind.AUDIO:
            return self._say(choice, {"audio": {"data": data}})
        choice.data.append(data)
        return b""

    def _cite(self, choice: _Choice, citation: Citation) -> None:
        if citation.end < 0 and not citation.raw:
            choice.cites.append(citation)  # its range is known when the block is complete
        else:
            self._annotate(choice, citation)

    def _annotate(self, choice: _Choice, citation: Citation) -> None:
        said = annotation(citation, choice.start, choice.length - choice.start)
        if said is None:
            self._receipt.drop("citations")
        else:
            choice.annotations.append(said)

    def _seal(self, choice: _Choice, signature: Signature) -> bytes:
        block = choice.block
        if isinstance(block, ToolCall):
            if self._older:
                return b""
            call = {
                "index": choice.calls - 1,
                "custom" if block.free else "function": {
                    "input" if block.free else "arguments": ""
                },
                "extra_content": extra_content(signature),
            }  # the SDK insists on the empty arguments
            return self._say(choice, {"tool_calls": [call]})
        if isinstance(block, Text):
            return self._say(choice, {"extra_content": extra_content(signature)})
        choice.signature = signature
        return b""

    def _close(self, choice: _Choice) -> bytes:
        block, choice.block = choice.block, None
        out = b""
        for citation in choice.cites:
            self._annotate(choice, citation)
        if isinstance(block, Thinking) and choice.signature is not None:
            whole = Thinking(
                text="".join(choice.texts),
                signature=choice.signature,
                encrypted=block.encrypted,
                id=block.id,
            )
            items = details(whole, choice.index)
            for item in items[:-1]:
                item.id = item.format = None  # the SDK joins items of one index, word by word
            out += self._say(choice, {"reasoning_details": items})
        elif isinstance(block, Media) and block.kind is MediaKind.IMAGE:
            source = msgspec.structs.replace(block.source, data="".join(choice.data))
            image = image_part(msgspec.structs.replace(block, source=source))
            if image is not None:
                out += self._say(choice, {"images": [{"index": choice.images, **image}]})
                choice.images += 1
        return out

    # --- the end --------------------------------------------------------------------------------

    def _finish(self, event: Finish) -> bytes:
        choice, out = self._choice(event.choice)
        if not choice.refused and (words := refusal_words(event)):
            out += self._say(choice, {"refusal": words})
        if choice.annotations:
            out += self._say(choice, {"annotations": choice.annotations})
        if choice.probs:
            out += self._chunk(choice, b'{"content":""}', self._probabilities(choice))
        members = finish_members(event, self._context)
        ending = _encode({"logprobs": None, **members})
        return b"%b%b{},%b]%b" % (out, choice.head, ending[1:], self._tail)

    def _end(self, event: Event) -> bytes:
        if isinstance(event, Failed):
            error = GatewayError(502, event.kind, event.message)
            return error_event(error, self._context.request_id)
        if not isinstance(event, End):
            return b""
        if not self._context.request.include_usage or self._usage is None:
            return DONE
        usage = _encode(usage_members(self._usage))
        return b'%b],"usage":%b}\n\n%b' % (self._prefix, usage, DONE)
