"""Requests for providers of the Responses API.

https://platform.openai.com/docs/api-reference/responses/create. The conversation is sent whole, and
nothing is left with the provider unless the caller says so: thoughts come and go encrypted.

Heeded of the target:

- the ability ``reasoning``: where it is known to be missing, effort is left out; ``audio``: sound
  is sent;
- quirks: ``no_json_schema`` (a forced tool stands for structured output), names of efforts
  (``effort.offered_by``), refused settings (``carry.without_settings``), ``reasoning_content``
  (thoughts without proof go back as text), ``cache_breakpoint`` (marks of other formats are sent;
  own ones always are), ``any_output_limit`` (limits below 16 tokens are taken),
  ``safety_identifier`` (instead of ``user``); and ``no_X`` for any other member X that the
  provider refuses, such as ``no_include``.
"""

from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    HostedTool,
    OutputFormat,
    OutputKind,
    Request,
    Tool,
    ToolChoice,
    ToolMode,
)
from ferryman.wire.carry import (
    drop_unknown,
    not_run_here,
    output_tool,
    refuse_stored,
    without_settings,
)
from ferryman.wire.effort import NONE, effort_of, nearest, offered_by
from ferryman.wire.format import Aim
from ferryman.wire.limits import (
    OPENAI_IDENTIFIER,
    OPENAI_PAIRS,
    fitting,
    identifier,
    openai_pair,
)
from ferryman.wire.openai_responses.echo import TIERS
from ferryman.wire.openai_responses.history import History
from ferryman.wire.openai_responses.parts import NAME
from ferryman.wire.openai_responses.request import DAY, ENCRYPTED, IN_MEMORY, LOGPROBS
from ferryman.wire.openai_responses.tools import own_name

Wire = dict[str, Any]

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_names = msgspec.json.Decoder(list[str]).decode
_FIXED = frozenset(["model", "input", "stream", "json_schema", "json_object"])
_HOUR = 3600
LEAST_OUTPUT = 16
"""Tokens: the API takes no lower limit."""
_NO_ARGUMENTS = Raw(b'{"type":"object","properties":{}}')
_DEFAULT_NAME = "response"
"""Name of a schema that came without one."""


def encode_request(request: Request, aim: Aim, receipt: Receipt) -> bytes:
    """The body. Raises :class:`GatewayError` (400) for what can't be sent, not even in part."""
    drop_unknown(request, receipt, NAME)
    refuse_stored(request)
    own = request.origin == NAME
    request = without_settings(request, aim.quirks, receipt)
    body: Wire = {"model": aim.model, "input": History(request, aim, receipt).items()}
    if request.stream:
        body["stream"] = True
    _limits(request, aim, receipt, body)
    extra = dict(request.extra) if own else {}
    include = _names(extra.pop("include")) if "include" in extra else []
    if _thinking(request, aim, receipt, body):
        include.append(ENCRYPTED)
    if request.logprobs:
        include.append(LOGPROBS)
    if include:
        body["include"] = include
    _tools(request, receipt, body)
    _text(request, aim, receipt, body)
    _bookkeeping(request, aim, receipt, body)
    for name, raw in extra.items():
        body.setdefault(name, raw)
    for quirk in aim.quirks:
        name = quirk.removeprefix("no_")
        if name != quirk and name not in _FIXED and body.pop(name, None) is not None:
            receipt.drop(name)
    _not_offered(request, receipt)
    return _encode(body)


def _limits(request: Request, aim: Aim, receipt: Receipt, body: Wire) -> None:
    limit = request.max_output
    if 0 < limit < LEAST_OUTPUT and "any_output_limit" not in aim.quirks:
        limit = LEAST_OUTPUT
        receipt.alter("max_output_tokens", f"{limit}, the least that the format allows")
    if limit:
        body["max_output_tokens"] = limit
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.top_logprobs:
        body["top_logprobs"] = request.top_logprobs


def _thinking(request: Request, aim: Aim, receipt: Receipt, body: Wire) -> bool:
    """Writes ``reasoning``; true when the thoughts shall come encrypted."""
    said = request.reasoning
    unable = bool(aim.abilities) and "reasoning" not in aim.abilities
    wanted: Wire = {}
    if said is not None:
        effort = said.effort
        if not effort and said.budget >= 0:
            effort = effort_of(said.budget)
            if said.budget:
                receipt.alter("reasoning.budget", f"effort {effort}")
        names = offered_by(aim.quirks)
        if names and effort:
            offered = nearest(effort, names)
            if offered != effort:
                receipt.alter("reasoning.effort", offered)
            effort = offered
        if effort:
            wanted["effort"] = effort
        if said.summary and said.summary != NONE:
            wanted["summary"] = said.summary
    if wanted and unable:
        if wanted.get("effort") != NONE:
            receipt.drop("reasoning")
    elif wanted:
        body["reasoning"] = wanted
    if request.origin == NAME:
        return said is not None and said.encrypted and not unable
    if request.store or unable:
        return False
    return "reasoning" in aim.abilities or wanted.get("effort", NONE) != NONE


