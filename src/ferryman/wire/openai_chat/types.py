"""What the gateway reads of the OpenAI format's JSON.

Chat: https://platform.openai.com/docs/api-reference/chat/object, streams:
https://platform.openai.com/docs/api-reference/chat-streaming, Responses:
https://platform.openai.com/docs/api-reference/responses/object. Structs stand apart from the code
that uses them because that code may be compiled, and struct classes may not.
"""

from typing import Any, Literal

from msgspec import Raw, Struct

# --- what a relay reads ---------------------------------------------------------------------------
# Unknown members are skipped.


class CachedDetails(Struct, frozen=True):
    """``cached_tokens_details``: what of the cached tokens was which."""

    audio_tokens: int | None = 0
    image_tokens: int | None = 0


class InputDetails(Struct, frozen=True):
    """``prompt_tokens_details`` / ``input_tokens_details``."""

    cached_tokens: int | None = 0
    cache_write_tokens: int | None = 0
    audio_tokens: int | None = 0
    image_tokens: int | None = 0
    cached_tokens_details: CachedDetails | None = None


class OutputDetails(Struct, frozen=True):
    """``completion_tokens_details`` / ``output_tokens_details``."""

    reasoning_tokens: int | None = 0
    audio_tokens: int | None = 0
    image_tokens: int | None = 0


class ServerTools(Struct, frozen=True):
    """``server_tool_use``, as routers count what the provider's tools did."""

    web_search_requests: int | None = 0


class ToolCalls(Struct, frozen=True):
    """``server_side_tool_usage_details``: tools of the provider's that ran well, and so are billed.

    https://docs.x.ai/developers/tools/tool-usage-details.
    """

    web_search_calls: int | None = 0
    x_search_calls: int | None = 0
    file_search_calls: int | None = 0
    code_interpreter_calls: int | None = 0


class WireUsage(Struct, frozen=True):
    """``usage`` of chat, completions and embeddings, and of Responses under its newer names."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    input_tokens_details: InputDetails | None = None
    input_token_details: InputDetails | None = None
    """So transcripts spell it."""
    output_tokens_details: OutputDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    """Cached part of the prompt where a provider reports it beside the details."""
    cached_tokens: int | None = None
    seconds: float | None = None
    """Of audio, in transcripts that are charged by time."""
    num_search_queries: int | None = None
    """Perplexity's word for web searches."""
    citation_tokens: int | None = None
    """Its word for what it read. Where it says that, ``reasoning_tokens`` are beside the others."""
    reasoning_tokens: int | None = None
    search_context_size: str | None = None
    """``low``, ``medium``, ``high``: https://docs.perplexity.ai/docs/getting-started/pricing."""
    server_tool_use: ServerTools | None = None
    server_side_tool_usage_details: ToolCalls | None = None
    num_sources_used: int | None = None


class Whole(Struct):
    """A whole reply, as far as the gateway reads it."""

    usage: WireUsage | None = None
    error: Raw = Raw()
    service_tier: Any = None
    choices: Raw = Raw()


class Choice(Struct):
    """One choice of a stream chunk."""

    delta: dict[str, Raw] | None = None
    text: str | None = None
    finish_reason: str | None = None


class Pictures(Struct):
    """A reply that brings images, as far as they are counted."""

    data: list[Raw] | None = None


class Lasting(Struct):
    """A transcript, as far as it says how long its audio is."""

    duration: float | None = None
    """Seconds."""


class SideUsage(Struct):
    """Usage in a side object of its own."""

    usage: WireUsage | None = None


class Chunk(Struct):
    """One event of a stream."""

    object: str | None = None
    choices: list[Choice] | None = None
    usage: WireUsage | None = None
    error: Raw = Raw()
    x_groq: SideUsage | None = None
    service_tier: Any = None


class MediaEvent(Struct):
    """One event of a stream of images, speech or transcripts."""

    type: str = ""
    usage: Raw = Raw()
    error: Raw = Raw()


# --- requests -----------------------------------------------------------------------------------
# https://platform.openai.com/docs/api-reference/chat/create. These forbid unknown fields, so that
# what nobody reads is noticed; wire/carry.Reader tolerates and lists it.


class CacheControl(Struct, forbid_unknown_fields=True):
    """``cache_control`` of a part, as routers take it (https://openrouter.ai/docs)."""

    type: str = ""
    ttl: str | None = None


class CacheBreakpoint(Struct, forbid_unknown_fields=True):
    """``prompt_cache_breakpoint`` of a part."""

    mode: str = ""
    ttl: str | None = None


