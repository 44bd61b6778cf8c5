"""Endpoints by name: which format a caller of one speaks, and where providers have theirs.

A path is relative to the provider's base URL; ``{model}`` becomes the model's name,
percent-encoded. ``NAME+stream`` is the path of streamed calls, where it is another one. Rows of the
catalogue may have paths of their own.
"""

from types import MappingProxyType

CONVERSATIONS = MappingProxyType(
    {
        "chat.completions": "openai_chat",
        "responses": "openai_responses",
        "messages": "anthropic_messages",
        "generate_content": "gemini_generate",
    }
)
"""Endpoint → the format in which its callers hold a conversation with a model."""

CALLERS = MappingProxyType(
    {
        **CONVERSATIONS,
        "count_tokens": "anthropic_messages",
        "count_content": "gemini_generate",
        "embed_content": "gemini_generate",
        "batch_embed_contents": "gemini_generate",
    }
)
"""Endpoint → the format in which its callers are answered; all others speak ``openai_chat``."""

MAIN = MappingProxyType(
    {
        "openai_chat": "chat.completions",
        "openai_responses": "responses",
        "anthropic_messages": "messages",
        "gemini_generate": "generate_content",
        "bedrock_converse": "converse",
        "cohere_chat": "chat",
    }
)
"""Format → the endpoint at which its providers hold conversations."""

_COMMON = {
    "chat.completions": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "responses": "/responses",
    "moderations": "/moderations",
    "images.generations": "/images/generations",
    "images.edits": "/images/edits",
    "images.variations": "/images/variations",
    "audio.speech": "/audio/speech",
    "audio.transcriptions": "/audio/transcriptions",
    "audio.translations": "/audio/translations",
    "rerank": "/rerank",
    "rerank_top_k": "/rerank",
}
PATHS = MappingProxyType(
    {
        "openai_chat": _COMMON,
        "openai_responses": _COMMON,
        "anthropic_messages": {
            "messages": "/messages",
            "count_tokens": "/messages/count_tokens",
        },
        "gemini_generate": {
            "generate_content": "/models/{model}:generateContent",
            "generate_content+stream": "/models/{model}:streamGenerateContent?alt=sse",
            "count_content": "/models/{model}:countTokens",
            "embed_content": "/models/{model}:embedContent",
            "batch_embed_contents": "/models/{model}:batchEmbedContents",
            "predict_images": "/models/{model}:predict",
        },
        "bedrock_converse": {
            "converse": "/model/{model}/converse",
            "converse+stream": "/model/{model}/converse-stream",
            "invoke_images": "/model/{model}/invoke",
            "invoke_embeddings": "/model/{model}/invoke",
            "invoke_rerank": "/model/{model}/invoke",
        },
        "cohere_chat": {"chat": "/chat", "embed": "/embed", "rerank": "/rerank"},
    }
)
"""Format → endpoint → path."""

STREAM = "+stream"
"""Ends the name of an endpoint's path for streamed calls."""

MEDIA_TYPES = MappingProxyType(
    {
        "bedrock_converse": (b"application/vnd.amazon.eventstream",),
        "cohere_chat": (b"text/event-stream", b"application/stream+json", b"application/x-ndjson"),
    }
)
"""How the content-type of a format's streams begins, where it isn't ``text/event-stream``."""
SSE = (b"text/event-stream",)
EVENTS = b"text/event-stream; charset=utf-8"
JSON = b"application/json"
"""The content-type of answers of ours: as a stream, and whole."""
