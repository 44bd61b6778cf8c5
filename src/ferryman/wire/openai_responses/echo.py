"""What a response repeats of its request, as the API does.

https://platform.openai.com/docs/api-reference/responses/object. Defaults that the caller left
to the API are null here where only the provider knows them.
"""

from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.request import HostedTool, OutputKind, Request, Role, Text, Tool, ToolMode
from ferryman.wire.openai_responses.parts import NAME
from ferryman.wire.openai_responses.tools import own_name

_encode = msgspec.json.Encoder().encode
TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
"""Names of service tiers."""
_OTHER_TIERS = {"standard": "default", "on_demand": "default"}
_FORMER = ("max_tool_calls", "previous_response_id", "prompt", "conversation")
"""Members of ``extra`` that are repeated as they came."""


def echo(request: Request, service_tier: str) -> bytes:
    """Members of the response object from ``instructions`` on, without the opening brace."""
    extra = dict(request.extra)
    fields: dict[str, Any] = {
        "instructions": _instructions(request),
        "max_output_tokens": request.max_output or None,
        "parallel_tool_calls": request.parallel_tools is not False,
        "reasoning": {
            "effort": (request.reasoning.effort if request.reasoning else "") or None,
            "summary": (request.reasoning.summary if request.reasoning else "") or None,
        },
        "service_tier": _tier(service_tier),
        "store": False,
        "temperature": request.temperature,
        "text": _text(request),
        "tool_choice": extra.get("tool_choice") or _choice(request),
        "tools": _tools(request),
        "top_logprobs": request.top_logprobs,
        "top_p": request.top_p,
        "truncation": extra.get("truncation", "disabled"),
        "user": request.user or None,
        "prompt_cache_key": request.cache_key or None,
        "metadata": dict(request.metadata),
        **{name: extra[name] for name in _FORMER if name in extra},
    }
    fields.setdefault("previous_response_id", None)
    return _encode(fields)[1:]


def _instructions(request: Request) -> str | None:
    """The system's text at the front, which is where ``instructions`` are kept."""
    if not request.messages or request.messages[0].role is not Role.SYSTEM:
        return None
    blocks = request.messages[0].blocks
    return blocks[0].text if len(blocks) == 1 and isinstance(blocks[0], Text) else None


def _tier(said: str) -> str | None:
    tier = _OTHER_TIERS.get(said, said)
    return tier if tier in TIERS else None


def _text(request: Request) -> dict[str, Any]:
    output = request.output
    form: dict[str, Any] = {"type": output.kind.value if output else "text"}
    if output is not None and output.kind is OutputKind.SCHEMA:
        form.update(
            name=output.name,
            schema=output.schema,
            description=output.description or None,
            strict=output.strict,
        )
    return {"format": form, "verbosity": request.verbosity or None}


def _choice(request: Request) -> dict[str, Any] | str:
    choice = request.tool_choice
    if choice is None or not choice.allowed:
        return (choice.mode if choice else ToolMode.AUTO).value
    free = {tool.name for tool in request.tools if isinstance(tool, Tool) and tool.free}
    named = [
        {"type": "custom" if name in free else "function", "name": name} for name in choice.allowed
    ]
    if len(named) == 1 and choice.mode is ToolMode.REQUIRED:
        return named[0]
    return {"type": "allowed_tools", "mode": choice.mode.value, "tools": named}


def _tools(request: Request) -> list[dict[str, Any] | Raw]:
    tools: list[dict[str, Any] | Raw] = []
    groups: dict[str, list[dict[str, Any]]] = {}
    for tool in request.tools:
        if isinstance(tool, HostedTool):
            if tool.origin == NAME:
                tools.append(Raw(tool.raw))
            continue
        wire = _tool(tool)
        if not tool.namespace:
            tools.append(wire)
        elif tool.namespace in groups:
            groups[tool.namespace].append(wire)
        else:
            members = groups[tool.namespace] = [wire]
            group = {"type": "namespace", "name": tool.namespace, "description": ""}
            tools.append({**group, "tools": members})
    return tools


def _tool(tool: Tool) -> dict[str, Any]:
    described = {"name": own_name(tool), "description": tool.description or None}
    if tool.free:
        form = tool.grammar if tool.grammar is not None else {"type": "text"}
        return {"type": "custom", **described, "format": form}
    rest = {"parameters": tool.parameters, "strict": tool.strict}
    return {"type": "function", **described, **rest}
