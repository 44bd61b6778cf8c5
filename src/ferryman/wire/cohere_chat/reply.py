"""Whole replies of the Cohere format: https://docs.cohere.com/reference/chat.

The plan that precedes calls is a thought, the first block. Citations belong to blocks of text.
"""

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import Begin, Choice, Reply
from ferryman.ir.request import Block, Opaque, Text, Thinking, ToolCall
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.cohere_chat.blocks import Cited, finish_of, token_of
from ferryman.wire.cohere_chat.types import ORIGIN, Content, Failure, WireMessage, WireReply
from ferryman.wire.cohere_chat.usage import usage_of
from ferryman.wire.format import ReplyError
from ferryman.wire.openai_chat.errors import LONGEST_MESSAGE

_reply = msgspec.json.Decoder(WireReply)
_content = msgspec.json.Decoder(Content)
_failure = msgspec.json.Decoder(Failure)


def decode_reply(body: bytes) -> Reply:
    """The answer. Raises :class:`ReplyError`."""
    try:
        wire = _reply.decode(body)
        blocks = _blocks(wire.message)
    except UNREADABLE as error:
        raise _no_answer(body, error) from None
    choice = Choice(
        blocks=tuple(blocks),
        finish=finish_of(wire.finish_reason or ""),
        logprobs=tuple([token_of(piece) for piece in wire.logprobs or ()]),
    )
    return Reply(begin=Begin(id=wire.id or ""), choices=(choice,), usage=usage_of(wire.usage))


def _no_answer(body: bytes, error: Exception) -> ReplyError:
    try:
        words = _failure.decode(body).message
    except UNREADABLE:
        words = ""
    if words:
        return ReplyError(ErrorKind.UPSTREAM_ERROR, words[:LONGEST_MESSAGE])
    return ReplyError(ErrorKind.UPSTREAM_PROTOCOL, f"The provider's reply is no answer: {error}.")


def _blocks(message: WireMessage) -> list[Block]:
    blocks: list[Block] = []
    if message.tool_plan:
        blocks.append(Thinking(text=message.tool_plan))
    before = len(blocks)
    blocks += [_block_of(raw) for raw in message.content or ()]
    for raw in message.citations or ():
        _cite(blocks, before, Cited(raw))
    for call in message.tool_calls or ():
        said = call.function
        name, arguments = (said.name, said.arguments) if said else (None, None)
        blocks.append(ToolCall(id=call.id or "", name=name or "", arguments=arguments or "{}"))
    return blocks


def _block_of(raw: Raw) -> Block:
    wire = _content.decode(raw)
    if wire.type == "thinking" or (wire.type is None and wire.thinking is not None):
        return Thinking(text=wire.thinking or "")
    if wire.type == "text" or (wire.type is None and wire.text is not None):
        return Text(text=wire.text or "")
    return Opaque(origin=ORIGIN, kind=wire.type or "", raw=bytes(raw))


def _cite(blocks: list[Block], before: int, cited: Cited) -> None:
    places = [n for n, block in enumerate(blocks) if isinstance(block, Text)]
    place = before + cited.place if cited.place >= 0 else (places[0] if places else -1)
    if cited.of_text and place in places:
        block = blocks[place]
        assert isinstance(block, Text)
        blocks[place] = replace(block, citations=(*block.citations, *cited.citations))
