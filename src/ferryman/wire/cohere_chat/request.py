"""Requests in the Cohere format: https://docs.cohere.com/reference/chat.

Heeded of the aim: the ability ``reasoning`` (or none known at all): ``thinking`` is sent.
Structured output is native, but not beside tools or documents: there a tool stands for it.
"""

from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import HostedTool, OutputKind, Request, Tool, ToolChoice, ToolMode
from ferryman.wire.carry import (
    add_own,
    drop_unknown,
    not_run_here,
    output_tool,
    refuse_stored,
    refuse_textless,
)
from ferryman.wire.cohere_chat.messages import Conversation
from ferryman.wire.cohere_chat.types import ORIGIN
from ferryman.wire.effort import EFFORTS, NONE, budget_of
from ferryman.wire.format import Aim

MAX_STOP = 5
MAX_K = 500
LEAST_P, MOST_P = 0.01, 0.99
_OWN = ("documents", "citation_options", "safety_mode", "priority", "strict_tools")
"""Members that the common language has no word for."""
_NO_ARGUMENTS = Raw(b'{"type":"object","properties":{}}')
_FREE_TEXT = Raw(b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}')
_encode = msgspec.json.Encoder().encode

Wire = dict[str, Any]


def encode_request(request: Request, aim: Aim, receipt: Receipt) -> bytes:
    """The body. Raises :class:`~ferryman.ir.errors.GatewayError` (400)."""
    refuse_stored(request)
    refuse_textless(request)
    drop_unknown(request, receipt, ORIGIN)
    conversation = Conversation(receipt)
    conversation.write(request.messages)
    body: Wire = {
        "model": aim.model,
        "messages": conversation.messages,
        "stream": request.stream,
    }
    if conversation.documents:
        body["documents"] = conversation.documents
    _tools(request, receipt, body)
    _output(request, receipt, body)
    _sampling(request, receipt, body)
    _thinking(request, aim, receipt, body)
    add_own(request, receipt, ORIGIN, _OWN, body)
    _report_rest(request, receipt)
    return _encode(body)


def _tools(request: Request, receipt: Receipt, body: Wire) -> None:
    choice = request.tool_choice or ToolChoice(mode=ToolMode.AUTO)
    tools: list[Wire] = []
    strict: list[str] = []
    for number, tool in enumerate(request.tools):
        at = f"tools[{number}]"
        if isinstance(tool, HostedTool):
            raise not_run_here(tool.kind, at)
        if choice.allowed and tool.name not in choice.allowed:
            receipt.alter("tools", "only those that may be called")
            continue
        tools.append(_tool(tool, receipt, at))
        if tool.strict:
            strict.append(at)
        if tool.cache is not None:
            receipt.drop(f"{at}.cache_control")
    if not tools:
        return
    body["tools"] = tools
    if strict and len(strict) == len(tools):
        body["strict_tools"] = True
    else:
        for at in strict:
            receipt.drop(f"{at}.strict")  # all or none
    if choice.mode is not ToolMode.AUTO:
        body["tool_choice"] = str(choice.mode).upper()


def _tool(tool: Tool, receipt: Receipt, at: str) -> Wire:
    function: Wire = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = tool.parameters if tool.parameters is not None else _NO_ARGUMENTS
    if tool.free:
        function["parameters"] = _FREE_TEXT
        receipt.alter(at, "JSON with one member input")
        if tool.grammar is not None:
            receipt.drop(f"{at}.grammar")
    return {"type": "function", "function": function}


def _output(request: Request, receipt: Receipt, body: Wire) -> None:
    output = request.output
    if output is None or output.kind is OutputKind.TEXT:
        return
    choice = body.get("tool_choice")
    if "documents" not in body and ("tools" not in body or choice == "NONE"):
        if choice == "NONE":
            del body["tools"], body["tool_choice"]
            body.pop("strict_tools", None)
            receipt.alter("tools", "left out, since none may be called")
        form: Wire = {"type": "json_object"}
        if output.kind is OutputKind.SCHEMA and output.schema is not None:
            form["json_schema"] = output.schema
        body["response_format"] = form
        if output.description:
            receipt.drop("response_format.description")
        return
    if choice == "REQUIRED":
        receipt.drop("response_format")  # the answer is a call, there is no text to form
        return
    if choice == "NONE":
        del body["tools"]
        body.pop("strict_tools", None)
    tool = _tool(output_tool(output, request, receipt), receipt, "response_format")
    body["tools"] = [*body.get("tools", ()), tool]
    body["tool_choice"] = "REQUIRED"


def _sampling(request: Request, receipt: Receipt, body: Wire) -> None:
    if request.max_output:
        body["max_tokens"] = request.max_output
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.seed is not None:
        body["seed"] = request.seed
    if request.logprobs:
        body["logprobs"] = True
    if request.stop:
        body["stop_sequences"] = request.stop[:MAX_STOP]
        if len(request.stop) > MAX_STOP:
            receipt.alter("stop", f"the first {MAX_STOP}")
    for name, path, value, least, most in (
        ("p", "top_p", request.top_p, LEAST_P, MOST_P),
        ("k", "top_k", request.top_k, 0, MAX_K),
        ("frequency_penalty", "frequency_penalty", request.frequency_penalty, 0, 1),
        ("presence_penalty", "presence_penalty", request.presence_penalty, 0, 1),
    ):
        if value is None:
            continue
        body[name] = min(max(value, least), most)
        if body[name] != value:
            receipt.alter(path, f"{body[name]}, the nearest that the format allows")


def _thinking(request: Request, aim: Aim, receipt: Receipt, body: Wire) -> None:
    """https://docs.cohere.com/docs/reasoning: models that reason do so unless told not to."""
    reasoning = request.reasoning
    if reasoning is None:
        return
    if aim.abilities and "reasoning" not in aim.abilities:
        if reasoning.budget > 0 or reasoning.adaptive or reasoning.effort not in ("", NONE):
            receipt.drop("reasoning")
        return
    if reasoning.budget == 0 or (reasoning.budget < 0 and reasoning.effort == NONE):
        body["thinking"] = {"type": "disabled"}
    elif reasoning.budget > 0:
        body["thinking"] = {"type": "enabled", "token_budget": reasoning.budget}
    elif reasoning.effort in EFFORTS:
        budget = budget_of(reasoning.effort, request.max_output) or 1
        body["thinking"] = {"type": "enabled", "token_budget": budget}
        receipt.alter("reasoning.effort", f"budget of {budget} tokens")
    elif reasoning.adaptive or reasoning.effort:
        body["thinking"] = {"type": "enabled"}
        if reasoning.effort:
            receipt.drop("reasoning.effort")


def _report_rest(request: Request, receipt: Receipt) -> None:
    lost = {
        "n": request.choices != 1,
        "top_logprobs": request.top_logprobs > 0,
        "parallel_tool_calls": request.parallel_tools is False,
        "verbosity": bool(request.verbosity),
        "modalities": any(kind != "text" for kind in request.modalities),
        "audio": request.audio is not None,
        "user": bool(request.user),
        "metadata": bool(request.metadata),
        "service_tier": request.service_tier not in ("", "auto"),
        "store": request.store is True,
        "prompt_cache_key": bool(request.cache_key),
        "prompt_cache_retention": bool(request.cache_seconds),
    }
    for path, given in lost.items():
        if given:
            receipt.drop(path)
