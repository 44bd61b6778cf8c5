"""What ``envelope.py`` reads of a request. It is compiled, and such a module defines no Struct."""

from msgspec import Raw, Struct


class PlainRequest(Struct):
    """Members of a request that the gateway reads."""

    model: str
    stream: bool | None = None
    stream_options: Raw = Raw()
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    max_output_tokens: int | None = None
    provider: Raw = Raw()
    user: Raw = Raw()
    safety_identifier: Raw = Raw()
    metadata: Raw = Raw()
    n: int | None = None


class ResponsesRequest(PlainRequest, kw_only=True):
    """The same for the Responses API: also what it may build on that lies at the provider."""

    previous_response_id: Raw = Raw()
    conversation: Raw = Raw()
    prompt: Raw = Raw()


class ChatRequest(PlainRequest, kw_only=True):
    """The same for chat completions."""

    messages: Raw
