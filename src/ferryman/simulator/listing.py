"""``GET``: the models, in the shape of the API that the caller speaks."""

from typing import Any
from urllib.parse import unquote

from ferryman.simulator import lists, routes
from ferryman.simulator.ask import Request
from ferryman.simulator.format import Format


def spoken(path: str, headers: dict[bytes, bytes]) -> Format:
    """The format for a path that has none of its own."""
    if b"anthropic-version" in headers:
        return routes.MESSAGES
    return routes.OPENAI


def get(request: Request) -> Any:
    """The reply to a GET, or None for an unknown path."""
    versioned = "anthropic-version" in request.headers
    if request.path == "/v1/models":
        return lists.messages_models() if versioned else lists.models()
    if request.path.startswith("/v1/models/"):
        name = unquote(request.path.removeprefix("/v1/models/"))
        return lists.messages_model(name) if versioned else lists.model(name)
    return None
