"""Answers as streams of the Responses API.

https://platform.openai.com/docs/api-reference/responses-streaming. Every event has the next
sequence number, every item that is added is done, and the last event repeats the whole output.

Thoughts become reasoning items, their signature ``encrypted_content``: whether the caller asked for
it or not, since the next turn needs it. A signature of text or of a call has no place in this API;
it travels in a reasoning item of its own, right after (see ``items.ATTACHED``).
"""

import re
from typing import Any

import msgspec
from msgspec import UNSET, Raw

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
    FinishReason,
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
    Tool,
    ToolCall,
)
from ferryman.ir.signature import wrap
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Usage
from ferryman.wire import tool_ids
from ferryman.wire.format import ReplyContext
from ferryman.wire.openai_chat.finish import refusal_words
from ferryman.wire.openai_responses.echo import echo
from ferryman.wire.openai_responses.errors import code_of
from ferryman.wire.openai_responses.items import ATTACHED
from ferryman.wire.openai_responses.parts import NAME
from ferryman.wire.openai_responses.tools import own_name
from ferryman.wire.openai_responses.types import Logprob, WireEvent, WrappedInput
from ferryman.wire.openai_responses.usage import write_usage

_encode = msgspec.json.Encoder().encode
_wrapped = msgspec.json.Decoder(WrappedInput).decode
_logprob = msgspec.json.Decoder(Logprob).decode
_ID = re.compile("[A-Za-z0-9_-]{1,48}")
"""What of a response's id goes into its items' ids, which have 64 characters at most."""
_THOUGHT_ID = re.compile("rs_[A-Za-z0-9_-]{1,61}")
_INCOMPLETE = {
    FinishReason.LENGTH: "max_output_tokens",
    FinishReason.CONTEXT: "max_output_tokens",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.PAUSE: None,
    FinishReason.OTHER: None,
}
"""Reasons for which an answer isn't complete → the API's word for it."""
_IMAGES = ("png", "webp", "jpeg", "gif")


