"""Requests in the Converse format.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html; streamed ones
have the same body at another path, and the model stands in the path too. Heeded of the aim:

- quirk ``output_format``: ``outputConfig.textFormat`` and strict tools, for schemas that it takes
  (https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html); else a tool that
  the model must call stands for structured output, and ``strict`` is dropped. The ability
  ``json_schema`` does not count: the catalogue's sources give it to all models that know tools;
- ability ``prompt_cache``, or none known at all: cache points are sent, among tools and for an hour
  only to models of Claude;
- quirk ``claude_fields``: the model takes Claude's own ``top_k`` and ``thinking``, and says which
  stop sequence it met. Heeded only where the model's name holds "claude", or is an ARN that doesn't
  tell what the model is. Beside it, as in the ``anthropic_messages`` format: ``adaptive_thinking``,
  ``adaptive_only``, ``effort_xhigh``, ``effort_max``, ``no_sampling``.
"""

import re
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
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.anthropic_messages.output import fits
from ferryman.wire.bedrock_converse.content import TOOL_NAME, Conversation
from ferryman.wire.bedrock_converse.marks import CachePoints
from ferryman.wire.bedrock_converse.thinking import asks_to_think, thinking_out
from ferryman.wire.bedrock_converse.types import ORIGIN
from ferryman.wire.carry import (
    add_own,
    drop_unknown,
    not_run_here,
    output_tool,
    refuse_stored,
    refuse_textless,
    unsupported,
)
from ferryman.wire.format import Aim
from ferryman.wire.limits import fitting

_OWN = ("guardrailConfig", "promptVariables", "performanceConfig", "requestMetadata",
        "additionalModelRequestFields", "additionalModelResponseFieldPaths")  # fmt: skip
"""Members that the common language has no word for."""
_TIERS = {"default": "default", "flex": "flex", "priority": "priority", "reserved": "reserved",
          "standard_only": "default", "standard": "default"}  # fmt: skip
_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}")
_MOST_METADATA = 16
_ANY_OBJECT = Raw(b'{"type":"object"}')
_NO_ARGUMENTS = Raw(b'{"type":"object","properties":{}}')
_encode = msgspec.json.Encoder().encode
_type_of = msgspec.json.Decoder(dict[str, Raw])

Wire = dict[str, Any]


def encode_request(request: Request, aim: Aim, receipt: Receipt) -> bytes:
    """The body. Raises :class:`~ferryman.ir.errors.GatewayError` 400 for what can't be carried."""
    refuse_stored(request)
    refuse_textless(request)
    drop_unknown(request, receipt, ORIGIN)
    native = "output_format" in aim.quirks
    points = CachePoints(aim, receipt)
    conversation = Conversation(receipt, points)
    conversation.write(request.messages)
    body: Wire = {"messages": conversation.messages}
    if conversation.system:
        body["system"] = conversation.system
    config = _inference(request, receipt)
    if config:
        body["inferenceConfig"] = config
    writer = _Tools(request, receipt, points, native=native)
    tools, choice = writer.write(conversation.called)
    if tools:
        body["toolConfig"] = {"tools": tools, "toolChoice": choice} if choice else {"tools": tools}
    if native:
        _schema_output(request, body)
    _model_fields(request, aim, receipt, body)
    _settings(request, receipt, body)
    add_own(request, receipt, ORIGIN, _OWN, body)
    return _encode(body)


def _inference(request: Request, receipt: Receipt) -> Wire:
    config: Wire = {}
    if request.max_output:
        config["maxTokens"] = request.max_output
    if request.temperature is not None:
        config["temperature"] = min(request.temperature, 1)
        if request.temperature > 1:
            receipt.alter("temperature", "1, the most that the format allows")
    if request.top_p is not None:
        config["topP"] = request.top_p
    stop = [sequence for sequence in request.stop if sequence and not sequence.isspace()]
    if len(stop) < len(request.stop):
        receipt.drop("stop")  # of white space only: they are refused
    if stop:
        config["stopSequences"] = stop
    return config


