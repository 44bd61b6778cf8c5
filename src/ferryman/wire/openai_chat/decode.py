"""A caller's chat request, read into the common language.

https://platform.openai.com/docs/api-reference/chat/create. Beyond it, what callers of compatible
servers send is understood: ``reasoning`` and ``reasoning_details`` (https://openrouter.ai/docs),
``thinking`` (https://docs.claude.com/en/api/openai-sdk), ``reasoning_content``
(https://api-docs.deepseek.com/guides/reasoning_model), ``top_k`` (https://docs.vllm.ai), and
``cache_control`` on parts, tools and messages.
"""

import re
from collections.abc import Iterator

import msgspec
from msgspec import Raw

from ferryman.ir.errors import GatewayError
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
from ferryman.wire.carry import Fields, Reader, bad_request, members, shape_error
from ferryman.wire.effort import EFFORTS
from ferryman.wire.openai_chat.decode_messages import Messages, cache_mark, type_of
from ferryman.wire.openai_chat.thoughts import NAME
from ferryman.wire.openai_chat.types import (
    AnyTool,
    Choosable,
    CustomDefinition,
    FormatIn,
    FunctionDefinition,
    FunctionTool,
    ReasoningIn,
    StreamOptions,
    ThinkingIn,
    ToolChoiceIn,
)

WEB_SEARCH = "web_search_options"
"""The member that turns on the provider's own web search; a hosted tool of this kind."""
FUNCTIONS = "functions"
"""The dialect of callers who send these instead of ``tools``, and read ``function_call``."""

_items = msgspec.json.Decoder(list[Raw])
_tool: Reader[AnyTool] = Reader(AnyTool)
_functions: Reader[list[FunctionDefinition]] = Reader(list[FunctionDefinition])
_choice: Reader[str | ToolChoiceIn] = Reader(str | ToolChoiceIn)
_named: Reader[str | Choosable] = Reader(str | Choosable)
_format: Reader[FormatIn] = Reader(FormatIn)
_options: Reader[StreamOptions] = Reader(StreamOptions)
_reasoning: Reader[ReasoningIn] = Reader(ReasoningIn)
_thinking: Reader[ThinkingIn] = Reader(ThinkingIn)
_stop = msgspec.json.Decoder(str | list[str])
_text = msgspec.json.Decoder(str)
_texts = msgspec.json.Decoder(list[str])
_pairs = msgspec.json.Decoder(dict[str, str | int | float | bool | None])
_integer = msgspec.json.Decoder(int)
_number = msgspec.json.Decoder(float)
_flag = msgspec.json.Decoder(bool)
_encode = msgspec.json.Encoder().encode
_HOURS = re.compile(r"(\d{1,4})h")
_UNSAID = ("auto", "default")
"""Efforts that say nothing."""
IN_MEMORY = 300
"""Seconds that stand for ``prompt_cache_retention: "in_memory"``, which is a few minutes."""


class _Members:
    """The members of a body; each is taken out once, what remains is for nobody here."""

    __slots__ = ("left", "unknown")

    def __init__(self, fields: Fields) -> None:
        self.left = fields
        self.unknown: list[str] = []

    def take(self, name: str) -> Raw | None:
        """The member's bytes; None when it is missing or null."""
        raw = self.left.pop(name, None)
        return None if raw is None or bytes(memoryview(raw)[:4]) == b"null" else raw

    def text(self, name: str) -> str:
        raw = self.take(name)
        try:
            return "" if raw is None else _text.decode(raw)
        except UNREADABLE as error:
            raise shape_error(error, name) from None

    def integer(self, name: str, least: int | None = None) -> int | None:
        raw = self.take(name)
        if raw is None:
            return None
        try:
            value = _integer.decode(raw)
        except UNREADABLE as error:
            raise shape_error(error, name) from None
        if least is not None and value < least:
            raise bad_request(f"'{name}' must be {least} or more, not {value}.", name)
        return value

    def number(self, name: str) -> float | None:
        raw = self.take(name)
        try:
            return None if raw is None else _number.decode(raw)
        except UNREADABLE as error:
            raise shape_error(error, name) from None

    def flag(self, name: str) -> bool | None:
        raw = self.take(name)
        try:
            return None if raw is None else _flag.decode(raw)
        except UNREADABLE as error:
            raise shape_error(error, name) from None


