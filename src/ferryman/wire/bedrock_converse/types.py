"""What is read of the Converse format's JSON; unknown members are skipped.

Whole replies: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html,
streams: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html.
Member names are the wire's own.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

ORIGIN = "bedrock_converse"


class CacheDetail(Struct):
    """Tokens written to the cache for one lifetime, ``5m`` or ``1h``."""

    ttl: str = ""
    inputTokens: int | None = None  # noqa: N815


class WireUsage(Struct):
    """``usage``; the input excludes what was read from or written to the cache."""

    inputTokens: int | None = None  # noqa: N815
    outputTokens: int | None = None  # noqa: N815
    cacheReadInputTokens: int | None = None  # noqa: N815
    cacheWriteInputTokens: int | None = None  # noqa: N815
    cacheDetails: list[CacheDetail] | None = None  # noqa: N815


class Tier(Struct):
    """``serviceTier``."""

    type: str = ""


class Words(Struct):
    """A text within a list: of a citation's source, of cited content. Also an error's message."""

    text: str = ""
    message: str = ""


class Span(Struct):
    """A place within a document; the index counts documents, or search results."""

    url: str = ""
    documentIndex: int = -1  # noqa: N815
    start: int = -1
    end: int = -1


class Location(Struct):
    """Where a cited text stands: one of the members."""

    web: Span | None = None
    documentChar: Span | None = None  # noqa: N815
    documentPage: Span | None = None  # noqa: N815
    documentChunk: Span | None = None  # noqa: N815
    searchResultLocation: Span | None = None  # noqa: N815


class WireCitation(Struct):
    """A citation, whole or in a stream: both have the same members."""

    title: str | None = None
    source: str | None = None
    sourceContent: list[Words] | None = None  # noqa: N815
    location: Location | None = None


class ToolUse(Struct):
    """A tool call; ``type`` is ``server_tool_use`` for a tool that the provider runs."""

    toolUseId: str  # noqa: N815
    name: str
    input: Raw = Raw()
    type: str | None = None


class ReasoningText(Struct):
    """Thoughts and the proof of them."""

    text: str = ""
    signature: str | None = None


class Reasoning(Struct):
    """``reasoningContent``: one of the members."""

    reasoningText: ReasoningText | None = None  # noqa: N815
    redactedContent: str | None = None  # noqa: N815


class CitationsContent(Struct):
    """Text with what it was taken from."""

    content: list[Words] = []
    citations: list[Raw] = []


class Place(Struct):
    """``s3Location``."""

    uri: str = ""


class WireSource(Struct):
    """Where a medium's bytes are: one of the members."""

    bytes: str | None = None
    s3Location: Place | None = None  # noqa: N815


class WireMedia(Struct):
    """An image or sound, or the start or a piece of one."""

    format: str = ""
    source: WireSource | None = None
    error: Words | None = None


class WireBlock(Struct):
    """A block of a whole answer: one of the members, or one that is not listed here."""

    text: str | None = None
    toolUse: ToolUse | None = None  # noqa: N815
    reasoningContent: Reasoning | None = None  # noqa: N815
    citationsContent: CitationsContent | None = None  # noqa: N815
    image: WireMedia | None = None
    audio: WireMedia | None = None


class WireMessage(Struct):
    """The answer's message."""

    content: list[Raw] = []


class Output(Struct):
    """``output``."""

    message: WireMessage


class ModelFields(Struct):
    """``additionalModelResponseFields``, as far as the encoder of requests asks for them."""

    stop_sequence: str | None = None


class WireReply(Struct):
    """A whole reply."""

    output: Output
    stopReason: str = ""  # noqa: N815
    usage: WireUsage | None = None
    additionalModelResponseFields: Raw = Raw()  # noqa: N815
    serviceTier: Tier | None = None  # noqa: N815


class ReasoningDelta(Struct):
    """One of the members."""

    text: str | None = None
    signature: str | None = None
    redactedContent: str | None = None  # noqa: N815


class Input(Struct):
    """More of a tool call's arguments."""

    input: str | None = None


class ResultStart(Struct):
    """The result of a tool that the provider runs."""

    toolUseId: str = ""  # noqa: N815
    type: str | UnsetType = UNSET
    status: str | UnsetType = UNSET


class StartOf(Struct):
    """``start``: one of the members."""

    toolUse: ToolUse | None = None  # noqa: N815
    toolResult: ResultStart | None = None  # noqa: N815
    image: WireMedia | None = None


class WireDelta(Struct):
    """``delta``: one of the members."""

    text: str | None = None
    toolUse: Input | None = None  # noqa: N815
    reasoningContent: ReasoningDelta | None = None  # noqa: N815
    citation: Raw = Raw()
    image: WireMedia | None = None
    toolResult: list[Raw] | None = None  # noqa: N815


BlockNumber = Annotated[int, Meta(ge=0)]


class BlockStart(Struct):
    """``contentBlockStart``; not sent for text and thoughts."""

    contentBlockIndex: BlockNumber  # noqa: N815
    start: StartOf


class BlockDelta(Struct):
    """``contentBlockDelta``."""

    contentBlockIndex: BlockNumber  # noqa: N815
    delta: WireDelta


class BlockStop(Struct):
    """``contentBlockStop``."""

    contentBlockIndex: BlockNumber  # noqa: N815


class MessageStop(Struct):
    """``messageStop``."""

    stopReason: str = ""  # noqa: N815
    additionalModelResponseFields: Raw = Raw()  # noqa: N815


class Metadata(Struct):
    """``metadata``, the last event."""

    usage: WireUsage | None = None
    serviceTier: Tier | None = None  # noqa: N815
