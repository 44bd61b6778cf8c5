"""Endpoints by name: which format a caller of one speaks, and where providers have theirs.

A path is relative to the provider's base URL; ``{model}`` becomes the model's name,
percent-encoded. ``NAME+stream`` is the path of streamed calls, where it is another one. Rows of the
catalogue may have paths of their own.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

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
SSE = (b"text/event-stream",)


class Way(NamedTuple):
    """How providers of a format are reached."""

    main: str
    """The endpoint at which they hold conversations."""
    paths: Mapping[str, str]
    """Endpoint → path."""
    media_types: tuple[bytes, ...] = SSE
    """How the content-type of their streams begins."""


WAYS = MappingProxyType(
    {
        "openai_chat": Way("chat.completions", _COMMON),
        "openai_responses": Way("responses", _COMMON),
        "anthropic_messages": Way(
            "messages", {"messages": "/messages", "count_tokens": "/messages/count_tokens"}
        ),
        "gemini_generate": Way(
            "generate_content",
            {
                "generate_content": "/models/{model}:generateContent",
                "generate_content+stream": "/models/{model}:streamGenerateContent?alt=sse",
                "count_content": "/models/{model}:countTokens",
                "embed_content": "/models/{model}:embedContent",
                "batch_embed_contents": "/models/{model}:batchEmbedContents",
                "predict_images": "/models/{model}:predict",
            },
        ),
        "bedrock_converse": Way(
            "converse",
            {
                "converse": "/model/{model}/converse",
                "converse+stream": "/model/{model}/converse-stream",
                "invoke_images": "/model/{model}/invoke",
                "invoke_embeddings": "/model/{model}/invoke",
                "invoke_rerank": "/model/{model}/invoke",
            },
            (b"application/vnd.amazon.eventstream",),
        ),
        "cohere_chat": Way(
            "chat",
            {"chat": "/chat", "embed": "/embed", "rerank": "/rerank"},
            (*SSE, b"application/stream+json", b"application/x-ndjson"),
        ),
    }
)
"""Every format: a row here and the folder of its name are all there is to one
(docs/adding-a-provider.md)."""
MAIN = MappingProxyType({name: way.main for name, way in WAYS.items()})
PATHS = MappingProxyType({name: way.paths for name, way in WAYS.items()})

STREAM = "+stream"
"""Ends the name of an endpoint's path for streamed calls."""

EVENTS = b"text/event-stream; charset=utf-8"
JSON = b"application/json"
"""The content-type of answers of ours: as a stream, and whole."""


def path_of(body: Mapping[str, object], model: str) -> str:
    """Where callers send a body like this, as far as it shows."""
    if "contents" in body:
        return f"/v1beta/models/{model or body.get('model', '')}:generateContent"
    if "messages" in body:
        return "/v1/chat/completions"
    rest = "/v1/responses" if "input" in body else "/v1/chat/completions"
    return "/v1/rerank" if "query" in body else rest