class Part(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    """What parts of a message's content have in common."""

    cache_control: CacheControl | None = None
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class TextPart(Part, tag="text"):
    """Text."""

    text: str


class Link(Struct, forbid_unknown_fields=True):
    """``image_url``, ``video_url``, ``audio_url``: an address, or a ``data:`` URL."""

    url: str
    detail: str | None = None


class ImagePart(Part, tag="image_url"):
    """An image."""

    image_url: Link | str
    index: int | None = None
    """Of an answer's image, as streams number them."""


class VideoPart(Part, tag="video_url"):
    """A film, as several servers take it (https://docs.vllm.ai)."""

    video_url: Link | str


class AudioLinkPart(Part, tag="audio_url"):
    """Sound by its address, as several servers take it (https://docs.vllm.ai)."""

    audio_url: Link | str


class AudioData(Struct, forbid_unknown_fields=True):
    """``input_audio``."""

    data: str
    format: str


class AudioPart(Part, tag="input_audio"):
    """Sound."""

    input_audio: AudioData


class FileData(Struct, forbid_unknown_fields=True):
    """``file``."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(Part, tag="file"):
    """A document."""

    file: FileData


class RefusalPart(Part, tag="refusal"):
    """The model's words when it declined."""

    refusal: str


class ThinkingPart(Part, tag="thinking"):
    """Thoughts among an assistant's content (https://docs.mistral.ai/capabilities/reasoning)."""

    thinking: str | list[TextPart]
    closed: bool | None = None
    signature: str | None = None


class PartType(Struct):
    """The type of a part or tool, where no struct fits."""

    type: str


class Google(Struct):
    """``extra_content.google``: https://ai.google.dev/gemini-api/docs/thought-signatures."""

    thought_signature: str | None = None


class ExtraContent(Struct, omit_defaults=True):
    """``extra_content`` of a tool call, or of a message."""

    google: Google | None = None


class Detail(Struct, omit_defaults=True, kw_only=True):
    """An item of ``reasoning_details``.

    https://openrouter.ai/docs/guides/best-practices/reasoning-tokens
    """

    type: str
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None
    id: str | None = None
    format: str | None = None
    index: int | None = None


class DetailIn(Detail, forbid_unknown_fields=True):
    """The same in a caller's message."""


class FunctionIn(Struct, forbid_unknown_fields=True):
    """``function`` of a call, and ``function_call``."""

    name: str
    arguments: str | None = ""


class CustomIn(Struct, forbid_unknown_fields=True):
    """``custom`` of a call."""

    name: str
    input: str | None = ""


class CallIn(Struct, forbid_unknown_fields=True, kw_only=True):
    """An item of ``tool_calls``."""

    id: str = ""
    type: str | None = "function"
    index: int | None = None
    function: FunctionIn | None = None
    custom: CustomIn | None = None
    extra_content: ExtraContent | None = None
    cache_control: CacheControl | None = None


class UrlCitation(Struct, kw_only=True):
    """``url_citation`` of an annotation."""

    url: str = ""
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None
    content: str | None = None


class Annotation(Struct, kw_only=True):
    """An item of ``annotations``."""

    type: str = ""
    url_citation: UrlCitation | None = None


class AudioIn(Struct, kw_only=True):
    """``audio`` of an assistant's message: an earlier answer's sound, named or repeated."""

    id: str | None = None
    transcript: str | None = None


Content = str | list[Raw] | None


class MessageIn(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="role"):
    """What messages have in common."""

    content: Content = None
    name: str | None = None
    cache_control: CacheControl | None = None


class SystemIn(MessageIn, tag="system"):
    """Text of the application."""


class DeveloperIn(MessageIn, tag="developer"):
    """The same, for newer models."""


class UserIn(MessageIn, tag="user"):
    """What a person says."""


class AssistantIn(MessageIn, tag="assistant"):
    """What the model said."""

    refusal: str | None = None
    tool_calls: list[CallIn] | None = None
    function_call: FunctionIn | None = None
    audio: AudioIn | None = None
    annotations: list[Raw] | None = None
    images: list[ImagePart] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[DetailIn] | None = None
    extra_content: ExtraContent | None = None


class ToolIn(MessageIn, tag="tool"):
    """What a tool gave back."""

    tool_call_id: str = ""


class FunctionResultIn(MessageIn, tag="function"):
    """The same, before calls had ids."""


AnyMessageIn = SystemIn | DeveloperIn | UserIn | AssistantIn | ToolIn | FunctionResultIn
AnyPart = (
    TextPart | ImagePart | AudioPart | FilePart | RefusalPart | ThinkingPart | VideoPart
    | AudioLinkPart
)  # fmt: skip


class FunctionDefinition(Struct, forbid_unknown_fields=True, kw_only=True):
    """``function`` of a tool, and an item of ``functions``."""

    name: str
    description: str | None = None
    parameters: Raw = Raw()
    strict: bool | None = None


class FunctionTool(Part, tag="function"):
    """A function that the model may call."""

    function: FunctionDefinition


class CustomDefinition(Struct, forbid_unknown_fields=True, kw_only=True):
    """``custom`` of a tool."""

    name: str
    description: str | None = None
    format: Raw = Raw()


class CustomTool(Part, tag="custom"):
    """A tool that takes free text."""

    custom: CustomDefinition


AnyTool = FunctionTool | CustomTool


class Named(Struct):
    """A tool by its name."""

    name: str


class Choosable(Struct):
    """An item of ``allowed_tools.tools``, and a ``tool_choice`` that names one tool."""

    type: str = "function"
    function: Named | None = None
    custom: Named | None = None


class AllowedTools(Struct, forbid_unknown_fields=True):
    """``allowed_tools`` of a ``tool_choice``."""

    mode: Literal["auto", "required"]
    tools: list[Choosable]


class ToolChoiceIn(Struct, forbid_unknown_fields=True):
    """``tool_choice``, where it is an object."""

    type: str = "function"
    function: Named | None = None
    custom: Named | None = None
    allowed_tools: AllowedTools | None = None


class SchemaIn(Struct, forbid_unknown_fields=True, kw_only=True):
    """``json_schema`` of a ``response_format``."""

    name: str = ""
    description: str | None = None
    schema: Raw = Raw()
    strict: bool | None = None


class FormatIn(Struct, forbid_unknown_fields=True):
    """``response_format``."""

    type: str
    json_schema: SchemaIn | None = None


class StreamOptions(Struct, forbid_unknown_fields=True):
    """``stream_options``."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ReasoningIn(Struct, forbid_unknown_fields=True, kw_only=True):
    """``reasoning``, as routers take it.

    https://openrouter.ai/docs/guides/best-practices/reasoning-tokens
    """

    effort: str | None = None
    max_tokens: int | None = None
    enabled: bool | None = None
    exclude: bool | None = None
    summary: str | None = None


class ThinkingIn(Struct, forbid_unknown_fields=True, kw_only=True):
    """``thinking``: https://docs.claude.com/en/api/openai-sdk, https://api-docs.deepseek.com."""

    type: str
    budget_tokens: int | None = None


# --- replies ------------------------------------------------------------------------------------
# What providers send: unknown members are skipped, and what some of them write oddly is ``Any``.


class SaidFunction(Struct):
    """``function`` of a call, ``function_call``, or ``custom``: whole, or a fragment."""

    name: str | None = None
    arguments: Any = None
    """A string; an object at a few servers."""
    input: str | None = None


class SaidCall(Struct):
    """An item of ``tool_calls``."""

    index: int | None = None
    id: str | None = None
    function: SaidFunction | None = None
    custom: SaidFunction | None = None
    extra_content: ExtraContent | None = None


class SaidAudio(Struct):
    """``audio``."""

    id: str | None = None
    data: str | None = None
    transcript: str | None = None


class Said(Struct):
    """``message`` of a choice, or its ``delta``."""

    content: Content = None
    reasoning_content: str | None = None
    reasoning: Any = None
    """A string, where it is used for thoughts."""
    reasoning_details: list[Detail] | None = None
    refusal: str | None = None
    tool_calls: list[SaidCall] | None = None
    function_call: SaidFunction | None = None
    audio: SaidAudio | None = None
    images: list[Raw] | None = None
    annotations: list[Raw] | None = None
    extra_content: ExtraContent | None = None


class Piece(Struct):
    """A part of a reply's content, where that is an array."""

    type: str = ""
    text: Any = None
    thinking: Any = None
    refusal: Any = None


class SaidProbs(Struct):
    """``logprobs``."""

    content: list[Raw] | None = None
    refusal: list[Raw] | None = None


class SaidChoice(Struct):
    """One choice of a whole reply (``message``) or of a stream's chunk (``delta``)."""

    index: int | None = 0
    delta: Said | None = None
    message: Said | None = None
    finish_reason: str | None = None
    native_finish_reason: Any = None
    stop_reason: Any = None
    """The stop sequence that was met, or a token's id (https://docs.vllm.ai)."""
    matched_stop: Any = None
    """The same (https://docs.sglang.ai)."""
    logprobs: SaidProbs | None = None
    usage: Raw = Raw()


class SaidSide(Struct):
    """A side object with usage of its own."""

    usage: Raw = Raw()


class SaidReply(Struct):
    """A whole reply, or one chunk of a stream."""

    id: Any = None
    object: Any = None
    created: Any = None
    model: Any = None
    service_tier: Any = None
    system_fingerprint: Any = None
    choices: list[SaidChoice] | None = None
    usage: Raw = Raw()
    error: Raw = Raw()
    x_groq: SaidSide | None = None
