"""The JSON of the Responses API, as far as the gateway reads it.

Requests: https://platform.openai.com/docs/api-reference/responses/create, replies:
https://platform.openai.com/docs/api-reference/responses/object, streams:
https://platform.openai.com/docs/api-reference/responses-streaming. What a caller sends is read
strictly (an unknown member is an error that the reader catches, and reports), what a provider sends
leniently.
"""

from typing import Any, Literal, TypeAlias

from msgspec import UNSET, Raw, Struct, UnsetType

from ferryman.wire.openai_chat.types import WireUsage


class ResponseObject(Struct):
    """The ``response`` member of an event."""

    usage: WireUsage | None = None
    service_tier: Any = None


class Action(Struct):
    """``action`` of a web search: only looking for pages is charged."""

    type: str = ""


class PricedItem(Struct):
    """An item of ``output``, as far as it may have a price of its own."""

    type: str = ""
    action: Action | None = None
    container_id: str | None = None


class Container(Struct):
    """``container`` of a tool that runs code, where it is made for the call."""

    memory_limit: str | None = None


class PricedTool(Struct):
    """A tool of the request, which a response repeats."""

    type: str = ""
    container: Container | str | None = None


class Items(Struct):
    """A response, as far as its items are counted."""

    output: list[PricedItem] | None = None
    tools: list[PricedTool] | None = None


class ItemsEvent(Struct):
    """The event that brings a whole response."""

    response: Items | None = None


class EventType(Struct):
    """The name of an event, where the rest of it is odd."""

    type: str = ""


class StreamEvent(Struct):
    """One event of a stream."""

    type: str = ""
    response: ResponseObject | None = None
    item: EventType | None = None
    error: Raw = Raw()
    """An error that stands by itself, without a type: not this format, but some servers do."""


# --- parts of a message, strictly -----------------------------------------------------------------


class Breakpoint(Struct, forbid_unknown_fields=True):
    """``prompt_cache_breakpoint``: the prompt may be cached up to here."""

    mode: str = "explicit"
    ttl: Literal["30m", "12h"] | None = None


class InputText(Struct, tag="input_text", forbid_unknown_fields=True):
    """Words that are given to the model."""

    text: str
    prompt_cache_breakpoint: Breakpoint | None = None


class OutputText(Struct, tag="output_text", forbid_unknown_fields=True):
    """Words of the model."""

    text: str
    annotations: list[Raw] | None = None
    logprobs: Raw = Raw()
    prompt_cache_breakpoint: Breakpoint | None = None


class PlainText(Struct, tag="text", forbid_unknown_fields=True):
    """Words, as Codex repeats some thoughts."""

    text: str


class RefusalPart(Struct, tag="refusal", forbid_unknown_fields=True):
    """Words with which the model declined."""

    refusal: str


class SummaryText(Struct, tag="summary_text", forbid_unknown_fields=True):
    """A part of a summary of thoughts."""

    text: str


class ReasoningText(Struct, tag="reasoning_text", forbid_unknown_fields=True):
    """Thoughts themselves."""

    text: str


class InputImage(Struct, tag="input_image", forbid_unknown_fields=True):
    """An image."""

    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None
    prompt_cache_breakpoint: Breakpoint | None = None


class InputFile(Struct, tag="input_file", forbid_unknown_fields=True):
    """A document."""

    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None
    detail: str | None = None
    prompt_cache_breakpoint: Breakpoint | None = None


class AudioData(Struct, forbid_unknown_fields=True):
    """Sound as base64."""

    data: str
    format: str


class InputAudio(Struct, tag="input_audio", forbid_unknown_fields=True):
    """Sound."""

    input_audio: AudioData


Part: TypeAlias = (
    InputText
    | OutputText
    | PlainText
    | RefusalPart
    | SummaryText
    | ReasoningText
    | InputImage
    | InputFile
    | InputAudio
)


# --- items, strictly ------------------------------------------------------------------------------


class Head(Struct):
    """What kind of item or tool this is."""

    type: str | None = None


class ItemHead(Struct):
    """What kind of item this is; two kinds may leave that out."""

    type: str | None = None
    role: Raw = Raw()
    id: Raw = Raw()

    def kind(self) -> str:
        """The type that it has, or must have; empty for a message without one."""
        if self.type is None and self.id and not self.role:
            return "item_reference"
        return self.type or ""


