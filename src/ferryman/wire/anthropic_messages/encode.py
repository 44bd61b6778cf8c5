"""A request for a provider: https://platform.claude.com/docs/en/api/messages/create.

Abilities and quirks heeded (either may name them):

``json_schema``, ``output_format``  structured output is native, where the schema is one that it
                        takes; else a forced tool stands for it (``OUTPUT_TOOL``)
``reasoning``           a model that the catalogue knows, but without it, is not asked to think
``adaptive_thinking``   thinks as much as it wants, and is told an effort, not a budget
``adaptive_only``       the same, and can't be told not to think
``effort_xhigh``, ``effort_max``  takes these efforts; else the next lower one is sent
``no_sampling``         temperature, top_p, top_k are refused (API version 2026-10-21)
``system_messages``     takes messages of the role system after a user's (``history.py``)

The body holds ``model`` and ``stream``; hosts that want them elsewhere take them out.
"""

import re
from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import HostedTool, OutputKind, Request, Tool, ToolChoice, ToolMode
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.anthropic_messages.history import FREE_TEXT, history_out
from ferryman.wire.anthropic_messages.output import fits, output_tool
from ferryman.wire.anthropic_messages.scope import Scope
from ferryman.wire.anthropic_messages.thinking import thinking_out
from ferryman.wire.anthropic_messages.types import NAME
from ferryman.wire.carry import (
    drop_unknown,
    not_run_here,
    refuse_stored,
    refuse_textless,
    unsupported,
)
from ferryman.wire.format import Aim
from ferryman.wire.limits import identifier

DEFAULT_LIMIT = 4096
"""``max_tokens`` where neither the caller nor the catalogue says one: all models can that much."""

LONGEST_USER = 256
"""Characters of ``metadata.user_id`` (https://platform.claude.com/docs/en/api/messages)."""

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, Raw])
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}


def encode_request(request: Request, aim: Aim, receipt: Receipt) -> bytes:
    """The body. Raises :class:`GatewayError` (400) for what can't be carried at all."""
    _refuse(request)
    scope = Scope(request, aim, receipt)
    body: dict[str, Any] = {"model": aim.model, "max_tokens": _limit(scope)}
    tools, choice = _tools(scope)
    system, messages = history_out(scope)
    if system is not None:
        body["system"] = system
    body["messages"] = messages
    if tools:
        body["tools"] = tools
    config = _output(scope, body, choice)
    thinking, effort = thinking_out(scope, body["max_tokens"], messages, _forces(body, choice))
    if choice is not None and "tools" in body and "tool_choice" not in body:
        body["tool_choice"] = choice
    if thinking is not None:
        body["thinking"] = thinking
        if not scope.native and thinking["type"] == "adaptive" and _forces(body, None):
            body["tool_choice"] = {**body["tool_choice"], "type": "auto"}
            body["tool_choice"].pop("name", None)
            receipt.alter("tool_choice", "auto: this model thinks and that excludes a forced tool")
    if effort:
        config["effort"] = effort
    if config:
        body["output_config"] = config
    _sampling(scope, body, thinking is not None and thinking["type"] != "disabled")
    _rest(scope, body)
    scope.limit_marks()
    return _encode(body)


def _refuse(request: Request) -> None:
    refuse_stored(request)
    refuse_textless(request)


def _limit(scope: Scope) -> int:
    said, most = scope.request.max_output, scope.aim.max_output
    if not said:
        said = most or DEFAULT_LIMIT
        scope.receipt.alter("max_output", str(said))
    elif not scope.native and 0 < most < said:
        said = most
        scope.receipt.alter("max_output", str(said))
    return said


def _tools(scope: Scope) -> tuple[list[Any], dict[str, Any] | None]:
    """The tools, and which of them may be called."""
    request = scope.request
    choice, one = request.tool_choice, request.parallel_tools
    allowed: tuple[str, ...] = ()
    if choice is not None and choice.allowed and not _is_one(choice):
        allowed = choice.allowed
        scope.receipt.alter("tools", "only those that may be called")
    tools = [
        _tool(scope, tool, place)
        for place, tool in enumerate(request.tools)
        if not allowed or (isinstance(tool, Tool) and tool.name in allowed)
    ]
    if not tools:
        if choice is not None and choice.mode is not ToolMode.NONE:
            scope.receipt.drop("tool_choice")
        return [], None
    if choice is None:
        if one is not False:
            return tools, None
        return tools, {"type": "auto", "disable_parallel_tool_use": True}
    out: dict[str, Any] = {"type": "auto"}
    if choice.mode is ToolMode.NONE:
        return tools, {"type": "none"}
    if choice.mode is ToolMode.REQUIRED:
        out = {"type": "any"}
        if _is_one(choice):
            out = {"type": "tool", "name": choice.allowed[0]}
    if one is not None:
        out["disable_parallel_tool_use"] = not one
    return tools, out


def _is_one(choice: ToolChoice) -> bool:
    return choice.mode is ToolMode.REQUIRED and len(choice.allowed) == 1


