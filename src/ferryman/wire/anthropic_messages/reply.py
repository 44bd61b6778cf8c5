"""Whole answers: https://platform.claude.com/docs/en/api/messages.

What the provider explains about a refusal becomes a Refusal block, after what the model had said.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import Begin, Choice, Finish, FinishReason, Reply
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Block,
    Media,
    Opaque,
    Refusal,
    Request,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ferryman.ir.signature import wrap
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.anthropic_messages.beside import beside_of, put_beside
from ferryman.wire.anthropic_messages.citations import citation_of, citation_out
from ferryman.wire.anthropic_messages.content import ATTACHED, is_direct
from ferryman.wire.anthropic_messages.errors import failed_of
from ferryman.wire.anthropic_messages.stops import finish_of, stop_out
from ferryman.wire.anthropic_messages.types import NAME, ReplyBlock, Tier, WireReply
from ferryman.wire.anthropic_messages.usage import read_usage, usage_of, usage_out
from ferryman.wire.carry import is_object
from ferryman.wire.format import ReplyContext, ReplyError

_reply = msgspec.json.Decoder(WireReply)
_block = msgspec.json.Decoder(ReplyBlock)
_tier = msgspec.json.Decoder(Tier | None)
_encode = msgspec.json.Encoder().encode
TIERS = ("standard", "priority", "batch")
"""``usage.service_tier`` as the format says it."""


def decode_reply(body: bytes) -> Reply:
    """An answer in the common language. Raises :class:`ReplyError`."""
    try:
        said = _reply.decode(body)
        if said.type == "error" or (said.content is None and bytes(said.error)):
            failed = failed_of(body)
            raise ReplyError(failed.kind, failed.message)
        if said.content is None:
            raise ReplyError(ErrorKind.UPSTREAM_PROTOCOL, "the reply has no content")
        blocks = [block_of(_block.decode(raw), raw) for raw in said.content]
    except UNREADABLE as error:
        raise ReplyError(
            ErrorKind.UPSTREAM_PROTOCOL, f"the reply is no message of the format: {error}"
        ) from None
    if said.stop_details is not None and said.stop_details.explanation:
        blocks.append(Refusal(text=said.stop_details.explanation))
    usage = read_usage(said.usage)
    finish = finish_of(said.stop_reason, said.stop_sequence, said.stop_details)
    if beside := beside_of(said.container, said.context_management, usage):
        finish = replace(finish, beside=beside)
    return Reply(
        begin=begin_of(said, with_usage=False),
        choices=(Choice(blocks=tuple(blocks), finish=finish),),
        usage=usage_of(usage),
    )


def begin_of(said: WireReply, *, with_usage: bool) -> Begin:
    """The beginning of an answer."""
    tier = ""
    if bytes(said.usage):
        try:
            known = _tier.decode(said.usage)
            tier = (known.service_tier or "") if known is not None else ""
        except UNREADABLE:
            pass
    usage = usage_of(read_usage(said.usage)) if with_usage else None
    return Begin(id=said.id, model=said.model, service_tier=tier, usage=usage)


def block_of(block: ReplyBlock, raw: Raw) -> Block:
    """A block as it came whole. Raises :class:`msgspec.MsgspecError`, ``UnicodeDecodeError``."""
    if block.type == "text":
        citations = tuple(citation_of(each) for each in block.citations or ())
        return Text(text=block.text, citations=citations)
    if block.type == "thinking":
        signature = Signature(block.signature, NAME) if block.signature else None
        return Thinking(text=block.thinking, signature=signature)
    if block.type == "redacted_thinking":
        return Thinking(encrypted=True, signature=Signature(block.data, NAME))
    if block.type == "tool_use" and is_direct(block.caller, block.toolset_name):
        arguments = bytes(block.input).decode() or "{}"
        return ToolCall(id=block.id, name=block.name, arguments=arguments)
    return Opaque(origin=NAME, kind=block.type, raw=bytes(raw))


def encode_reply(reply: Reply, context: ReplyContext) -> bytes:
    """The answer for a caller.

    Raises :class:`ReplyError` for one that the provider gave up, and for arguments of a tool's call
    that are no JSON object, for which the format has no place.
    """
    receipt = context.receipt
    if len(reply.choices) > 1:
        receipt.drop("choices")
    choice = reply.choices[0] if reply.choices else None
    if choice is None:
        raise ReplyError(ErrorKind.UPSTREAM_PROTOCOL, "the reply holds no answer")
    given_up(choice.finish)
    blocks = _marked(choice.blocks, context)
    content = [part for block in blocks for part in _block_out(block, receipt)]
    refused = any(isinstance(block, Refusal) for block in choice.blocks)
    usage = message_usage(reply, context)
    return _encode(
        {
            "id": reply_id(reply.begin, context),
            "type": "message",
            "role": "assistant",
            "model": reply.begin.model or context.request.model,
            "content": content,
            **stop_out(choice.finish, refused, receipt),
            **put_beside(choice.finish, usage),
            "usage": usage,
        }
    )


def thinks(request: Request) -> bool:
    """Whether the caller wants thoughts: the API demands them before calls that are sent back."""
    wish = request.reasoning
    return wish is not None and wish.budget != 0 and wish.effort != "none"


def _marked(blocks: tuple[Block, ...], context: ReplyContext) -> tuple[Block, ...]:
    """With the origin of thoughts that have no proof, and of a call that comes without thoughts."""
    unsigned = context.unsigned()
    if unsigned is None:
        return blocks
    unthought = thinks(context.request)
    out: list[Block] = []
    for block in blocks:
        said = block.text or block.signature if isinstance(block, Thinking) else unthought
        if said and isinstance(block, Thinking | ToolCall):
            unthought = False
            block = replace(block, signature=block.signature or unsigned)
        out.append(block)
    return tuple(out)


def given_up(finish: Finish) -> None:
    """Raise :class:`ReplyError` where the provider ended the answer with an error."""
    if finish.reason is FinishReason.ERROR:
        why = f": {finish.detail}" if finish.detail else ""
        raise ReplyError(ErrorKind.UPSTREAM_ERROR, f"the provider gave the answer up{why}")


def message_usage(reply: Reply, context: ReplyContext) -> dict[str, Any]:
    """``usage`` of a message. The format demands counts: unknown ones are said to be estimated."""
    if reply.usage is not None:
        usage = usage_out(reply.usage, split=True)
    else:
        usage = {"input_tokens": context.input_estimate, "output_tokens": 0}
        context.receipt.alter("usage", "estimated: the provider said nothing")
    if reply.begin.service_tier in TIERS:
        usage["service_tier"] = reply.begin.service_tier
    return usage


def reply_id(begin: Begin, context: ReplyContext) -> str:
    """The answer's id: the provider's, else one made of the request's."""
    return begin.id or f"msg_{context.request_id}"