def _tools(request: Request, receipt: Receipt, body: Wire) -> None:
    tools: list[Wire | Raw] = []
    groups: dict[str, list[Wire]] = {}
    for number, tool in enumerate(request.tools):
        path = f"tools[{number}]"
        if isinstance(tool, HostedTool):
            tools.append(_hosted(tool, path))
            continue
        if tool.cache is not None:
            receipt.drop(f"{path}.cache")
        wire = _tool(tool, request.origin)
        if not tool.namespace:
            tools.append(wire)
        elif tool.namespace in groups:
            groups[tool.namespace].append(wire)
        else:
            groups[tool.namespace] = [wire]
            group = {"type": "namespace", "name": tool.namespace, "description": ""}
            tools.append({**group, "tools": groups[tool.namespace]})
    if tools:
        body["tools"] = tools
    if request.tool_choice is not None:
        body["tool_choice"] = _choice(request.tool_choice, request)
    if request.parallel_tools is not None:
        body["parallel_tool_calls"] = request.parallel_tools


def _text(request: Request, aim: Aim, receipt: Receipt, body: Wire) -> None:
    """``text``: verbosity, and the form of the words; or the tool that stands for it."""
    text: Wire = {}
    if request.verbosity:
        text["verbosity"] = request.verbosity
    output = request.output
    if (
        output is not None
        and output.kind is not OutputKind.TEXT
        and f"no_{output.kind}" in aim.quirks
    ):
        tool = output_tool(output, request, receipt)
        others = body.get("tools", [])
        body["tools"] = [*others, _tool(tool, request.origin)]
        only = not others or body.get("tool_choice") == "none"
        body["tool_choice"] = {"type": "function", "name": tool.name} if only else "required"
    elif output is not None:
        text["format"] = _format(output)
    if text:
        body["text"] = text


def _hosted(tool: HostedTool, path: str) -> Raw:
    if tool.origin == NAME:
        return Raw(tool.raw)
    raise not_run_here(tool.kind, path)


def _tool(tool: Tool, origin: str) -> Wire:
    wire: Wire = {"type": "custom" if tool.free else "function", "name": own_name(tool)}
    if tool.description:
        wire["description"] = tool.description
    if tool.free:
        if tool.grammar is not None:
            wire["format"] = _flat_grammar(tool.grammar)
        return wire
    wire["parameters"] = tool.parameters if tool.parameters is not None else _NO_ARGUMENTS
    # Left out it means true here, but false everywhere else.
    strict = tool.strict if origin == NAME else bool(tool.strict)
    wire["strict"] = strict
    return wire


def _flat_grammar(raw: Raw) -> Raw:
    """The chat format nests it: ``{type, grammar: {syntax, definition}}``."""
    said = _fields(raw)
    inner = said.pop("grammar", None)
    if inner is None:
        return raw
    return Raw(_encode({**said, **_fields(inner)}))


def _choice(choice: ToolChoice, request: Request) -> Wire | str:
    if not choice.allowed or choice.mode is ToolMode.NONE:
        return choice.mode.value
    tools = {tool.name: tool for tool in request.tools if isinstance(tool, Tool)}
    named = []
    for name in choice.allowed:
        tool = tools.get(name)
        free = tool is not None and tool.free
        named.append({"type": "custom" if free else "function",
                      "name": own_name(tool) if tool else name})  # fmt: skip
    if len(named) == 1 and choice.mode is ToolMode.REQUIRED:
        return named[0]
    return {"type": "allowed_tools", "mode": choice.mode.value, "tools": named}


def _format(output: OutputFormat) -> Wire:
    wire: Wire = {"type": output.kind.value}
    if output.kind is OutputKind.SCHEMA:
        wire["name"] = output.name or _DEFAULT_NAME
        wire["schema"] = output.schema if output.schema is not None else Raw(b'{"type":"object"}')
        if output.description:
            wire["description"] = output.description
        if output.strict is not None:
            wire["strict"] = output.strict
    return wire


def _bookkeeping(request: Request, aim: Aim, receipt: Receipt, body: Wire) -> None:
    """What isn't for the model."""
    if request.origin != NAME:
        body["store"] = bool(request.store)
    elif request.store is not None:
        body["store"] = request.store
    tier = request.service_tier
    if tier == "standard_only":
        tier = "default"
        receipt.alter("service_tier", tier)
    if tier and tier not in TIERS and request.origin != NAME:
        receipt.drop("service_tier")
        tier = ""
    user, key, metadata = request.user, request.cache_key, dict(request.metadata)
    if request.origin != NAME:
        user = identifier(user, OPENAI_IDENTIFIER, "user", receipt)
        key = identifier(key, OPENAI_IDENTIFIER, "prompt_cache_key", receipt)
        metadata = fitting(request.metadata, openai_pair, OPENAI_PAIRS, receipt)
    for name, value in (
        ("safety_identifier" if "safety_identifier" in aim.quirks else "user", user),
        ("metadata", metadata),
        ("service_tier", tier),
        ("prompt_cache_key", key),
    ):
        if value:
            body[name] = value
    if request.cache_seconds:
        long = request.cache_seconds > _HOUR
        body["prompt_cache_retention"] = "24h" if long else "in_memory"
        if request.cache_seconds not in (DAY, IN_MEMORY):
            receipt.alter("prompt_cache_retention", body["prompt_cache_retention"])


def _not_offered(request: Request, receipt: Receipt) -> None:
    for name, value in (
        ("top_k", request.top_k),
        ("stop", request.stop or None),
        ("seed", request.seed),
        ("presence_penalty", request.presence_penalty or None),
        ("frequency_penalty", request.frequency_penalty or None),
        ("audio", request.audio),
        ("n", request.choices if request.choices > 1 else None),
    ):
        if value is not None:
            receipt.drop(name)
    for kind in request.modalities:
        if kind != "text":
            receipt.drop(f"modalities.{kind}")
