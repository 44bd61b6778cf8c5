"""Requests of the common language, written for providers of the generateContent format.

https://ai.google.dev/api/generate-content. Quirks and abilities heeded:

- ``openapi_schema``: schemas go into ``parameters`` and ``responseSchema``, in the format's own
  subset (``schema.py``); without it, JSON Schemas go as they are into ``parametersJsonSchema`` and
  ``responseJsonSchema``;
- ``no_additional_properties``: they go so, but without ``additionalProperties``;
- ``output_by_tool``, or abilities without ``json_schema`` but with ``tools``: structured output by
  a forced tool; ``no_output_with_tools``: the same where the request has tools (Gemini 2.5). JSON
  without a schema, or with one for no object, is not asked for then, nor is any where another tool
  must be called;
- ``thinking_level``: thinking is asked for by a level (Gemini 3), else by a budget (2.5, which
  knows no levels); ``thinking_always``: it can't be turned off; ``no_thinking``: not asked for;
- ``need_signature``: calls of the current turn get a stand-in where they have none (Gemini 3);
- ``media_in_results``: results of tools may hold media (Gemini 3), else they follow;
- ``part_resolution``: ``mediaResolution`` of a single part (Gemini 3);
- ``no_call_ids``: ids of calls are not sent; ``no_urls``: URLs of media are refused;
- ``labels``: metadata may be sent (Vertex AI).
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    HostedTool,
    OutputFormat,
    OutputKind,
    Reasoning,
    Request,
    Tool,
    ToolChoice,
    ToolMode,
)
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.carry import drop_unknown, not_run_here, output_tool, shape_error, summary_wanted
from ferryman.wire.effort import NONE, budget_of, effort_of, nearest
from ferryman.wire.format import Aim
from ferryman.wire.gemini_generate.prompt import Prompt, sign_calls
from ferryman.wire.gemini_generate.schema import to_openapi, without
from ferryman.wire.gemini_generate.types import (
    NAME,
    CallingConfig,
    FunctionDeclaration,
    GenerationConfig,
    ThinkingConfig,
    ToolConfig,
)
from ferryman.wire.limits import fitting

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_CONFIG = "generationConfig."
MAX_STOPS = 5
"""https://ai.google.dev/api/generate-content#generationconfig"""
MOST_LABELS = 64
LEAST_BUDGET = 128
"""Of models that always think (https://ai.google.dev/gemini-api/docs/thinking)."""
MOST_BUDGET = 24576
"""Of models whose most is least."""
_LEVELS = ("minimal", "low", "medium", "high")
_TIERS = {"default": "standard", "standard_only": "standard"} | {
    name: name for name in ("standard", "flex", "priority")
}
_FREE = Raw(b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}')


def encode_request(request: Request, aim: Aim, receipt: Receipt) -> bytes:
    """The body of a request. Raises :class:`GatewayError` (400) for what can't be carried."""
    try:
        return _Encoder(request, aim, receipt).body()
    except RecursionError as error:
        raise shape_error(error) from None


