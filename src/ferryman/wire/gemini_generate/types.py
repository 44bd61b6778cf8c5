"""JSON of the generateContent format.

https://ai.google.dev/api/generate-content and https://ai.google.dev/api/caching#Content. Requests
are read strictly, so that a member nobody knows is noticed (``lenient.py`` has what happens then);
replies are read as far as they are needed. Names are spelled in lower camel case on the wire.
Members that no one has to look into stay JSON.
"""

from msgspec import Raw, Struct, field

NAME = "gemini_generate"


class Blob(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """``inlineData``."""

    mime_type: str | None = None
    data: str | None = None
    display_name: str | None = None


class FileData(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """``fileData``."""

    file_uri: str | None = None
    mime_type: str | None = None
    display_name: str | None = None


class FunctionCall(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """``functionCall``; ``args`` is an object."""

    id: str | None = None
    name: str | None = None
    args: Raw = Raw()


class ResultPart(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """A medium within a ``functionResponse``."""

    inline_data: Blob | None = None
    file_data: FileData | None = None


class FunctionResponse(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """``functionResponse``; ``response`` is an object."""

    id: str | None = None
    name: str | None = None
    response: Raw = Raw()
    parts: list[ResultPart] | None = None


class Resolution(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """``mediaResolution`` of a part."""

    level: str | None = None


class Part(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """A part of a content: one of its data members, and what is said about it."""

    text: str | None = None
    thought: bool | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    executable_code: Raw = Raw()
    code_execution_result: Raw = Raw()
    tool_call: Raw = Raw()
    tool_response: Raw = Raw()
    thought_signature: str | None = None
    media_resolution: Resolution | None = None


OPAQUE = ("executable_code", "code_execution_result", "tool_call", "tool_response")
"""Members of a part that only this format has."""
WIRE_NAMES = {
    "executable_code": "executableCode",
    "code_execution_result": "codeExecutionResult",
    "tool_call": "toolCall",
    "tool_response": "toolResponse",
}


class Content(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """A turn, or a part of one."""

    parts: list[Part] | None = None
    role: str | None = None


class WireContent(Struct):
    """A content on its way to a provider; parts that only the format has are their own JSON."""

    parts: list[Part | Raw]
    role: str


class FunctionDeclaration(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: Raw = Raw()
    """In the format's own subset of OpenAPI schemas."""
    parameters_json_schema: Raw = Raw()


class CallingConfig(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """``functionCallingConfig``."""

    mode: str | None = None
    allowed_function_names: list[str] | None = None


class ToolConfig(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """``toolConfig``."""

    function_calling_config: CallingConfig | None = None


class ThinkingConfig(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """``thinkingConfig``."""

    include_thoughts: bool | None = None
    thinking_budget: int | None = None
    thinking_level: str | None = None


class GenerationConfig(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """``generationConfig``."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    candidate_count: int | None = None
    max_output_tokens: int | None = None
    stop_sequences: list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_mime_type: str | None = None
    response_schema: Raw = Raw()
    response_json_schema: Raw = Raw()
    response_logprobs: bool | None = None
    logprobs: int | None = None
    response_modalities: list[str] | None = None
    speech_config: Raw = Raw()
    thinking_config: ThinkingConfig | None = None
    media_resolution: Raw = Raw()
    image_config: Raw = Raw()
    response_format: Raw = Raw()
    audio_timestamp: Raw = Raw()


CONFIG_EXTRAS = {
    "media_resolution": "mediaResolution",
    "image_config": "imageConfig",
    "response_format": "responseFormat",
    "audio_timestamp": "audioTimestamp",
}
"""Members of the configuration that only this format has, and that are used often: what is not
named here is carried too, but takes longer to read."""


class Body(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """A request."""

    contents: list[Content]
    model: str | None = None
    system_instruction: Content | None = None
    tools: list[dict[str, Raw]] | None = None
    tool_config: ToolConfig | None = None
    generation_config: GenerationConfig | None = None
    cached_content: str | None = None
    labels: dict[str, str] | None = None
    service_tier: str | None = None
    store: bool | None = None
    safety_settings: Raw = Raw()
    """Only this format has it."""


class CountBody(Struct):
    """A request to count tokens, if it wraps a whole request."""

    generate_content_request: Raw = field(default=Raw(), name="generateContentRequest")
    proto_request: Raw = field(default=Raw(), name="generate_content_request")


class SaidCall(Struct, rename="camel"):
    """``functionCall`` of a reply."""

    id: str | None = None
    name: str | None = None
    args: Raw = Raw()
    partial_args: Raw = Raw()
    """A call in pieces, which comes only to those who ask for it."""
    will_continue: bool | None = None


class SaidBlob(Struct, rename="camel"):
    """``inlineData`` of a reply."""

    mime_type: str | None = None
    data: str | None = None


class SaidFile(Struct, rename="camel"):
    """``fileData`` of a reply."""

    file_uri: str | None = None
    mime_type: str | None = None


class SaidPart(Struct, rename="camel"):
    """A part of a reply."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: SaidCall | None = None
    inline_data: SaidBlob | None = None
    file_data: SaidFile | None = None
    executable_code: Raw = Raw()
    code_execution_result: Raw = Raw()
    tool_call: Raw = Raw()
    tool_response: Raw = Raw()


class SaidContent(Struct, rename="camel"):
    """``content`` of a candidate."""

    parts: list[SaidPart] | None = None


class Candidate(Struct, rename="camel"):
    """One answer, or a piece of it."""

    content: SaidContent | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int | None = None
    citation_metadata: Raw = Raw()
    grounding_metadata: Raw = Raw()
    url_context_metadata: Raw = Raw()
    logprobs_result: Raw = Raw()


class PromptFeedback(Struct, rename="camel"):
    """What is said of a prompt that was blocked."""

    block_reason: str | None = None
    block_reason_message: str | None = None


class Response(Struct, rename="camel"):
    """A whole reply, or an event of a stream."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: Raw = Raw()
    model_version: str | None = None
    response_id: str | None = None
    create_time: str | None = None
    error: Raw = Raw()


class Modality(Struct, rename="camel", omit_defaults=True):
    """Tokens of one kind."""

    modality: str | None = None
    token_count: int | None = None


class UsageMetadata(Struct, rename="camel", omit_defaults=True):
    """``usageMetadata``."""

    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    total_token_count: int | None = None
    cached_content_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    prompt_tokens_details: list[Modality] | None = None
    cache_tokens_details: list[Modality] | None = None
    candidates_tokens_details: list[Modality] | None = None
    tool_use_prompt_tokens_details: list[Modality] | None = None
    service_tier: str | None = None
    traffic_type: str | None = None
    """Vertex AI's words for the service tier."""


class UsageOnly(Struct, rename="camel"):
    """What a tap reads of an event."""

    usage_metadata: UsageMetadata | None = None
    error: Raw = Raw()


class Queries(Struct, rename="camel"):
    """``groundingMetadata``, as far as it is charged for."""

    web_search_queries: list[str | None] | None = None


class Searched(Struct, rename="camel"):
    """A candidate, as far as it is charged for."""

    grounding_metadata: Queries | None = None


class SearchedOnly(Struct, rename="camel"):
    """A reply, or an event, as far as its searches are counted."""

    candidates: list[Searched] | None = None


class Segment(Struct, rename="camel", omit_defaults=True):
    """Where in the answer something is; indices count bytes of UTF-8 within a part."""

    part_index: int | None = None
    start_index: int | None = None
    end_index: int | None = None
    text: str | None = None


class Chunk(Struct, rename="camel", omit_defaults=True):
    """A source: of ``web``, ``retrievedContext`` or ``maps``."""

    uri: str | None = None
    title: str | None = None
    text: str | None = None


class GroundingChunk(Struct, rename="camel", omit_defaults=True):
    """Where an answer comes from."""

    web: Chunk | None = None
    retrieved_context: Chunk | None = None
    maps: Chunk | None = None


class Support(Struct, rename="camel", omit_defaults=True):
    """Which sources a piece of the answer rests on."""

    segment: Segment | None = None
    grounding_chunk_indices: list[int] | None = None


class Grounding(Struct, rename="camel", omit_defaults=True):
    """``groundingMetadata``."""

    grounding_chunks: list[GroundingChunk] | None = None
    grounding_supports: list[Support] | None = None


class CitedSource(Struct, rename="camel", omit_defaults=True):
    """An item of ``citationMetadata``."""

    start_index: int | None = None
    end_index: int | None = None
    uri: str | None = None
    title: str | None = None


class Citations(Struct, rename="camel", omit_defaults=True):
    """``citationMetadata``."""

    citations: list[CitedSource] | None = None
    citation_sources: list[CitedSource] | None = None
    """Its older name."""


class Token(Struct, rename="camel", omit_defaults=True):
    """A token with its probability's logarithm."""

    token: str | None = None
    log_probability: float | None = None
    token_id: int | None = None


class TopTokens(Struct, rename="camel", omit_defaults=True):
    """The likeliest tokens at one place."""

    candidates: list[Token] | None = None


class LogprobsResult(Struct, rename="camel", omit_defaults=True):
    """``logprobsResult``."""

    chosen_candidates: list[Token] | None = None
    top_candidates: list[TopTokens] | None = None


class ChatToken(Struct):
    """A token as the common language has it: an item of the chat format's ``logprobs.content``."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: "list[ChatTop]" = []


class ChatTop(Struct):
    """One of its alternatives."""

    token: str
    logprob: float
    bytes: list[int] | None = None