class _Tools:
    """``toolConfig`` of one request."""

    def __init__(
        self, request: Request, receipt: Receipt, points: CachePoints, *, native: bool
    ) -> None:
        self._request = request
        self._receipt = receipt
        self._mode = request.tool_choice.mode if request.tool_choice else ToolMode.AUTO
        self._callable = False
        """The caller has tools that may be called."""
        self._native = native
        self._points = points

    def write(self, called: dict[str, None]) -> tuple[list[Wire | Raw], Wire | None]:
        """Tools and choice. ``called``: tools that the history calls; they must be declared."""
        request, receipt = self._request, self._receipt
        said = request.tool_choice or ToolChoice(mode=ToolMode.AUTO)
        if said.mode is ToolMode.NONE and not called:
            if request.tools:
                receipt.alter("tools", "left out, since none may be called")
            return self._with_output([], None)
        tools: list[Wire | Raw] = []
        names: set[str] = set()
        for number, tool in enumerate(request.tools):
            path = f"tools[{number}]"
            if isinstance(tool, HostedTool):
                tools.append(self._hosted(tool, path))
            elif said.allowed and tool.name not in said.allowed and tool.name not in called:
                receipt.alter("tools", "only those that may be called")
            else:
                names.add(tool.name)
                self._declare(tool, path, tools)
        self._callable = bool(tools) and said.mode is not ToolMode.NONE
        for name in called:
            if name not in names:
                names.add(name)
                tools.append(_spec(name, _ANY_OBJECT))
                receipt.alter("tools", f"{name} added, since an earlier turn calls it")
        choice: Wire | None = None
        if said.mode is ToolMode.REQUIRED:
            choice = {"any": {}}
            if len(said.allowed) == 1:
                choice = {"tool": {"name": said.allowed[0]}}
        if said.allowed and len(said.allowed) != 1 and not names <= set(said.allowed):
            receipt.alter("tool_choice", f"{said.mode} without the named subset")
        return self._with_output(tools, choice)

    def _hosted(self, tool: HostedTool, path: str) -> Raw:
        if tool.origin == ORIGIN:
            return Raw(tool.raw)
        raise not_run_here(tool.kind, path)

    def _declare(self, tool: Tool, path: str, tools: list[Wire | Raw]) -> None:
        receipt = self._receipt
        if not TOOL_NAME.fullmatch(tool.name):
            raise unsupported(
                f"'{path}' is called '{tool.name[:80]}'; this model's provider takes names of 1 to "
                "64 letters, digits, - and _.",
                f"{path}.name",
            )
        schema = tool.parameters if tool.parameters is not None else _NO_ARGUMENTS
        if tool.free:
            schema = Raw(
                b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}'
            )
            receipt.alter(path, "JSON with one member input")
            if tool.grammar is not None:
                receipt.drop(f"{path}.grammar")
        spec = _spec(tool.name, schema, tool.description)
        if tool.strict and self._native and not tool.free and fits(tool.parameters):
            spec["toolSpec"]["strict"] = True
        elif tool.strict:
            receipt.drop(f"{path}.strict")
        tools.append(spec)
        point = self._points.point(tool.cache, path, tool=True)
        if point is not None:
            tools.append(point)

    def _with_output(
        self, tools: list[Wire | Raw], choice: Wire | None
    ) -> tuple[list[Wire | Raw], Wire | None]:
        """The same with the tool that stands for structured output, where it takes one."""
        output, receipt = self._request.output, self._receipt
        forbidden = self._mode is ToolMode.NONE
        if (
            output is None
            or output.kind is OutputKind.TEXT
            or (self._native and _is_native(output))
        ):
            if forbidden and tools:
                receipt.alter("tool_choice", "auto instead of none")
            return tools, choice
        if self._mode is ToolMode.REQUIRED:
            receipt.drop("response_format")  # the answer is a call, there is no text to form
            return tools, choice
        if output.kind is OutputKind.SCHEMA and not _is_object(output.schema):
            receipt.drop("response_format")  # arguments of tools are objects
            return tools, choice
        tool = output_tool(output, self._request, receipt)
        tools.append(_spec(tool.name, tool.parameters or _ANY_OBJECT, tool.description))
        return tools, {"any": {}} if self._callable else {"tool": {"name": tool.name}}