class EasyMessage(Struct, forbid_unknown_fields=True):
    """A message of the application's, or one of the model's, that doesn't name its type."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]
    id: str | None = None
    status: str | None = None
    phase: str | None = None


class MessageItem(EasyMessage, tag="message", forbid_unknown_fields=True):
    """The same as an item among others."""


class FunctionCall(Struct, tag="function_call", forbid_unknown_fields=True):
    """The model calls a function."""

    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: str | None = None
    namespace: str | None = None


class CustomCall(Struct, tag="custom_tool_call", forbid_unknown_fields=True):
    """The model calls a tool that takes free text."""

    call_id: str
    name: str
    input: str
    id: str | None = None
    status: str | None = None
    namespace: str | None = None


class FunctionOutput(Struct, tag="function_call_output", forbid_unknown_fields=True):
    """What a function gave back."""

    call_id: str
    output: str | list[Part]
    id: str | None = None
    status: str | None = None
    name: str | None = None
    namespace: str | None = None


class CustomOutput(FunctionOutput, tag="custom_tool_call_output", forbid_unknown_fields=True):
    """The same of a tool that takes free text."""


class ReasoningItem(Struct, tag="reasoning", forbid_unknown_fields=True):
    """Thoughts: a summary, seldom they themselves, and what proves them."""

    summary: list[Part] | None = None
    content: list[Part] | None = None
    encrypted_content: str | None = None
    id: str | None = None
    status: str | None = None


class AdditionalTools(Struct, tag="additional_tools", forbid_unknown_fields=True):
    """Tools that are offered within the input (Codex does)."""

    tools: list[Raw]
    role: str | None = None
    id: str | None = None


Item: TypeAlias = (
    MessageItem
    | FunctionCall
    | CustomCall
    | FunctionOutput
    | CustomOutput
    | ReasoningItem
    | AdditionalTools
)
"""Items whose kind the common language knows."""


# --- other members of a request, strictly ---------------------------------------------------------


class FunctionTool(Struct, forbid_unknown_fields=True):
    """A function."""

    name: str
    type: str = ""
    description: str | None = None
    parameters: Raw = Raw()
    strict: bool | None = None


class CustomTool(Struct, forbid_unknown_fields=True):
    """A tool that takes free text."""

    name: str
    type: str = ""
    description: str | None = None
    format: Raw = Raw()


class NamespaceTool(Struct, forbid_unknown_fields=True):
    """Several of them under one name."""

    name: str
    tools: list[Raw]
    type: str = ""
    description: str | None = None


class Choice(Struct, forbid_unknown_fields=True):
    """``tool_choice`` that names one tool, or several."""

    type: str
    name: str | None = None
    mode: str | None = None
    tools: list[Raw] | None = None


class NamedTool(Struct, forbid_unknown_fields=True):
    """One of several tools."""

    type: str
    name: str


class TextFormat(Struct, forbid_unknown_fields=True):
    """``text.format``."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: Raw = Raw()
    strict: bool | None = None


class TextOptions(Struct, forbid_unknown_fields=True):
    """``text``."""

    format: TextFormat | None = None
    verbosity: str | None = None


class StreamOptions(Struct, forbid_unknown_fields=True):
    """``stream_options``."""

    include_obfuscation: bool | None = None


class ReasoningOptions(Struct, forbid_unknown_fields=True):
    """``reasoning``."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


# --- replies, leniently ---------------------------------------------------------------------------


class Logprob(Struct):
    """How probable a token was."""

    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None
    top_logprobs: list["Logprob"] | UnsetType = UNSET


class WirePart(Struct):
    """A part of an item's content, whatever it is."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    annotations: list[Raw] | None = None
    logprobs: list[Logprob] | None = None


class Tagged(Struct):
    """What kind of item a provider sends."""

    type: str | None = None


class Annotation(Struct):
    """What an annotation says that other formats can say as well."""

    type: str = ""
    url: str | None = None
    title: str | None = None
    filename: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class WireItem(Struct):
    """An output item, as far as other formats know its kind."""

    id: str | None = None
    content: list[WirePart] | None = None
    summary: list[WirePart] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None


class WrappedInput(Struct):
    """Arguments of a function that stands for a tool which takes free text."""

    input: str


class IncompleteDetails(Struct):
    """Why a response is incomplete."""

    reason: str | None = None


class WireResponse(Struct):
    """A response, whole or as an event tells it."""

    id: str | None = None
    model: str | None = None
    created_at: float | None = None
    service_tier: str | None = None
    status: str | None = None
    error: Raw = Raw()
    incomplete_details: IncompleteDetails | None = None
    output: list[Raw] | None = None
    tools: Raw = Raw()
    usage: Raw = Raw()


class WireEvent(Struct):
    """An event of a stream: what any kind that is read here has."""

    type: str = ""
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    item_id: str = ""
    sequence_number: int = 0
    delta: str | None = None
    item: Raw = Raw()
    part: WirePart | None = None
    annotation: Raw = Raw()
    logprobs: list[Logprob] | None = None
    response: Raw = Raw()
    error: Raw = Raw()
