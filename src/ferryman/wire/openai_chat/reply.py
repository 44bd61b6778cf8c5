"""Whole replies of the chat format: read from providers, written for callers.

https://platform.openai.com/docs/api-reference/chat/object
"""

from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import Choice, Count, End, Event, Finish, FinishReason, Reply
from ferryman.ir.fold import fold
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Block,
    Citation,
    Media,
    MediaKind,
    Opaque,
    Refusal,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.carry import data_url
from ferryman.wire.format import ReplyContext, ReplyError
from ferryman.wire.openai_chat.decode import FUNCTIONS
from ferryman.wire.openai_chat.errors import failed
from ferryman.wire.openai_chat.finish import EXACT, WORDS, refusal_words
from ferryman.wire.openai_chat.read import ChoiceReader
from ferryman.wire.openai_chat.stream import begin_of, is_error, usage_in
from ferryman.wire.openai_chat.thoughts import NAME, details, extra_content
from ferryman.wire.openai_chat.types import SaidReply
from ferryman.wire.openai_chat.usage import usage_members
from ferryman.wire.tap import Quirks

_reply = msgspec.json.Decoder(SaidReply)
_encode = msgspec.json.Encoder().encode
_TIERS = frozenset(["auto", "default", "flex", "scale", "priority", "fast"])
Body = dict[str, Any]


def decode_reply(body: bytes, quirks: Quirks = ()) -> Reply:
    """A provider's whole reply. ``quirks``: how it reports its usage. Raises :class:`ReplyError`.

    It is read as a stream of one chunk, so that both ways say the same.
    """
    try:
        said = _reply.decode(body)
    except UNREADABLE as error:
        kind = ErrorKind.UPSTREAM_PROTOCOL
        raise ReplyError(kind, f"its reply is not what the format says ({error})") from None
    if not said.choices:
        if is_error(said):
            failure = failed(body)
            raise ReplyError(failure.kind, failure.message)
        raise ReplyError(ErrorKind.UPSTREAM_PROTOCOL, "its reply has no choices")
    begin = begin_of(said)
    out: list[Event] = [begin]
    numbered = len({choice.index for choice in said.choices}) == len(said.choices)
    for place, choice in enumerate(said.choices):
        number = (choice.index or 0) if numbered else place
        reader = ChoiceReader(number, begin.id)
        reader.take(choice, choice.message or choice.delta, out)
        if not reader.finished:
            reader.finish(choice, out)
    usage = usage_in(said, body, quirks)
    if usage is not None:
        out.append(Count(usage=usage))
    out.append(End())
    return fold(out)


def encode_reply(reply: Reply, context: ReplyContext) -> bytes:
    """The reply for a caller. Raises :class:`ReplyError` where the provider gave up."""
    receipt = context.receipt
    out: Body = {
        "id": reply.begin.id or context.request_id,
        "object": "chat.completion",
        "created": reply.begin.created or context.now,
        "model": reply.begin.model or context.request.model,
        "choices": [_choice(c, n, context) for n, c in enumerate(reply.choices)],
    }
    if reply.usage is not None:
        out["usage"] = usage_members(reply.usage)
    tier = service_tier(reply.begin.service_tier, receipt)
    if tier:
        out["service_tier"] = tier
    if reply.begin.fingerprint:
        out["system_fingerprint"] = reply.begin.fingerprint
    return _encode(out)


def service_tier(tier: str, receipt: Receipt) -> str:
    """``service_tier`` as the format has it; empty for what it has no word for."""
    if tier == "standard":
        return "default"
    if tier and tier not in _TIERS:
        receipt.drop("service_tier")
        return ""
    return tier


def finish_members(finish: Finish, context: ReplyContext) -> Body:
    """``finish_reason``, and ``native_finish_reason`` where that word says less than was known.

    Raises :class:`ReplyError` for an answer that the provider gave up: there is no word for it.
    """
    reason = finish.reason
    if reason is FinishReason.ERROR:
        raise ReplyError(
            ErrorKind.UPSTREAM_ERROR,
            f"the provider gave the answer up ({finish.detail or 'it did not say why'})",
        )
    word = WORDS[reason]
    if reason is FinishReason.TOOL_CALLS and context.request.dialect == FUNCTIONS:
        word = "function_call"
    out: Body = {"finish_reason": word}
    native = finish.detail or ("" if reason in (*EXACT, FinishReason.OTHER) else reason)
    if native and native != word:
        out["native_finish_reason"] = native
    if reason not in EXACT:
        said = finish.stop_sequence or native or "none said"
        context.receipt.alter("finish_reason", f"{word} for {said}")
    return out


