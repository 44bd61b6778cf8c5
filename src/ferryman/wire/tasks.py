"""Every task, registered: who may ask for it, and at which endpoints of providers it is done.

A further dialect is a module beside its format's others and a line here.
"""

from types import MappingProxyType

from ferryman.wire.bedrock_converse import images as invoked_images
from ferryman.wire.gemini_generate import images as gemini_images
from ferryman.wire.gemini_generate import speech as gemini_speech
from ferryman.wire.openai_chat import images, speech
from ferryman.wire.task import TaskClient, TaskProvider

TASKS = MappingProxyType(
    {
        "embeddings": "embeddings",
        "embed_content": "embeddings",
        "batch_embed_contents": "embeddings",
        "rerank": "rerank",
        "images.generations": "images",
        "audio.speech": "speech",
    }
)
"""Endpoint of callers → the task it asks for."""

CLIENTS: dict[str, TaskClient] = {
    "images.generations": images.CLIENT,
    "audio.speech": speech.CLIENT,
}
"""Endpoint of callers → the side that serves them."""

PROVIDERS: dict[str, dict[str, TaskProvider]] = {
    "embeddings": {},
    "rerank": {},
    "images": {
        "predict_images": gemini_images.PREDICT,
        "generate_content": gemini_images.CONTENT,
        "invoke_images": invoked_images.PROVIDER,
    },
    "speech": {"generate_content": gemini_speech.PROVIDER},
}
"""Task → endpoint of providers → the side that asks there; the first that a provider offers."""
