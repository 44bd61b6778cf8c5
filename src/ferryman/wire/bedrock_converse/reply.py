"""Whole replies of the Converse format.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

import msgspec
from msgspec import Raw

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import Begin, Choice, Finish, FinishReason, Reply
from ferryman.ir.request import (
    Block,
    Media,
    MediaKind,
    Opaque,
    Signature,
    Source,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import served
from ferryman.wire.bedrock_converse.citations import citation_of
from ferryman.wire.bedrock_converse.media import media_type
from ferryman.wire.bedrock_converse.types import (
    ORIGIN,
    ModelFields,
    Reasoning,
    ToolUse,
    WireBlock,
    WireMedia,
    WireReply,
    Words,
)
from ferryman.wire.bedrock_converse.usage import usage_of
from ferryman.wire.format import ReplyError

SERVER_TOOL = "server_tool_use"
_reply = msgspec.json.Decoder(WireReply)
_block = msgspec.json.Decoder(WireBlock)
_members = msgspec.json.Decoder(dict[str, Raw])
_model_fields = msgspec.json.Decoder(ModelFields)

_REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.CONTEXT,
    "tool_use": FinishReason.TOOL_CALLS,
    "guardrail_intervened": FinishReason.CONTENT_FILTER,
    "content_filtered": FinishReason.CONTENT_FILTER,
    "malformed_model_output": FinishReason.ERROR,
    "malformed_tool_use": FinishReason.ERROR,
    "refusal": FinishReason.REFUSAL,
    "pause_turn": FinishReason.PAUSE,
}
"""The last two are words of Claude's that the format's description does not list."""
_DETAILED = (FinishReason.CONTENT_FILTER, FinishReason.ERROR, FinishReason.OTHER)


def finish_of(reason: str, fields: Raw) -> Finish:
    """How the answer ended; ``fields`` are ``additionalModelResponseFields``, may be empty."""
    meant = _REASONS.get(reason, FinishReason.OTHER)
    sequence = ""
    if meant is FinishReason.STOP_SEQUENCE and bytes(fields):
        try:
            sequence = _model_fields.decode(fields).stop_sequence or ""
        except UNREADABLE:
            sequence = ""  # another model's fields: they say something else
    return Finish(reason=meant, stop_sequence=sequence, detail=reason if meant in _DETAILED else "")


def decode_reply(body: bytes) -> Reply:
    """The answer. Raises :class:`ReplyError`."""
    try:
        wire = _reply.decode(body)
        blocks = tuple([_block_of(raw) for raw in wire.output.message.content])
    except UNREADABLE as error:
        raise ReplyError(
            ErrorKind.UPSTREAM_PROTOCOL, f"The provider's reply is no answer: {error}."
        ) from None
    return Reply(
        begin=Begin(service_tier=wire.serviceTier.type if wire.serviceTier else ""),
        choices=(
            Choice(
                blocks=blocks,
                finish=finish_of(wire.stopReason, wire.additionalModelResponseFields),
            ),
        ),
        usage=served(usage_of(wire.usage), wire.serviceTier.type if wire.serviceTier else ""),
    )


def _block_of(raw: Raw) -> Block:
    wire = _block.decode(raw)
    if wire.text is not None:
        return Text(text=wire.text)
    if wire.toolUse is not None and wire.toolUse.type != SERVER_TOOL:
        return _call_of(wire.toolUse)
    if wire.reasoningContent is not None:
        return _thinking_of(wire.reasoningContent)
    if wire.citationsContent is not None:
        cited = wire.citationsContent
        return Text(
            text="".join([part.text for part in cited.content]),
            citations=tuple([citation_of(citation) for citation in cited.citations]),
        )
    if wire.image is not None:
        return _media_of(wire.image, MediaKind.IMAGE)
    if wire.audio is not None:
        return _media_of(wire.audio, MediaKind.AUDIO)
    kind = SERVER_TOOL if wire.toolUse else next(iter(_members.decode(raw)), "")
    return Opaque(origin=ORIGIN, kind=kind, raw=bytes(raw))


def _call_of(wire: ToolUse) -> ToolCall:
    return ToolCall(id=wire.toolUseId, name=wire.name, arguments=bytes(wire.input).decode() or "{}")


def _thinking_of(wire: Reasoning) -> Thinking:
    if wire.redactedContent is not None:
        return Thinking(encrypted=True, signature=Signature(wire.redactedContent, ORIGIN))
    said = wire.reasoningText
    if said is None:
        return Thinking()
    signature = Signature(said.signature, ORIGIN) if said.signature else None
    return Thinking(text=said.text, signature=signature)


def not_made(kind: MediaKind, error: Words) -> str:
    """What to tell of a medium that came as an error."""
    words = error.message.rstrip(".") or "it does not say why"
    return f"The provider could not make an {kind}: {words}."


def _media_of(wire: WireMedia, kind: MediaKind) -> Media:
    if wire.error is not None:
        raise ReplyError(ErrorKind.UPSTREAM_ERROR, not_made(kind, wire.error))
    source = wire.source
    place = source.s3Location.uri if source and source.s3Location else ""
    data = (source.bytes or "") if source else ""
    return Media(
        kind=kind, source=Source(media_type=media_type(wire.format, kind), data=data, url=place)
    )