def annotation(citation: Citation, before: int, length: int) -> Body | Raw | None:
    """A citation as an annotation; None for one that is about no address.

    ``before``: characters of the answer before the cited block, whose ``length`` is the range of a
    citation that doesn't say its own.
    """
    if citation.origin == NAME and citation.raw and not before:
        return Raw(citation.raw)
    if not citation.url:
        return None
    start = before + max(citation.start, 0)
    end = before + (citation.end if citation.end >= 0 else length)
    cited = {"url": citation.url, "title": citation.title, "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": cited}


def call_members(call: ToolCall) -> Body:
    """An item of ``tool_calls``."""
    out: Body = {"id": call.id}
    if call.free:
        out["type"], out["custom"] = "custom", {"name": call.name, "input": call.arguments}
    else:
        out["type"] = "function"
        out["function"] = function_members(call)
    if call.signature is not None:
        out["extra_content"] = extra_content(call.signature)
    return out


def function_members(call: ToolCall) -> Body:
    """``function`` of a call, and ``function_call``."""
    return {"name": call.name, "arguments": call.arguments}


def image_part(media: Media) -> Body | None:
    """An item of ``images`` (https://openrouter.ai/docs); None for what is no image."""
    if media.kind is not MediaKind.IMAGE:
        return None
    source = media.source
    url = data_url(source.media_type, source.data) if source.data else source.url
    return {"type": "image_url", "image_url": {"url": url}} if url else None


def hides_thoughts(context: ReplyContext) -> bool:
    """Whether the caller asked not to be shown any thoughts."""
    wanted = context.request.reasoning
    return wanted is not None and wanted.summary == "none"


class _Message:
    """One choice's message while its blocks are put together."""

    def __init__(self, context: ReplyContext, number: int) -> None:
        self._context = context
        self._number = number
        self._texts: list[str] = []
        self._length = 0
        self._refusals: list[str] = []
        self._thoughts: list[str] = []
        self._details: list[object] = []
        self._annotations: list[object] = []
        self._calls: list[ToolCall] = []
        self._more: dict[str, Any] = {}

    def take(self, block: Block, index: int) -> None:
        receipt = self._context.receipt
        if isinstance(block, Text):
            self._text(block)
        elif isinstance(block, Refusal):
            self._refusals.append(block.text)
        elif isinstance(block, Thinking):
            self._thoughts.append(block.text)
            if block.signature is not None:
                self._details.extend(details(block, index))
        elif isinstance(block, ToolCall):
            self._calls.append(block)
        elif isinstance(block, Media):
            self._media(block)
        else:
            receipt.drop(block.kind if isinstance(block, Opaque) else "tool_result")

    def _text(self, block: Text) -> None:
        for citation in block.citations:
            said = annotation(citation, self._length, len(block.text))
            if said is None:
                self._context.receipt.drop("citations")
            else:
                self._annotations.append(said)
        if block.signature is not None:
            self._more["extra_content"] = extra_content(block.signature)
        self._texts.append(block.text)
        self._length += len(block.text)

    def _media(self, block: Media) -> None:
        image = image_part(block)
        if image is not None:
            self._more.setdefault("images", []).append(image)
        elif block.kind is MediaKind.AUDIO and "audio" not in self._more:
            self._more["audio"] = {
                "id": block.source.file_id or f"audio_{self._context.request_id}_{self._number}",
                "data": block.source.data,
                "transcript": block.transcript,
                "expires_at": self._context.now,
            }
        else:
            self._context.receipt.drop(str(block.kind))

    def members(self, finish: Finish) -> Body:
        """The whole ``message``."""
        refusal = "".join(self._refusals) or refusal_words(finish)
        out: Body = {
            "role": "assistant",
            "content": "".join(self._texts) if self._texts else None,
            "refusal": refusal or None,
        }
        thought = "".join(self._thoughts)
        if thought and not hides_thoughts(self._context):
            out["reasoning_content"] = thought
        if self._details:
            out["reasoning_details"] = self._details
        if self._annotations:
            out["annotations"] = self._annotations
        if self._calls and self._context.request.dialect == FUNCTIONS:
            for call in self._calls[1:]:
                self._context.receipt.drop(f"function_call {call.name}")
            out["function_call"] = function_members(self._calls[0])
        elif self._calls:
            out["tool_calls"] = [call_members(call) for call in self._calls]
        return out | self._more


def _choice(choice: Choice, number: int, context: ReplyContext) -> Body:
    message = _Message(context, number)
    for index, block in enumerate(choice.blocks):
        message.take(block, index)
    kinds = {type(block) for block in choice.blocks}
    name = "refusal" if Refusal in kinds and Text not in kinds else "content"
    probs = {"content": None, "refusal": None} | {name: choice.logprobs}
    return {
        "index": number,
        "message": message.members(choice.finish),
        "logprobs": probs if choice.logprobs else None,
        **finish_members(choice.finish, context),
    }
