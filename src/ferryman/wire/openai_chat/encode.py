"""A request in the common language, written for a provider that speaks the chat format.

https://platform.openai.com/docs/api-reference/chat/create. Quirks of the provider's row:

- messages: ``system_role`` (developer becomes system), ``flat_content`` (text only as one string),
  ``tool_images`` (results of tools may hold images), ``video_url``, ``audio_url``,
  ``audio_formats`` (sound in other forms than WAV and MP3), ``file_url``, ``short_tool_ids`` (nine
  letters and digits), ``cache_control`` or ``cache_breakpoint`` (marks of the prompt cache),
  ``reasoning_details``, ``echo_reasoning_content`` (thoughts go back), ``extra_content``
  (signatures of calls and texts go back);
- output limit: ``max_tokens`` as a rule, which every server knows; ``max_completion_tokens`` for
  those that want that;
- structured output is native; ``no_json_schema`` and ``no_json_object`` make it a forced tool;
- thinking: ``reasoning_effort`` as a rule (the names of ``effort.offered_by``);
  ``reasoning_object`` (``reasoning``), ``thinking_object`` (``thinking``, on or off),
  ``thinking_effort`` (``reasoning_effort`` beside it), ``thinking_always`` (never off, and no
  switch), ``enable_thinking`` (a switch of that name, and ``thinking_budget``); dropped where
  the catalogue knows what the model can, and ``reasoning`` isn't among it; off where the request
  has tools and the model calls none while it thinks (``tools_by_responses``; with
  ``responses_only``, the model is not asked here if there is another way);
- settings that a model refuses: ``carry.without_settings``;
- tools: ``allowed_tools`` (native; else only the allowed tools are sent);
- members: ``top_k`` (knows it), ``safety_identifier`` (instead of ``user``), ``metadata`` (takes it
  without storing), ``no_stream_options``; and ``no_X`` for any other member X that the provider
  refuses, such as ``no_seed``.
"""

from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    HostedTool,
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
from ferryman.wire.effort import NONE, budget_of, effort_of, nearest, offered_by, thinks
from ferryman.wire.format import Aim
from ferryman.wire.limits import (
    OPENAI_IDENTIFIER,
    OPENAI_PAIRS,
    fitting,
    identifier,
    openai_pair,
)
from ferryman.wire.openai_chat.decode import WEB_SEARCH
from ferryman.wire.openai_chat.encode_messages import MessageWriter, cache_control
from ferryman.wire.openai_chat.thoughts import NAME

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, Raw])
_TIERS = frozenset(["auto", "default", "flex", "scale", "priority", "fast"])
_HOUR = 3600
_FIXED = frozenset(["model", "messages", "stream"])
Body = dict[str, Any]
Quirks = frozenset[str]


def encode_request(request: Request, aim: Aim, receipt: Receipt) -> bytes:
    """The body for ``aim``. Raises :class:`GatewayError` (400)."""
    quirks = frozenset(aim.quirks)
    drop_unknown(request, receipt, NAME)
    refuse_stored(request)
    request = without_settings(request, quirks, receipt)
    body: Body = {"model": aim.model, "messages": MessageWriter(request, quirks, receipt).write()}
    _sampling(body, request, quirks, receipt)
    _tools(body, request, quirks, receipt)
    _output(body, request, quirks, receipt)
    _thinking(body, request, aim, quirks, receipt)
    _account(body, request, quirks, receipt)
    if request.origin == NAME:
        for name, raw in request.extra:
            body.setdefault(name, raw)
    if request.stream:
        body["stream"] = True
        if "no_stream_options" not in quirks:
            body["stream_options"] = {"include_usage": True}
    for quirk in sorted(quirks):
        name = quirk.removeprefix("no_")
        if name != quirk and name not in _FIXED and body.pop(name, None) is not None:
            receipt.drop(name)
    return _encode(body)


def _sampling(body: Body, request: Request, quirks: Quirks, receipt: Receipt) -> None:
    if request.max_output:
        newer = "max_completion_tokens" in quirks and "max_tokens_only" not in quirks
        body["max_completion_tokens" if newer else "max_tokens"] = request.max_output
    for name in ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty"):
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    if request.top_k is not None:
        if "top_k" in quirks or request.origin == NAME:
            body["top_k"] = request.top_k
        else:
            receipt.drop("top_k")
    if request.stop:
        body["stop"] = request.stop
    if request.choices != 1:
        body["n"] = request.choices
    if request.logprobs:
        body["logprobs"] = True
    if request.top_logprobs and request.logprobs:  # the one is refused without the other
        body["top_logprobs"] = request.top_logprobs


# --- tools --------------------------------------------------------------------------------------