def _block_out(block: Block, receipt: Receipt) -> Iterator[Any]:
    signature: Signature | None = None
    if isinstance(block, Text):
        if block.text or block.citations:
            yield _text_out(block, receipt)
        signature = block.signature
    elif isinstance(block, Thinking):
        written = thinking_block(block.text, block.signature, block.encrypted)
        if written is not None:
            yield written
    elif isinstance(block, ToolCall):
        yield {
            "type": "tool_use",
            "id": block.id,
            "name": block.name,
            "input": _input(block),
        }
        signature = block.signature
    elif isinstance(block, Refusal):
        if block.text:
            yield {"type": "text", "text": block.text}
    elif isinstance(block, Media):
        receipt.drop(f"content.{block.kind}")
        if block.transcript:
            yield {"type": "text", "text": block.transcript}
    elif isinstance(block, Opaque):
        if block.origin == NAME:
            yield Raw(block.raw)
        else:
            receipt.drop(f"content.{block.kind}")
    else:
        assert isinstance(block, ToolResult), "the last of the kinds"
        receipt.drop("content.tool_result")
    if signature is not None:
        yield attached(signature)


def _text_out(block: Text, receipt: Receipt) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "text", "text": block.text}
    written = [citation_out(each, receipt) for each in block.citations]
    citations = [each for each in written if each is not None]
    if citations:
        out["citations"] = citations
    return out


def thinking_block(
    text: str, signature: Signature | None, encrypted: bool
) -> dict[str, str] | None:
    """Thoughts, or what stands for hidden ones; None for neither."""
    said = wrap(signature, NAME)
    if encrypted and not text:
        return {"type": "redacted_thinking", "data": said} if said else None
    if not text and not said:
        return None
    return {"type": "thinking", "thinking": text, "signature": said}


def attached(signature: Signature) -> dict[str, str]:
    """The block that carries the signature of the one before it (see ``content.ATTACHED``)."""
    return {"type": "redacted_thinking", "data": ATTACHED + wrap(signature, NAME)}


def _input(call: ToolCall) -> Any:
    if not call.arguments.strip():
        return {}
    if not is_object(call.arguments):
        raise ReplyError(
            ErrorKind.UPSTREAM_PROTOCOL,
            f"the model called {call.name} with arguments that are no JSON object",
        )
    return Raw(call.arguments.encode())
