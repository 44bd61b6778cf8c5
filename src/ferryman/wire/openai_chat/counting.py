"""What of a chat request becomes tokens, by OpenAI's published way of counting.

https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken, parts 6 and 7.
"""

from typing import Any

import msgspec

_decode = msgspec.json.decode
_encode = msgspec.json.Encoder().encode
_PER_MESSAGE, _PER_NAME, _REPLY = 3, 1, 3
_PROPERTIES, _PROPERTY, _ENUM, _ENUM_ITEM, _TOOLS = 3, 3, -3, 3, 12
_FREE = frozenset(
    [
        "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens",
        "messages", "metadata", "model", "n", "presence_penalty", "seed", "service_tier", "stop",
        "store", "stream", "stream_options", "temperature", "tools", "top_logprobs", "top_p",
        "user",
    ]
)  # fmt: skip
"""Members that add nothing of their own."""
_SHAPE = {"type", "properties", "required"}


class _Load:
    """What has been found so far."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.frame = _REPLY
        self.known = True


def weigh(body: bytes, function_tokens: int) -> tuple[list[str], int, bool]:
    """(texts to be counted, tokens around them, whether that is published for all it holds).

    ``body`` is a request that the chat encoder wrote; ``function_tokens`` is what a function begins
    with. Media are left to the caller.
    """
    said: dict[str, Any] = _decode(body)
    load = _Load()
    load.known = bool(function_tokens) and _FREE.issuperset(said)
    for message in said["messages"]:
        _message(load, message)
    tools = said.get("tools", ())
    for tool in tools:
        load.frame += function_tokens
        _tool(load, tool)
    if tools:
        load.frame += _TOOLS
    if "response_format" in said:
        load.texts.append(_text(said["response_format"]))
    return load.texts, load.frame, load.known


def _message(load: _Load, message: dict[str, Any]) -> None:
    load.frame += _PER_MESSAGE
    for name, value in message.items():
        if isinstance(value, str):
            load.texts.append(value)
            load.known &= name in ("role", "content", "name")
            load.frame += _PER_NAME if name == "name" else 0
        elif name == "content" and isinstance(value, list):
            parts = [part["text"] for part in value if part["type"] == "text"]
            load.texts += parts
            load.known &= len(parts) == len(value) == 1
        elif value is not None:
            load.known = False
            if name == "tool_calls":
                load.texts += [_text(call.get(call["type"])) for call in value]


def _tool(load: _Load, tool: dict[str, Any]) -> None:
    function = tool.get("function")
    if function is None or not function.keys() <= {"name", "description", "parameters"}:
        load.known = False
        load.texts.append(_text(tool))
        return
    description = function.get("description", "")
    load.texts.append(f"{function['name']}:{description.removesuffix('.')}")
    parameters = function.get("parameters")
    shape = parameters if isinstance(parameters, dict) else {}
    properties = shape.get("properties")
    load.known &= bool(description) and {"type", "properties"} <= shape.keys() <= _SHAPE
    if not isinstance(properties, dict):
        load.known = False
        load.texts.append(_text(shape))
        return
    load.frame += _PROPERTIES if properties else 0
    for name, schema in properties.items():
        load.frame += _PROPERTY
        _property(load, name, schema)


def _property(load: _Load, name: str, schema: Any) -> None:
    rest = dict(schema) if isinstance(schema, dict) else {}
    kind, description = rest.pop("type", None), rest.pop("description", None)
    choices = rest.pop("enum", [])
    flat = isinstance(kind, str) and isinstance(description, str) and isinstance(choices, list)
    if rest or not flat or not all(isinstance(choice, str) for choice in choices):
        load.known = False
        load.texts.append(f"{name}:{_text(schema)}")
        return
    load.texts += [f"{name}:{kind}:{description.removesuffix('.')}", *choices]
    load.frame += _ENUM + _ENUM_ITEM * len(choices) if choices else 0


def _text(value: Any) -> str:
    return _encode(value).decode()
