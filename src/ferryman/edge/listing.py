"""The model list, in the shape that the caller's SDK expects.

OpenAI: https://platform.openai.com/docs/api-reference/models; Anthropic:
https://platform.claude.com/docs/en/api/models-list; Gemini: https://ai.google.dev/api/models.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from ferryman.config.snapshot import ModelRow
from ferryman.http1.exchange import Exchange
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.upstream.fleet import Fleet
from ferryman.wire.openai_chat.request import MAX_MODEL_NAME

_json = msgspec.json.Encoder().encode
_EPOCH = "1970-01-01T00:00:00Z"
_METHODS = ("generateContent", "streamGenerateContent", "countTokens")
_ASKED = tuple(f":{method}".encode() for method in _METHODS)


class Listing:
    """The lists of one fleet, made once for as long as it serves."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Fleet, bytes]] = {}

    def all(self, fleet: Fleet, shape: str) -> bytes:
        """Every model that can be called, in the shape of ``shape`` (see :func:`shape_of`)."""
        made = self._made.get(shape)
        if made is None or made[0] is not fleet:
            rows = [_SHAPES[shape](*row) for row in _rows(fleet)]
            made = self._made[shape] = (fleet, _json(_page(rows, shape)))
        return made[1]

    def one(self, fleet: Fleet, name: str, shape: str) -> bytes:
        """One model. Raises :class:`GatewayError` (404)."""
        if len(name) > MAX_MODEL_NAME:
            message = f"A model's name has at most {MAX_MODEL_NAME} characters."
            raise GatewayError(404, ErrorKind.MODEL_NOT_FOUND, message, param="model")
        return _json(_SHAPES[shape](*_route(fleet, name)))


def shape_of(exchange: Exchange, path: bytes) -> str:
    """The endpoint whose callers ask for ``path`` in this way."""
    if exchange.header(b"x-goog-api-key") is not None:
        return "generate_content"
    if exchange.header(b"anthropic-version") is not None and not path.startswith(b"/v1beta/"):
        return "messages"
    return shape_of_path(path)


def shape_of_path(path: bytes) -> str:
    """The same by the path alone, which need not be whole."""
    if path.startswith(b"/v1beta") or path.endswith(_ASKED):
        return "generate_content"
    return "messages" if path.startswith((b"/v1/messages", b"/messages")) else "chat.completions"


Row = tuple[str, str, ModelRow | None]
"""Name, provider, what is known."""


def _rows(fleet: Fleet) -> Iterator[Row]:
    """The user's own names that lead somewhere, then every active provider's."""
    for name in sorted(fleet.snapshot.routes):
        with contextlib.suppress(GatewayError):  # none of its providers is active
            yield _route(fleet, name)
    for runtime in fleet.runtimes.values():
        for model, row in runtime.rows.items():
            yield f"{runtime.name}/{model}", runtime.name, row


def _route(fleet: Fleet, name: str) -> Row:
    """Any name that can be called. Raises :class:`GatewayError` (404)."""
    resolved = fleet.resolve(name)
    target = (resolved.targets or resolved.fallbacks)[0]
    return name, target.provider, target.runtime.rows.get(target.model)


def _chat(name: str, provider: str, row: ModelRow | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"id": name, "object": "model", "created": 0, "owned_by": provider}
    if row is not None:
        if row.context:
            facts["context_window"] = row.context
        if row.max_output:
            facts["max_output_tokens"] = row.max_output
        if row.abilities:
            facts["abilities"] = row.abilities
    return facts


def _messages(name: str, _: str, row: ModelRow | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "type": "model", "id": name, "display_name": name, "created_at": _EPOCH
    }  # fmt: skip
    if row is not None and row.context:
        facts["max_input_tokens"] = row.context
    if row is not None and row.max_output:
        facts["max_tokens"] = row.max_output
    return facts


def _generate(name: str, _: str, row: ModelRow | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": f"models/{name}",
        "displayName": name,
        "supportedGenerationMethods": _METHODS,
    }
    if row is not None and row.context:
        facts["inputTokenLimit"] = row.context
    if row is not None and row.max_output:
        facts["outputTokenLimit"] = row.max_output
    return facts


_SHAPES = {"chat.completions": _chat, "messages": _messages, "generate_content": _generate}


def _page(rows: list[dict[str, Any]], shape: str) -> dict[str, Any]:
    if shape == "generate_content":
        return {"models": rows}
    if shape == "messages":
        ends = {
            "first_id": rows[0]["id"] if rows else None,
            "last_id": rows[-1]["id"] if rows else None,
        }
        return {"data": rows, "has_more": False, **ends}
    return {"object": "list", "data": rows}
