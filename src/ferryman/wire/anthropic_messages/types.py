"""What the gateway reads of the Messages format's JSON.

https://platform.claude.com/docs/en/api/messages and the types of the vendor's Python SDK
(``anthropic/types``). Structs of requests are strict: a member that is not listed is found, and
reported (``reading.py``). Structs of replies skip what they don't know.
"""

from typing import Any, Literal

from msgspec import Raw, Struct

NAME = "anthropic_messages"
"""The format's name, and the ``origin`` of what only it can express."""


class Kind(Struct):
    """The ``type`` of an object of which nothing else matters yet."""

    type: str = ""


# --- requests -------------------------------------------------------------------------------------


class Cache(Struct, forbid_unknown_fields=True):
    """``cache_control``."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class Citing(Struct, forbid_unknown_fields=True):
    """``citations`` of a document: whether the model shall cite from it."""

    enabled: bool | None = None


class MediaSource(Struct, forbid_unknown_fields=True):
    """``source`` of an image or document; ``type`` says which of the members count."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: str | list[Raw] | None = None


class TextBlock(Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    """Words."""

    text: str
    cache_control: Cache | None = None
    citations: list[Raw] | None = None


class ImageBlock(Struct, tag_field="type", tag="image", forbid_unknown_fields=True):
    """An image."""

    source: MediaSource
    cache_control: Cache | None = None


class DocumentBlock(Struct, tag_field="type", tag="document", forbid_unknown_fields=True):
    """A document."""

    source: MediaSource
    title: str | None = None
    context: str | None = None
    citations: Citing | None = None
    cache_control: Cache | None = None


class SearchBlock(Struct, tag_field="type", tag="search_result", forbid_unknown_fields=True):
    """A result of the application's own search: paragraphs of one source."""

    source: str
    title: str
    content: list[Raw]
    citations: Citing | None = None
    cache_control: Cache | None = None


class ThinkingBlock(Struct, tag_field="type", tag="thinking", forbid_unknown_fields=True):
    """The model's thoughts."""

    thinking: str
    signature: str | None = None


class RedactedBlock(Struct, tag_field="type", tag="redacted_thinking", forbid_unknown_fields=True):
    """The model's thoughts, hidden."""

    data: str


class ToolUseBlock(Struct, tag_field="type", tag="tool_use", forbid_unknown_fields=True):
    """A call of a tool."""

    id: str
    name: str
    input: Raw
    cache_control: Cache | None = None
    caller: Kind | None = None
    toolset_name: str | None = None


class ToolResultBlock(Struct, tag_field="type", tag="tool_result", forbid_unknown_fields=True):
    """What a tool gave back."""

    tool_use_id: str
    content: str | list[Raw] | None = None
    is_error: bool | None = None
    cache_control: Cache | None = None
    toolset_name: str | None = None


AnyBlock = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchBlock
    | ThinkingBlock
    | RedactedBlock
    | ToolUseBlock
    | ToolResultBlock
)
"""Blocks that the common language has words for."""


class WireMessage(Struct, forbid_unknown_fields=True):
    """One turn, or part of one."""

    role: str
    content: str | list[Raw]


class CustomTool(Struct, forbid_unknown_fields=True):
    """A tool of the application's."""

    name: str
    input_schema: Raw
    type: str | None = None
    description: str | None = None
    strict: bool | None = None
    cache_control: Cache | None = None


class Choosing(Struct, forbid_unknown_fields=True):
    """``tool_choice``."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingConfig(Struct, forbid_unknown_fields=True):
    """``thinking``."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None


class JSONFormat(Struct, forbid_unknown_fields=True):
    """``output_config.format``."""

    type: Literal["json_schema"]
    schema: Raw


# --- replies --------------------------------------------------------------------------------------


class CacheSplit(Struct, frozen=True):
    """``cache_creation``: tokens written, by how long they are kept."""

    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class OutputDetails(Struct, frozen=True):
    """``output_tokens_details``."""

    thinking_tokens: int | None = None


class Iteration(Struct, frozen=True):
    """One of ``iterations``: a step of the call with counts of its own."""

    type: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheSplit | None = None


class WireUsage(Struct, frozen=True):
    """``usage``. In a stream a later one replaces an earlier one, member by member."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheSplit | None = None
    output_tokens_details: OutputDetails | None = None
    iterations: list[Iteration] | None = None
    server_tool_use: Any = None
    service_tier: Any = None
    speed: Any = None
    inference_geo: Any = None


class Tier(Struct):
    """The one member of ``usage`` that is no count."""

    service_tier: str | None = None


class StopDetails(Struct):
    """``stop_details``: what a refusal is about."""

    category: str | None = None
    explanation: str | None = None


class ReplyBlock(Struct):
    """A block of an answer, whole or as it begins; ``type`` says which of the members count."""

    type: str
    text: str = ""
    citations: list[Raw] | None = None
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: Raw = Raw()
    caller: Kind | None = None
    toolset_name: str | None = None


class WireReply(Struct):
    """A whole answer; in ``message_start`` one without content."""

    type: str = ""
    id: str = ""
    model: str = ""
    content: list[Raw] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    usage: Raw = Raw()
    error: Raw = Raw()
    container: Raw = Raw()
    context_management: Raw = Raw()


class WireDelta(Struct):
    """``delta`` of a block, or of the message."""

    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    citation: Raw = Raw()
    content: str | None = None
    encrypted_content: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    container: Raw = Raw()


class StreamEvent(Struct):
    """One event of a stream."""

    type: str = ""
    index: int = -1
    delta: WireDelta | None = None
    content_block: Raw = Raw()
    message: WireReply | None = None
    usage: Raw = Raw()
    error: Raw = Raw()
    context_management: Raw = Raw()


class TapMessage(Struct):
    """``message`` of ``message_start``, as far as a tap reads it."""

    usage: Raw = Raw()


class BlockStart(Struct):
    """What a block begins with, as far as it shows whether that says something."""

    type: str = ""
    text: str = ""
    thinking: str = ""


class TapEvent(Struct):
    """The same of an event."""

    type: str = ""
    content_block: BlockStart | None = None
    message: TapMessage | None = None
    usage: Raw = Raw()
    error: Raw = Raw()
