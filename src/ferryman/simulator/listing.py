"""``GET``: the models, in the shape of the API that the caller speaks."""

import re
from typing import Any
from urllib.parse import unquote

from ferryman.simulator import lists, routes
from ferryman.simulator.ask import Request
from ferryman.simulator.format import Format


def spoken(path: str, headers: dict[bytes, bytes]) -> Format:
    """The format for a path that has none of its own."""
    if b"anthropic-version" in headers:
        return routes.MESSAGES
    if b"x-goog-api-key" in headers or path.startswith("/v1beta/"):
        return routes.GENERATE
    if b"api-key" in headers:
        return routes.AZURE
    return routes.OPENAI


def get(request: Request) -> Any:
    """The reply to a GET, or None for an unknown path."""
    versioned = "anthropic-version" in request.headers
    keyed = "x-goog-api-key" in request.headers or "key" in request.query
    path = re.sub(r"^/[a-z]+/v1/", "/v1/", request.path)
    if path.startswith("/v1beta/") or keyed:
        path = path.replace("/v1beta/", "/v1/")
        if path == "/v1/models":
            return lists.generate_models()
        if path.startswith("/v1/models/"):
            return lists.generate_model(unquote(path.removeprefix("/v1/models/")))
        return None
    if path == "/v1/models":
        return lists.messages_models() if versioned else lists.models()
    if path.startswith("/v1/models/"):
        name = unquote(path.removeprefix("/v1/models/"))
        return lists.messages_model(name) if versioned else lists.model(name)
    return None