def _tools(body: Body, request: Request, quirks: Quirks, receipt: Receipt) -> None:
    choice = request.tool_choice
    allowed = choice.allowed if choice is not None else ()
    named = choice is not None and choice.mode is ToolMode.REQUIRED and len(allowed) == 1
    narrow = bool(allowed) and not named and "allowed_tools" not in quirks
    tools: list[object] = []
    for place, tool in enumerate(request.tools):
        at = f"tools[{place}]"
        if isinstance(tool, HostedTool):
            if tool.origin != NAME:
                raise not_run_here(tool.kind, at)
            if tool.kind == WEB_SEARCH:
                body[WEB_SEARCH] = Raw(tool.raw)
            else:
                tools.append(Raw(tool.raw))
        elif narrow and tool.name not in allowed:
            receipt.alter("tool_choice", "only the allowed tools are sent")
        else:
            tools.append(_tool(tool, at, quirks, receipt))
    if tools:
        body["tools"] = tools
        if request.parallel_tools is not None:
            if "no_parallel_tools" in quirks:
                receipt.drop("parallel_tool_calls")
            else:
                body["parallel_tool_calls"] = request.parallel_tools
    if choice is not None and (tools or choice.mode is ToolMode.REQUIRED):
        body["tool_choice"] = _choice(choice, request, narrow)


def _tool(tool: Tool, at: str, quirks: Quirks, receipt: Receipt) -> Body:
    definition: Body = {"name": tool.name}
    if tool.description:
        definition["description"] = tool.description
    out: Body
    if tool.free:
        if tool.grammar is not None:
            definition["format"] = _grammar(tool.grammar)
        out = {"type": "custom", "custom": definition}
    else:
        if tool.parameters is not None:
            definition["parameters"] = tool.parameters
        if tool.strict is not None:
            definition["strict"] = tool.strict
        out = {"type": "function", "function": definition}
    if tool.cache is not None:
        if "cache_control" in quirks:
            out["cache_control"] = cache_control(tool.cache)
        else:
            receipt.drop(f"{at}.cache_control")
    return out


def _grammar(grammar: Raw) -> Raw | Body:
    """``format`` of a tool that takes free text: Responses has the grammar's members beside type.

    https://platform.openai.com/docs/api-reference/responses/create
    """
    said = _fields.decode(grammar)
    if "syntax" not in said:
        return grammar
    inner = {name: value for name, value in said.items() if name != "type"}
    return {"type": "grammar", "grammar": inner}


def _choice(choice: ToolChoice, request: Request, narrow: bool) -> str | Body:
    free = {tool.name for tool in request.tools if isinstance(tool, Tool) and tool.free}
    named = [_reference(name, name in free) for name in choice.allowed]
    if choice.mode is ToolMode.NONE or not named or narrow:
        return str(choice.mode)
    if choice.mode is ToolMode.REQUIRED and len(named) == 1:
        return named[0]
    return {"type": "allowed_tools", "allowed_tools": {"mode": str(choice.mode), "tools": named}}


def _reference(name: str, free: bool) -> Body:
    kind = "custom" if free else "function"
    return {"type": kind, kind: {"name": name}}


# --- what the answer shall be like ----------------------------------------------------------------


def _output(body: Body, request: Request, quirks: Quirks, receipt: Receipt) -> None:
    output = request.output
    if output is None:
        return
    if output.kind is not OutputKind.TEXT and f"no_{output.kind}" in quirks:
        tool = output_tool(output, request, receipt)
        others = body.get("tools", [])
        body["tools"] = [*others, _tool(tool, "response_format", quirks, receipt)]
        only = not others or body.get("tool_choice") == "none"
        body["tool_choice"] = _reference(tool.name, False) if only else "required"
    elif output.kind is OutputKind.SCHEMA:
        schema: Body = {"name": output.name or "response"}
        if output.description:
            schema["description"] = output.description
        if output.schema is not None:
            schema["schema"] = output.schema
        if output.strict is not None:
            schema["strict"] = output.strict
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    else:
        body["response_format"] = {"type": str(output.kind)}


def _thinking(body: Body, request: Request, aim: Aim, quirks: Quirks, receipt: Receipt) -> None:
    wanted = request.reasoning
    if request.verbosity:
        body["verbosity"] = request.verbosity
    if "tools_by_responses" in quirks and "tools" in body and "effort_none" in quirks:
        if wanted is not None or thinks(None, quirks):
            body["reasoning_effort"] = NONE
        if thinks(wanted, quirks):
            receipt.alter("reasoning", "off: the request has tools")
        return
    if wanted is None:
        return
    off = wanted.effort == NONE or (not wanted.effort and wanted.budget == 0)
    if aim.abilities and "reasoning" not in aim.abilities:
        if not off:
            receipt.drop("reasoning")
        return
    if wanted.encrypted:
        receipt.drop("reasoning.encrypted")
    if wanted.summary not in ("", NONE) and "reasoning_object" not in quirks:
        receipt.drop("reasoning.summary")
    if "reasoning_object" in quirks:
        _reasoning_object(body, request, receipt)
    elif quirks & _SWITCHES:
        _switch(body, request, off, quirks, receipt)
    elif wanted.effort or wanted.budget >= 0:
        effort = _offered(wanted.effort or effort_of(wanted.budget), quirks)
        body["reasoning_effort"] = effort
        if wanted.effort and wanted.budget > 0:
            receipt.drop("reasoning.budget")
        if wanted.effort not in ("", effort):
            receipt.alter("reasoning.effort", effort)
        elif not wanted.effort and (wanted.budget > 0 or effort != NONE):
            receipt.alter("reasoning.budget", f"effort {effort}")
    elif wanted.adaptive:
        receipt.alter("reasoning", "the model's own default")