def _spec(name: str, schema: Raw, description: str = "") -> Wire:
    spec: Wire = {"name": name, "inputSchema": {"json": schema}}
    if description and not description.isspace():
        spec["description"] = description
    return {"toolSpec": spec}


def _is_object(schema: Raw | None) -> bool:
    if schema is None:
        return True
    try:
        kind = _type_of.decode(schema).get("type")
    except UNREADABLE:
        return False
    return kind is None or bytes(kind) == b'"object"'


def _is_native(output: OutputFormat) -> bool:
    return output.kind is OutputKind.SCHEMA and fits(output.schema)


def _schema_output(request: Request, body: Wire) -> None:
    output = request.output
    if output is None or output.schema is None or not _is_native(output):
        return
    definition = {"schema": bytes(output.schema).decode()}
    if output.name:
        definition["name"] = output.name
    if output.description:
        definition["description"] = output.description
    structure = {"jsonSchema": definition}
    body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": structure}}


def _claude(aim: Aim) -> bool:
    if "claude_fields" not in aim.quirks:
        return False
    name = aim.model.lower()
    return "claude" in name or (name.startswith("arn:") and "foundation-model" not in name)


def _model_fields(request: Request, aim: Aim, receipt: Receipt, body: Wire) -> None:
    """What goes into ``additionalModelRequestFields``: only some models take it."""
    if not _claude(aim):
        if request.top_k is not None:
            receipt.drop("top_k")
        if asks_to_think(request.reasoning):
            receipt.drop("reasoning")
        return
    fields: Wire = {}
    thinking = thinking_out(request, aim, receipt, body)
    if thinking is not None:
        fields["thinking"] = thinking
    if request.top_k is not None:
        fields["top_k"] = request.top_k
    thinks = thinking is not None and thinking["type"] != "disabled"
    _sampling(fields, body, receipt, none="no_sampling" in aim.quirks or thinks)
    if fields:
        body["additionalModelRequestFields"] = fields
    if "stopSequences" in body.get("inferenceConfig", {}):
        body["additionalModelResponseFieldPaths"] = ["/stop_sequence"]


def _sampling(fields: Wire, body: Wire, receipt: Receipt, *, none: bool) -> None:
    """Takes out what Claude's models refuse: all of it (``none``), or one of two that exclude each
    other."""
    config = body.get("inferenceConfig", {})
    refused = ["topP"] if "temperature" in config else []
    for name in ("temperature", "topP", "top_k") if none else refused:
        found = fields if name == "top_k" else config
        if found.pop(name, None) is not None:
            receipt.drop("top_p" if name == "topP" else name)
    if not config:
        body.pop("inferenceConfig", None)


def _fits(name: str, value: str) -> bool:
    return bool(name and _METADATA.fullmatch(name) and _METADATA.fullmatch(value))


def _settings(request: Request, receipt: Receipt, body: Wire) -> None:
    """Settings of the call, and all that the format has no place for."""
    tier = request.service_tier
    if tier and tier != "auto":
        if tier in _TIERS:
            body["serviceTier"] = {"type": _TIERS[tier]}
            if _TIERS[tier] != tier:
                receipt.alter("service_tier", _TIERS[tier])
        else:
            receipt.drop("service_tier")
    metadata = fitting(request.metadata, _fits, _MOST_METADATA, receipt)
    if metadata:
        body["requestMetadata"] = metadata
    lost = {
        "n": request.choices != 1,
        "seed": request.seed is not None,
        "presence_penalty": bool(request.presence_penalty),
        "frequency_penalty": bool(request.frequency_penalty),
        "logprobs": request.logprobs,
        "parallel_tool_calls": request.parallel_tools is False,
        "verbosity": bool(request.verbosity),
        "modalities": any(kind != "text" for kind in request.modalities),
        "audio": request.audio is not None,
        "user": bool(request.user),
        "store": request.store is True,
        "prompt_cache_key": bool(request.cache_key),
        "prompt_cache_retention": bool(request.cache_seconds),
    }
    for path, given in lost.items():
        if given:
            receipt.drop(path)
