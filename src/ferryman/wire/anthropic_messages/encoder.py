"""Events into a caller's stream: https://platform.claude.com/docs/en/build-with-claude/streaming.

A block begins with its first words, so that none is empty: callers send answers back, and the API
refuses empty ones. What has no place in the stream is reported, and counts into no index.
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
    Delta,
    End,
    Event,
    Failed,
    Finish,
    FinishReason,
    Open,
    Seal,
)
from ferryman.ir.request import (
    Block,
    Citation,
    Media,
    Opaque,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.signature import wrap
from ferryman.ir.usage import Usage
from ferryman.wire.anthropic_messages.beside import put_beside
from ferryman.wire.anthropic_messages.citations import citation_out
from ferryman.wire.anthropic_messages.errors import failure_event
from ferryman.wire.anthropic_messages.reply import TIERS, attached, reply_id, thinking_block, thinks
from ferryman.wire.anthropic_messages.stops import stop_out
from ferryman.wire.anthropic_messages.types import NAME
from ferryman.wire.anthropic_messages.usage import usage_out
from ferryman.wire.format import ReplyContext

_json = msgspec.json.Encoder().encode
_START = (
    b"event: content_block_start\n"
    b'data: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
)
_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_DELTA = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":%%d,"delta":{"type":"%b","%b":%%b}}\n\n'
)
_TEXT = _DELTA % (b"text_delta", b"text")
_ARGUMENTS = _DELTA % (b"input_json_delta", b"partial_json")
_THOUGHT = _DELTA % (b"thinking_delta", b"thinking")
_SIGNATURE = _DELTA % (b"signature_delta", b"signature")
_CITATION = _DELTA % (b"citations_delta", b"citation")
_TEXT_BLOCK = b'{"type":"text","text":""}'
_THINKING_BLOCK = b'{"type":"thinking","thinking":"","signature":""}'
_END = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class MessagesEncoder:
    """See :class:`~ferryman.wire.format.StreamEncoder`."""

    __slots__ = ("_begin", "_block", "_context", "_delta", "_finish", "_index", "_refused",
                 "_signature", "_start", "_started", "_unsigned", "_unthought",
                 "_usage")  # fmt: skip

    def __init__(self, context: ReplyContext) -> None:
        self._context = context
        self._index = 0
        """Of the open block, or of the next."""
        self._block: Block | None = None
        self._start = b""
        """How the open block is to begin; empty = it has no words in this format."""
        self._started = False
        self._delta = b""
        """The form of its fragments."""
        self._signature: Signature | None = None
        self._unsigned: Signature | None = context.unsigned()
        self._unthought = thinks(context.request)
        """No thought has come, and no call, where thoughts must come before calls."""
        self._refused = False
        self._usage: Usage | None = None
        self._finish: Finish | None = None

    def encode(self, event: Event) -> bytes:
        """The bytes for ``event``; may be empty."""
        if isinstance(event, Delta):
            if event.choice or not event.text or not self._delta:
                return b""
            if self._started:
                return self._delta % (self._index, _json(event.text))
            return self._begun() + self._delta % (self._index, _json(event.text))
        if isinstance(event, Open):
            return b"" if event.choice else self._open(event.block)
        if isinstance(event, Close):
            return b"" if event.choice else self._close()
        if isinstance(event, Begin):
            return self._message(event)
        if isinstance(event, Count):
            self._usage = event.usage
        elif isinstance(event, Finish):
            if event.choice:
                self._context.receipt.drop("choices")
            else:
                self._finish = event
        elif isinstance(event, Seal):
            if not event.choice:
                self._signature = event.signature
        elif isinstance(event, Cite):
            return b"" if event.choice else self._cite(event.citation)
        elif isinstance(event, End):
            return self._end()
        elif isinstance(event, Failed):
            return failure_event(event, self._context.request_id)
        return b""  # data of a medium, log-probabilities: nothing that this format carries

    def _begun(self) -> bytes:
        self._started = True
        return _START % (self._index, self._start)

    def _message(self, begin: Begin) -> bytes:
        self._usage = begin.usage
        if begin.usage is not None:
            usage = usage_out(begin.usage, split=True)
        else:
            usage = {"input_tokens": self._context.input_estimate, "output_tokens": 0}
        if begin.service_tier in TIERS:
            usage["service_tier"] = begin.service_tier
        message: dict[str, Any] = {
            "id": reply_id(begin, self._context),
            "type": "message",
            "role": "assistant",
            "model": begin.model or self._context.request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        return b'event: message_start\ndata: {"type":"message_start","message":%b}\n\n' % _json(
            message
        )

    def _open(self, block: Block) -> bytes:
        self._block, self._started = block, False
        self._start = self._delta = b""
        self._signature = None
        if isinstance(block, Text | Refusal):
            self._start, self._delta = _TEXT_BLOCK, _TEXT
            self._refused = self._refused or isinstance(block, Refusal)
            words = self.encode(Delta(index=0, text=block.text))
            if isinstance(block, Text):
                self._signature = block.signature
                words += b"".join([self._cite(each) for each in block.citations])
            return words
        if isinstance(block, ToolCall):
            call = {"type": "tool_use", "id": block.id, "name": block.name, "input": {}}
            self._start, self._delta = _json(call), _ARGUMENTS
            self._signature = block.signature
            return self._begun() + self.encode(Delta(index=0, text=block.arguments))
        if isinstance(block, Thinking):
            self._start, self._delta = _THINKING_BLOCK, _THOUGHT
            self._signature = block.signature
            return self.encode(Delta(index=0, text=block.text))
        if isinstance(block, Media):
            self._context.receipt.drop(f"content.{block.kind}")
            self._start, self._delta = _TEXT_BLOCK, _TEXT  # its transcript is text
            return self.encode(Delta(index=0, text=block.transcript))
        if isinstance(block, Opaque) and block.origin == NAME:
            self._start = block.raw
            return self._begun()
        kind = block.kind if isinstance(block, Opaque) else "tool_result"
        self._context.receipt.drop(f"content.{kind}")
        return b""

    def _cite(self, citation: Citation) -> bytes:
        said: Raw | dict[str, Any] | None = citation_out(citation, self._context.receipt)
        if said is None:
            return b""
        start = b"" if self._started else self._begun()
        return start + _CITATION % (self._index, _json(said))

    def _close(self) -> bytes:
        block, signature, out = self._block, self._signature, b""
        self._block = None
        if isinstance(block, Thinking):
            if not self._started:
                # hidden thoughts, or such as show nothing but their signature
                hidden = thinking_block("", signature, block.encrypted)
                if hidden is None:
                    return b""
                self._unthought = False
                return self._whole(hidden)
            self._unthought = False
            if signature is None:
                signature = self._unsigned
            if signature is not None:
                out = _SIGNATURE % (self._index, _json(wrap(signature, NAME)))
            signature = None
        elif isinstance(block, ToolCall) and self._unthought:
            self._unthought = False
            if signature is None:
                signature = self._unsigned
        if self._started:
            out += _STOP % self._index
            self._index += 1
        if signature is not None and isinstance(block, Text | ToolCall):
            out += self._whole(attached(signature))
        return out

    def _whole(self, block: dict[str, str]) -> bytes:
        """A block of thoughts at once; the signature comes as callers' libraries expect it."""
        index = self._index
        self._index += 1
        signature = block.get("signature")
        if signature is None:
            return _START % (index, _json(block)) + _STOP % index
        out = _START % (index, _THINKING_BLOCK)
        return out + _SIGNATURE % (index, _json(signature)) + _STOP % index

    def _end(self) -> bytes:
        receipt, finish = self._context.receipt, self._finish
        if finish is None or finish.reason is FinishReason.ERROR:
            why = f": {finish.detail}" if finish is not None and finish.detail else ""
            failed = Failed(
                kind=ErrorKind.UPSTREAM_ERROR, message=f"The provider gave the answer up{why}."
            )
            return failure_event(failed, self._context.request_id)
        usage: dict[str, Any] = {"output_tokens": 0}
        if self._usage is not None:
            usage = usage_out(self._usage, split=False)
        else:
            receipt.alter("usage", "estimated: the provider said nothing")
        delta = stop_out(finish, self._refused, receipt)
        if delta["stop_details"] is None:
            del delta["stop_details"]
        said: dict[str, Any] = {"type": "message_delta", "delta": delta, "usage": usage}
        beside = put_beside(finish, usage)
        if "container" in beside:
            delta["container"] = beside.pop("container")
        said.update(beside)
        return b"event: message_delta\ndata: %b\n\n" % _json(said) + _END
