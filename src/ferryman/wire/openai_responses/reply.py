"""Whole replies of the Responses API, to and from the common language.

https://platform.openai.com/docs/api-reference/responses/object. Items of kinds that other formats
don't have (searches, code that the provider ran…) stay as they are, for callers of this format.
"""

import msgspec
from msgspec import UNSET, Raw

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import Begin, Choice, Finish, FinishReason, Reply
from ferryman.ir.fold import unfold
from ferryman.ir.request import Block, Opaque, Refusal, Text, ToolCall
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.carry import NOTHING
from ferryman.wire.format import ReplyContext, ReplyError
from ferryman.wire.openai_chat.errors import failed
from ferryman.wire.openai_responses.items import thinking
from ferryman.wire.openai_responses.parts import NAME, citation_of
from ferryman.wire.openai_responses.tools import flat_name
from ferryman.wire.openai_responses.types import (
    Logprob,
    Tagged,
    WireItem,
    WirePart,
    WireResponse,
)
from ferryman.wire.openai_responses.usage import usage_in
from ferryman.wire.openai_responses.writer import ResponsesEncoder

_response = msgspec.json.Decoder(WireResponse).decode
_item = msgspec.json.Decoder(WireItem).decode
_tagged = msgspec.json.Decoder(Tagged).decode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_raws = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode
CALLS = ("function_call", "custom_tool_call")
"""Kinds of items that call a tool of the application's."""
READ = frozenset(("message", "reasoning", *CALLS))
"""Kinds of items that the common language has words for."""
SAID: dict[str, type[Text] | type[Refusal]] = {
    "output_text": Text,
    "text": Text,
    "refusal": Refusal,
}
"""Types of a message's parts → kinds of blocks."""
_INCOMPLETE = {
    "max_output_tokens": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
}


def decode_reply(body: bytes) -> Reply:
    """The answer. Raises :class:`ReplyError` for what is none."""
    try:
        response = _response(body)
    except UNREADABLE as error:
        raise ReplyError(
            ErrorKind.UPSTREAM_PROTOCOL, f"The provider's reply is no response: {error}."
        ) from None
    if response.output is None or response.status in ("failed", "cancelled"):
        raise _failure(response, body)
    if response.status in ("queued", "in_progress"):
        raise ReplyError(
            ErrorKind.UPSTREAM_PROTOCOL, f"The provider's reply is not complete: {response.status}."
        )
    blocks: list[Block] = []
    probs: list[Raw] = []
    for raw in response.output:
        try:
            more, tokens = blocks_of_item(raw)
        except UNREADABLE as error:
            raise ReplyError(
                ErrorKind.UPSTREAM_PROTOCOL, f"The provider's reply has an odd item: {error}."
            ) from None
        blocks += more
        probs += tokens
    choice = Choice(blocks=tuple(blocks), finish=finish_of(response, blocks), logprobs=tuple(probs))
    return Reply(begin=begin_of(response), choices=(choice,), usage=usage_in(response))


def _failure(response: WireResponse, body: bytes) -> ReplyError:
    if bytes(response.error) not in (b"", *NOTHING):
        said = failed(body)
        return ReplyError(said.kind, said.message)
    if response.status in ("failed", "cancelled"):
        words = f"The provider's reply says that it was {response.status}, not why."
        return ReplyError(ErrorKind.UPSTREAM_ERROR, words)
    return ReplyError(ErrorKind.UPSTREAM_PROTOCOL, "The provider's reply has no output.")


def begin_of(response: WireResponse) -> Begin:
    """What is known of the answer at its start."""
    return Begin(
        id=response.id or "",
        model=response.model or "",
        created=int(response.created_at or 0),
        service_tier=response.service_tier or "",
    )


def finish_of(response: WireResponse, blocks: list[Block]) -> Finish:
    """Why the answer ended: what the response says, or else what it holds."""
    if response.status == "incomplete":
        word = response.incomplete_details.reason if response.incomplete_details else None
        reason = _INCOMPLETE.get(word or "", FinishReason.OTHER)
        return Finish(reason=reason, detail="" if reason is FinishReason.LENGTH else word or "")
    if response.status not in ("completed", None):
        return Finish(reason=FinishReason.OTHER, detail=response.status)
    if any(isinstance(block, ToolCall) for block in blocks):
        return Finish(reason=FinishReason.TOOL_CALLS)
    if any(isinstance(block, Refusal) for block in blocks):
        return Finish(reason=FinishReason.REFUSAL)
    return Finish(reason=FinishReason.STOP)


def blocks_of_item(raw: Raw) -> tuple[list[Block], list[Raw]]:
    """Blocks of one output item, and its log-probabilities.

    Raises one of :data:`~ferryman.ir.unreadable.UNREADABLE`.
    """
    kind = _tagged(raw).type
    if kind not in READ:
        return [Opaque(origin=NAME, kind=kind or "item", raw=bytes(raw))], []
    item = _item(raw)
    if kind == "reasoning":
        text = "\n\n".join(
            [part.text or "" for part in (*(item.summary or ()), *(item.content or ()))]
        )
        thought = thinking(text, item.encrypted_content or "", item.id or "")
        return ([] if thought is None else [thought]), []
    if kind in CALLS:
        return [call_of(item, kind)], []
    blocks: list[Block] = []
    probs: list[Raw] = []
    for part in item.content or ():
        if part.type in SAID:
            blocks.append(_said(part))
            probs += tokens_of(part.logprobs)
    return [*blocks, *odd_parts(item, raw)], probs


def odd_parts(item: WireItem, raw: Raw) -> list[Block]:
    """Parts of a message that the common language has no word for, each as a message of its own."""
    if all(part.type in SAID for part in item.content or ()):
        return []
    members = _members(raw)
    blocks: list[Block] = []
    for part, said in zip(item.content or (), _raws(members["content"]), strict=True):
        if part.type not in SAID:
            alone = _encode({**members, "content": [said]})
            blocks.append(Opaque(origin=NAME, kind=part.type or "part", raw=alone))
    return blocks


def call_of(item: WireItem, kind: str) -> ToolCall:
    """A call of a function, or of a tool that takes free text."""
    free = kind == "custom_tool_call"
    return ToolCall(
        id=item.call_id or item.id or "",
        name=flat_name(item.namespace, item.name or ""),
        arguments=(item.input if free else item.arguments) or "",
        free=free,
    )


def _said(part: WirePart) -> Block:
    if part.type == "refusal":
        return Refusal(text=part.refusal or "")
    citations = tuple([citation_of(raw) for raw in part.annotations or ()])
    return Text(text=part.text or "", citations=citations)


def tokens_of(logprobs: list[Logprob] | None) -> list[Raw]:
    """Log-probabilities in the form of the common language."""
    return [Raw(_encode(_filled(token))) for token in logprobs or ()]


def _filled(token: Logprob) -> Logprob:
    if token.top_logprobs is UNSET:
        token.top_logprobs = []
    return token


def encode_reply(reply: Reply, context: ReplyContext) -> bytes:
    """The response as callers of this format know it."""
    encoder = ResponsesEncoder(context, whole=True)
    if len(reply.choices) > 1:
        context.receipt.drop("choices")
        reply = msgspec.structs.replace(reply, choices=reply.choices[:1])
    for event in unfold(reply):
        encoder.encode(event)
    return encoder.response
