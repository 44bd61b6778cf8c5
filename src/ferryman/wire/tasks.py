"""Every task, registered: who may ask for it, and at which endpoints of providers it is done.

A further dialect is a module beside its format's others and a line here.
"""

from types import MappingProxyType

from ferryman.wire.bedrock_converse import embeddings as invoked
from ferryman.wire.bedrock_converse import images as invoked_images
from ferryman.wire.cohere_chat import embeddings as cohere_embed
from ferryman.wire.cohere_chat import rerank
from ferryman.wire.gemini_generate import embeddings as gemini_embed
from ferryman.wire.gemini_generate import images as gemini_images
from ferryman.wire.gemini_generate import speech as gemini_speech
from ferryman.wire.openai_chat import embeddings, images, speech
from ferryman.wire.task import TaskClient, TaskProvider

TASKS = MappingProxyType(
    {
        "embeddings": "embeddings",
        "embed_content": "embeddings",
        "batch_embed_contents": "embeddings",
        "embed": "embeddings",
        "rerank": "rerank",
        "images.generations": "images",
        "audio.speech": "speech",
    }
)
"""Endpoint of callers → the task it asks for."""

CLIENTS: dict[str, TaskClient] = {
    "embeddings": embeddings.CLIENT,
    "embed_content": gemini_embed.ONE,
    "batch_embed_contents": gemini_embed.BATCH,
    "embed": cohere_embed.CLIENT,
    "rerank": rerank.CLIENT,
    "images.generations": images.CLIENT,
    "audio.speech": speech.CLIENT,
}
"""Endpoint of callers → the side that serves them."""

PROVIDERS: dict[str, dict[str, TaskProvider]] = {
    "embeddings": {
        "batch_embed_contents": gemini_embed.PROVIDER,
        "embed": cohere_embed.PROVIDER,
        "invoke_embeddings": invoked.PROVIDER,
        "embeddings": embeddings.PROVIDER,
    },
    "rerank": {"rerank_top_k": rerank.TOP_K, "invoke_rerank": invoked.RERANK},
    "images": {
        "predict_images": gemini_images.PREDICT,
        "generate_content": gemini_images.CONTENT,
        "invoke_images": invoked_images.PROVIDER,
    },
    "speech": {"generate_content": gemini_speech.PROVIDER},
}
"""Task → endpoint of providers → the side that asks there; the first that a provider offers."""