def decode_request(body: bytes, model: str, stream: bool) -> Request:
    """The request in ``body``, which says model and stream itself.

    Raises :class:`GatewayError` (400).
    """
    said = _Members(members(body))
    model = said.text("model")
    if not model:
        raise bad_request("'model' is missing; name one, e.g. \"provider/model\".", "model")
    raw = said.take("messages")
    if raw is None:
        raise bad_request("'messages' is missing; it must be an array of messages.", "messages")
    messages = Messages(said.unknown).read(raw)
    if not messages:
        raise bad_request("'messages' is empty; send at least one message.", "messages")
    tools, older = tuple(_tools(said)), tuple(_functions_of(said))
    parallel = said.flag("parallel_tool_calls")
    return Request(
        model=model,
        messages=messages,
        stream=bool(said.flag("stream")),
        max_output=_max_output(said),
        temperature=said.number("temperature"),
        top_p=said.number("top_p"),
        top_k=said.integer("top_k"),
        stop=_stops(said),
        seed=said.integer("seed"),
        presence_penalty=said.number("presence_penalty"),
        frequency_penalty=said.number("frequency_penalty"),
        choices=said.integer("n", 1) or 1,
        logprobs=bool(said.flag("logprobs")),
        top_logprobs=said.integer("top_logprobs", 0) or 0,
        tools=(*tools, *older),
        tool_choice=_tool_choice(said),
        # Who speaks the older form has room for one call.
        parallel_tools=False if older else parallel,
        output=_output(said),
        reasoning=_thoughts_wanted(said),
        verbosity=said.text("verbosity"),
        modalities=_modalities(said),
        audio=said.take("audio"),
        user=said.text("safety_identifier") or said.text("user"),
        metadata=_metadata(said),
        service_tier=said.text("service_tier"),
        store=said.flag("store"),
        cache_key=said.text("prompt_cache_key"),
        cache_seconds=_retention(said),
        include_usage=_include_usage(said),
        origin=NAME,
        dialect=FUNCTIONS if older and not tools else "",
        extra=tuple((n, v) for n, v in said.left.items() if bytes(v) != b"null"),
        unknown=tuple(said.unknown),
    )


def _max_output(said: _Members) -> int:
    newer = said.integer("max_completion_tokens", 1)
    older = said.integer("max_tokens", 1)
    return newer or older or 0


def _stops(said: _Members) -> tuple[str, ...]:
    raw = said.take("stop")
    if raw is None:
        return ()
    try:
        stop = _stop.decode(raw)
    except UNREADABLE as error:
        raise shape_error(error, "stop", "a string or an array of strings") from None
    return (stop,) if isinstance(stop, str) else tuple(stop)


def _modalities(said: _Members) -> tuple[str, ...]:
    raw = said.take("modalities")
    try:
        return () if raw is None else tuple(_texts.decode(raw))
    except UNREADABLE as error:
        raise shape_error(error, "modalities") from None


def _metadata(said: _Members) -> tuple[tuple[str, str], ...]:
    raw = said.take("metadata")
    if raw is None:
        return ()
    try:
        pairs = _pairs.decode(raw)
    except UNREADABLE as error:
        raise shape_error(error, "metadata", "an object of plain values") from None
    return tuple((k, v if isinstance(v, str) else _encode(v).decode()) for k, v in pairs.items())


def _retention(said: _Members) -> int:
    name = "prompt_cache_retention"
    value = said.text(name)
    if value in ("in_memory", "in-memory"):
        return IN_MEMORY
    hours = _HOURS.fullmatch(value)
    if value and not hours:
        raise bad_request(f'\'{name}\' must be "in_memory" or "24h".', name)
    return int(hours[1]) * 3600 if hours else 0


def _include_usage(said: _Members) -> bool:
    raw = said.take("stream_options")
    if raw is None:
        return False
    return bool(_options.read(raw, "stream_options", said.unknown).include_usage)


# --- tools --------------------------------------------------------------------------------------


def _tools(said: _Members) -> Iterator[Tool | HostedTool]:
    raw = said.take("tools")
    if raw is not None:
        try:
            items = _items.decode(raw)
        except UNREADABLE as error:
            raise shape_error(error, "tools") from None
        for place, item in enumerate(items):
            yield _one_tool(item, f"tools[{place}]", said.unknown)
    search = said.take(WEB_SEARCH)
    if search is not None:
        yield HostedTool(origin=NAME, kind=WEB_SEARCH, raw=bytes(search))


def _one_tool(raw: Raw, at: str, unknown: list[str]) -> Tool | HostedTool:
    try:
        tool = _tool.read(raw, at, unknown)
    except GatewayError:
        kind = type_of(raw)
        if kind in ("", "function", "custom"):
            raise
        return HostedTool(origin=NAME, kind=kind, raw=bytes(raw))
    cache = cache_mark(tool, f"{at}.cache_control")
    if isinstance(tool, FunctionTool):
        return msgspec.structs.replace(_function(tool.function), cache=cache)
    custom: CustomDefinition = tool.custom
    return Tool(
        name=custom.name,
        description=custom.description or "",
        free=True,
        grammar=_said(custom.format),
        cache=cache,
    )


def _function(said: FunctionDefinition) -> Tool:
    return Tool(
        name=said.name,
        description=said.description or "",
        parameters=_said(said.parameters),
        strict=said.strict,
    )