class ResponsesEncoder:
    """Tells an answer as events, and as the response that they make (``response``)."""

    def __init__(self, context: ReplyContext, *, whole: bool = False) -> None:
        self._context = context
        self._receipt = context.receipt
        tools = [tool for tool in context.request.tools if isinstance(tool, Tool)]
        self._free = {tool.name for tool in tools if tool.free}
        self._spaces = {tool.name: tool for tool in tools if tool.namespace}
        self._silent = whole
        self._sequence = 0
        self._out: list[bytes] = []
        self._head = self._tail = b""
        """Of the response object: what never changes."""
        self._base = ""
        self._output: list[bytes] = []
        """Items that are done."""
        self._item: dict[str, Any] | None = None
        """The item that isn't; its last form, but for its status."""
        self._item_id = ""
        self._parts: list[bytes] = []
        """Of the message that isn't done."""
        self._block: Block | None = None
        self._texts: list[str] = []
        self._data: list[str] = []
        self._citations: list[bytes] = []
        self._signature: Signature | None = None
        self._unsigned: Signature | None = context.unsigned()
        self._tokens: list[bytes] = []
        """Log-probabilities: of this part, and those that wait for its next delta."""
        self._waiting: list[bytes] = []
        self._delta_parts: tuple[bytes, bytes, bytes] | None = None
        """Of a delta event: up to the number, up to the text, and after; None = held back."""
        self._refused = False
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self.response = b""
        """The whole response, once it has ended."""

    def encode(self, event: Event) -> bytes:
        """The bytes for ``event``."""
        if isinstance(event, Delta):
            if event.choice:
                return b""
            self._say(event.text)
        elif isinstance(event, Begin):
            self._begin(event)
        elif isinstance(event, Count):
            self._usage = event.usage
        elif isinstance(event, End):
            self._end()
        elif isinstance(event, Failed):
            self._fail(code_of(event), event.message, event.kind)
        elif event.choice:
            self._receipt.drop("choices")
        else:
            self._in_choice(event)
        out, self._out = self._out, []
        return b"".join(out)

    def take_over(self, last: WireEvent) -> bool:
        """Go on with a stream of which another wrote the ``last`` event, in place of the same that
        this one wrote. False when that is not a text's, or stands elsewhere here."""
        item, place = self._item, (len(self._output), len(self._parts))
        if (
            item is None
            or last.type != "response.output_text.delta"
            or (last.output_index, last.content_index) != place
        ):
            return False
        self._item_id = item["id"] = last.item_id or self._item_id
        self._sequence = last.sequence_number + 1
        self._deltas("response.output_text", "content_index", b',"logprobs":[]')
        return True

    def _in_choice(self, event: Open | Data | Cite | Probs | Seal | Close | Finish) -> None:
        if isinstance(event, Open):
            self._open(event.block)
        elif isinstance(event, Close):
            self._close()
        elif isinstance(event, Seal):
            self._signature = event.signature
        elif isinstance(event, Cite):
            self._cite(event.citation)
        elif isinstance(event, Probs):
            self._waiting += [_own_token(token) for token in event.tokens]
        elif isinstance(event, Data):
            self._data.append(event.data)
        else:
            self._end_of_choice(event)

    # --- the response ---------------------------------------------------------------------------

    def _begin(self, event: Begin) -> None:
        context = self._context
        given = event.id or context.request_id
        self._base = tool_ids.fit(given.removeprefix("resp_"), _ID, "", 48)
        self._head = _encode(
            {
                "id": given if given.startswith("resp_") else f"resp_{self._base}",
                "object": "response",
                "created_at": event.created or context.now,
                "background": False,
                "model": event.model or context.request.model,
            }
        )[:-1]
        self._tail = echo(context.request, event.service_tier)
        self._usage = event.usage
        started = self._object("in_progress", None)
        self._emit("response.created", b'"response":' + started)
        self._emit("response.in_progress", b'"response":' + started)

    def _object(
        self, status: str, reason: str | None, error: dict[str, str] | None = None
    ) -> bytes:
        details = {"reason": reason} if status == "incomplete" else None
        over = status != "in_progress"
        return (
            b'%b,"status":"%b","error":%b,"incomplete_details":%b,"output":[%b],"usage":%b,%b'
            % (
                self._head,
                status.encode(),
                _encode(error),
                _encode(details),
                b",".join(self._output),
                _encode(write_usage(self._usage) if over else None),
                self._tail,
            )
        )

    def _end_of_choice(self, finish: Finish) -> None:
        if not self._refused and (words := refusal_words(finish)):
            if not finish.detail:
                self._receipt.alter("output.refusal", "words added")
            self._open(Refusal(text=words))
            self._close()
        self._finish = finish
        self._end_item("incomplete" if finish.reason in _INCOMPLETE else "completed")

    def _end(self) -> None:
        finish = self._finish or Finish(reason=FinishReason.OTHER)
        if finish.reason is FinishReason.ERROR:
            self._fail("server_error", finish.detail or "The provider gave up.", "")
            return
        status = "incomplete" if finish.reason in _INCOMPLETE else "completed"
        reason = _INCOMPLETE.get(finish.reason)
        if status == "incomplete" and finish.reason not in (
            FinishReason.LENGTH,
            FinishReason.CONTENT_FILTER,
        ):
            self._receipt.alter("finish_reason", f"{reason} for {finish.detail or finish.reason}")
        self.response = self._object(status, reason)
        self._emit(f"response.{status}", b'"response":' + self.response)

    def _fail(self, code: str, message: str, kind: str) -> None:
        error = {"code": code, "message": message}
        if kind:
            error["type"] = kind
        if not self._head:
            self._begin(Begin())
        self.response = self._object("failed", None, error)
        self._emit("response.failed", b'"response":' + self.response)

    def _emit(self, kind: str, rest: bytes) -> None:
        if not self._silent:
            name = kind.encode()
            if b"\n" in rest or b"\r" in rest:  # white space of JSON that came from elsewhere
                rest = rest.translate(None, b"\r\n")
            self._out.append(
                b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b}\n\n'
                % (name, name, self._sequence, rest)
            )
            self._sequence += 1

    # --- items ----------------------------------------------------------------------------------

    def _start_item(self, prefix: str, fields: dict[str, Any], item_id: str = "") -> None:
        if self._item is not None:
            self._end_item("completed")
        index = len(self._output)
        self._item_id = item_id or f"{prefix}_{self._base}_{index}"
        self._item = {"id": self._item_id, **fields}
        self._parts = []
        self._emit("response.output_item.added", self._with_item(index))

    def _with_item(self, index: int) -> bytes:
        return b'"output_index":%d,"item":%b' % (index, _encode(self._item))

    def _end_item(self, status: str) -> None:
        item = self._item
        if item is None:
            return
        if "status" in item:
            item["status"] = status
        if "content" in item:
            item["content"] = [Raw(part) for part in self._parts]
        self._emit("response.output_item.done", self._with_item(len(self._output)))
        self._output.append(_encode(item))
        self._item = None

    def _raw_item(self, raw: bytes) -> None:
        """An item that goes on as it came."""
        self._end_item("completed")
        rest = b'"output_index":%d,"item":%b' % (len(self._output), raw)
        self._emit("response.output_item.added", rest)
        self._emit("response.output_item.done", rest)
        self._output.append(raw)

    def _attach(self, signature: Signature) -> None:
        """A signature that this API has no place for, in an item of its own."""
        value = ATTACHED + wrap(signature, NAME)
        fields = {"type": "reasoning", "summary": [], "encrypted_content": value}
        self._start_item("rs", fields)
        self._end_item("completed")

    def _place(self, part: str = "") -> bytes:
        """Where a part of the open item is; ``part`` names the member for its number."""
        place = b'"item_id":"%b","output_index":%d' % (self._item_id.encode(), len(self._output))
        if part:
            number = len(self._parts) if part == "content_index" else 0
            place += b',"%b":%d' % (part.encode(), number)
        return place

    # --- blocks ---------------------------------------------------------------------------------

    def _open(self, block: Block) -> None:
        self._block = block
        self._texts, self._data, self._citations, self._tokens = [], [], [], []
        self._signature = None
        self._delta_parts = None
        if isinstance(block, Text):
            self._open_part(b'{"type":"output_text","text":"","annotations":[],"logprobs":[]}')
            self._deltas("response.output_text", "content_index", b',"logprobs":[]')
            self._signature = block.signature
            self._say(block.text)
            for citation in block.citations:
                self._cite(citation)
        elif isinstance(block, Refusal):
            self._refused = True
            self._open_part(b'{"type":"refusal","refusal":""}')
            self._deltas("response.refusal", "content_index")
            self._say(block.text)
        elif isinstance(block, Thinking):
            self._signature = block.signature
            fields: dict[str, Any] = {
                "type": "reasoning",
                "summary": [],
                "encrypted_content": None,
            }
            self._start_item("rs", fields, block.id if _THOUGHT_ID.fullmatch(block.id) else "")
            self._say(block.text)
        elif isinstance(block, ToolCall):
            self._open_call(block)
        elif isinstance(block, Media):
            self._open_media(block)
        elif isinstance(block, Opaque) and block.origin == NAME:
            self._raw_item(block.raw)
        elif isinstance(block, Opaque):
            self._receipt.drop(f"output.{block.kind}")

    def _open_part(self, part: bytes) -> None:
        if self._item is None or "content" not in self._item:
            fields = {
                "type": "message",
                "status": "in_progress",
                "content": [],
                "role": "assistant",
            }
            self._start_item("msg", fields)
        rest = b'%b,"part":%b' % (self._place("content_index"), part)
        self._emit("response.content_part.added", rest)

    def _open_call(self, block: ToolCall) -> None:
        self._signature = block.signature
        tool = self._spaces.get(block.name)
        free = block.free or block.name in self._free
        fields: dict[str, Any] = {
            "type": "custom_tool_call" if free else "function_call",
            "status": "in_progress",
            "call_id": block.id,
            "name": own_name(tool) if tool else block.name,
            "input" if free else "arguments": "",
        }
        if tool is not None:
            fields["namespace"] = tool.namespace
        self._start_item("ctc" if free else "fc", fields)
        if not free:
            self._deltas("response.function_call_arguments")
        elif block.free:
            self._deltas("response.custom_tool_call_input")
        self._say(block.arguments)

    def _open_media(self, block: Media) -> None:
        self._signature = block.signature
        self._data.append(block.source.data)
        if block.kind is MediaKind.IMAGE:
            fields = {"type": "image_generation_call", "status": "in_progress", "result": None}
            self._start_item("ig", fields)
        else:
            # This API has no sound in answers: what was said remains.
            self._receipt.alter(f"output.{block.kind}", "transcript")
            self._block = Text(text="")
            self._open_part(b'{"type":"output_text","text":"","annotations":[],"logprobs":[]}')
            self._deltas("response.output_text", "content_index", b',"logprobs":[]')
            self._say(block.transcript)

    def _deltas(self, kind: str, part: str = "", end: bytes = b"") -> None:
        name = kind.encode()
        self._delta_parts = (
            b'event: %b.delta\ndata: {"type":"%b.delta","sequence_number":' % (name, name),
            b',%b,"delta":' % self._place(part),
            end + b"}\n\n",
        )

    def _say(self, text: str) -> None:
        if not text:
            return
        if isinstance(self._block, Thinking) and not self._texts:
            part = b'"part":{"type":"summary_text","text":""}'
            place = self._place("summary_index")
            self._emit("response.reasoning_summary_part.added", b"%b,%b" % (place, part))
            self._deltas("response.reasoning_summary_text", "summary_index")
        self._texts.append(text)
        parts = self._delta_parts
        if parts is None or self._silent:
            return
        start, place, end = parts
        if self._waiting and isinstance(self._block, Text):
            self._tokens += self._waiting
            end = b',"logprobs":[%b]}\n\n' % b",".join(self._waiting)
            self._waiting = []
        self._out.append(b"%b%d%b%b%b" % (start, self._sequence, place, _encode(text), end))
        self._sequence += 1

    def _cite(self, citation: Citation) -> None:
        if citation.origin == NAME and citation.raw:
            annotation = citation.raw
        elif citation.url:
            so_far = sum(map(len, self._texts))
            annotation = _encode(
                {
                    "type": "url_citation",
                    "start_index": max(citation.start, 0),
                    "end_index": citation.end if citation.end >= 0 else so_far,
                    "url": citation.url,
                    "title": citation.title,
                }
            )
        else:
            self._receipt.drop("output.citation")
            return
        rest = b'%b,"annotation_index":%d,"annotation":%b' % (
            self._place("content_index"),
            len(self._citations),
            annotation,
        )
        self._emit("response.output_text.annotation.added", rest)
        self._citations.append(annotation)

    def _close(self) -> None:
        block, text = self._block, "".join(self._texts)
        if isinstance(block, Text):
            self._close_text(text)
        elif isinstance(block, Refusal):
            self._close_part("response.refusal.done", "refusal", text, b"")
        elif isinstance(block, Thinking):
            self._close_thoughts(text)
        elif isinstance(block, ToolCall):
            self._close_call(block, text)
        elif isinstance(block, Media):
            self._close_image(block)
        self._block = None
        if self._signature is not None and isinstance(block, Text | ToolCall | Media):
            self._end_item("completed")
            self._attach(self._signature)

    def _close_text(self, text: str) -> None:
        self._tokens += self._waiting
        self._waiting = []
        tokens = b",".join(self._tokens)
        done = b',"logprobs":[%b]' % tokens
        more = b',"annotations":[%b]%b' % (b",".join(self._citations), done)
        self._close_part("response.output_text.done", "text", text, more, done)

    def _close_part(
        self, done: str, member: str, text: str, more: bytes, beside: bytes = b""
    ) -> None:
        """``more``: further members of the part. ``beside``: of the event that ends its text."""
        place, words = self._place("content_index"), _encode(text)
        name = member.encode()
        self._emit(done, b'%b,"%b":%b%b' % (place, name, words, beside))
        kind = b"output_text" if member == "text" else name
        part = b'{"type":"%b","%b":%b%b}' % (kind, name, words, more)
        self._emit("response.content_part.done", b'%b,"part":%b' % (place, part))
        self._parts.append(part)

    def _close_thoughts(self, text: str) -> None:
        item = self._item
        assert item is not None
        item["encrypted_content"] = wrap(self._signature or self._unsigned, NAME) or None
        if text:
            part = _encode({"type": "summary_text", "text": text})
            place = self._place("summary_index")
            rest = b'%b,"text":%b' % (place, _encode(text))
            self._emit("response.reasoning_summary_text.done", rest)
            self._emit("response.reasoning_summary_part.done", b'%b,"part":%b' % (place, part))
            item["summary"] = [Raw(part)]
        self._end_item("completed")

    def _close_call(self, block: ToolCall, text: str) -> None:
        item = self._item
        assert item is not None
        if "arguments" in item:
            if not text:
                self._say("{}")
                text = "{}"
            member, done = "arguments", "response.function_call_arguments.done"
        else:
            if not block.free:
                text = _unwrapped(text)
                self._deltas("response.custom_tool_call_input")
                self._say(text)
            member, done = "input", "response.custom_tool_call_input.done"
        item[member] = text
        self._emit(done, b'%b,"%b":%b' % (self._place(), member.encode(), _encode(text)))

    def _close_image(self, block: Media) -> None:
        item = self._item
        assert item is not None
        data = "".join(self._data)
        if not data:
            self._receipt.drop("output.image")
        item["result"] = data or None
        form = block.source.media_type.removeprefix("image/")
        if form in _IMAGES:
            item["output_format"] = form
        self._end_item("completed" if data else "failed")


def _unwrapped(arguments: str) -> str:
    """Free text that a model without such tools gave as member ``input`` of an object."""
    try:
        return _wrapped(arguments).input
    except UNREADABLE:
        return arguments  # as the model wrote it: the tool will say what it makes of it


def _own_token(raw: Raw) -> bytes:
    """A token's log-probability with all members that this API has."""
    try:
        return _encode(_with_bytes(_logprob(raw)))
    except UNREADABLE:
        return bytes(raw)


def _with_bytes(token: Logprob) -> Logprob:
    if token.bytes is None:
        token.bytes = list(token.token.encode())
    if token.top_logprobs is UNSET:
        return token
    token.top_logprobs = [_with_bytes(other) for other in token.top_logprobs]
    return token