class _Encoder:
    """One request on its way to a body."""

    def __init__(self, request: Request, aim: Aim, receipt: Receipt) -> None:
        self._request = request
        self._quirks = frozenset(aim.quirks)
        self._abilities = aim.abilities
        self._receipt = receipt
        self._own = request.origin == NAME

    def body(self) -> bytes:
        """All of it."""
        request, receipt = self._request, self._receipt
        drop_unknown(request, receipt, NAME)
        prompt = Prompt(request, self._quirks, receipt)
        contents = prompt.write()
        if "need_signature" in self._quirks:
            sign_calls(contents, receipt)
        body: dict[str, Any] = {"contents": contents}
        if prompt.system:
            body["systemInstruction"] = {"parts": prompt.system}
        config = self._config()
        tool = self._output(config)
        self._tools(body, tool)
        self._rest(body)
        written = _encode(config)
        if self._own:
            written = self._extras(body, written)
        if written != b"{}":
            body["generationConfig"] = Raw(written)
        return _encode(body)

    def _extras(self, body: dict[str, Any], config: bytes) -> bytes:
        """Members that came from this format go back to where they were."""
        inner: dict[str, Raw] = {}
        for name, raw in self._request.extra:
            if name.startswith(_CONFIG):
                inner[name.removeprefix(_CONFIG)] = raw
            else:
                body[name] = raw
        return _encode(_members(config) | inner) if inner else config

    def _config(self) -> GenerationConfig:
        request, receipt = self._request, self._receipt
        if len(request.stop) > MAX_STOPS:
            receipt.alter("stop", f"the first {MAX_STOPS} of {len(request.stop)}")
        shown = request.modalities if request.modalities != ("text",) or self._own else ()
        config = GenerationConfig(
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            candidate_count=request.choices if request.choices > 1 else None,
            max_output_tokens=request.max_output or None,
            stop_sequences=list(request.stop[:MAX_STOPS]) or None,
            seed=request.seed,
            presence_penalty=request.presence_penalty,
            frequency_penalty=request.frequency_penalty,
            response_logprobs=True if request.logprobs else None,
            logprobs=(request.top_logprobs or None) if request.logprobs else None,
            response_modalities=[name.upper() for name in shown] or None,
        )
        if request.audio is not None:
            if self._own:
                config.speech_config = request.audio
            else:
                receipt.drop("audio")
        if request.reasoning is not None:
            config.thinking_config = self._thinking(request.reasoning)
        return config

    # --- thinking ---------------------------------------------------------------------------------

    def _thinking(self, said: Reasoning) -> ThinkingConfig | None:
        if "no_thinking" in self._quirks:
            if said.effort not in ("", NONE) or said.budget > 0 or said.adaptive:
                self._receipt.drop("reasoning")
            return None
        config = ThinkingConfig()
        if "thinking_level" in self._quirks:
            config.thinking_level = self._level(said)
        elif self._own:
            config.thinking_level = said.effort.upper() or None
            config.thinking_budget = -1 if said.adaptive else said.budget
            if said.budget < 0 and not said.adaptive:
                config.thinking_budget = None
        else:
            config.thinking_budget = self._budget(said)
        return self._shown(said, config)

    def _shown(self, said: Reasoning, config: ThinkingConfig) -> ThinkingConfig | None:
        off = said.effort == NONE or said.budget == 0
        summary = summary_wanted(self._request)
        if summary and (self._own or not off):
            config.include_thoughts = summary != "none"
            if summary in ("concise", "detailed"):
                self._receipt.alter("reasoning.summary", "auto")
        return config if config != ThinkingConfig() else None

    def _level(self, said: Reasoning) -> str | None:
        """The level that comes nearest; None leaves the model its own."""
        effort, path = said.effort, "reasoning.effort"
        if not effort and said.budget >= 0:
            effort, path = effort_of(said.budget), "reasoning.budget"
        if not effort:
            return None
        offered = (*_LEVELS, "xhigh") if self._own else _LEVELS
        level = nearest(effort, offered)
        if level not in offered:
            self._receipt.drop(path)
            return None
        if level != effort or path == "reasoning.budget":
            self._receipt.alter(path, f"level {level}")
        return level.upper()

    def _budget(self, said: Reasoning) -> int | None:
        budget, receipt = said.budget, self._receipt
        if budget < 0 and said.effort:
            budget = budget_of(said.effort, self._request.max_output)
            if budget < 0:
                receipt.drop("reasoning.effort")
                return None
            if budget > 0:
                budget = max(min(budget, MOST_BUDGET), LEAST_BUDGET)
                receipt.alter("reasoning.effort", f"budget of {budget} tokens")
        if budget == 0 and "thinking_always" in self._quirks:
            receipt.alter("reasoning", f"budget of {LEAST_BUDGET} tokens, the least")
            return LEAST_BUDGET
        if budget < 0:
            return -1 if said.adaptive else None
        return budget

    # --- output and tools -------------------------------------------------------------------------

    def _output(self, config: GenerationConfig) -> Tool | None:
        """Ask for the output's form; the tool that stands for it where there is no other way."""
        output = self._request.output
        if output is None or output.kind is OutputKind.TEXT:
            return None
        if self._by_tool(output):
            choice = self._request.tool_choice
            must_call = choice is not None and choice.mode is ToolMode.REQUIRED
            if must_call or output.kind is OutputKind.JSON or not _is_object(output.schema):
                # The answer is another call, or nothing that arguments of a tool could hold.
                self._receipt.drop("response_format")
                return None
            return output_tool(output, self._request, self._receipt)
        config.response_mime_type = "application/json"
        if output.schema is not None:
            schema = self._schema(output.schema, "response_format.schema")
            if "openapi_schema" in self._quirks:
                config.response_schema = schema
            else:
                config.response_json_schema = schema
        if output.description:
            self._receipt.drop("response_format.description")
        return None

    def _by_tool(self, output: OutputFormat) -> bool:
        quirks, abilities = self._quirks, self._abilities
        if "no_output_with_tools" in quirks and self._callable():
            return True
        if output.kind is not OutputKind.SCHEMA:
            return False
        unable = "tools" in abilities and "json_schema" not in abilities
        return "output_by_tool" in quirks or unable

    def _callable(self) -> bool:
        choice = self._request.tool_choice
        return bool(self._request.tools) and (choice is None or choice.mode is not ToolMode.NONE)

    def _schema(self, raw: Raw, path: str) -> Raw:
        try:
            if "openapi_schema" in self._quirks:
                return to_openapi(raw, path, self._receipt)
            if "no_additional_properties" in self._quirks:
                name = "additionalProperties"
                return without(raw, name, lambda: self._receipt.drop(f"{path}.{name}"))
        except UNREADABLE as error:
            raise shape_error(error, path) from None
        return raw

    def _tools(self, body: dict[str, Any], output: Tool | None) -> None:
        request, receipt = self._request, self._receipt
        declared: list[FunctionDeclaration] = []
        entries: list[Any] = []
        for place, tool in enumerate(request.tools):
            path = f"tools[{place}]"
            if isinstance(tool, Tool):
                if not declared:
                    entries.append({"functionDeclarations": declared})
                declared.append(self._declared(tool, path))
            elif tool.origin == NAME:
                entries.append(Raw(tool.raw))
            else:
                raise not_run_here(tool.kind, path)
        if output is not None:
            if not declared:
                entries.append({"functionDeclarations": declared})
            declared.append(self._declared(output, "response_format"))
        if entries:
            body["tools"] = entries
        if request.parallel_tools is False and declared:
            receipt.drop("parallel_tool_calls")
        config = self._calling(request.tool_choice, output, declared)
        if config is not None:
            body["toolConfig"] = ToolConfig(config)

    def _declared(self, tool: Tool, path: str) -> FunctionDeclaration:
        receipt = self._receipt
        said = FunctionDeclaration(tool.name, tool.description or None)
        schema = tool.parameters
        if tool.free:
            receipt.alter(path, "free text as member input")
            if tool.grammar is not None:
                receipt.drop(f"{path}.grammar")
            schema = _FREE
        if schema is not None:
            schema = self._schema(schema, f"{path}.parameters")
            if "openapi_schema" not in self._quirks:
                said.parameters_json_schema = schema
            elif _properties(schema):
                said.parameters = schema
            # Else none: the subset has no object without properties.
        if tool.strict and not self._own:
            receipt.drop(f"{path}.strict")
        if tool.cache is not None:
            receipt.drop(f"{path}.cache")
        return said

    def _calling(
        self, choice: ToolChoice | None, output: Tool | None, declared: list[FunctionDeclaration]
    ) -> CallingConfig | None:
        if output is not None:
            if choice is not None and choice.mode is ToolMode.NONE:
                return CallingConfig("ANY", [output.name])
            allowed = [*choice.allowed, output.name] if choice and choice.allowed else None
            return CallingConfig("ANY", allowed or ([output.name] if len(declared) == 1 else None))
        strict = self._own and _all_strict(self._request.tools)
        if choice is None:
            return CallingConfig("VALIDATED") if strict else None
        if not self._request.tools:
            return None
        allowed = list(choice.allowed) or None
        if choice.mode is ToolMode.NONE:
            return CallingConfig("NONE")
        if choice.mode is ToolMode.REQUIRED:
            return CallingConfig("ANY", allowed)
        if allowed and not strict:
            # The service takes names with ANY and VALIDATED only; the latter leaves text possible.
            self._receipt.alter("tool_choice", "validated, to allow the named ones only")
        return CallingConfig("VALIDATED" if allowed or strict else "AUTO", allowed)

    # --- the rest ---------------------------------------------------------------------------------

    def _rest(self, body: dict[str, Any]) -> None:
        """What stands beside contents and configuration, and what stands nowhere."""
        request, receipt = self._request, self._receipt
        if request.cached_content:
            if self._own:
                body["cachedContent"] = request.cached_content
            else:
                receipt.drop("cached_content")
        if request.metadata:
            if self._own:
                body["labels"] = dict(request.metadata)
            elif "labels" in self._quirks:
                labels = fitting(request.metadata, _is_label, MOST_LABELS, receipt)
                if labels:
                    body["labels"] = labels
            else:
                receipt.drop("metadata")
        if request.service_tier not in ("", "auto"):
            tier = request.service_tier if self._own else _TIERS.get(request.service_tier, "")
            if tier:
                body["serviceTier"] = tier
            else:
                receipt.drop("service_tier")
        if request.store is not None and self._own:
            body["store"] = request.store
        lost = {
            "store": request.store and not self._own,
            "user": request.user,
            "verbosity": request.verbosity,
            "prompt_cache_key": request.cache_key,
            "prompt_cache_retention": request.cache_seconds,
        }
        for name, said in lost.items():
            if said:
                receipt.drop(name)


_LABEL = re.compile(r"(?:[^\W\d_][\w-]{0,62})?")
_VALUE = re.compile(r"[\w-]{0,63}")


def _is_label(name: str, value: str) -> bool:
    """https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/add-labels-to-api-calls"""
    fits = bool(name) and _LABEL.fullmatch(name) and _VALUE.fullmatch(value)
    return bool(fits) and (name + value).lower() == name + value


def _is_object(schema: Raw | None) -> bool:
    """Whether the schema asks for an object."""
    return schema is not None and bytes(_members(schema).get("type", b"")) == b'"object"'


def _properties(schema: Raw) -> bool:
    """Whether a schema of the subset names something to fill in."""
    said = _members(schema)
    if bytes(said.get("type", b"")) != b'"OBJECT"':
        return True
    return bytes(said.get("properties", b"{}")) != b"{}"


def _all_strict(tools: Iterable[Tool | HostedTool]) -> bool:
    functions = [tool for tool in tools if isinstance(tool, Tool)]
    return bool(functions) and all(tool.strict for tool in functions)