def _said(raw: Raw) -> Raw | None:
    return raw if raw and bytes(memoryview(raw)[:4]) != b"null" else None


def _functions_of(said: _Members) -> Iterator[Tool]:
    """``functions``: what tools were before there were ``tools``."""
    raw = said.take("functions")
    if raw is not None:
        for definition in _functions.read(raw, "functions", said.unknown):
            yield _function(definition)


def _tool_choice(said: _Members) -> ToolChoice | None:
    raw = said.take("tool_choice")
    if raw is None:
        return _legacy_choice(said)
    choice = _choice.read(raw, "tool_choice", said.unknown)
    if isinstance(choice, str):
        return ToolChoice(mode=_mode(choice, "tool_choice"))
    if choice.allowed_tools is not None:
        names = [_name(tool, "tool_choice.allowed_tools") for tool in choice.allowed_tools.tools]
        return ToolChoice(mode=ToolMode(choice.allowed_tools.mode), allowed=tuple(names))
    one = Choosable(choice.type, choice.function, choice.custom)
    return ToolChoice(mode=ToolMode.REQUIRED, allowed=(_name(one, "tool_choice"),))


def _name(tool: Choosable, at: str) -> str:
    named = tool.function or tool.custom
    if named is None:
        raise bad_request(
            f"'{at}' must name a tool: "
            '{"type": "function", "function": {"name": "the_tool"}}.', at
        )  # fmt: skip
    return named.name


def _mode(word: str, at: str) -> ToolMode:
    if word == "any":  # what some servers call it
        return ToolMode.REQUIRED
    try:
        return ToolMode(word)
    except ValueError:
        raise bad_request(
            f'\'{at}\' must be "none", "auto", "required" or an object that names a tool.', at
        ) from None


def _legacy_choice(said: _Members) -> ToolChoice | None:
    raw = said.take("function_call")
    if raw is None:
        return None
    if memoryview(raw)[0] == 123:  # an object, {"name": …}
        raw = Raw(b'{"function":%b}' % bytes(raw))
    choice = _named.read(raw, "function_call", said.unknown)
    if isinstance(choice, str):
        return ToolChoice(mode=_mode(choice, "function_call"))
    name = _name(choice, "function_call")
    return ToolChoice(mode=ToolMode.REQUIRED, allowed=(name,))


# --- what the answer shall be like ----------------------------------------------------------------


def _output(said: _Members) -> OutputFormat | None:
    raw = said.take("response_format")
    if raw is None:
        return None
    unknown: list[str] = []
    form = _format.read(raw, "response_format", unknown)
    try:
        kind = OutputKind(form.type)
    except ValueError:
        said.left["response_format"] = raw  # a compatible server's own, such as a grammar
        return None
    said.unknown.extend(unknown)
    schema = form.json_schema
    if kind is not OutputKind.SCHEMA:
        return OutputFormat(kind=kind)
    if schema is None:
        raise bad_request(
            "'response_format.json_schema' is missing; it must hold name and schema.",
            "response_format.json_schema",
        )
    return OutputFormat(
        kind=kind,
        name=schema.name,
        description=schema.description or "",
        schema=_said(schema.schema),
        strict=schema.strict,
    )


def _thoughts_wanted(said: _Members) -> Reasoning | None:
    """``reasoning_effort``, ``reasoning`` and ``thinking`` say the same thing."""
    effort = _effort(said.text("reasoning_effort"), "reasoning_effort")
    budget, adaptive, summary = -1, False, ""
    raw = said.take("reasoning")
    if raw is not None:
        wanted = _reasoning.read(raw, "reasoning", said.unknown)
        effort = _effort(wanted.effort or "", "reasoning.effort") or effort
        budget = wanted.max_tokens if wanted.max_tokens is not None else -1
        if wanted.enabled is False:
            effort = effort or "none"
        adaptive = bool(wanted.enabled) and not effort and budget < 0
        summary = "none" if wanted.exclude else wanted.summary or ""
    raw = said.take("thinking")
    if raw is not None:
        thinking = _thinking.read(raw, "thinking", said.unknown)
        if thinking.type == "disabled":
            budget = 0
        elif thinking.budget_tokens is not None:
            budget = thinking.budget_tokens
        else:
            adaptive = not effort
    if budget < -1:
        raise bad_request("The budget for thinking must not be negative.", "reasoning.max_tokens")
    if not effort and budget < 0 and not adaptive and not summary:
        return None
    return Reasoning(effort=effort, budget=budget, adaptive=adaptive, summary=summary)


def _effort(word: str, at: str) -> str:
    if not word or word in _UNSAID:
        return ""
    if word not in EFFORTS:
        raise bad_request(f"'{at}' must be one of {', '.join(EFFORTS)}, not '{word[:40]}'.", at)
    return word
