"""Every task, registered: who may ask for it, and at which endpoints of providers it is done.

A further dialect is a module beside its format's others and a line here.
"""

from types import MappingProxyType

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

CLIENTS: dict[str, TaskClient] = {}
"""Endpoint of callers → the side that serves them."""

PROVIDERS: dict[str, dict[str, TaskProvider]] = {
    "embeddings": {},
    "rerank": {},
    "images": {},
    "speech": {},
}
"""Task → endpoint of providers → the side that asks there; the first that a provider offers."""