def _tool(scope: Scope, tool: Tool | HostedTool, place: int) -> Any:
    if isinstance(tool, HostedTool):
        if tool.origin == NAME:
            return Raw(tool.raw)
        raise not_run_here(tool.kind, f"tools[{place}]")
    if not scope.native and not _NAME.fullmatch(tool.name):
        raise unsupported(
            f"'tools[{place}]' is called {tool.name[:80]!r}; this model's format takes names of 1 "
            "to 128 letters, digits, - and _.",
            f"tools[{place}].name",
        )
    out: dict[str, Any] = {"name": tool.name}
    if tool.description:
        out["description"] = tool.description
    if tool.free:
        scope.receipt.alter(f"tools[{place}]", f"free text as member {FREE_TEXT}")
        if tool.grammar is not None:
            scope.receipt.drop(f"tools[{place}].grammar")
        free = {"type": "object", "properties": {FREE_TEXT: {"type": "string"}}}
        out["input_schema"] = {**free, "required": [FREE_TEXT]}
    else:
        out["input_schema"] = _schema(scope, tool, place)
    if scope.native:
        if tool.strict is not None:
            out["strict"] = tool.strict
    elif tool.strict:
        if scope.can("json_schema", "output_format") and fits(tool.parameters):
            out["strict"] = True
        else:
            scope.receipt.drop(f"tools[{place}].strict")
    return scope.mark(out, tool.cache, f"tools[{place}]")


def _schema(scope: Scope, tool: Tool, place: int) -> Any:
    """The schema of the arguments, which the API wants to be an object's."""
    if tool.parameters is None:
        return _NO_ARGUMENTS
    if scope.native:
        return tool.parameters
    try:
        members = _members.decode(tool.parameters)
    except UNREADABLE:
        path = f"tools[{place}].parameters"
        raise unsupported(f"'{path}' must be an object's JSON Schema.", path) from None
    if "type" in members:
        return tool.parameters
    if not members:
        return _NO_ARGUMENTS
    scope.receipt.alter(f"tools[{place}].parameters", "type object added")
    return {"type": "object", **members}


def _forces(body: dict[str, Any], choice: dict[str, Any] | None) -> bool:
    """Whether the model must call a tool."""
    said = body.get("tool_choice", choice)
    return said is not None and said["type"] in ("any", "tool")


def _output(scope: Scope, body: dict[str, Any], choice: dict[str, Any] | None) -> dict[str, Any]:
    """``output_config`` as far as it is about the form, or a tool that stands for it."""
    output = scope.request.output
    if output is None or output.kind is OutputKind.TEXT:
        return {}
    native = scope.native or (scope.can("json_schema", "output_format") and fits(output.schema))
    if output.kind is OutputKind.SCHEMA and output.schema is not None and native:
        if output.description:
            scope.receipt.drop("response_format.description")
        return {"format": {"type": "json_schema", "schema": output.schema}}
    output_tool(scope, body, choice)
    return {}


def _sampling(scope: Scope, body: dict[str, Any], thinks: bool) -> None:
    request, receipt = scope.request, scope.receipt
    said: dict[str, Any] = {
        name: value
        for name, value in (
            ("temperature", request.temperature),
            ("top_p", request.top_p),
            ("top_k", request.top_k),
        )
        if value is not None
    }
    if scope.can("no_sampling") or (thinks and not scope.native):
        for name in said:
            receipt.drop(name)
        return
    if not scope.native:
        if said.get("temperature", 0) > 1:
            said["temperature"] = 1.0
            receipt.alter("temperature", "1")
        if len(said) > 1 and "temperature" in said and said.pop("top_p", None) is not None:
            receipt.drop("top_p")  # newer models take one of the two
    body.update(said)


def _rest(scope: Scope, body: dict[str, Any]) -> None:
    request, receipt = scope.request, scope.receipt
    stop = request.stop
    if not scope.native:
        stop = tuple(sequence for sequence in stop if sequence.strip())
        if len(stop) < len(request.stop):
            receipt.drop("stop")  # of white space only: the API refuses them
    if stop:
        body["stop_sequences"] = stop
    if request.user:
        user = request.user
        if not scope.native:
            user = identifier(user, LONGEST_USER, "user", receipt)
        body["metadata"] = {"user_id": user}
    if request.service_tier:
        tier = request.service_tier if scope.native else _TIERS.get(request.service_tier)
        if tier is None:
            receipt.drop("service_tier")
        else:
            body["service_tier"] = tier
    if request.stream:
        body["stream"] = True
    for name, said in (
        ("seed", request.seed is not None),
        ("presence_penalty", bool(request.presence_penalty)),
        ("frequency_penalty", bool(request.frequency_penalty)),
        ("logprobs", request.logprobs or bool(request.top_logprobs)),
        ("verbosity", bool(request.verbosity)),
        ("modalities", len(request.modalities) > 1),
        ("audio", request.audio is not None),
        ("store", request.store is True),
        ("metadata", bool(request.metadata)),
        ("prompt_cache_key", bool(request.cache_key)),
        ("prompt_cache_retention", bool(request.cache_seconds)),
        ("n", request.choices > 1),
    ):
        if said:
            receipt.drop(name)
    drop_unknown(request, receipt, NAME)
    for name, raw in request.extra if scope.native else ():
        if name in ("output_config", "metadata") and name in body:
            body[name] = {**body[name], **_members.decode(raw)}
        else:
            body[name] = raw