_SWITCHES = frozenset(["thinking_object", "enable_thinking", "thinking_always"])


def _switch(body: Body, request: Request, off: bool, quirks: Quirks, receipt: Receipt) -> None:
    """Thinking where it is a switch of its own, and how much may be said beside it.

    https://api-docs.deepseek.com/guides/thinking_mode (``thinking``; it maps every effort to one of
    its three), https://docs.z.ai/guides/capabilities/thinking-mode,
    https://platform.kimi.ai/docs/api/models-overview,
    https://www.alibabacloud.com/help/en/model-studio/deep-thinking (``enable_thinking``).
    """
    wanted = request.reasoning
    assert wanted is not None
    if "thinking_always" in quirks:
        if off:
            receipt.alter("reasoning", "on: this model always thinks")
    elif "enable_thinking" in quirks:
        body["enable_thinking"] = not off
    else:
        body["thinking"] = {"type": "disabled" if off else "enabled"}
    if off:
        return
    effort = wanted.effort or ("" if wanted.budget < 0 else effort_of(wanted.budget))
    if "enable_thinking" in quirks:
        budget = wanted.budget if wanted.budget > 0 else budget_of(effort, request.max_output)
        if budget > 0:
            body["thinking_budget"] = budget
        if budget != wanted.budget:
            receipt.alter("reasoning.effort", f"budget of {budget} tokens")
    elif effort and "thinking_effort" in quirks:
        body["reasoning_effort"] = effort
        if not wanted.effort:
            receipt.alter("reasoning.budget", f"effort {effort}")
    elif effort:
        receipt.alter("reasoning", "on, without saying how much")


def _offered(effort: str, quirks: Quirks) -> str:
    offered = offered_by(quirks)
    return nearest(effort, offered) if offered else effort


def _reasoning_object(body: Body, request: Request, receipt: Receipt) -> None:
    """As routers take it: https://openrouter.ai/docs/guides/best-practices/reasoning-tokens,
    https://openrouter.ai/docs/client-sdks/python/components/reasoningconfig."""
    wanted = request.reasoning
    assert wanted is not None
    said: Body = {}
    if wanted.effort:
        said["effort"] = wanted.effort
        if wanted.budget > 0:
            receipt.drop("reasoning.budget")
    elif wanted.budget == 0:
        said["enabled"] = False
    elif wanted.budget > 0:
        said["max_tokens"] = wanted.budget
    elif wanted.adaptive:
        said["enabled"] = True
    if wanted.summary == NONE:
        said["exclude"] = True
    elif wanted.summary:
        said["summary"] = wanted.summary
    if said:
        body["reasoning"] = said


def _account(body: Body, request: Request, quirks: Quirks, receipt: Receipt) -> None:
    own = request.origin == NAME
    if "audio" in request.modalities and (request.audio is None or not own):
        receipt.drop("modalities")  # the voice and form of sound are said in another format's way
        if request.audio is not None:
            receipt.drop("audio")
    else:
        if request.modalities:
            body["modalities"] = request.modalities
        if request.audio is not None:
            if own:
                body["audio"] = request.audio
            else:
                receipt.drop("audio")
    if request.user:
        name = "safety_identifier" if "safety_identifier" in quirks else "user"
        body[name] = _identifier(request.user, "user", request, receipt)
    if request.metadata:
        # The format takes metadata of stored answers only.
        if own:
            body["metadata"] = dict(request.metadata)
        elif request.store or "metadata" in quirks:
            said = fitting(request.metadata, openai_pair, OPENAI_PAIRS, receipt)
            if said:
                body["metadata"] = said
        else:
            receipt.drop("metadata")
    if request.store is not None:
        body["store"] = request.store
    tier = request.service_tier
    if tier == "standard_only":
        tier = "default"
        receipt.alter("service_tier", tier)
    if tier in _TIERS:
        body["service_tier"] = tier
    elif tier:
        receipt.drop("service_tier")
    if request.cache_key:
        key = _identifier(request.cache_key, "prompt_cache_key", request, receipt)
        body["prompt_cache_key"] = key
    if request.cache_seconds:
        long = request.cache_seconds > _HOUR
        body["prompt_cache_retention"] = "24h" if long else "in_memory"


def _identifier(said: str, path: str, request: Request, receipt: Receipt) -> str:
    own = request.origin == NAME
    return said if own else identifier(said, OPENAI_IDENTIFIER, path, receipt)
