"""What the gateway reads of the OpenAI format's JSON; unknown members are skipped.

Chat: https://platform.openai.com/docs/api-reference/chat/object, streams:
https://platform.openai.com/docs/api-reference/chat-streaming, Responses:
https://platform.openai.com/docs/api-reference/responses/object. Structs stand apart from the code
that uses them because that code may be compiled, and struct classes may not.
"""

from msgspec import Raw, Struct


class InputDetails(Struct, frozen=True):
    """``prompt_tokens_details`` / ``input_tokens_details``."""

    cached_tokens: int | None = 0
    cache_write_tokens: int | None = 0
    audio_tokens: int | None = 0


class OutputDetails(Struct, frozen=True):
    """``completion_tokens_details`` / ``output_tokens_details``."""

    reasoning_tokens: int | None = 0
    audio_tokens: int | None = 0


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
    output_tokens_details: OutputDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    """Cached part of the prompt where a provider reports it beside the details."""
    cached_tokens: int | None = None


class Whole(Struct):
    """A whole reply, as far as the gateway reads it."""

    usage: WireUsage | None = None
    error: Raw = Raw()


class Choice(Struct):
    """One choice of a stream chunk."""

    delta: dict[str, Raw] | None = None
    text: str | None = None
    finish_reason: str | None = None


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


class PlainRequest(Struct):
    """Members of a request that the gateway reads."""

    model: str
    stream: bool | None = None
    stream_options: Raw = Raw()
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    max_output_tokens: int | None = None


class ChatRequest(PlainRequest, kw_only=True):
    """The same for chat completions."""

    messages: Raw
