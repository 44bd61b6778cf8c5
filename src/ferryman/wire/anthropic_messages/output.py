"""Structured output: https://platform.claude.com/docs/en/build-with-claude/structured-outputs.

The API compiles a subset of JSON Schema. For what lies outside of it, for models without it, and
for JSON of any shape, a tool with that schema is forced instead; its call's arguments are the text.
"""

from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire import carry
from ferryman.wire.anthropic_messages.scope import Scope

_value = msgspec.json.Decoder()
_ANYWHERE = frozenset(
    ("type", "enum", "const", "anyOf", "allOf", "$ref", "$defs", "definitions", "description",
     "title", "default")
)  # fmt: skip
_OF_TYPE = {
    "object": frozenset(("properties", "required", "additionalProperties")),
    "array": frozenset(("items", "minItems")),
    "string": frozenset(("format",)),
}
_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
)


def fits(schema: Raw | None) -> bool:
    """Whether the API takes the schema: objects are closed, and no keyword is beyond it."""
    if schema is None:
        return False
    try:
        return _fits(_value.decode(schema))
    except UNREADABLE:
        return False


def _fits(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    said = schema.get("type")
    kinds = said if isinstance(said, list) else [said]
    known = _ANYWHERE.union(*(_OF_TYPE.get(str(kind), ()) for kind in kinds))
    if not known.issuperset(schema):
        return False
    if "object" in kinds and schema.get("additionalProperties") is not False:
        return False
    if schema.get("minItems", 0) not in (0, 1) or schema.get("format", "date") not in _FORMATS:
        return False
    inner = [schema["items"]] if "items" in schema else []
    for name in ("anyOf", "allOf"):
        inner += schema.get(name, ())
    for name in ("properties", "$defs", "definitions"):
        inner += schema.get(name, {}).values()
    return all(_fits(each) for each in inner)


def output_tool(scope: Scope, body: dict[str, Any], choice: dict[str, Any] | None) -> None:
    """Put a tool into ``body`` that stands for the answer, and have the model call it."""
    output, receipt = scope.request.output, scope.receipt
    assert output is not None, "called for structured output only"
    if choice is not None and choice["type"] == "tool":
        receipt.drop("response_format")  # the one call that is forced leaves no room for text
        return
    tool = carry.output_tool(output, scope.request, receipt)
    said = {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
    others = body.get("tools", ())
    body["tools"] = [*others, said]
    if others and (choice is None or choice["type"] != "none"):
        body["tool_choice"] = {**(choice or {}), "type": "any"}
    else:
        one = {"type": "tool", "name": tool.name, "disable_parallel_tool_use": True}
        body["tool_choice"] = one
